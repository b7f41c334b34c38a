"""A problem on its way through the kernels: its arrays, tiles, scratch and tape."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.kernels.pack import Packed, packed
from refnode.kernels.tape import (
    KEEP_NOTHING,
    KEEP_STAGES,
    Piece,
    Rows,
    Scratch,
    Tape,
    tile_of,
)
from refnode.kernels.theta import theta_at
from refnode.kernels.threads import ALONE, together, workers
from refnode.kernels.workspace import WORK
from refnode.problem import Problem
from refnode.segments import segments
from refnode.solver import Solver
from refnode.span import Span
from refnode.values import Values

LEAST_ROOM = 32  # steps for which a tape has room at first, or as many as fit into the thread's workspace


@dataclass
class Run:
    """A problem on its way through the kernels: its arrays, its scratch, and how many steps its tape has room for.

    tile     T, samples of a tile;  tiles   of the batch, or pools of samples with steps of their own
    slot     numbers that a tile's evaluation leaves for its vjp
    pieces   its segments;  lengths   in units of t, of each the longest that a sample has
    place    name of its tape in the workspace
    """

    problem: Problem
    values: Values
    solver: Solver
    dtype: Any
    packed: Packed
    scratch: Scratch
    tile: int
    tiles: int
    slot: int
    pieces: list[Piece]
    lengths: list[float]
    room: int = LEAST_ROOM
    place: str = ""

    @property
    def rows(self) -> int:
        """Rows of a tile: T, or the whole of a smaller batch."""
        return min(self.tile, self.problem.batch)

    @property
    def loop(self) -> int:
        """Which loop goes over the tiles: the calling thread's, or that of all threads."""
        return together() if self.tiles > 1 else ALONE

    def tape(self, keep: int, for_vjps: bool = True, places: int | None = None, room: int | None = None) -> Tape:
        """A tape with the room there is, with slots for vjps or one. Its large arrays are the thread's workspace.

        Tiles that go one after the other share places; another room is for other steps than the run's.
        """
        width, stages, dtype = self.tile * self.packed.F.w, self.packed.B.c.size, self.dtype
        tiles, room = places or self.tiles, room or self.room
        states, count = (2 if keep == KEEP_NOTHING else room + 1), stages
        if keep == KEEP_STAGES:
            count *= room + 1
        slots = (tiles, count if for_vjps else 1, self.slot)

        def make() -> Tape:
            return Tape(
                WORK.get(f"{self.place}y", (tiles, states, width), dtype),
                WORK.get(f"{self.place}k", (tiles, count, width), dtype),
                WORK.get(f"{self.place}slots", slots, dtype),
                np.zeros(room + 1, np.int64), *np.zeros((3, room + 1)), keep,
            )  # fmt: skip

        tape: Tape = WORK.record(("tape", self.place, states, count, width, slots, dtype, room, keep), make)
        tape.base[0] = 0
        return tape

    def with_more_room(self, tape: Tape) -> Tape:
        """A tape of twice the room that holds what the old one held."""
        self.room *= 2
        new = self.tape(tape.keep, tape.slots.shape[1] > 1)
        for name in ("y", "k", "slots"):
            held = apart(getattr(tape, name), getattr(new, name))
            getattr(new, name)[:, : held.shape[1]] = held
        for name in ("base", "s", "s_new", "err"):
            held = getattr(tape, name)
            getattr(new, name)[: len(held)] = held
        return new

    def enter(self, piece: Piece) -> None:
        """Set theta where it is one for the whole segment."""
        P, scratch = self.packed, self.scratch
        if not (P.kind.by_stage or P.kind.by_row) and len(P.V.A):
            t, t0, T = (float(a[0]) for a in (piece.start, piece.t0, piece.T))
            theta_at(P.V, t, t0, T, piece.cell, scratch.theta[0], scratch.psi[0], scratch.slope[0])


def apart(old: Array, new: Array) -> Array:
    """What `old` holds, in memory of its own where the workspace gave `new` the same."""
    return np.copy(old) if np.may_share_memory(old, new) else old


