"""The other verdict: is a gradient that of the function's own discrete solution, whatever the ODE's gradient is?

The function's author offers loss(problem, grid), the loss after steps that end at the times grid[0] = t0, .., T, and
gradient(problem, grid) on the same steps. The second is compared with differences of the first, along directions of
random signs in each leaf. Steps keep their fractions of the segments between t0, observations and T, so that a moved
end moves all times of its segment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refnode.api import digits_left
from refnode.arrays import Array
from refnode.errors import NumericalError
from refnode.forward import solve_forward
from refnode.gradients.finite_difference import extrapolate, leaf_sizes
from refnode.oracle.answer import as_float64, as_given, in_words
from refnode.problem import Problem
from refnode.segments import bounds
from refnode.solver import Solver
from refnode.values import named

GridLoss = Callable[[Problem, Array], float]

COARSE = Solver("dopri5", tol=1e-4)  # few steps, so that a discrete gradient is not the ODE's
DIRECTIONS, LEVELS, STEP = 3, 4, 2.0**-7
DIGITS = 6.0  # asked for; differences give about ten


@dataclass(frozen=True)
class OwnVerdict:
    """Whether a gradient is that of its own discrete solution.

    words    the verdict;  ok    False only if it was assessed and is not
    digits   leaf -> digits to which it agrees with differences
    """

    words: str
    ok: bool = True
    digits: Mapping[str, float] = field(default_factory=dict)


NOT_ASSESSED = OwnVerdict("not assessed (no loss offered)")


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def assess(problem: Problem, function: Callable[[Problem, Any], Any], loss: GridLoss) -> OwnVerdict:
    """Compare function(problem, grid) with Richardson differences of loss(problem, grid), leaf by leaf.

    Cost     24 evaluations of the loss for each leaf.
    """
    if any(end.ndim for end in problem.span or ()):
        return OwnVerdict("not assessed: samples have spans of their own, and no grid in common")
    try:
        grid = coarse_grid(problem)
    except NumericalError as error:
        return OwnVerdict(f"not assessed: no coarse solution to take steps from ({in_words(error)})")
    try:
        given = as_given(function(problem, grid))
        base = float(loss(problem, grid))
        if not np.isfinite(base):
            return OwnVerdict("not assessed: the loss on a coarse grid is not finite")
        return _compared(problem, grid, given, loss, base)
    except Exception as error:
        return OwnVerdict(f"fails on a grid of steps: {in_words(error)}", ok=False)


def coarse_grid(problem: Problem) -> Array:
    """Step ends (K + 1,) from t0 to T, observations among them: those of Dormand and Prince's method at tol 1e-4."""
    values = problem.resolved
    return solve_forward(problem, values, COARSE).grid.times(problem, values)


def moved(grid: Array, bounds: Array, new: Array) -> Array:
    """The grid when its break-points move, fractions of the segments kept; both (S + 1,), from t0 to T.

    >>> moved(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 2.0]))
    array([0., 1., 2.])
    """
    if np.array_equal(bounds, new):
        return grid
    order = np.argsort(bounds)
    return np.interp(grid, bounds[order], new[order])


def _compared(problem: Problem, grid: Array, given: Mapping[str, Array], loss: GridLoss, base: float) -> OwnVerdict:
    leaves, sizes = problem.leaves(), named(leaf_sizes(problem, problem.values), problem)
    rng, digits, worst = np.random.default_rng(0), {}, ""
    fits = [name for name in leaves if name in given and given[name].shape == leaves[name].shape]
    got = {name: as_float64(given[name]) for name in fits}
    largest = max((float(np.linalg.norm(g * sizes[name])) for name, g in got.items()), default=0.0)
    for name, g in got.items():
        error = 0.0
        for _ in range(DIRECTIONS):
            along = sizes[name] * rng.choice([-1.0, 1.0], g.shape)
            slope, doubt = _difference(problem, grid, loss, name, along, base)
            error = max(error, abs(float(np.sum(g * along)) - slope) - 2 * doubt)
        size = float(np.linalg.norm(g * sizes[name])) or largest
        digits[name] = digits_left(max(error, 1e-12 * size), size) if np.isfinite(error) else 0.0
        if digits[name] < DIGITS and not worst:
            worst = f"{name} has {digits[name]:.1f} digits of what differences of the loss give"
    if not digits:
        return OwnVerdict("not assessed: no leaf of the problem came back", ok=False)
    if worst:
        return OwnVerdict(f"not the gradient of its own discrete solution: {worst}", False, digits)
    return OwnVerdict(f"the gradient of its own discrete solution, to {min(digits.values()):.1f} digits", True, digits)


def _difference(
    problem: Problem, grid: Array, loss: GridLoss, name: str, along: Array, base: float
) -> tuple[float, float]:
    """The derivative of the loss along a direction in one leaf, extrapolated to step zero, and how sure it is."""
    leaf = problem[name]

    def at(step: float) -> float:
        there = problem.with_leaves({name: leaf + step * along})
        return float(loss(there, moved(grid, _bounds(problem), _bounds(there))))

    steps = [STEP / 2**i for i in range(LEVELS)]
    rows = np.array([[(at(h) - at(-h)) / (2 * h)] for h in steps])
    noise = np.array([[np.finfo(np.float64).eps * abs(base) / h] for h in steps])
    best, doubt = extrapolate(rows, noise)
    return float(best[0]), float(doubt[0])


def _bounds(problem: Problem) -> Array:
    return np.array([float(t) for t in bounds(problem, problem.resolved)])
