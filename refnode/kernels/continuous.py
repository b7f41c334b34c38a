"""The continuous adjoints on the CPU: state and costate compiled, maps, point losses and bounds by the story."""

from typing import Any

import numpy as np

from refnode.arrays import flag
from refnode.gradients.backsolve_adjoint import allowed_miss, by_backsolve, with_state
from refnode.gradients.interpolating_adjoint import by_interpolation
from refnode.gradients.result import GradientResult, gradient_result
from refnode.kernels.costate import CostatePass
from refnode.kernels.evaluations import EvaluatedPass
from refnode.kernels.forward import whole_forward
from refnode.kernels.run import run_of
from refnode.kernels.solve import solve
from refnode.kernels.tape import KEEP_NOTHING, KEEP_STAGES
from refnode.problem import Problem
from refnode.solver import Solver


def backsolve_adjoint(
    problem: Problem, solver: Solver, dtype: Any = np.float64, *, check: bool = True, limit: float | None = None
) -> GradientResult:
    """Gradient of the loss by solving state and costate backwards: the twin of `refnode.gradients.backsolve_adjoint`.

    Parameters
    ----------
    problem         Problem that packs (see `refnode.kernels.pack.refusal`)
    solver          Solver; own steps are the story's, between compiled evaluations
    dtype           of states, parameters and costates: np.float64 or np.float32; times and integrals are float64
    check, limit    as in the story

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64, adj_t0 (b, d)

    Raises
    ------
    UnreliableGradient                             as the story does
    StepUnderflow, TooManySteps, NonFiniteState    from the forward solve

    Error    O(tol) for the ODE's gradient, and what rounding leaves of it in float32.
    Cost     memory of one step, s b (2 widths + d), and of its s cotangents of theta for every tile.
    """
    values = problem.resolved
    flag("check", check)
    allowed = allowed_miss(solver, limit)
    if solver.steps == "own":
        forward = whole_forward(problem, solver, dtype, keep_steps=False)
        return by_backsolve(EvaluatedPass(problem, values, forward, solver, dtype), check, allowed)
    run = run_of(problem, values, solver, dtype)
    solved = solve(run, KEEP_NOTHING, for_vjps=False)
    back = CostatePass(run, solved, beside=True)
    return with_state(back, back.steps_down, check, allowed, back.bytes)


def interpolating_adjoint(
    problem: Problem, solver: Solver, dtype: Any = np.float64, *, check: bool = True
) -> GradientResult:
    """Gradient of the loss by the costate over dense output: the twin of `refnode.gradients.interpolating_adjoint`.

    Parameters
    ----------
    problem    Problem that packs (see `refnode.kernels.pack.refusal`)
    solver     Solver; own steps are the story's, between compiled evaluations
    dtype      of states, parameters and costates: np.float64 or np.float32; times and integrals are float64
    check      as in the story

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64, adj_t0 (b, d)

    Raises
    ------
    UnreliableGradient                             if the parameter integrals are too coarse
    StepUnderflow, TooManySteps, NonFiniteState    from the solves

    Error    O(tol) for the ODE's gradient, and what rounding leaves of it in float32.
    Cost     memory N s b d of the forward stages, and that of one step as in backsolve.
    """
    values = problem.resolved
    flag("check", check)
    if solver.steps == "own":
        forward = whole_forward(problem, solver, dtype, keep_steps=True)
        return by_interpolation(EvaluatedPass(problem, values, forward, solver, dtype), check)
    run = run_of(problem, values, solver, dtype)
    solved = solve(run, KEEP_STAGES, for_vjps=False)
    back = CostatePass(run, solved, beside=False)
    grads, adj_t0 = back.run(back.steps_down)
    if check:
        back.check_integrals()
    return gradient_result(
        problem, values, solved.forward, grads, method="interpolating", solver=solver,
        nfe_backward=back.statistics.nfe, peak_bytes=back.bytes(), adj_t0=adj_t0,
    )  # fmt: skip