def tiles_of(batch: int) -> int:
    """How many tiles hold the batch, the last one perhaps in part."""
    return -(-batch // tile_of(batch))


def pool_edges(batch: int) -> Array:
    """Where the pools of samples with steps of their own begin and end: 16 or more of some tiles each, if they can."""
    size = tile_of(batch)
    tiles = max(1, min(8, batch // (16 * size)))
    return np.append(np.arange(0, batch, tiles * size), batch)


def run_of(problem: Problem, values: Values, solver: Solver, dtype: Any) -> Run:
    """The run of a problem that packs (see `refnode.kernels.pack.refusal`)."""
    if solver.steps == "own":
        return run_on(len(pool_edges(problem.batch)) - 1, problem, values, solver, dtype)
    run = run_on(tiles_of(problem.batch), problem, values, solver, dtype)
    width, stages = run.tile * run.packed.F.w, run.tiles * run.packed.B.c.size
    one_step = {"y": run.tiles * width, "k": stages * width, "slots": stages * run.slot}
    run.room = max(LEAST_ROOM, WORK.room(one_step, dtype) - 1)
    return run


def run_on(tiles: int, problem: Problem, values: Values, solver: Solver, dtype: Any) -> Run:
    """The same with so many tiles or pools."""
    P, tile = packed(problem, values, solver, dtype), tile_of(problem.batch)
    scratch, slot = scratch_of(P, tile, tiles, dtype), min(tile, problem.batch) * P.F.left
    if not len(P.V.A):
        scratch.theta[0] = P.V.still
    spans = segments(problem, values)
    lengths = [longest(span.length) for span in spans]
    return Run(problem, values, solver, dtype, P, scratch, tile, tiles, slot, pieces(problem, values, spans), lengths)


def longest(length: Array) -> float:
    """The length of a segment, () or (b,), for the sample that has most of it."""
    return abs(float(length)) if length.ndim == 0 else float(np.abs(length).max())


def scratch_of(P: Packed, tile: int, tiles: int, dtype: Any) -> Scratch:
    """Room for one step, on the thread's workspace."""
    F, m, size = P.F, max(1, len(P.V.A)), P.F.rates.net.size
    thetas, own = P.B.c.size if P.kind.by_stage else 1, size if P.kind.by_row else 0
    copies = min(tiles, workers()) if P.kind.by_stage and tiles > 1 else 1

    def make() -> Scratch:
        (psi, slope), (own_psi, own_slope) = np.zeros((2, thetas, m)), np.zeros((2, tiles, m))
        rows = Rows(*np.zeros((9, tiles, tile)), np.zeros(tiles, np.int64))
        return Scratch(
            rows, np.zeros((tiles, tile), dtype), WORK.get("slot", (tiles, tile * F.left), dtype),
            *WORK.zeros("states", (4, tiles, tile * F.w), dtype), np.zeros((tiles, 2, tile)),
            psi, slope, np.zeros((thetas, m), dtype), WORK.get("theta", (copies * thetas, size), dtype),
            WORK.get("own theta", (tiles, own), dtype), own_psi, own_slope,
        )  # fmt: skip

    scratch: Scratch = WORK.record(("scratch", tile, tiles, F.left, F.w, m, size, thetas, copies, own, dtype), make)
    return scratch


def pieces(problem: Problem, values: Values, spans: list[Span]) -> list[Piece]:
    """The segments as plain numbers, in records that the thread keeps."""

    def piece(i: int, span: Span, cell: int) -> Piece:
        batch = problem.batch
        held: Piece = WORK.record(("piece", i, batch, cell), lambda: Piece(*np.empty((4, batch)), cell))
        held.start[:], held.end[:], held.t0[:], held.T[:] = span.start, span.end, values.t0, values.T
        return held

    return [piece(i, *segment) for i, segment in enumerate(zip(spans, problem.layout.cells, strict=True))]


def to_tiles(y: Array, out: Array) -> None:
    """Write y (b, w) to out (tiles, T w), zero behind the last sample."""
    (b, w), width = y.shape, out.shape[1]
    full, rest = divmod(b * w, width)
    flat = y.ravel()
    out[:full] = flat[: full * width].reshape(full, width)
    if rest:
        out[full, :rest] = flat[full * width :]
        out[full, rest:] = 0


def from_tiles(tiles: Array, batch: int) -> Array:
    """y (b, w) in float64 from (tiles, T w)."""
    w = tiles.shape[1] // tile_of(batch)
    return tiles.reshape(-1, w)[:batch].astype(np.float64)
