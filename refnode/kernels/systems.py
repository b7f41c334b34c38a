"""What the steps advance: the dynamics of y forwards, or the costate a backwards.

    Rates       y' = F(t, y)
    Costate     [z, a]' = [f, -(df/dz)^T (a + g dl/df) - g dl/dz], or a' alone, with z off the forward solve's output
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from refnode.kernels.compiled import inline, kernel
from refnode.kernels.dense import Dense, dense_state
from refnode.kernels.fill import copy
from refnode.kernels.mlp import Net, cotangent_size, cotangents_of, slot_size, transpose_weights
from refnode.kernels.rates import Rates, rate, rate_vjp
from refnode.kernels.records import Record
from refnode.kernels.theta import theta_at


@dataclass(frozen=True)
class Costate(Record):
    """The costate's system, with room for one evaluation of it, tile by tile.

    rates             the dynamics whose costate this is
    w                 the width of u, [z, a] or a;  beside   1 if z is solved beside a, 0 if dense output has it
    g_q, longest      the cotangent of the running loss; the longest segment of a sample, signed, or 1
    transposed        theta with its weights transposed, (stages or 1, p), or (tiles, p) if theta is by row
    y, k, g, g_y      [z, q], F, [a, g_q] and its product with dF/dy (tiles, T width);  g_t (tiles, T)
    spare             for `rate_vjp` (tiles, ..);  dense   the state's dense output
    """

    rates: Rates
    w: int
    beside: int
    g_q: float
    longest: float
    transposed: np.ndarray
    y: np.ndarray
    k: np.ndarray
    g: np.ndarray
    g_y: np.ndarray
    g_t: np.ndarray
    spare: np.ndarray
    dense: Dense


@dataclass(frozen=True)
class System(Record):
    """What steps advance: y by its rates, or, if backwards is 1, u by its costate.

    w, controls    widths of y or u, and of the control;  left   numbers that an evaluation leaves for each row
    """

    rates: Rates
    costate: Costate
    backwards: int
    w: int
    controls: int
    left: int


@cache
def no_costate(dtype):
    """What stands for the costate of a system that goes forwards."""
    none, ints = np.zeros(0), np.zeros(0, np.int64)
    net = Net(*(ints,) * 5, 0, -1, 0)
    rates = Rates(net, 0, 0, 0, np.zeros(4), none, *(none.reshape(0, 0),) * 3)
    tile, tape = np.zeros((0, 0), dtype), np.zeros((0, 0, 0), dtype)
    dense = Dense(tape, tape, tape.reshape(0, 0, 0, 0), ints, none, none, none.reshape(0, 0), 0, 0)
    return Costate(rates, 0, 0, 0.0, 1.0, *(tile,) * 7, dense)


class Left(NamedTuple):
    """What m rows of the costate leave for the parameter integrals: the parts of a slot on its tape.

    slot, layers   of `rate` and of `rate_vjp`;  t   depths (m,);  x   cotangents of the control (m n_x,)
    share          the length of each row's segment in units of the longest (m,): layers and x are times it
    u              room for cotangents of u (m,)
    """

    slot: np.ndarray
    layers: np.ndarray
    t: np.ndarray
    share: np.ndarray
    u: np.ndarray
    x: np.ndarray


@kernel
def record_size(F):
    """Numbers of a record for each row."""
    return slot_size(F.net) + cotangent_size(F.net) + 3 + F.controls


@kernel
def record_of(F, m, slot):
    """The record of m rows in a slot."""
    layers = m * slot_size(F.net)
    t = layers + m * cotangent_size(F.net)
    share, u, x = t + m, t + 2 * m, t + 3 * m
    end = x + m * F.controls
    return Left(slot[:layers], slot[layers:t], slot[t:share], slot[share:u], slot[u:x], slot[x:end])


@kernel
def costate_rate(S, theta, which, t, rows, tile, first, m, u, x, slot, du):
    """du = u' for m rows from row `first` of a tile, u and du (.., w); the slot is left as a record."""
    F, d, w, at = S.rates, S.rates.d, S.rates.w, S.w - S.rates.d  # the columns of a begin at `at`
    y, k, g, g_y, g_t = S.y[tile], S.k[tile], S.g[tile], S.g_y[tile], S.g_t[tile]
    record, nothing = record_of(F, m, slot), theta[:0]
    if not S.beside:
        dense_state(S.dense, rows.end[tile, first:], rows.start[tile, first:], t, tile, first, m, w, y)
    for r in range(m):
        row = u[(first + r) * S.w : (first + r + 1) * S.w]
        record.t[r] = t[r]
        for j in range(d):
            if S.beside:
                y[r * w + j] = row[j]
            g[r * w + j] = row[at + j]
        if w > d:
            y[r * w + d], g[r * w + d] = 0.0, S.g_q
    for n in range(record.x.size):
        record.x[n] = 0.0
    rate(F, theta, t, y, 0, x, first * F.controls, m, record.slot, k, 0)
    rate_vjp(
        F, theta, S.transposed[which], t, m, record.slot, k, 0, g, 0, g_y, 0, record.x, 0, g_t, nothing, record.layers,
        S.spare[tile],
    )  # fmt: skip
    share_out(F, m, record, rows, tile, first, S.longest)
    for r in range(m):
        row = du[(first + r) * S.w : (first + r + 1) * S.w]
        for j in range(d):
            if S.beside:
                row[j] = k[r * w + j]
            row[at + j] = -g_y[r * w + j]


