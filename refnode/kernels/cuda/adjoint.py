"""The discrete adjoint of a whole problem on a card, or wherever its kernels are launched."""

from typing import Any

import numpy as np

from refnode.errors import NonFiniteState
from refnode.forward import Grid
from refnode.gradients.result import GradientResult, gradient_result
from refnode.kernels.cuda.backward import Backward
from refnode.kernels.cuda.own_solve import solve_own
from refnode.kernels.cuda.shape import Keep
from refnode.kernels.cuda.solve import Launch, Run, solve, uniform
from refnode.problem import Problem
from refnode.solver import Solver


def discrete_adjoint(
    problem: Problem, solver: Solver, launch: Launch, dtype: Any = np.float32, grid: Grid | None = None,
    *, keep: Keep = "stages",
) -> GradientResult:  # fmt: skip
    """Gradient of the computed solution: the twin of `refnode.gradients.discrete_adjoint`.

    Parameters
    ----------
    problem, solver    that `refnode.kernels.cuda.problem.refusal` has nothing against
    launch             runs a kernel
    dtype              np.float32 or np.float64, times included
    grid               accepted steps to replay; None: n_steps, or steps of each trajectory's own
    keep               "stages", or "states": stages are run again

    Raises
    ------
    NonFiniteState, StepUnderflow, TooManySteps    with the samples

    Error    exact, to round-off, for the computed solution with its accepted steps frozen.
    Cost     memory N s b w numbers for "stages", N b w for "states"; a vjp costs two evaluations.
    """
    if solver.adaptive and grid is None:
        run, solved = solve_own(problem, solver, launch, dtype)
    else:
        run = Run(problem, solver, launch, dtype, keep, uniform(problem, solver) if grid is None else grid.fractions)
        solved = solve(run)
        if bad := np.flatnonzero(solved.stopped >= 0).tolist():
            raise NonFiniteState("the state is NaN or infinite", float(np.max(run.values.T)), None, bad)
    back = Backward(run, solved.forward)
    for i in reversed(range(len(run.fractions))):
        back.jump(i + 1)
        back.through(i, solved.tapes[i], solved.stopped)
    grads, adj_t0 = back.finish()
    steps = sum(len(s) - 1 for s in run.fractions)
    again = run.S.butcher.stages if run.S.keep != "stages" else 0
    held = sum(tape_y.nbytes + tape_k.nbytes for tape_y, tape_k in solved.tapes)
    return gradient_result(
        problem, run.values, solved.forward, grads, method="discrete", solver=solver, peak_bytes=held, adj_t0=adj_t0,
        nfe_backward=steps * (run.S.butcher.stages - run.S.butcher.fsal + again),
    )  # fmt: skip
