"""The discrete adjoint of taped steps: the twin of `refnode.gradients.discrete_adjoint` for tiles."""

from typing import NamedTuple

import numpy as np
from numba import prange
from numba.extending import overload

from refnode.kernels.compiled import kernel
from refnode.kernels.mlp import transpose_weights
from refnode.kernels.rates import rate_vjp
from refnode.kernels.steps import combine, rows_of, set_lengths, set_theta, set_times
from refnode.kernels.tape import TILE, OneThread
from refnode.kernels.theta import theta_vjp


class Cotangents(NamedTuple):
    """What the sweep carries and gathers, tile by tile.

    g        cotangent of y (tiles, TILE w);  stages (tiles, s, TILE w) those of the stage states;  k, of a stage's rate
    theta    (tiles, stages or 1, p);  x (b n_x,);  start, end (b,) of the segment's ends
    spare    (tiles, ..) for `rate_vjp`;  t (tiles, TILE);  transposed (stages or 1, p)
    """

    g: np.ndarray
    stages: np.ndarray
    k: np.ndarray
    theta: np.ndarray
    x: np.ndarray
    start: np.ndarray
    end: np.ndarray
    spare: np.ndarray
    t: np.ndarray
    transposed: np.ndarray


@kernel
def idle(B, i):
    """Whether stage i reaches neither the new state nor a later stage, as the FSAL stage does."""
    unused = B.b[i] == 0
    for j in range(i + 1, B.c.size):
        unused = unused and B.a[j, i] == 0
    return unused


@kernel
def row_products(g, other, m, w, factor, out):
    """out[r] += factor sum_n g[r, n] other[r, n]."""
    for r in range(m):
        total = 0.0
        for n in range(r * w, (r + 1) * w):
            total += g[n] * other[n]
        out[r] += factor * total


@kernel
def stage_cotangent(B, i, g, g_stages, h, size, g_k):
    """g_k = h (b_i g + sum_{j > i} a_ji g_Y_j)."""
    for n in range(size):
        g_k[n] = B.b[i] * g[n]
    for j in range(i + 1, B.c.size):
        weight = B.a[j, i]
        if weight != 0:
            row = g_stages[j][:size]
            for n in range(size):
                g_k[n] += weight * row[n]
    for n in range(size):
        g_k[n] *= h[n]


@kernel
def tile_step_back(F, B, piece, tape, scratch, C, tile, batch, n, varying):
    """Take one tile's cotangent from y_{n+1} to y_n."""
    m, w, stages = rows_of(tile, batch), F.w, B.c.size
    size, base, k = m * w, tape.base[n], tape.k[tile]
    s, s_new, g = tape.s[n], tape.s_new[n], C.g[tile]
    t, h, total = scratch.t[tile], scratch.h[tile], scratch.total[tile]
    g_t, g_h = np.zeros(m), np.zeros(m)  # of the step's start, and of its length
    g_new, of_stage = np.zeros(m), C.t[tile][:m]
    set_lengths(F, piece, s, s_new, tile, m, h)
    combine(B.b, stages, k, base, size, total)
    row_products(g, total, m, w, 1.0, g_h)
    for i in range(stages - 1, -1, -1):
        g_y = C.stages[tile, i]
        if idle(B, i):
            for q in range(size):
                g_y[q] = 0
            continue
        stage_cotangent(B, i, g, C.stages[tile], h, size, C.k[tile])
        set_times(F, piece, s, s_new, B.c[i], tile, m, t)
        for r in range(m):
            of_stage[r] = 0
        which = i if varying else 0
        rate_vjp(
            F, scratch.theta[which], C.transposed[which], t, m, tape.slots[tile, base + i], k[base + i], 0,
            C.k[tile], 0, g_y, 0, C.x, tile * TILE * F.controls, of_stage, C.theta[tile, which], C.spare[tile],
        )  # fmt: skip
        combine(B.a[i], i, k, base, size, total)
        row_products(g_y, total, m, w, 1.0, g_h)
        for r in range(m):
            if B.c[i] == 1:
                g_new[r] += of_stage[r]
            else:
                g_t[r] += of_stage[r]
                g_h[r] += B.c[i] * of_stage[r]
    for i in range(stages):
        row = C.stages[tile, i][:size]
        for q in range(size):
            g[q] += row[q]
    for r in range(m):
        b = tile * TILE + r
        C.start[b] += (1 - s) * g_t[r] + (1 - s_new) * g_new[r] - (s_new - s) * g_h[r]
        C.end[b] += s * g_t[r] + s_new * g_new[r] + (s_new - s) * g_h[r]


