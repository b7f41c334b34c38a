"""The discrete adjoint of a whole problem on a card, or wherever its kernels are launched."""

from typing import Any

import numpy as np

from refnode.forward import Grid
from refnode.gradients.result import GradientResult, gradient_result
from refnode.kernels.cuda.backward import Backward
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.shape import Keep
from refnode.kernels.cuda.whole import Whole, check_words
from refnode.problem import Problem
from refnode.solver import Solver


def discrete_adjoint(
    problem: Problem, solver: Solver, device: Device, dtype: Any = np.float32, grid: Grid | None = None,
    *, store: Keep = "stages",
) -> GradientResult:  # fmt: skip
    """Gradient of the computed solution: the twin of `refnode.gradients.discrete_adjoint`.

    Parameters
    ----------
    problem, solver    that `refnode.kernels.cuda.whole.refusal` has nothing against
    device             that runs kernels
    dtype              np.float32 or np.float64, times included
    grid               accepted steps to replay; None: n_steps, or steps of each trajectory's own
    store              "stages", or "states": stages are run again. Own steps keep states

    Raises
    ------
    NonFiniteState, StepUnderflow, TooManySteps    with the samples
    MemoryError                                    if the device has no room for one block of trajectories

    Error    exact, to round-off, for the computed solution with its accepted steps frozen.
    Cost     memory N s b w numbers for "stages", N b w for "states"; a vjp costs two evaluations. A batch for whose
             tapes there is no room is solved in parts, once to know the loss and once more to go back.
    """
    whole = Whole(problem, solver, device, dtype, grid)
    parts = whole.parts(store)
    S = parts[0][1][0].S
    adaptive, words = whole.adaptive, np.concatenate([solved.word for _, (_, solved) in parts])
    check_words(words, float(np.ravel(problem.resolved.t0)[0]), adaptive)
    forward = whole.joined([solved for _, (_, solved) in parts], S.butcher.stages - S.butcher.fsal)
    back, held = Backward(problem, forward), 0
    for part, (run, solved) in parts:
        if not solved.tapes:
            run, solved = whole.solve(part, store)
        back.through(run, solved)
        held = max(held, sum(tape.nbytes for pair in solved.tapes for tape in pair))
    grads, adj_t0 = back.finish()
    steps = sum(len(s) - 1 for s in forward.grid.fractions)
    again = S.butcher.stages if S.keep != "stages" else 0
    return gradient_result(
        problem, problem.resolved, forward, grads, method="discrete", solver=solver, peak_bytes=held, adj_t0=adj_t0,
        nfe_backward=steps * (S.butcher.stages - S.butcher.fsal + again),
    )  # fmt: skip
