"""The forward solve of a whole problem on tiles: bounds and maps by the story, segments by `advance`."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.dynamics import initial_y
from refnode.errors import NonFiniteState, StepUnderflow, TooManySteps
from refnode.forward import Forward, Grid
from refnode.integrate import Statistics, check_finite, uniform_fractions
from refnode.kernels.advance import advance
from refnode.kernels.mlp import slot_size
from refnode.kernels.pack import Packed, packed
from refnode.kernels.steps import first_stage, set_theta
from refnode.kernels.tape import (
    DONE,
    FULL,
    TILE,
    TOO_MANY,
    UNDERFLOW,
    AllThreads,
    OneThread,
    Piece,
    Scratch,
    State,
    Tape,
)
from refnode.kernels.workspace import Workspace, launch
from refnode.problem import Problem
from refnode.segments import segments
from refnode.solver import Solver
from refnode.values import Values

WORK = Workspace()
LEAST_ROOM = 32  # steps for which a tape has room at first, or as many as fit into the thread's workspace


@dataclass
class Run:
    """A problem on its way through the kernels: its arrays, its scratch, and how many steps its tape has room for."""

    problem: Problem
    values: Values
    solver: Solver
    dtype: Any
    packed: Packed
    scratch: Scratch
    room: int

    @property
    def tiles(self) -> int:
        """Tiles of the batch."""
        return tiles_of(self.problem)

    @property
    def by(self) -> OneThread | AllThreads:
        """Which threads share the tiles."""
        return AllThreads() if self.tiles > 1 else OneThread()

    def tape(self) -> Tape:
        """A tape with the room there is. Its large arrays are the thread's workspace."""
        F, stages = self.packed.F, self.packed.B.c.size
        count = (self.room + 1) * stages
        return Tape(
            WORK.get("y", (self.tiles, self.room + 1, TILE * F.w), self.dtype),
            WORK.get("k", (self.tiles, count, TILE * F.w), self.dtype),
            WORK.get("slots", (self.tiles, count, TILE * int(slot_size(F))), self.dtype),
            np.zeros(self.room + 1, np.int64), np.zeros(self.room + 1), np.zeros(self.room + 1),
        )  # fmt: skip


