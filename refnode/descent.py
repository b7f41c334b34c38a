"""Descent in function space: the Riesz representer of the gradient with respect to theta(t).                       (5)

Coefficients see the function-space gradient v(t) = (df/dtheta)^T a + dl/dtheta through their basis and the weights of a
quadrature; the Gram matrix of the same basis, formed with the same quadrature, takes both out again:

    dloss/dalpha_j = int psi_j v dt,   G_jk = int psi_j psi_k dt,   r = G^-1 dloss/dalpha,   sum_j r_j psi_j(t) ~ v(t)

so that alpha - eta r steps theta(t) - eta v(t), as nearly as the basis can, and does not depend on mesh or basis. The
measure is dt, in units of depth: a basis that is orthonormal in u has G = |T - t0| I. Samples with spans of their own
share theta, so their measures are averaged over the batch.

Source   Massaroli et al. 2020, Theorem 1 and Corollary 1; docs/depth.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from refnode.api import Solution
from refnode.arrays import Array, one_of
from refnode.depth import Galerkin, coordinate
from refnode.errors import InvalidArgument, UnreliableGradient, describe
from refnode.gradients.result import GradientResult
from refnode.problem import Problem
from refnode.segments import bounds, segments
from refnode.steps import stage_time
from refnode.tableau import Tableau

Quadrature = Literal["auto", "solve", "exact"]
EPS = float(np.finfo(np.float64).eps)
CONTINUOUS = ("backsolve", "interpolating", "quadrature", "forward_continuous")  # gradients of the ODE, not of a solve
CONVERGED, MOST_PANELS = 1e3 * EPS, 1024

Node = tuple[int, Array, Array]  # the cell of theta(t), t () or (b,), and the weight there, in units of t


@dataclass(frozen=True, eq=False)
class Gram:
    """The Gram matrix of a basis over the span.

    matrix     G_jk = int psi_j psi_k dt (m, m), in units of t
    basis      whose functions they are
    formed     by which quadrature, in words
    condition  largest over smallest eigenvalue; infinite if G is singular or indefinite
    """

    matrix: Array
    basis: str
    formed: str

    @cached_property
    def condition(self) -> float:
        """The condition number. Beyond 1 / (m EPS) no digit of G^-1 is right, and it counts as infinite."""
        eigenvalues = np.linalg.eigvalsh(self.matrix)
        low, high = float(eigenvalues[0]), float(eigenvalues[-1])
        return high / low if low > len(eigenvalues) * EPS * high else np.inf

    def solve(self, g: Array) -> Array:
        """G^-1 g along the first axis of g (m, ..).

        Raises
        ------
        UnreliableGradient    if G is singular or indefinite: too few nodes for the basis, weights b_i < 0 on too few
                              steps, functions that depend on each other, or some that live where no sample comes
        """
        if np.isinf(self.condition):
            message = f"the Gram matrix of {self.basis}, formed {self.formed}, is singular or indefinite"
            raise UnreliableGradient(f"{message}: take more steps, or a basis whose functions are all seen")
        return np.linalg.solve(self.matrix, g.reshape(len(g), -1)).reshape(g.shape)


def gram(problem: Problem, solved: GradientResult | Solution | None = None, *, quadrature: Quadrature = "auto") -> Gram:
    """The Gram matrix of the basis of theta(t), by the quadrature that a gradient was formed with.

        "solve":  G_jk = sum_n sum_i |h_n| b_i psi_j(u(t_n + c_i h_n)) psi_k(..)     the accepted steps, the tableau
        "exact":  G_jk = int psi_j(u(t)) psi_k(u(t)) dt                              Gauss-Legendre between the bounds

    "solve" belongs to the gradients of the computed solution (discrete, forward_discrete, complex_step, differences):
    there the coefficients' gradient is a sum over exactly these nodes, and the exact matrix takes out weights that it
    does not hold. "exact" belongs to the gradients of the ODE (backsolve, interpolating, quadrature,
    forward_continuous), whose integrals run over nodes of their own and are true to the tolerance.

    Parameters
    ----------
    problem       with theta=rn.Galerkin(..), rn.Stacked(..) or rn.FunctionSpace(..)
    solved        a gradient's or a solution's result for this very problem; may be left out with "exact"
    quadrature    "auto": what belongs to the result's method; "solve" for a Solution, "exact" without a result

    Raises
    ------
    InvalidArgument       for a theta(t) without a basis, or a result that is not this problem's
    UnreliableGradient    if the exact integrals do not converge: a basis that does not declare its kinks

    Cost     N s evaluations of psi for N steps of s stages.
    """
    basis = _basis_of(problem).basis
    one_of("quadrature", quadrature, ("auto", "solve", "exact"))
    if solved is not None and not isinstance(solved, GradientResult | Solution):
        raise InvalidArgument("solved", solved, "what rn.gradient or rn.solve returned")
    if quadrature == "auto":
        exact = solved is None or (isinstance(solved, GradientResult) and solved.method in CONTINUOUS)
        quadrature = "exact" if exact else "solve"
    if quadrature == "exact":
        return Gram(_exact(problem), describe(basis), "exactly")
    if solved is None:
        raise InvalidArgument("solved", None, "given: quadrature='solve' takes its steps from a result")
    grid, tableau = solved.stats.grid, solved.solver.tableau
    G = _gathered(problem, _nodes_of_steps(problem, grid, tableau))
    return Gram(G, describe(basis), f"on {len(grid) - 1} step{'s' * (len(grid) > 2)} of {tableau.name}")


def riesz(problem: Problem, result: GradientResult, *, quadrature: Quadrature = "auto") -> dict[str, Array]:
    """The gradient's leaves, with that of each alpha leaf replaced by its Riesz representer G^-1 dloss/dalpha.  (5)

    Descend along it: theta(t) then follows -dloss/dtheta(t) = -(df/dtheta)^T a - dl/dtheta, whatever mesh or
    basis carries it. Other leaves (theta.*, edges, h_x.*, T, ..) are plain numbers and stay as they are.

    Parameters
    ----------
    problem       the problem that was differentiated
    result        of rn.gradient, by any method
    quadrature    see `gram`

    Raises
    ------
    UnreliableGradient    if the Gram matrix is singular or indefinite (see `Gram.solve`)

    Error    that of the gradient, times up to the condition of G. theta(t) moves within the span of the basis only.
    """
    if not isinstance(result, GradientResult):
        raise InvalidArgument("result", result, "what rn.gradient returned")
    G = gram(problem, result, quadrature=quadrature)
    return {name: G.solve(g) if name.startswith("alpha.") else g for name, g in result.grads.items()}


def _basis_of(problem: Problem) -> Galerkin:
    """The problem's depth, if it has a basis."""
    if not isinstance(problem, Problem):
        raise InvalidArgument("problem", problem, "an rn.Problem")
    depth = problem.model.depth
    if not isinstance(depth, Galerkin):
        raise InvalidArgument("problem", f"one with theta={describe(depth)}", "one whose theta(t) has a basis")
    return depth