@kernel
def share_out(F, m, record, rows, tile, first, longest):
    """Multiply what m rows left by their shares, the lengths of their segments in units of the longest."""
    for r in range(m):
        share = record.share.dtype.type((rows.end[tile, first + r] - rows.start[tile, first + r]) / longest)
        record.share[r] = share
        if share == 1:
            continue
        for k in range(F.net.widths.size - 1):
            o, at = F.net.widths[k + 1], cotangents_of(F.net, k, m)
            layer = record.layers[at + r * o : at + (r + 1) * o]
            for j in range(o):
                layer[j] *= share
        x = record.x[r * F.controls : (r + 1) * F.controls]
        for j in range(x.size):
            x[j] *= share


@inline
def of_rows(F, theta, which, t, rows, tile, first, m, y, x, slot, k):
    """k = y' for m rows from row `first` of a tile, y and k (.., w); theta is the one that was kept as `which`."""
    if F.backwards:
        costate_rate(F.costate, theta, which, t, rows, tile, first, m, y, x, slot, k)
    else:
        rate(F.rates, theta, t, y, first * F.w, x, first * F.controls, m, slot, k, first * F.w)


@inline
def copies_of(scratch):
    """How many copies of theta there are."""
    return scratch.theta.shape[0] // scratch.psi.shape[0]


@inline
def copy_of(scratch, which, task):
    """Which row of scratch.theta holds theta number `which` for the thread that runs this task of one for each tile.

    All copies are alike. Threads take tasks in runs of one length, so that this is the copy that a thread made itself.
    """
    return which + task * copies_of(scratch) // scratch.t.shape[0] * scratch.psi.shape[0]


@kernel
def share_theta(scratch):
    """Have all copies hold theta number 0 as the first does."""
    stages = scratch.psi.shape[0]
    for row in range(stages, scratch.theta.shape[0], stages):
        copy(scratch.theta[0], scratch.theta[row])


@kernel
def keep_theta(F, theta, which):
    """Keep of a stage's theta, or of a row's, what the system needs beside it."""
    if F.backwards:
        transpose_weights(F.rates.net, theta, F.costate.transposed[which])


@kernel
def evaluate(F, V, kind, which, scratch, tile, m, y, x, slot, k):
    """k = y' (m, w) at the depths in scratch.t, with one theta, that of stage `which`, or with each row's own."""
    t, rows = scratch.t[tile], scratch.rows
    if not kind.by_row:
        theta = scratch.theta[copy_of(scratch, which, tile)]
        of_rows(F, theta, which, t, rows, tile, 0, m, y, x, slot, k)
        return
    size, own, psi, slope = F.left, scratch.own[tile], scratch.own_psi[tile], scratch.own_slope[tile]
    for r in range(m):
        theta_at(V, t[r], rows.t0[tile, r], rows.T[tile, r], rows.cell[tile], own, psi, slope)
        keep_theta(F, own, tile)
        of_rows(F, own, tile, t[r : r + 1], rows, tile, r, 1, y, x, slot[r * size : (r + 1) * size], k)
