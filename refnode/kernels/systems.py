"""What the steps advance, told apart by its type: the dynamics of y forwards, or the costate a backwards.

    Rates       y' = F(t, y)
    Costate     [z, a]' = [f, -(df/dz)^T (a + g dl/df) - g dl/dz], or a' alone, with z off the forward solve's output
"""

from typing import NamedTuple

import numpy as np
from numba.extending import overload

from refnode.kernels.compiled import inline, kernel
from refnode.kernels.dense import Dense, dense_state
from refnode.kernels.mlp import cotangent_size, cotangents_of, slot_size, transpose_weights
from refnode.kernels.rates import Rates, rate, rate_vjp
from refnode.kernels.tape import ByRow
from refnode.kernels.theta import theta_at


class Costate(NamedTuple):
    """The costate's system, with room for one evaluation of it, tile by tile. Flat, as loops of all threads ask.

    widths .. phase   those of `Rates`, but w, the width of u, which is [z, a] or a; that of [z, q] is `width`
    beside            1 if z is solved beside a, 0 if it is read off dense output
    g_q, longest      the cotangent of the running loss; the longest segment of a sample, signed, or 1
    transposed        theta with its weights transposed, (stages or 1, p), or (tiles, p) if theta is by row
    y, k, g, g_y      [z, q], F, [a, g_q] and its product with dF/dy (tiles, TILE width);  g_t (tiles, TILE)
    spare             for `rate_vjp` (tiles, ..)
    taped_y .. last   those of `Dense`
    """

    widths: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    slots: np.ndarray
    timed: np.ndarray
    act: int
    skip: int
    size: int
    d: int
    w: int
    controls: int
    squares: np.ndarray
    tracked: np.ndarray
    amplitude: np.ndarray
    omega: np.ndarray
    phase: np.ndarray
    width: int
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
    taped_y: np.ndarray
    taped_k: np.ndarray
    extra: np.ndarray
    base: np.ndarray
    s: np.ndarray
    s_new: np.ndarray
    rows: np.ndarray
    first: int
    last: int


@inline
def rates_of(S):
    """The dynamics whose costate this is."""
    return Rates(
        S.widths, S.weights, S.biases, S.slots, S.timed, S.act, S.skip, S.size, S.d, S.width, S.controls, S.squares,
        S.tracked, S.amplitude, S.omega, S.phase,
    )  # fmt: skip


@inline
def dense_of(S):
    """The state's dense output."""
    return Dense(S.taped_y, S.taped_k, S.extra, S.base, S.s, S.s_new, S.rows, S.first, S.last)


class Record(NamedTuple):
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
    return slot_size(F) + cotangent_size(F) + 3 + F.controls


@kernel
def record_of(F, m, slot):
    """The record of m rows in a slot."""
    layers = m * slot_size(F)
    t = layers + m * cotangent_size(F)
    share, u, x = t + m, t + 2 * m, t + 3 * m
    end = x + m * F.controls
    return Record(slot[:layers], slot[layers:t], slot[t:share], slot[share:u], slot[u:x], slot[x:end])


@kernel
def costate_rate(S, theta, which, t, rows, tile, first, m, u, x, slot, du):
    """du = u' for m rows from row `first` of a tile, u and du (.., w); the slot is left as a record."""
    F, d, w, at = rates_of(S), S.d, S.width, S.w - S.d  # the columns of a begin at `at`
    y, k, g, g_y, g_t = S.y[tile], S.k[tile], S.g[tile], S.g_y[tile], S.g_t[tile]
    record, nothing = record_of(F, m, slot), theta[:0]
    if not S.beside:
        dense_state(dense_of(S), rows.end[first:], rows.start[first:], t, tile, first, m, w, y)
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
    share_out(F, m, record, rows, first, S.longest)
    for r in range(m):
        row = du[(first + r) * S.w : (first + r + 1) * S.w]
        for j in range(d):
            if S.beside:
                row[j] = k[r * w + j]
            row[at + j] = -g_y[r * w + j]


@kernel
def share_out(F, m, record, rows, first, longest):
    """Multiply what m rows left by their shares, the lengths of their segments in units of the longest."""
    for r in range(m):
        share = record.share.dtype.type((rows.end[first + r] - rows.start[first + r]) / longest)
        record.share[r] = share
        if share == 1:
            continue
        for k in range(F.widths.size - 1):
            o, at = F.widths[k + 1], cotangents_of(F, k, m)
            layer = record.layers[at + r * o : at + (r + 1) * o]
            for j in range(o):
                layer[j] *= share
        x = record.x[r * F.controls : (r + 1) * F.controls]
        for j in range(x.size):
            x[j] *= share


def of_rows(F, theta, which, t, rows, tile, first, m, y, x, slot, k):
    """k = y' for m rows from row `first` of a tile, y and k (.., w); theta is the one that was kept as `which`."""
    raise NotImplementedError("compiled code only")


@overload(of_rows, inline="always")
def _of_rows(F, theta, which, t, rows, tile, first, m, y, x, slot, k):
    def forwards(F, theta, which, t, rows, tile, first, m, y, x, slot, k):
        rate(F, theta, t, y, first * F.w, x, first * F.controls, m, slot, k, first * F.w)

    def backwards(F, theta, which, t, rows, tile, first, m, y, x, slot, k):
        costate_rate(F, theta, which, t, rows, tile, first, m, y, x, slot, k)

    return forwards if F.instance_class is Rates else backwards


def keep_theta(F, theta, which):
    """Keep of a stage's theta, or of a row's, what the system needs beside it."""
    raise NotImplementedError("compiled code only")


@overload(keep_theta, inline="always")
def _keep_theta(F, theta, which):
    def forwards(F, theta, which):
        pass

    def backwards(F, theta, which):
        transpose_weights(rates_of(F), theta, F.transposed[which])

    return forwards if F.instance_class is Rates else backwards


def left_size(F):
    """Numbers that an evaluation leaves in a slot for each row."""
    raise NotImplementedError("compiled code only")


@overload(left_size, inline="always")
def _left_size(F):
    def forwards(F):
        return slot_size(F)

    def backwards(F):
        return record_size(rates_of(F))

    return forwards if F.instance_class is Rates else backwards


def evaluate(F, V, kind, which, scratch, rows, tile, m, y, x, slot, k):
    """k = y' (m, w) at the depths in scratch.t, with one theta, that of stage `which`, or with each row's own."""
    raise NotImplementedError("compiled code only")


@overload(evaluate, inline="always")
def _evaluate(F, V, kind, which, scratch, rows, tile, m, y, x, slot, k):
    def with_one(F, V, kind, which, scratch, rows, tile, m, y, x, slot, k):
        of_rows(F, scratch.theta[which], which, scratch.t[tile], rows, tile, 0, m, y, x, slot, k)

    def with_own(F, V, kind, which, scratch, rows, tile, m, y, x, slot, k):
        t, size, own = scratch.t[tile], left_size(F), scratch.own[tile]
        for r in range(m):
            theta_at(V, t[r], rows.t0[r], rows.T[r], rows.cell, own, scratch.own_psi[tile], scratch.own_slope[tile])
            keep_theta(F, own, tile)
            of_rows(F, own, tile, t[r : r + 1], rows, tile, r, 1, y, x, slot[r * size : (r + 1) * size], k)

    return with_own if kind.instance_class is ByRow else with_one
