"""The complex step: derivatives of the computed solution without subtraction."""

import numpy as np

from refnode.forward import loss_per_sample, replay, solve_forward
from refnode.gradients.result import GradientResult, gradient_result, zero_grads
from refnode.model import Problem
from refnode.solver import Solver
from refnode.values import directions

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

    Error    exact, to round-off, for the computed solution on its accepted grid, which is replayed (O(h^2) = 1e-60).
    Cost     one complex solve for each number of every leaf, about four real ones; samples share a solve for x.
    Not recommended for more than a few hundred parameters: this is the witness, not the engine.
    Source   Squire and Trapp 1998, SIAM Review 40; Martins, Sturdza and Alonso 2003, ACM TOMS 29.
    """
    values = problem.values
    forward = solve_forward(problem, values, solver)
    grads, nfe = zero_grads(values), 0
    for direction in directions(values):
        moved = values.shifted(1j * STEP, direction.along)
        at_bounds = replay(problem, moved, forward.grid, solver.tableau)
        direction.put(grads, np.imag(loss_per_sample(problem, moved, at_bounds)) / STEP)
        nfe += forward.statistics.nfe
    return gradient_result(problem, values, forward, grads, method="complex_step", solver=solver, nfe_backward=nfe)