def _gathered(problem: Problem, nodes: Iterator[Node]) -> Array:
    """sum over nodes of weight psi psi^T (m, m), the mean over the batch where nodes or spans are the samples' own."""
    depth, values = _basis_of(problem), problem.resolved
    G = np.zeros((depth.basis.m, depth.basis.m))
    for cell, t, weight in nodes:
        psi = np.atleast_2d(depth.basis.psi(coordinate(depth, t, values.t0, values.T), cell))  # (1, m) or (b, m)
        G += (psi * np.reshape(weight, (-1, 1))).T @ psi / len(psi)
    return (G + G.T) / 2


def _nodes_of_steps(problem: Problem, grid: Array, tableau: Tableau) -> Iterator[Node]:
    """t_n + c_i h_n and |h_n| b_i for every stage of every step on the grid (N + 1,) or (N + 1, b)."""
    ends, i = bounds(problem, problem.resolved), 0
    if not (np.all(grid[0] == ends[0]) and np.all(grid[-1] == ends[-1])):
        was = f"solved from {describe(grid[0])} to {describe(grid[-1])}"
        raise InvalidArgument("solved", was, f"solved over the problem's own span, {ends[0]} to {ends[-1]}")
    for t, t_new in pairwise(grid):
        h = np.asarray(t_new - t)
        for b, c in zip(tableau.b, tableau.c, strict=True):
            if b != 0:
                yield problem.layout.cells[i], np.asarray(stage_time(t, t_new, h, c)), np.abs(h) * b
        if i + 2 < len(ends) and np.all(t_new == ends[i + 1]):  # steps land on every bound
            i += 1


def _exact(problem: Problem) -> Array:
    """G by Gauss-Legendre on equal panels of every segment, halved until G changes next to nothing."""
    panels, G = 1, _gathered(problem, _gauss_nodes(problem, 1))
    while panels < MOST_PANELS:
        panels, coarse = 2 * panels, G
        G = _gathered(problem, _gauss_nodes(problem, panels))
        if np.max(np.abs(G - coarse)) <= CONVERGED * np.max(np.abs(G)):
            return G
    message = f"the Gram matrix of {describe(_basis_of(problem).basis)} did not converge on {panels} panels a segment"
    raise UnreliableGradient(f"{message}: does the basis declare its kinks?")


def _gauss_nodes(problem: Problem, panels: int) -> Iterator[Node]:
    """The nodes of so many equal panels a segment, with enough points for products of polynomials of the basis."""
    points, weights = np.polynomial.legendre.leggauss(2 * _basis_of(problem).basis.m + 8)
    for span, cell in zip(segments(problem, problem.resolved), problem.layout.cells, strict=True):
        for n in range(panels):
            for point, weight in zip((1 + points) / 2, weights / 2, strict=True):
                yield cell, span.at(np.asarray((n + point) / panels)), np.abs(span.length) * weight / panels
