"""The forward solve of a whole problem by steps of each sample's own: bounds and maps by the story, steps compiled."""

from dataclasses import dataclass, replace

import numpy as np

from refnode.arrays import Array
from refnode.dynamics import initial_y
from refnode.errors import NonFiniteState, StepUnderflow, TooManySteps
from refnode.forward import Forward, Grid
from refnode.integrate import Statistics, check_finite, known_fraction
from refnode.kernels.first import own_first_steps
from refnode.kernels.own import Lanes, Samples, own_fractions, own_rates, own_steps
from refnode.kernels.run import Run, apart, pool_edges
from refnode.kernels.tape import DONE, FULL, TOO_MANY, UNDERFLOW, Piece
from refnode.kernels.threads import launch
from refnode.kernels.workspace import WORK
from refnode.segments import segments
from refnode.span import Span


@dataclass
class OwnSolved:
    """A solve by own steps: the samples' tapes, how many steps each had taken at every bound, and the story's record.

    counts    (segments + 1, b)
    """

    samples: Samples
    lanes: Lanes
    counts: Array
    forward: Forward


def solve_own(run: Run, grid: Grid | None = None) -> OwnSolved:
    """Solve from t0 to T by steps of each sample's own, on given grids or on ones that the solver chooses.

    Raises StepUnderflow, TooManySteps and NonFiniteState, as the story does.
    """
    b, y0 = run.problem.batch, initial_y(run.problem, run.values)
    check_finite(y0, run.values.t0, None)
    S, L = samples_of(run), lanes_of(run)
    S.y[:, 0] = y0
    statistics, rows = Statistics(), np.arange(b)
    at_bounds, counts, fractions = [y0], [np.zeros(b, np.int64)], []
    spans = segments(run.problem, run.values)
    for i, (piece, span) in enumerate(zip(run.pieces, spans, strict=True)):
        run.enter(piece)
        S = _segment(run, S, L, piece, span, statistics, None if grid is None else grid.fractions[i])
        at_bounds.append(S.y[rows, S.n].astype(np.float64))
        counts.append(S.n.copy())
        fractions.append(_grid(S, counts[-2]))
    return OwnSolved(S, L, np.array(counts), Forward(at_bounds, Grid(tuple(fractions)), [], statistics))


def _segment(
    run: Run, S: Samples, L: Lanes, piece: Piece, span: Span, statistics: Statistics, grid: Array | None
) -> Samples:
    """One segment; the samples, whose tapes may have grown."""
    P, b, stages = run.packed, run.problem.batch, run.packed.B.c.size
    y = S.y[np.arange(b), S.n]
    S.now[:], S.err[:], S.grow[:], S.begun[:], S.rejected[:], S.attempts[:] = 0.0, 1.0, 1, 0, 0, 0
    _rates(run, L, piece, piece.start, y, S.k)
    statistics.nfe += 1
    control, given = P.control, np.zeros((0, 0))
    if grid is None:
        check_finite(S.k, span.start, None)
        _first_steps(run, S, L, piece, y, statistics)
        control = replace(control, max_steps=control.max_steps - statistics.attempts)
    else:
        control, given = replace(control, adaptive=0), _own_grids(grid, b)
    S.word[:] = FULL
    while np.any(S.word == FULL):
        _launch(run, S, L, piece, control, given)
        if np.any(S.word == FULL):
            S = with_more_room(run, S)
    if np.any(S.word != DONE):
        _raise(run, S, span)
    attempts = int(S.attempts.max())
    statistics.attempts += attempts
    statistics.nfe += attempts * (stages - P.B.fsal)
    statistics.accepted, statistics.rejected = statistics.accepted + S.begun, statistics.rejected + S.rejected
    statistics.next_step = np.abs(S.ds * span.length)
    return S


def _launch(run: Run, S: Samples, L: Lanes, piece: Piece, control: object, given: Array) -> None:
    P, edges = run.packed, pool_edges(run.problem.batch)
    with launch(run.loop):
        own_steps(run.loop, P.F, P.V, P.B, P.kind, control, piece, S, L, run.scratch, P.x, edges, given)


def _first_steps(run: Run, S: Samples, L: Lanes, piece: Piece, y: Array, statistics: Statistics) -> None:
    """S.ds: what the last segment wished, what was asked, or Hairer's, from the states y (b, w) and their rates."""
    known = known_fraction(np.abs(piece.end - piece.start), run.solver, statistics)
    if known is not None:
        S.ds[:] = known
        return
    P, edges = run.packed, pool_edges(run.problem.batch)
    with launch(run.loop):
        own_first_steps(
            run.loop, P.F, P.V, P.kind, P.control, piece, S, L, run.scratch, P.x, edges, y, P.B.order,
        )  # fmt: skip
    statistics.nfe += 1


