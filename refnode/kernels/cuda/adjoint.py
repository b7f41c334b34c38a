"""The discrete adjoint of a whole problem on a card, or wherever its kernels are launched."""

from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.forward import Forward, Grid
from refnode.gradients.result import GradientResult, gradient_result
from refnode.kernels.cuda.backward import Backward
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.shape import Keep
from refnode.kernels.cuda.whole import OVERFLOWN, Parts, Whole, finished
from refnode.kernels.tape import DONE
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.values import Values


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
    grid               accepted steps to replay; None: n_steps, or steps that trajectories share or have of their own
    store              "stages", or "states": stages are run again. Own steps keep states

    Raises
    ------
    NonFiniteState, StepUnderflow, TooManySteps    with the samples, and the result of those that worked (.finished)
    MemoryError                                    if the device has no room for one block of trajectories

    Error    exact, to round-off, for the computed solution with its accepted steps frozen.
    Cost     memory N s b w numbers for "stages", N b w for "states"; a vjp costs two evaluations. A batch for whose
             tapes there is no room is solved in parts, once to know the loss and once more to go back.
    """
    whole = Whole(problem, solver, device, dtype, grid).settled()
    parts = whole.parts(store)
    S = parts[0][1][0].S
    forward = whole.joined([solved for _, (_, solved) in parts], S.butcher.stages - S.butcher.fsal)
    grads, adj_t0, held = differentiated(whole, parts, forward, store)
    steps = sum(len(s) - 1 for s in forward.grid.fractions)
    again = S.butcher.stages if S.keep != "stages" else 0
    return gradient_result(
        problem, problem.resolved, forward, grads, method="discrete", solver=solver, peak_bytes=held, adj_t0=adj_t0,
        nfe_backward=steps * (S.butcher.stages - S.butcher.fsal + again),
    )  # fmt: skip


def differentiated(
    whole: Whole, parts: Parts, forward: Forward, store: Keep, *, upstream: Any = None, to: Any = None
) -> tuple[Values, Array, int]:
    """Gradients with respect to the raw values, a(t0) (b, d), and the bytes of tapes held.

    upstream    dloss/dz(T) (b, d) on the device, in place of the problem's loss;  to   a(t0) is copied there (b, d)

    Raises NonFiniteState, StepUnderflow and TooManySteps, as `discrete_adjoint` does.
    """
    word, where = (np.concatenate([getattr(one, name) for _, (_, one) in parts], -1) for name in ("word", "where"))
    if not np.any(word == DONE):
        raise whole.failure(word, where)
    grads, adj_t0, held = _swept(whole, parts, forward, word, store, upstream, to)
    overflown = (word == DONE) & ~np.isfinite(adj_t0).all(axis=1)
    if overflown.any():
        word = np.where(overflown, OVERFLOWN, word)
        grads, adj_t0, held = _swept(whole, parts, forward, word, store, upstream, to)
    if error := whole.failure(word, where):
        error.finished = finished(whole.problem, forward, word == DONE, grads, adj_t0)
        raise error
    return grads, adj_t0, held


def _swept(
    whole: Whole, parts: Parts, forward: Forward, word: Array, store: Keep, upstream: Any, to: Any
) -> tuple[Values, Array, int]:
    """What those samples give whose word is DONE."""
    back = Backward(whole.problem, forward, word == DONE, of_loss=upstream is None, from_x=whole.z0 is None)
    held = 0
    for part, (run, solved) in parts:
        if not solved.tapes:
            run, solved = whole.solve(part, store)
        g = None if upstream is None else run.columns(upstream.rows(part))
        g = back.through(run, replace(solved, word=word[part]), g)
        if to is not None:
            run.leave(g, to.rows(part))
        held = max(held, sum(tape.nbytes for pair in solved.tapes for tape in pair))
    return *back.finish(), held
