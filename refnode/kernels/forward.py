"""The forward solve with all its steps, for a Solution: the twin of `refnode.forward.solve_forward`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.forward import Forward
from refnode.integrate import Step
from refnode.kernels.own import Lanes
from refnode.kernels.own_solve import OwnSolved, lanes_of, rates_of, solve_own
from refnode.kernels.run import Run, run_of
from refnode.kernels.solve import Solved, solve
from refnode.kernels.tape import KEEP_STAGES
from refnode.problem import Problem
from refnode.segments import segments
from refnode.solver import Solver
from refnode.span import Span
from refnode.steps import rk_step

Steps = Callable[[], list[list[Step]]]


def solve_forward(problem: Problem, solver: Solver, dtype: Any = np.float64) -> tuple[Forward, Steps]:
    """The solve's record, and its steps in float64, which are put together when they are asked for.

    Raises StepUnderflow, TooManySteps and NonFiniteState, as the story does.
    """
    run = run_of(problem, problem.resolved, solver, dtype)
    if solver.steps == "own":
        own = solve_own(run)
        return own.forward, _own_steps(run, own)
    solved = solve(run, KEEP_STAGES, for_vjps=False)
    return solved.forward, _shared_steps(run, solved)


def whole_forward(problem: Problem, solver: Solver, dtype: Any, keep_steps: bool) -> Forward:
    """The story's record of a compiled solve, with its steps if they are kept."""
    forward, steps = solve_forward(problem, solver, dtype)
    return replace(forward, steps=steps() if keep_steps else [[] for _ in forward.grid.fractions])


def _shared_steps(run: Run, solved: Solved) -> Steps:
    """Steps that the batch shares, off copies of the tape."""
    tape, starts = solved.tape, solved.first_steps
    stages = tape.base[: starts[-1], None] + np.arange(run.packed.B.c.size)
    y, k = _batch(tape.y[:, : starts[-1] + 1], run), _batch(tape.k[:, stages], run)
    s, s_new = tape.s[: starts[-1]].copy(), tape.s_new[: starts[-1]].copy()

    def steps() -> list[list[Step]]:
        return [
            [_step(span, s[n], s_new[n], y[n], y[n + 1], k[n]) for n in range(starts[i], starts[i + 1])]
            for i, span in enumerate(segments(run.problem, run.values))
        ]

    return steps


def _batch(tiles: Array, run: Run) -> Array:
    """(.., b, w) in float64 from (tiles, .., T w)."""
    w = run.packed.F.w
    rows = np.moveaxis(tiles.reshape(*tiles.shape[:-1], run.tile, w), 0, -3)
    return rows.reshape(*rows.shape[:-3], -1, w)[..., : run.problem.batch, :].astype(np.float64)


def _step(span: Span, s: Array, s_new: Array, y: Array, y_new: Array, k: Array) -> Step:
    s, s_new = np.asarray(s), np.asarray(s_new)
    return Step(s, s_new, span.at(s), span.at(s_new), np.asarray((s_new - s) * span.length), y, y_new, k)


def _own_steps(run: Run, solved: OwnSolved) -> Steps:
    """Steps of each sample's own, from a copy of the states; their stages are run again by compiled rates."""
    problem, solver, dtype, counts, grid = run.problem, run.solver, run.dtype, solved.counts, solved.forward.grid
    y, rows = solved.samples.y[:, : counts[-1].max() + 1].copy(), np.arange(run.problem.batch)

    def state(i: int, n: int) -> Array:
        return y[rows, np.minimum(counts[i] + n, counts[i + 1])].astype(np.float64)

    def of_segment(again: Run, L: Lanes, i: int, span: Span) -> list[Step]:
        fractions, steps, piece = grid.fractions[i], [], again.pieces[i]
        again.enter(piece)

        def rhs(t: Array, y: Array) -> Array:
            return rates_of(again, L, piece, t, y)

        for n in range(len(fractions) - 1):
            before = state(i, n)
            step = _step(span, fractions[n], fractions[n + 1], before, state(i, n + 1), np.empty(0))
            _, k = rk_step(rhs, step.t, step.t_new, step.h, before, rhs(step.t, before), solver.tableau)
            steps.append(replace(step, k=k))
        return steps

    def steps() -> list[list[Step]]:
        again = run_of(problem, problem.resolved, solver, dtype)  # the scratch has served other solves since
        L = lanes_of(again)
        return [of_segment(again, L, i, span) for i, span in enumerate(segments(problem, again.values))]

    return steps
