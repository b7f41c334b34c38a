"""Where the error of a computed gradient comes from: the error budget of a tableau on equal steps.

    truncation       |G_N - g|       G_N the gradient of the computed solution on N steps, in long doubles; g the truth
    round-off        |g_N - G_N|     g_N the same in float64, by the discrete adjoint
    inconsistency    |a_N - g_N|     a_N the continuous adjoint on the same N steps: O(h^p) too, but not the gradient of
                                     anything that was computed

Each is the largest entry of the worst leaf, over that leaf's largest true entry. G_N comes from the complex step, which
uses the forward map alone and none of the adjoint's code. Tableau, step fractions and weights such as 1 / b stay those
of float64.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import localcontext
from typing import Any, Literal, get_args

import numpy as np

from refnode.api import gradient
from refnode.arrays import Array, count, one_of
from refnode.errors import InvalidArgument, NumericalError
from refnode.forward import loss_per_sample, replay, solve_forward
from refnode.gradients.complex_step import STEP
from refnode.oracle.case import log_slope, relative
from refnode.oracle.decimals import EXACT, exact
from refnode.oracle.ladder import reference
from refnode.oracle.truth import Truth
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.tableau import TABLEAUX
from refnode.values import Values, directions, named, resolved

Adjoint = Literal["backsolve", "interpolating"]
KINDS = ("truncation", "roundoff", "inconsistency")
ASYMPTOTIC, ABOVE = 1e-2, 10.0  # errors that an order is fitted to: below this, and so many times above the floor

Progress = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True)
class Row:
    """The three errors at one number of steps; NaN where the solve raised, and what it said."""

    steps: int
    truncation: float = np.nan
    roundoff: float = np.nan
    inconsistency: float = np.nan
    raised: str = ""


@dataclass(frozen=True)
class Budget:
    """The error budget of a problem.

    tableau, order    what it was solved by, and the tableau's order
    adjoint           the continuous adjoint that is compared
    truth, floor      kind of the reference, and its radius over the scale of the worst leaf
    epsilon           spacing of the long doubles at 1; that of float64 where the machine has no longer ones
    """

    tableau: str
    order: int
    adjoint: str
    truth: str
    floor: float
    epsilon: float
    rows: tuple[Row, ...]

    def slope(self, kind: str) -> float | None:
        """The measured order: minus the slope of log error against log steps, where it is one; None if it is not.

        Fitted where the error is below 1e-2 and ten times above radius and round-off.
        """
        floors = [max(self.floor, row.roundoff) for row in self.rows]
        errors = [getattr(row, kind) for row in self.rows]
        points = [
            (row.steps, error)
            for row, error, floor in zip(self.rows, errors, floors, strict=True)
            if ABOVE * floor < error < ASYMPTOTIC
        ]
        return -log_slope(points) if len(points) >= 2 and kind != "roundoff" else None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file, format "refnode.budget"; NaN becomes null."""
        rows = [{k: None if v != v else v for k, v in asdict(row).items()} for row in self.rows]
        orders = {kind: self.slope(kind) for kind in ("truncation", "inconsistency")}
        return {"format": "refnode.budget", "version": 1, **asdict(self), "rows": rows, "measured_orders": orders}


def error_budget(
    problem: Problem,
    tableau: str = "rk4",
    steps: Sequence[int] = (4, 8, 16, 32, 64, 128, 256),
    adjoint: Adjoint = "backsolve",
    faint: Sequence[str] = (),
    progress: Progress | None = None,
) -> Budget:
    """Truncation, round-off and adjoint inconsistency of a gradient on equal steps.

    Parameters
    ----------
    problem    Problem of refnode's own parts, which are complex-safe
    tableau    a name of TABLEAUX
    steps      numbers of steps
    adjoint    the continuous adjoint to compare: "backsolve" or "interpolating"
    faint      leaves measured by the largest leaf (see `refnode.oracle.entry.Entry`)
    progress   called before each number of steps

    Raises
    ------
    InvalidArgument    for an unknown tableau or adjoint, or a number of steps below one

    Cost     for each number of steps one complex solve in long doubles per number of every leaf.
    """
    one_of("tableau", tableau, tuple(TABLEAUX))
    one_of("adjoint", adjoint, get_args(Adjoint))
    numbers = [count("steps", n) for n in steps]
    if not numbers:
        raise InvalidArgument("steps", "none", "at least one number of steps")
    truth = reference(problem)
    scale, rows = truth.scales(faint), []
    for k, n in enumerate(numbers):
        if progress:
            progress(f"{n} steps", k, len(numbers))
        solver = Solver(tableau, n_steps=n)  # type: ignore[arg-type]
        rows.append(_row(problem, solver, n, adjoint, truth, scale))
    floor = max(relative(float(np.max(r, initial=0.0)), scale[leaf]) for leaf, r in truth.radius.items())
    epsilon = float(np.finfo(np.longdouble).eps)
    return Budget(tableau, TABLEAUX[tableau].order, adjoint, truth.kind, floor, epsilon, tuple(rows))


def _row(
    problem: Problem, solver: Solver, n: int, adjoint: Adjoint, truth: Truth, scale: Mapping[str, float]
) -> Row:
    try:
        computed = gradient(problem, "discrete", solver).grads
        precise = in_long_doubles(problem, solver)
        continuous = gradient(problem, adjoint, solver, check=False).grads
    except NumericalError as error:
        return Row(n, raised=f"{type(error).__name__}: {error}")

    def worst(off: Callable[[str], Array]) -> float:
        return max(relative(float(np.max(off(leaf), initial=0.0)), scale[leaf]) for leaf in computed)

    return Row(
        n,
        worst(lambda leaf: _gap(truth, leaf, precise[leaf])),
        worst(lambda leaf: np.abs(computed[leaf] - precise[leaf])),
        worst(lambda leaf: np.abs(continuous[leaf] - computed[leaf])),
    )


def in_long_doubles(problem: Problem, solver: Solver) -> dict[str, Array]:
    """The gradient of the computed solution by complex step, all arithmetic in long doubles, on float64's own grid."""
    raw = Values(*(np.asarray(a, dtype=np.longdouble) for _, a in problem.values.items()))
    grid = solve_forward(problem, problem.resolved, solver).grid
    grads = Values(*(np.zeros(a.shape, dtype=np.longdouble) for _, a in raw.items()))
    for direction in directions(problem.values):
        moved = resolved(raw.shifted(1j * STEP, direction.along), problem)
        at_bounds = replay(problem, moved, grid, solver.tableau)
        direction.put(grads, np.imag(loss_per_sample(problem, moved, at_bounds)) / STEP)
    return named(grads, problem)


def _gap(truth: Truth, leaf: str, g: Array) -> Array:
    """|g - mid| for long doubles g, each the exact sum of two float64."""
    high = g.astype(np.float64)
    low = (g - high).astype(np.float64)
    with localcontext(EXACT):
        off = abs(exact(high).ravel() + exact(low).ravel() - truth.midpoints(leaf).ravel())
    return off.astype(np.float64)
