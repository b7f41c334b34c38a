"""The forward solve by steps of each trajectory's own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.dynamics import initial_y
from refnode.errors import NonFiniteState, NumericalError, StepUnderflow, TooManySteps
from refnode.forward import Forward, Grid
from refnode.integrate import Statistics
from refnode.kernels.cuda.own import own
from refnode.kernels.cuda.shape import THREADS
from refnode.kernels.cuda.solve import Launch, Run, Solved
from refnode.kernels.tape import DONE, FULL, NOT_FINITE, TOO_MANY, UNDERFLOW
from refnode.problem import Problem
from refnode.segments import segments
from refnode.solver import Solver

ROOM = 32                                           # steps for which there is room at first
FAULTS: dict[int, tuple[type[NumericalError], str]] = {
    UNDERFLOW: (StepUnderflow, "the step fell below the resolution of t without meeting the tolerance"),
    NOT_FINITE: (NonFiniteState, "the state is NaN or infinite however small the step"),
    TOO_MANY: (TooManySteps, "more than max_steps steps"),
}


def limits_of(solver: Solver) -> Array:
    """The numbers of `refnode.kernels.cuda.own.Limits`."""
    controller, q = solver.controller, (solver.tableau.order_err or 0) + 1
    alpha, beta = (1 / q, 0.0) if controller.kind == "I" else (0.7 / q, 0.4 / q)
    return np.array(
        [solver.rtol, solver.atol, alpha, beta, controller.safety, controller.min_factor, controller.max_factor]
    )  # fmt: skip


def words(problem: Problem, solver: Solver, launch: Launch, dtype: Any) -> tuple[Run, Solved, Array]:
    """The run on the grids that trajectories chose, its tapes, and each one's word: DONE, or its fault (b,)."""
    run = Run(problem, solver, launch, dtype, "states", [np.zeros((1, problem.batch))] * len(problem.layout.cells))
    S, b, spans = run.S, problem.batch, segments(problem, run.values)
    y = np.ascontiguousarray(initial_y(problem, run.values).T, S.real)
    ever, wish = np.full(b, DONE, np.int32), np.full(b, solver.first_step or 0.0)
    at_bounds, tapes, counts, rejected = [y.T.astype(np.float64)], [], [], np.zeros(b, np.int64)
    for i, span in enumerate(spans):
        length = np.broadcast_to(np.abs(span.end - span.start), b)
        ds = np.where(length > 0, wish / np.where(length > 0, length, 1.0), 1.0).astype(S.real)
        y, tape, count, refused, word, ds = _segment(run, i, y, ds)
        ever = np.where(ever == DONE, word, ever)
        run.fractions[i], rejected = _fractions(tape[1], count), rejected + refused
        tapes.append((tape[0][: len(run.fractions[i])], np.empty((1, S.width, b), S.real)))
        counts.append(count)
        wish = ds * length
        at_bounds.append(y.T.astype(np.float64))
    accepted = np.sum(counts, axis=0).astype(np.int64)
    attempts = int(np.max(accepted + rejected))
    statistics = Statistics(len(spans) + attempts * (S.butcher.stages - 1), accepted, rejected)
    forward = Forward(at_bounds, Grid(tuple(run.fractions)), [], statistics)
    return run, Solved(forward, tapes, np.where(ever == DONE, -1, 0).astype(np.int32)), ever


def _segment(run: Run, i: int, y: Array, ds: Array) -> Sequence[Any]:
    """Segment i from y (w, b): y at its end, the tape, steps, rejections, words and the next steps."""
    S, b, room = run.S, run.problem.batch, ROOM
    segment, span = run.segment(i), segments(run.problem, run.values)[i]
    start, end = (np.array(np.broadcast_to(t, b), S.real) for t in (span.start, span.end))
    limits = limits_of(run.solver).astype(S.real)
    while True:
        now, step = y.copy(), ds.copy()
        tape = np.empty((room + 1, S.width, b), S.real), np.empty((room + 1, b), S.real)
        count, rejected, word = (np.empty(b, np.int32) for _ in range(3))
        given = (run.x, segment.theta, run.neurons, run.B, run.c, limits, start, end)
        most = np.int32(run.solver.max_steps)
        run.launch(own, S, run.blocks, THREADS, (now, *given, step, most, *tape, count, rejected, word))
        if not np.any(word == FULL):
            return now, tape, count, rejected, word, step
        room *= 2


def _fractions(tape_s: Array, count: Array) -> Array:
    """The accepted fractions (N + 1, b); trajectories that took fewer steps wait at 1."""
    steps = np.arange(int(count.max()) + 1)[:, None]
    return np.where(steps <= count, tape_s[: len(steps)], 1.0).astype(np.float64)


def solve_own(problem: Problem, solver: Solver, launch: Launch, dtype: Any) -> tuple[Run, Solved]:
    """The run and its tapes.

    Raises StepUnderflow, NonFiniteState or TooManySteps for the gravest fault that there was, with the samples.
    """
    run, solved, word = words(problem, solver, launch, dtype)
    for fault, (error, message) in FAULTS.items():
        if bad := np.flatnonzero(word == fault).tolist():
            raise error(message, float(np.ravel(run.values.t0)[0]), None, bad)
    return run, replace(solved, stopped=np.full(problem.batch, -1, np.int32))