@kernel(parallel=True)
def steps_back_in_parallel(F, B, piece, tape, scratch, C, batch, first, last, varying):
    """Steps last - 1 .. first of all tiles, by all threads."""
    for tile in prange(tape.y.shape[0]):
        for n in range(last - 1, first - 1, -1):
            tile_step_back(F, B, piece, tape, scratch, C, tile, batch, n, varying)


@kernel
def steps_back_in_series(F, B, piece, tape, scratch, C, batch, first, last, varying):
    """Steps last - 1 .. first of all tiles, by this thread."""
    for tile in range(tape.y.shape[0]):
        for n in range(last - 1, first - 1, -1):
            tile_step_back(F, B, piece, tape, scratch, C, tile, batch, n, varying)


def steps_back(by, F, B, piece, tape, scratch, C, batch, first, last, varying):
    """Steps last - 1 .. first of all tiles, by the threads that the type of `by` says."""
    raise NotImplementedError("compiled code only")


@overload(steps_back)
def _steps_back(by, F, B, piece, tape, scratch, C, batch, first, last, varying):
    back = steps_back_in_series if by.instance_class is OneThread else steps_back_in_parallel

    def implementation(by, F, B, piece, tape, scratch, C, batch, first, last, varying):
        back(F, B, piece, tape, scratch, C, batch, first, last, varying)

    return implementation


@kernel
def sweep(by, F, V, B, piece, tape, scratch, C, g_still, g_A, ends, batch, first, last):
    """The cotangent from the end of a segment, steps first .. last - 1, to its start; sums over tiles in order.

    ends (4,) gathers what theta(t) gives to the segment's start and end and to t0 and T.
    """
    varying = V.A.shape[0] > 0
    if not varying:
        transpose_weights(F, scratch.theta[0], C.transposed[0])
    n = last
    while n > first:
        before = n - 1 if varying else first
        if varying:
            set_theta(V, B, piece, scratch, tape.s[before], tape.s_new[before], 0, B.c.size)
            for i in range(B.c.size):
                if not idle(B, i):
                    transpose_weights(F, scratch.theta[i], C.transposed[i])
        steps_back(by, F, B, piece, tape, scratch, C, batch, before, n, varying)
        for i in range(C.theta.shape[1]):
            gather_theta(V, B, piece, scratch, C, g_still, g_A, ends, i, tape.s[before], tape.s_new[before])
        n = before


@kernel
def gather_theta(V, B, piece, scratch, C, g_still, g_A, ends, i, s, s_new):
    """Sum stage i's cotangent of theta over the tiles, and hand it to the coefficients and to what u depends on."""
    total = C.theta[0, i]
    for tile in range(1, C.theta.shape[0]):
        row = C.theta[tile, i]
        for q in range(total.size):
            total[q] += row[q]
    g_u = theta_vjp(V, total, scratch.psi[i], scratch.slope[i], g_still, g_A)
    for tile in range(C.theta.shape[0]):
        row = C.theta[tile, i]
        for q in range(row.size):
            row[q] = 0
    if g_u == 0:
        return
    start, end = piece.start[0], piece.end[0]
    c = float(B.c[i])
    place = s_new if c == 1 else (1 - c) * s + c * s_new  # the stage's fraction of the segment
    if V.follows:
        g_t = g_u / (piece.T - piece.t0)
        u = ((1 - place) * start + place * end - piece.t0) / (piece.T - piece.t0)
        ends[2] -= (1 - u) * g_t
        ends[3] -= u * g_t
    else:
        g_t = g_u / (V.hi - V.lo)
    ends[0] += (1 - place) * g_t
    ends[1] += place * g_t