def rates_of(run: Run, L: Lanes, piece: Piece, t: Array, y: Array) -> Array:
    """F(t, y) (b, w) at t () or (b,)."""
    k = np.empty(y.shape, run.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        own_y = y.astype(run.dtype)
    _rates(run, L, piece, np.array(np.broadcast_to(t, len(y)), np.float64), own_y, k)
    return k.astype(np.float64)


def _rates(run: Run, L: Lanes, piece: Piece, t: Array, y: Array, k: Array) -> None:
    """k (b, w) = F(t, y) at t (b,), in the kernels' precision."""
    P, edges = run.packed, pool_edges(run.problem.batch)
    with launch(run.loop):
        own_rates(run.loop, P.F, P.V, P.kind, piece, L, run.scratch, P.x, edges, t, y, k)


def _grid(S: Samples, before: Array) -> Array:
    """The accepted fractions of a segment (N + 1, b); samples that took fewer steps wait at 1."""
    fractions = np.empty((int(S.begun.max()) + 1, len(S.n)))
    own_fractions(S, before, fractions)
    return fractions


def _own_grids(grid: Array, b: int) -> Array:
    """Each sample's own fractions (b, N + 1), without the steps that it waited, 1 behind its last."""
    columns = np.broadcast_to(grid[:, None] if grid.ndim == 1 else grid, (len(grid), b)).T
    given = np.ones(columns.shape)
    for mine, s in zip(given, columns, strict=True):
        moves = s[np.concatenate([[True], np.diff(s) != 0])]
        mine[: len(moves)] = moves
    return given


def _raise(run: Run, S: Samples, span: Span) -> None:
    """Raise for what stopped samples first, with the depth and the step of the first of them."""
    stuck = (S.word != DONE) & (S.word != TOO_MANY)
    first = stuck & (S.attempts == S.attempts[stuck].min()) if stuck.any() else S.word == TOO_MANY
    samples = np.flatnonzero(first).tolist()
    i = samples[0]
    t = float(np.ravel(span.at(S.now))[i])
    h = float(np.ravel(np.broadcast_to(S.ds * span.length, S.ds.shape))[i])
    if not stuck.any():
        raise TooManySteps(f"more than max_steps = {run.solver.max_steps} steps", t, h, samples)
    if np.all(S.word[first] == UNDERFLOW):
        raise StepUnderflow("the step fell below the resolution of t without meeting the tolerance", t, h, samples)
    raise NonFiniteState("the state is NaN or infinite however small the step", t, h, samples)


def samples_of(run: Run) -> Samples:
    """Room for the steps of every sample, on the thread's workspace."""
    b, w, count = run.problem.batch, run.packed.F.w, run.room + 1
    real, whole = np.zeros((3, b)), np.zeros((6, b), np.int64)
    return Samples(
        WORK.get("own y", (b, count, w), run.dtype), np.zeros((b, w), run.dtype),
        WORK.get("own s", (b, count), np.float64), WORK.get("own s_new", (b, count), np.float64), *real, *whole,
    )  # fmt: skip


def with_more_room(run: Run, S: Samples) -> Samples:
    """The samples with tapes of twice the room."""
    run.room *= 2
    larger, grown = samples_of(run), ("y", "s", "s_new")
    for name in grown:
        held = apart(getattr(S, name), getattr(larger, name))
        getattr(larger, name)[:, : held.shape[1]] = held
    return replace(S, **{name: getattr(larger, name) for name in grown})


def lanes_of(run: Run) -> Lanes:
    """Rows for every pool."""
    P, pools, dtype = run.packed, run.tiles, run.dtype
    width, stages, n_x = run.tile * P.F.w, P.B.c.size, run.tile * P.F.controls

    def make() -> Lanes:
        return Lanes(
            *np.zeros((2, pools, run.tile), np.int64), np.zeros((pools, width), dtype),
            np.zeros((pools, stages, width), dtype), np.zeros((pools, stages, run.slot), dtype),
            *np.zeros((2, pools, n_x), dtype),
        )  # fmt: skip

    lanes: Lanes = WORK.record(("lanes", pools, run.tile, width, stages, run.slot, n_x, dtype), make)
    return lanes
