"""The forward solve of a whole problem on tiles: bounds and maps by the story, segments by `advance`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from refnode.arrays import Array
from refnode.dynamics import initial_y
from refnode.errors import NonFiniteState, StepUnderflow, TooManySteps
from refnode.forward import Forward, Grid, proposal_of
from refnode.integrate import Statistics, check_finite, uniform_fractions
from refnode.kernels.advance import advance
from refnode.kernels.first import first_step
from refnode.kernels.given import given_steps
from refnode.kernels.proposed import proposed_steps
from refnode.kernels.run import Run, from_tiles, to_tiles
from refnode.kernels.shared_steps import rates
from refnode.kernels.tape import (
    DONE,
    FULL,
    IN_PLACE,
    KEEP_NOTHING,
    KEEP_STATES,
    NOWHERE,
    TOO_MANY,
    UNDERFLOW,
    Control,
    Piece,
    State,
    Tape,
)
from refnode.kernels.threads import launch
from refnode.kernels.workspace import WORK
from refnode.segments import segments


@dataclass
class Solved:
    """A forward solve: the tape, where each segment's steps begin on it (segments + 1,), and the story's record."""

    tape: Tape
    first_steps: list[int]
    forward: Forward


def solve(run: Run, keep: int, grid: Grid | None = None, for_vjps: bool = True) -> Solved:
    """Solve from t0 to T by steps that the batch shares, on a given grid or on one that the solver chooses.

    The tape keeps what `keep` says, and what the stages left for their vjps, unless for_vjps is False.

    Raises StepUnderflow, TooManySteps and NonFiniteState, as the story does.
    """
    run.room = steps_known(run, grid) or run.room
    tape, batch = run.tape(keep, for_vjps), run.problem.batch
    y0 = initial_y(run.problem, run.values)
    check_finite(y0, run.values.t0, None)
    to_tiles(y0, tape.y[:, 0])
    state = WORK.record(("state",), lambda: State(np.empty(3), np.empty(9, np.int64)))
    state.real.fill(0)
    state.whole.fill(0)
    at_bounds, first_steps, wish = [y0], [0], run.solver.first_step
    for i, piece in enumerate(run.pieces):
        run.enter(piece)
        if i and run.packed.B.fsal and tape.base[state.whole[0]]:
            tape.base[state.whole[0]] += 1  # the last stage belongs to the segment before
        tape, wish = solve_segment(run, tape, state, piece, i, wish, grid, proposal_of(run.problem, run.solver, i))
        first_steps.append(int(state.whole[0]))
        at_bounds.append(from_tiles(tape.y[:, 0 if keep == KEEP_NOTHING else first_steps[-1]], batch))
    chosen = run.solver.adaptive and grid is None
    fractions = tuple(np.concatenate([[0.0], tape.s_new[a:b]]) for a, b in pairwise(first_steps))
    errors = tuple(tape.err[a:b].copy() for a, b in pairwise(first_steps)) if chosen else ()
    counts = Statistics(int(state.whole[5]), np.array(state.whole[3]), np.array(state.whole[4]))
    return Solved(tape, first_steps, Forward(at_bounds, Grid(fractions, errors), [], counts))


def steps_known(run: Run, grid: Grid | None) -> int:
    """How many steps there will be, at most, where that is known before; else 0."""
    if grid is not None:
        return sum(len(fractions) - 1 for fractions in grid.fractions)
    if run.solver.adaptive:
        return 0
    return (run.solver.n_steps or 0) + len(run.problem.layout.cells)  # every segment rounds its share up


def solve_segment(
    run: Run, tape: Tape, state: State, piece: Piece, i: int, wish: float | None, grid: Grid | None = None,
    proposal: Sequence[float] = (),
) -> tuple[Tape, float]:  # fmt: skip
    """Segment i; the tape, which may have grown, and the controller's wish for the next step in units of t."""
    P = run.packed
    control, fractions = begin_segment(run, tape, state, piece, i, wish, grid, proposal)
    if P.kind.by_stage or tape.keep == KEEP_NOTHING or (control.adaptive and tape.keep == KEEP_STATES):
        forward = advance
    elif control.adaptive:
        forward = proposed_steps if proposal else advance
    else:
        forward = given_steps
    word = FULL
    while word == FULL:
        with launch(run.loop):
            word = forward(
                run.loop, P.F, P.V, P.B, P.kind, control, piece, tape, run.scratch, state, P.x, run.problem.batch,
                fractions,
            )  # fmt: skip
        if word == FULL:
            tape = run.with_more_room(tape)
    raise_for(word, run, tape, piece, state)
    return tape, wish_of(run, state, i)


