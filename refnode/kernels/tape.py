"""The records that forward and backward kernels share: tableau, controller, segment, tape, scratch and state.

The batch is cut into tiles of `TILE` samples, always the same ones, so that results do not depend on the number of
threads: every tile's sums are its own, and sums over tiles run in one order.
"""

from typing import NamedTuple

import numpy as np

TILE = 32
DONE, FULL, UNDERFLOW, TOO_MANY, NOT_FINITE = range(5)


class OneThread(NamedTuple):
    """Says, by its type, that the calling thread does all tiles."""

    threads: int = 1


class AllThreads(NamedTuple):
    """Says, by its type, that Numba's threads share the tiles."""

    threads: int = 0


class Butcher(NamedTuple):
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


class Control(NamedTuple):
    """A solver's numbers: tolerances, the norm over the batch (0 "batch", 1 "max"), limits of the controller."""

    rtol: float
    atol: float
    worst: int
    alpha: float
    beta: float
    safety: float
    min_factor: float
    max_factor: float
    max_steps: int
    adaptive: int


class Piece(NamedTuple):
    """A segment: start and end for each sample (b,), the ends t0, T that theta(t) follows, and its cell."""

    start: np.ndarray
    end: np.ndarray
    t0: float
    T: float
    cell: int


class Tape(NamedTuple):
    """What a solve leaves behind, tile by tile. Step n starts at y[:, n]; its stage i is k[:, base[n] + i].

    y       (tiles, steps + 1, TILE w)
    k       (tiles, stages, TILE w)
    slots   (tiles, stages, TILE slot), what the stages left for their vjps
    base    (steps + 1,), where a step's stages begin
    s       (steps + 1,), the fraction of the segment at which a step begins
    s_new   (steps + 1,), and that at which it ends
    """

    y: np.ndarray
    k: np.ndarray
    slots: np.ndarray
    base: np.ndarray
    s: np.ndarray
    s_new: np.ndarray


class Scratch(NamedTuple):
    """Room for one step, tile by tile.

    t                   a stage's depths (tiles, TILE)
    h, total, stage     h of each number, sums of stages, a stage's state (tiles, TILE w)
    errors              (tiles, 2)
    theta, psi, slope   of every stage, or of all at once (stages or 1, p), (.., m), (.., m)
    """

    t: np.ndarray
    h: np.ndarray
    total: np.ndarray
    stage: np.ndarray
    errors: np.ndarray
    theta: np.ndarray
    psi: np.ndarray
    slope: np.ndarray


class State(NamedTuple):
    """Where `advance` stands, in two small arrays, so that it can be left and entered again."""

    real: np.ndarray  # s, ds, err_previous
    whole: np.ndarray  # n, grow, attempts, accepted, rejected, nfe, whether k_0 of step n is there
