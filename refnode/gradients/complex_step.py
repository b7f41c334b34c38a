"""The complex step: derivatives of the computed solution without subtraction."""

import numpy as np

from refnode.bases import Chebyshev, Fourier, GaussianRBF, Hat, Legendre, Monomial, PiecewiseConstant
from refnode.depth import Constant, Galerkin
from refnode.divergence import Divergence
from refnode.errors import UnreliableGradient
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.forward import Forward, loss_per_sample, replay, solve_forward
from refnode.gradients.finite_difference import leaf_sizes
from refnode.gradients.result import GradientResult, gradient_result, zero_grads
from refnode.loss import CrossEntropy, LinearFunctional, SquaredError, StandardNormal
from refnode.maps import Columns, Identity, Network, PartialInput, ZeroAugment
from refnode.problem import Problem
from refnode.running import Harmonic, Kinetic, ParameterNorm, SquaredNorm, Tracking
from refnode.solver import Solver
from refnode.torchdyn_bases import (
    TorchdynChebychev,
    TorchdynFourier,
    TorchdynGaussianRBF,
    TorchdynMultiquadRBF,
    TorchdynPolynomial,
    TorchdynVanillaRBF,
)
from refnode.values import Values, directions, named, resolved, unnamed

STEP = 2.0**-100  # its square is far below the last digit of anything, and dividing by it is exact


def complex_step(problem: Problem, solver: Solver) -> GradientResult:
    """Gradient of the computed solution, one imaginary perturbation at a time.

        dloss/dv = Im loss(v + i h) / h,   h = 2^-100

    Parameters
    ----------
    problem    Problem, x (b, n); user fields and losses must be complex-safe
    solver     Solver

    Returns
    -------
    GradientResult    loss (), grads of every leaf

    Raises
    ------
    UnreliableGradient    if your own functions are not complex-safe: the gradient contradicts a plain difference

    Error    exact, to round-off, for the computed solution on its accepted grid, which is replayed (O(h^2) = 1e-60).
    Cost     one complex solve for each number of every leaf, about four real ones; samples share a solve for x.
    Not recommended for more than a few hundred parameters: this is the witness, not the engine.
    Source   Squire and Trapp 1998, SIAM Review 40; Martins, Sturdza and Alonso 2003, ACM TOMS 29.
    """
    raw, values = problem.values, problem.resolved
    forward = solve_forward(problem, values, solver)
    grads, nfe = zero_grads(raw), 0
    for direction in directions(raw):
        moved = resolved(raw.shifted(1j * STEP, direction.along), problem)
        at_bounds = replay(problem, moved, forward.grid, solver.tableau)
        direction.put(grads, np.imag(loss_per_sample(problem, moved, at_bounds)) / STEP)
        nfe += forward.statistics.nfe
    if has_user_code(problem):
        _check_against_difference(problem, forward, grads, solver)
        nfe += 2 * len(problem.leaves()) * forward.statistics.nfe
    return gradient_result(problem, values, forward, grads, method="complex_step", solver=solver, nfe_backward=nfe)


BUILT_IN = {
    Constant, Galerkin, Legendre, Chebyshev, Monomial, Fourier, GaussianRBF, Hat, PiecewiseConstant,
    TorchdynFourier, TorchdynPolynomial, TorchdynChebychev,
    TorchdynGaussianRBF, TorchdynVanillaRBF, TorchdynMultiquadRBF,
    MLP, CosineField, Identity, ZeroAugment, Columns, PartialInput, Network,
    SquaredError, LinearFunctional, CrossEntropy, StandardNormal,
    SquaredNorm, Kinetic, ParameterNorm, Tracking, Harmonic, Divergence,
}  # fmt: skip


def has_user_code(problem: Problem) -> bool:
    """Whether field, maps, depth, basis, losses or targets are anything but refnode's own."""
    model, loss = problem.model, problem.loss
    observed = loss.observations.terms if loss.observations else ()
    depth = [model.depth, getattr(model.depth, "basis", None)]
    parts = [model.field, model.h_x, model.h_y, *depth, loss.terminal, *observed, *loss.running]
    parts += [term.beta for term in loss.running if hasattr(term, "beta")]
    return any(type(part) not in BUILT_IN for part in parts if part is not None)


def _check_against_difference(
    problem: Problem, forward: Forward, grads: Values, solver: Solver
) -> None:
    """Raise if a central difference along a fixed random direction of some leaf is not what the gradient says.

    A function that drops imaginary parts (abs, a cast, a comparison) makes a gradient that is wrong by its whole size;
    the difference is good to 1e-3 of the sum of absolute contributions, besides round-off in the loss. Leaf by leaf,
    so that a small gradient does not hide behind a large one.
    """
    values = problem.values
    rng, h, leaves = np.random.default_rng(0), 1e-5, named(grads, problem)
    still = {name: np.zeros(leaf.shape) for name, leaf in leaves.items()}
    for name, size in named(leaf_sizes(problem, values), problem).items():
        direction = size * rng.choice([-1.0, 1.0], size.shape)
        along = unnamed(still | {name: direction}, problem)
        up, down = (
            loss_per_sample(problem, moved, replay(problem, moved, forward.grid, solver.tableau))
            for moved in (resolved(values.shifted(step, along), problem) for step in (h, -h))
        )
        contributions = h * leaves[name] * direction
        room = 1e-3 * float(np.sum(np.abs(contributions))) + 1e-12 * float(np.sum(np.abs(up)))
        said, seen = float(np.sum(contributions)), float(np.sum(up - down)) / 2
        if abs(said - seen) > room:
            message = f"complex step says the loss changes by {said:.3e} along a direction of {name}"
            reason = "your field or loss is not complex-safe (abs, a cast, a comparison?)"
            raise UnreliableGradient(f"{message}, a difference says {seen:.3e}: {reason}")
