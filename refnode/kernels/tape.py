"""The records that forward and backward kernels share: tableau, controller, segment, tape, scratch and state.

The batch is cut into tiles, by its size alone, so that results do not depend on the number of threads: every tile's
sums are its own, and sums over tiles run in one order.
"""

from dataclasses import dataclass

import numpy as np

from refnode.kernels.records import Record

LARGE, SMALL = 64, 32  # samples of a tile
DONE, FULL, UNDERFLOW, TOO_MANY, NOT_FINITE = range(5)
KEEP_NOTHING, KEEP_STATES, KEEP_STAGES = range(3)  # what a tape keeps of every step


def tile_of(batch: int) -> int:
    """T, the samples of a tile: large ones cost less each, small ones leave work for more threads."""
    return LARGE if batch >= 4 * LARGE else SMALL


@dataclass(frozen=True)
class Kind(Record):
    """Whether theta is one for each stage (by_stage), each row's own (by_row), or, with neither, a segment's."""

    by_stage: int
    by_row: int


@dataclass(frozen=True)
class Butcher(Record):
    """A tableau in the dtype of the states; see `refnode.tableau`. fsal 0 or 1, error 1 if there is b_err3."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    b_err: np.ndarray
    b_err3: np.ndarray
    fsal: int
    two_errors: int
    order: int
    order_err: int


@dataclass(frozen=True)
class Control(Record):
    """A solver's numbers: tolerances, the norm over the batch (0 "batch", 1 "max"), limits of the controller.

    atol is one for each component of the state, (w,).
    """

    rtol: float
    atol: np.ndarray
    worst: int
    alpha: float
    beta: float
    safety: float
    min_factor: float
    max_factor: float
    max_steps: int
    adaptive: int


@dataclass(frozen=True)
class Piece(Record):
    """A segment: start and end for each sample (b,), the ends t0, T (b,) that theta(t) follows, and its cell."""

    start: np.ndarray
    end: np.ndarray
    t0: np.ndarray
    T: np.ndarray
    cell: int


@dataclass(frozen=True)
class Rows(Record):
    """What differs between the rows of a step, tile by tile, (tiles, T) each.

    start, end   of a row's segment;  t0, T   the ends that theta(t) follows;  cell (tiles,)   the segment's
    s, s_new     the fractions of the segment between which the step lies;  t, t_new, h   its ends and its length
    """

    start: np.ndarray
    end: np.ndarray
    t0: np.ndarray
    T: np.ndarray
    s: np.ndarray
    s_new: np.ndarray
    t: np.ndarray
    t_new: np.ndarray
    h: np.ndarray
    cell: np.ndarray


@dataclass(frozen=True)
class Tape(Record):
    """What a solve leaves behind, tile by tile. Step n starts at y[:, n]; its stage i is k[:, base[n] + i].

    y       (tiles, steps + 1, T w), or (tiles, 2, T w) if no states are kept
    k       (tiles, stages, T w), of all steps or of one
    slots   (tiles, stages, T slot), what the stages left for their vjps
    base    (steps + 1,), where a step's stages begin; 0 unless stages are kept
    s       (steps + 1,), the fraction of the segment at which a step begins
    s_new   (steps + 1,), and that at which it ends;  err   the norm of its estimated error, where steps are adaptive
    keep    KEEP_NOTHING, KEEP_STATES or KEEP_STAGES
    """

    y: np.ndarray
    k: np.ndarray
    slots: np.ndarray
    base: np.ndarray
    s: np.ndarray
    s_new: np.ndarray
    err: np.ndarray
    keep: int


@dataclass(frozen=True)
class Scratch(Record):
    """Room for one step, tile by tile.

    rows                     of the step;  t   a stage's depths (tiles, T)
    slot                     for a stage without a vjp (tiles, T slot)
    h, total, stage, y_new   h of each number, sums of stages, two states (tiles, T w)
    errors                   of each row, by both error estimates (tiles, 2, T)
    psi, slope, weights      of every stage, or of all at once (stages or 1, m); weights are psi in theta's precision
    theta                    likewise (copies stages or 1, p): what another core has written takes long to read, and
                             so each thread makes a copy for itself
    own, own_psi, own_slope  of one row at a time (tiles, p), (tiles, m), (tiles, m)
    """

    rows: Rows
    t: np.ndarray
    slot: np.ndarray
    h: np.ndarray
    total: np.ndarray
    stage: np.ndarray
    y_new: np.ndarray
    errors: np.ndarray
    psi: np.ndarray
    slope: np.ndarray
    weights: np.ndarray
    theta: np.ndarray
    own: np.ndarray
    own_psi: np.ndarray
    own_slope: np.ndarray


NOWHERE, IN_PLACE = range(2)  # where k_0 of the next step is


@dataclass(frozen=True)
class State(Record):
    """Where `advance` stands, in two small arrays, so that it can be left and entered again."""

    real: np.ndarray  # s, ds, err_previous
    whole: np.ndarray  # n, grow, attempts, accepted, rejected, nfe, where k_0 of step n is, steps of this segment,
    #                    whether a proposal is followed