def begin_segment(
    run: Run, tape: Tape, state: State, piece: Piece, i: int, wish: float | None, grid: Grid | None = None,
    proposal: Sequence[float] = (),
) -> tuple[Control, Array]:  # fmt: skip
    """The controller and the given or proposed fractions for segment i, with the state before its first step."""
    control, fractions, longest = run.packed.control, np.zeros(1), run.lengths[i]
    state.real[:] = 0.0, 0.0, 1.0
    state.whole[1], state.whole[6], state.whole[7], state.whole[8] = 1, NOWHERE, 0, bool(proposal)
    if grid is not None or not run.solver.adaptive:
        control = replace(control, adaptive=0)
        fractions = grid.fractions[i] if grid is not None else fixed_fractions(run, i)
    elif proposal:
        fractions, state.real[1] = np.array(proposal), proposal[1]
    elif wish is not None and wish > 0 and longest:
        state.real[1] = wish / longest
    else:
        state.real[1] = first_fraction(run, tape, piece, state) if longest else 1.0
    return control, fractions


def wish_of(run: Run, state: State, i: int) -> float:
    """The controller's wish for the next step behind segment i, in units of t."""
    return float(state.real[1]) * run.lengths[i]


def fixed_fractions(run: Run, i: int) -> Array:
    """The steps of segment i, if their number is given."""
    span = segments(run.problem, run.values)[i]
    return uniform_fractions(span, run.values.T - run.values.t0, run.solver.n_steps or 1)


def first_fraction(run: Run, tape: Tape, piece: Piece, state: State) -> float:
    """Hairer's first step as a fraction of the segment, that of the story from compiled evaluations."""
    n, batch, P = int(state.whole[0]), run.problem.batch, run.packed
    at, base = (0 if tape.keep == KEEP_NOTHING else n), int(tape.base[n])
    with launch(run.loop):
        ds = first_step(
            run.loop, P.F, P.V, P.kind, P.control, piece, tape, run.scratch, P.x, batch, at, base, P.B.order,
        )  # fmt: skip
    if math.isnan(ds):
        check_finite(from_tiles(tape.k[:, base], batch), piece.start, None)
    state.whole[5] += 2
    state.whole[6] = IN_PLACE
    return float(ds) if math.isfinite(ds) and ds > 0 else 1e-6


def rate_of(run: Run, tape: Tape, piece: Piece, at: int, stage: int, t: Array) -> Array:
    """F(t, y) (b, w) at t (b,) for the state in a tape's place `at`, left as its stage k[:, stage]."""
    P = run.packed
    with launch(run.loop):
        rates(run.loop, P.F, P.V, P.kind, piece, tape, run.scratch, P.x, run.problem.batch, at, stage, t)
    return from_tiles(tape.k[:, stage], run.problem.batch)


def raise_for(word: int, run: Run, tape: Tape, piece: Piece, state: State) -> None:
    """Raise for a word of `advance` but DONE, with the depth and the length of the step that failed."""
    if word == DONE:
        return
    s, ds = float(state.real[0]), float(state.real[1])
    start, length = (1 - s) * piece.start + s * piece.end, ds * (piece.end - piece.start)
    t, h = float(start[0]), float(length[0])
    if word == TOO_MANY:
        raise TooManySteps(f"more than max_steps = {run.solver.max_steps} steps", t, h)
    if word == UNDERFLOW:
        raise StepUnderflow("the step fell below the resolution of t without meeting the tolerance", t, h)
    if not run.solver.adaptive:
        at = 1 if tape.keep == KEEP_NOTHING else state.whole[0] + 1
        check_finite(from_tiles(tape.y[:, at], run.problem.batch), start, length)
    raise NonFiniteState("the state is NaN or infinite however small the step", t, h)
