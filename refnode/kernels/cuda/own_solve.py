"""The forward solve by steps of each trajectory's own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.kernels.cuda.parts import check_room
from refnode.kernels.cuda.run import PartRun, Solved, System
from refnode.kernels.tape import DONE, FULL, TOO_MANY
from refnode.segments import segments
from refnode.solver import Solver

ROOM = 32                                           # steps for which there is room at first

def limits_of(solver: Solver, adj_atol: float = 0.0) -> Array:
    """The numbers of `refnode.kernels.cuda.controller.Limits`."""
    controller, q = solver.controller, (solver.tableau.order_err or 0) + 1
    alpha, beta = (1 / q, 0.0) if controller.kind == "I" else (0.7 / q, 0.4 / q)
    return np.array(
        [
            solver.rtol, solver.atol, alpha, beta, controller.safety, controller.min_factor, controller.max_factor,
            adj_atol,
        ]
    )  # fmt: skip


def solve_own(run: PartRun) -> Solved:
    """Solve on the grids that trajectories choose, which become the run's; each one's word is DONE, or its fault.

    Raises MemoryError if the tapes do not fit.
    """
    b, values = run.batch, run.values
    spans, (first, y), limits = segments(run.problem, values), run.start(), run.to(limits_of(run.solver))
    ever, wish = np.full(b, DONE, np.int32), np.full(b, run.solver.first_step or 0.0)
    at_bounds, tapes, accepted, rejected = [first], [], np.zeros(b, np.int64), np.zeros(b, np.int64)
    where = np.full((2, b), np.nan)
    for i, span in enumerate(spans):
        start, end = (np.broadcast_to(t, run.problem.batch)[run.part] for t in (span.start, span.end))
        end = np.where(ever == DONE, end, start)                    # who has failed stays where it is
        length = np.abs(end - start)
        ds = np.where(length > 0, wish / np.where(length > 0, length, 1.0), 1.0)
        system = run.system(i, run.S, run.c, limits)
        y, tape, count, refused, word, ds = own_steps(run, system, y, ds, start, end)
        fractions, attempts = run.device.host(tape[1]), accepted + rejected + count + refused
        word = np.where((word == DONE) & (attempts > run.solver.max_steps), TOO_MANY, word)
        at = start + fractions[count, np.arange(b)] * (end - start), ds * (end - start)
        where = np.where((ever == DONE) & (word != DONE), at, where)
        ever = np.where(ever == DONE, word, ever)
        run.fractions[i] = fractions_of(fractions, count)
        rows = run.device.empty((1, run.S.width, b), run.S.real)
        tapes.append((tape[0], rows))
        accepted, rejected, wish = accepted + count, rejected + refused, ds * length
        at_bounds.append(run.of(y))
    return Solved(at_bounds, run.fractions, tapes, ever, accepted, rejected, where, y)


def own_steps(run: PartRun, system: System, y: Any, ds: Array, start: Array, end: Array) -> Sequence[Any]:
    """From y (w, b) at start to end (b,): y there and states and fractions on the device; steps, rejections, words and
    next steps (b,).
    """
    (build, S, given, c, limits), b, device, room = system, run.batch, run.device, ROOM
    ends, before, states = (run.to(start), run.to(end)), device.host(y), S.keep != "nothing"
    while True:
        tapes = (room + 1) * (states * S.width + 1) * b * np.dtype(S.real).itemsize
        check_room(device, tapes + states * run.bytes_of_sums)
        now, step = device.array(before), run.to(ds)
        tape_y = device.empty((room + 1 if states else 1, S.width, b), S.real)
        tape_s = run.to(np.ones((room + 1, b)))
        count, rejected, word = (device.empty((b,), np.int32) for _ in range(3))
        rest = (run.B, c, limits, *ends, step, np.int32(run.solver.max_steps), tape_y, tape_s, count, rejected, word)
        device.launch(build, S, run.blocks, S.threads, (now, *given, *rest))
        words = device.host(word)
        if not np.any(words == FULL):
            return now, (tape_y, tape_s), device.host(count), device.host(rejected), words, device.host(step)
        room *= 2


def fractions_of(tape_s: Array, count: Array) -> Array:
    """The accepted fractions (N + 1, b); trajectories that took fewer steps wait at 1."""
    steps = np.arange(int(count.max()) + 1)[:, None]
    return np.where(steps <= count, tape_s[: len(steps)], 1.0).astype(np.float64)