def tiles_of(problem: Problem) -> int:
    """How many tiles hold the batch, the last one perhaps in part."""
    return -(-problem.batch // TILE)


def run_of(problem: Problem, values: Values, solver: Solver, dtype: Any) -> Run:
    """The run of a problem that packs (see `refnode.kernels.pack.refusal`)."""
    P = packed(problem, values, solver, dtype)
    tiles, width = tiles_of(problem), TILE * P.F.w
    thetas, m = (P.B.c.size, len(P.V.A)) if len(P.V.A) else (1, 1)
    scratch = Scratch(
        np.zeros((tiles, TILE), dtype), *(np.zeros((tiles, width), dtype) for _ in range(3)), np.zeros((tiles, 2)),
        np.zeros((thetas, P.F.size), dtype), np.zeros((thetas, m)), np.zeros((thetas, m)),
    )  # fmt: skip
    if not len(P.V.A):
        scratch.theta[0] = P.V.still
    stages, slot = P.B.c.size, TILE * int(slot_size(P.F))
    one_step = {"y": tiles * width, "k": tiles * stages * width, "slots": tiles * stages * slot}
    return Run(problem, values, solver, dtype, P, scratch, max(LEAST_ROOM, WORK.room(one_step, dtype) - 1))


def with_more_room(run: Run, tape: Tape) -> Tape:
    """A tape of twice the room that holds what the old one held."""
    old = Tape(*(np.copy(a) for a in tape))
    run.room *= 2
    new = run.tape()
    for name in ("y", "k", "slots"):
        held = getattr(old, name)
        getattr(new, name)[:, : held.shape[1]] = held
    for name in ("base", "s", "s_new"):
        held = getattr(old, name)
        getattr(new, name)[: len(held)] = held
    return new


def to_tiles(y: Array, out: Array) -> None:
    """Write y (b, w) to out (tiles, TILE w), zero behind the last sample."""
    b, w = y.shape
    flat = np.zeros((len(out) * TILE, w), out.dtype)
    flat[:b] = y
    out[:] = flat.reshape(out.shape)


def from_tiles(tiles: Array, batch: int) -> Array:
    """y (b, w) in float64 from (tiles, TILE w)."""
    w = tiles.shape[1] // TILE
    return tiles.reshape(-1, w)[:batch].astype(np.float64)


def pieces(problem: Problem, values: Values) -> list[Piece]:
    """The segments as plain numbers."""
    ends = float(np.ravel(values.t0)[0]), float(np.ravel(values.T)[0])

    def per_sample(end: Array) -> Array:
        return np.array(np.broadcast_to(end, (problem.batch,)), np.float64)

    spans = zip(segments(problem, values), problem.layout.cells, strict=True)
    return [Piece(per_sample(span.start), per_sample(span.end), *ends, cell) for span, cell in spans]


@dataclass
class Solved:
    """A forward solve: the tape, where each segment's steps begin on it (segments + 1,), and the story's record."""

    tape: Tape
    first_steps: list[int]
    forward: Forward


def solve(run: Run, grid: Grid | None = None) -> Solved:
    """Solve from t0 to T, on a given grid or on one that the solver chooses.

    Raises StepUnderflow, TooManySteps and NonFiniteState, as the story does.
    """
    tape, batch = run.tape(), run.problem.batch
    y0 = initial_y(run.problem, run.values)
    check_finite(y0, run.values.t0, None)
    to_tiles(y0, tape.y[:, 0])
    state = State(np.zeros(3), np.zeros(8, np.int64))
    at_bounds, first_steps, wish = [y0], [0], run.solver.first_step
    for i, piece in enumerate(pieces(run.problem, run.values)):
        if i and run.packed.B.fsal:
            tape.base[state.whole[0]] += 1  # the last stage belongs to the segment before
        tape, wish = _segment(run, tape, state, piece, i, wish, grid)
        first_steps.append(int(state.whole[0]))
        at_bounds.append(from_tiles(tape.y[:, first_steps[-1]], batch))
    fractions = tuple(
        np.concatenate([[0.0], tape.s_new[a:b]]) for a, b in pairwise(first_steps)
    )
    counts = Statistics(int(state.whole[5]), np.array(state.whole[3]), np.array(state.whole[4]))
    return Solved(tape, first_steps, Forward(at_bounds, Grid(fractions), [], counts))


def _segment(
    run: Run, tape: Tape, state: State, piece: Piece, i: int, wish: float | None, grid: Grid | None
) -> tuple[Tape, float]:
    """Segment i; the tape, which may have grown, and the controller's wish for the next step in units of t."""
    P, longest = run.packed, float(np.max(np.abs(piece.end - piece.start)))
    state.real[:], state.whole[[1, 6, 7]] = (0.0, 0.0, 1.0), (1, 0, 0)
    control, fractions = P.control, np.zeros(1)
    if grid is not None or not run.solver.adaptive:
        control = control._replace(adaptive=0)
        fractions = grid.fractions[i] if grid is not None else _uniform(run, i)
    elif wish is not None and wish > 0 and longest:
        state.real[1] = wish / longest
    else:
        state.real[1] = first_fraction(run, tape, piece, state) if longest else 1.0
    word = FULL
    while word == FULL:
        with launch(run.by):
            word = advance(
                run.by, P.F, P.V, P.B, control, piece, tape, run.scratch, state, P.x, run.problem.batch, fractions
            )
        if word == FULL:
            tape = with_more_room(run, tape)
    if word != DONE:
        _raise(word, run, tape, piece, state)
    return tape, float(state.real[1]) * longest


def _uniform(run: Run, i: int) -> Array:
    span = segments(run.problem, run.values)[i]
    return uniform_fractions(span, run.values.T - run.values.t0, run.solver.n_steps or 1)


def first_fraction(run: Run, tape: Tape, piece: Piece, state: State) -> float:
    """Hairer's first step as a fraction of the segment; see `refnode.steps.first_step`."""
    control, batch, n = run.packed.control, run.problem.batch, int(state.whole[0])
    length = (piece.end - piece.start)[:, None]
    y = from_tiles(tape.y[:, n], batch)
    k0 = _rate(run, tape, piece, n, 0.0)
    scale = control.atol + control.rtol * np.abs(y)

    def norm(e: Array) -> float:
        r = np.sqrt(np.mean((e / scale) ** 2, axis=1))
        return float(np.max(r) if control.worst else np.sqrt(np.mean(r * r)))

    check_finite(k0, piece.start, None)
    with np.errstate(over="ignore", invalid="ignore"):
        d0, d1 = norm(y), norm(length * k0)
        h0 = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else min(0.01 * d0 / d1, 1.0)
        to_tiles(y + h0 * length * k0, tape.y[:, n + 1])
        tape.base[n + 1] = tape.base[n] + 1
        d2 = norm(length * (_rate(run, tape, piece, n + 1, h0) - k0)) / h0 if h0 > 0 else math.inf
    state.whole[5] += 2
    state.whole[6] = 1  # k_0 of step n is there
    top = max(d1, d2)
    h1 = max(1e-6, h0 * 1e-3) if top <= 1e-15 else (0.01 / top) ** (1 / (run.packed.B.order + 1))
    ds = min(100 * h0, h1, 1.0)
    return ds if ds > 0 else 1e-6  # neither 0 nor NaN, where the first attempt overflowed


def _rate(run: Run, tape: Tape, piece: Piece, n: int, s: float) -> Array:
    """F (b, w) at state n of the tape and the fraction s, left as stage 0 of step n."""
    P = run.packed
    if len(P.V.A):
        set_theta(P.V, P.B, piece, run.scratch, s, s, 0, 1)
    first_stage(P.F, piece, tape, run.scratch, P.x, run.problem.batch, n, s)
    return from_tiles(tape.k[:, tape.base[n]], run.problem.batch)


def _raise(word: int, run: Run, tape: Tape, piece: Piece, state: State) -> None:
    """Raise for a word of `advance`, with the depth and the length of the step that failed."""
    s, ds = float(state.real[0]), float(state.real[1])
    start, length = (1 - s) * piece.start + s * piece.end, ds * (piece.end - piece.start)
    t, h = float(start[0]), float(length[0])
    if word == TOO_MANY:
        raise TooManySteps(f"more than max_steps = {run.solver.max_steps} steps", t, h)
    if word == UNDERFLOW:
        raise StepUnderflow("the step fell below the resolution of t without meeting the tolerance", t, h)
    if not run.solver.adaptive:
        check_finite(from_tiles(tape.y[:, state.whole[0] + 1], run.problem.batch), start, length)
    raise NonFiniteState("the state is NaN or infinite however small the step", t, h)
