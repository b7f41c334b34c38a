"""Steps handed on from one problem to a problem close to it: in training, from batch to batch.

    err_n = (C_n ds_n)^q     the error of an accepted step of length ds_n, where the estimate is O(h^q)
    w_n   = err_n^(1/q)      so many steps of error 1 it was worth

The proposal is the grid of the fewest steps that share the work w_1 + .. + w_N equally, each worth at most `safety` of
a step, as the controller aims at. No step is cut short to land on the end, none is tried and rejected, and nothing is
spent on the first step's size. Proposed steps are tried like any others: accepted if their error is at most 1. After a
rejection the controller chooses what is left of the segment.
"""

from dataclasses import replace

import numpy as np

from refnode.api import Solution
from refnode.arrays import Array
from refnode.errors import InvalidArgument, describe
from refnode.gradients.result import GradientResult
from refnode.solver import Solver

LANDED = 1e-9  # of a step: so much work beyond a whole number of steps is round-off


def hand_on(result: GradientResult | Solution) -> Solver:
    """The solver of a result, which first tries the steps that would have served the result's problem best.

    Parameters
    ----------
    result    of `rn.solve` or `rn.gradient`, for a problem close to the one that is solved next

    Raises InvalidArgument for a result of fixed steps or each sample's own, or of a card: these hand nothing on.

    Example    solver = rn.Solver("dopri5", tol=1e-5)
               for problem in batches:
                   result = rn.gradient(problem, solver=solver)
                   solver = rn.hand_on(result)
    """
    if not isinstance(result, GradientResult | Solution):
        raise InvalidArgument("result", describe(result), "what rn.solve or rn.gradient returned")
    stats, solver = result.stats, result.solver
    if not stats.errors:
        was = f"one of {solver.steps} steps, {len(stats.errors)} of them with an error"
        raise InvalidArgument("result", was, "one of adaptive steps that the batch shares, on a CPU")
    pairs = zip(stats.fractions, stats.errors, strict=True)
    return replace(solver, proposal=tuple(tuple(proposed(s, err, solver).tolist()) for s, err in pairs))


def proposed(fractions: Array, errors: Array, solver: Solver) -> Array:
    """The grid of fractions (M + 1,) that shares the work of accepted steps equally.

    fractions    of the steps (N + 1,);  errors   their norms (N,)

    >>> solver = Solver("dopri5", tol=1e-5)         # q = 5; five steps, each worth 0.72 of a step, become four
    >>> proposed(np.linspace(0, 1, 6), np.full(5, 0.72**5), solver).round(6).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    controller, q = solver.controller, (solver.tableau.order_err or 0) + 1
    least = controller.safety / controller.max_factor  # no step grows more than the controller would let it
    work = np.append(0.0, np.cumsum(np.maximum(errors ** (1 / q), least)))
    count = max(1, int(np.ceil(work[-1] / controller.safety - LANDED)))
    grid = np.interp(np.arange(count + 1) * (work[-1] / count), work, fractions)
    grid[-1] = 1.0
    return np.append(0.0, grid[1:][np.diff(grid) > 0])  # fewer where steps are as short as float64 tells apart
