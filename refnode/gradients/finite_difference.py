"""Finite differences of the computed solution: central, and Richardson-extrapolated with an error estimate."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from refnode.arrays import Array, count, positive
from refnode.forward import Grid, loss_per_sample, replay, solve_forward
from refnode.gradients.result import GradientResult, gradient_result, zero_grads
from refnode.problem import Problem
from refnode.segments import bounds
from refnode.solver import Solver
from refnode.values import Direction, Values, directions, resolved, unnamed

EPS = np.finfo(np.float64).eps


def central_differences(problem: Problem, solver: Solver, *, relative_step: float = EPS ** (1 / 3)) -> GradientResult:
    """Gradient of the computed solution by central differences.

        dloss/dv = [loss(v + h) - loss(v - h)] / 2h,   h = relative_step * max(|v|, |leaf|_max, or 1 for a zero leaf)

    Parameters
    ----------
    problem          Problem, x (b, n)
    solver           Solver
    relative_step    the cube root of eps balances O(h^2) against O(eps / h)

    Returns
    -------
    GradientResult    loss (), grads of every leaf

    Error    about eps^(2/3) of the loss's scale: 9 to 10 digits where the gradient is not small against loss / leaf.
    Cost     two solves on the replayed grid for each number of every leaf.
    Not recommended for anything but a check that shares no code with derivatives.
    Source   Dennis and Schnabel 1996, Numerical Methods for Unconstrained Optimization, sec. 5.4.
    """
    positive("relative_step", relative_step)
    values = problem.values
    sizes = leaf_sizes(problem, values)
    forward = solve_forward(problem, problem.resolved, solver)
    loss = _loss_on_grid(problem, forward.grid.fractions, solver)
    grads, solves = zero_grads(values), 0
    for direction in directions(values):
        h = relative_step * size_along(sizes, direction)
        direction.put(grads, central(loss, values, direction, h))
        solves += 2
    nfe = solves * forward.statistics.nfe
    return gradient_result(problem, problem.resolved, forward, grads, method="central", solver=solver, nfe_backward=nfe)


def richardson(
    problem: Problem, solver: Solver, *, relative_step: float = 2.0**-7, levels: int = 4
) -> GradientResult:
    """Gradient of the computed solution by central differences, extrapolated to step zero.

        D_0(h) central;   D_j(h) = D_{j-1}(h/2) + [D_{j-1}(h/2) - D_{j-1}(h)] / (4^j - 1)

    The entry of the triangle whose two neighbours agree best is taken; their difference, plus the round-off of the
    differences it came from, is `estimate`.

    Parameters
    ----------
    problem          Problem, x (b, n)
    solver           Solver
    relative_step    of the coarsest level, relative to the leaf
    levels           rows of the triangle

    Returns
    -------
    GradientResult    loss (), grads and `estimate` of every leaf

    Error    11 to 13 digits on smooth problems, as `estimate` says; few on kinks (ReLU).
    Cost     2 levels solves for each number of every leaf.
    Source   Ridders 1982, Advances in Engineering Software 4; Richardson 1911.
    """
    positive("relative_step", relative_step)
    count("levels", levels, 2)
    values = problem.values
    sizes = leaf_sizes(problem, values)
    forward = solve_forward(problem, problem.resolved, solver)
    loss = _loss_on_grid(problem, forward.grid.fractions, solver)
    grads, errors, solves = zero_grads(values), zero_grads(values), 0
    here = loss_per_sample(problem, problem.resolved, forward.at_bounds)
    for direction in directions(values):
        h = relative_step * size_along(sizes, direction)
        rows = [central(loss, values, direction, h / 2**i) for i in range(levels)]
        noise = EPS * np.abs(here) / (h / 2 ** np.arange(levels)[:, None])
        best, error = extrapolate(np.array(rows), noise)
        direction.put(grads, best)
        direction.put(errors, error)
        solves += 2 * levels
    nfe = solves * forward.statistics.nfe
    return gradient_result(
        problem, problem.resolved, forward, grads, method="richardson", solver=solver, nfe_backward=nfe, estimate=errors
    )


def extrapolate(rows: Array, noise: Array) -> tuple[Array, Array]:
    """The best entry of the triangle over central differences rows (levels, b) at halved steps, and its error (b,).

    noise (levels, b) is the round-off in each row; an entry inherits that of the finest row it uses, doubled.
    """
    level = rows
    best, error = rows[0], np.full(rows.shape[1], np.inf)
    for j in range(1, len(rows)):
        finer = level[1:] + (level[1:] - level[:-1]) / (4**j - 1)
        gap = np.maximum(np.abs(finer - level[1:]), np.abs(finer - level[:-1])) + 2 * noise[j:]
        for value, spread in zip(finer, gap, strict=True):
            best, error = np.where(spread < error, value, best), np.minimum(spread, error)
        level = finer
    return best, error


def central(loss: Callable[[Values], Array], values: Values, direction: Direction, h: float) -> Array:
    """[loss(v + h) - loss(v - h)] / 2h of every sample (b,); h is rounded so that v + h and v - h are 2h apart."""
    up, down = values.shifted(h, direction.along), values.shifted(-h, direction.along)
    name, index = direction.where
    width = getattr(up, name)[index] - getattr(down, name)[index]
    return (loss(up) - loss(down)) / width


def _loss_on_grid(problem: Problem, fractions: tuple[Array, ...], solver: Solver) -> Callable[[Values], Array]:
    grid = Grid(fractions)

    def loss(values: Values) -> Array:
        at = resolved(values, problem)
        return loss_per_sample(problem, at, replay(problem, at, grid, solver.tableau))

    return loss


def leaf_sizes(problem: Problem, values: Values) -> Values:
    """The scale by which each number is perturbed: the largest entry of its leaf, or 1 for a zero leaf.

    Times are scaled by the shortest segment, a segment by its longest sample; of segments that are next to nothing, by
    1 % of the longest: bounds may pass each other, for their order is kept.
    """
    leaves = problem.leaves()
    sizes = {name: np.full(leaf.shape, np.max(np.abs(leaf), initial=0.0) or 1.0) for name, leaf in leaves.items()}
    times = bounds(problem, resolved(values, problem))
    gaps = [float(np.max(np.abs(b - a))) for a, b in pairwise(times)]
    gap = max(min((one for one in gaps if one > 0), default=1.0), 0.01 * max(gaps))
    ends = {name: np.full(leaves[name].shape, gap) for name in ("t0", "T", "t_obs") if name in leaves}
    return unnamed(sizes | ends, problem)


def size_along(sizes: Values, direction: Direction) -> float:
    """The scale of the numbers that a direction moves."""
    name, index = direction.where
    return float(np.max(getattr(sizes, name)[index]))
