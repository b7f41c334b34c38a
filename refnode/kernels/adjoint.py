"""One Runge-Kutta step of a tile of rows, differentiated backwards: the twin of `refnode.steps.rk_step_vjp`."""

from dataclasses import dataclass

import numpy as np

from refnode.kernels.compiled import inline, kernel
from refnode.kernels.fill import zero
from refnode.kernels.mlp import add_weights, cotangent_size, slot_size, transpose_weights
from refnode.kernels.rates import rate_vjp
from refnode.kernels.records import Record
from refnode.kernels.steps import set_lengths, set_times
from refnode.kernels.systems import copy_of
from refnode.kernels.theta import theta_at, theta_vjp


@dataclass(frozen=True)
class Cotangents(Record):
    """What a sweep carries and gathers, tile by tile.

    g        of y (tiles, T w);  stages (tiles, s, T w) of the stage states;  k (tiles, T w) of a stage's rate
    times    of a step's t, t_new, h, of a stage's t, and of t0, T through theta(t) (tiles, 6, T)
    x        of the control (b n_x,);  start, end, t0, T (b,) of the segment's ends and of those that theta(t) follows
    theta    of theta (tiles, stages or 1, p);  still, A of the depth (tiles, p), (tiles, m, p) if theta is by row
    depth    of still, and of A, (1 + m, p), if theta is by stage; then also, for the stages but FSAL's:
    u        of u (blocks of theta, stages);  totals, moving   room for theta's and dtheta/du (blocks, stages COLUMNS)
    psi      1, psi_1, .., psi_m (stages, 1 + m) and slope (stages, m) in theta's precision
    layers   of the layers' outputs of some stages (places, stages, rows cotangent_size), at depths (places, stages, T):
             a tile's are in place tile % places
    spare    for `rate_vjp` (tiles, ..);  transposed   as many as there are theta (tiles or copies stages or 1, p)
    """

    g: np.ndarray
    stages: np.ndarray
    k: np.ndarray
    times: np.ndarray
    x: np.ndarray
    start: np.ndarray
    end: np.ndarray
    t0: np.ndarray
    T: np.ndarray
    theta: np.ndarray
    still: np.ndarray
    A: np.ndarray
    depth: np.ndarray
    u: np.ndarray
    totals: np.ndarray
    moving: np.ndarray
    psi: np.ndarray
    slope: np.ndarray
    layers: np.ndarray
    depths: np.ndarray
    spare: np.ndarray
    transposed: np.ndarray


@inline
def idle(B, i):
    """Whether stage i reaches neither the new state nor a later stage, as the FSAL stage does."""
    unused = B.b[i] == 0
    for j in range(i + 1, B.c.size):
        unused = unused and B.a[j, i] == 0
    return unused


@kernel
def stage_cotangent(B, i, g, g_stages, h, k, size, g_h, g_k):
    """g_k = h (b_i g + sum_{j > i} a_ji g_Y_j); the sum over i of what stands in brackets, times k_i, goes to g_h."""
    for n in range(size):
        g_k[n] = B.b[i] * g[n]
    for j in range(i + 1, B.c.size):
        weight = B.a[j, i]
        if weight != 0:
            row = g_stages[j][:size]
            for n in range(size):
                g_k[n] += weight * row[n]
    for n in range(size):
        g_h[n] += g_k[n] * k[n]
        g_k[n] *= h[n]


@kernel
def stage_time_vjp(c, m, times):
    """What a stage's depth t + c h, or t_new for c = 1, gives to the step's; its own cotangent becomes 0."""
    g_t, g_new, g_h, g_stage = times[0], times[1], times[2], times[3]
    if c == 1:
        for r in range(m):
            g_new[r] += g_stage[r]
    else:
        for r in range(m):
            g_t[r] += g_stage[r]
            g_h[r] += c * g_stage[r]
    zero(g_stage)


@kernel
def evaluate_vjp(F, V, kind, scratch, C, tile, m, i, block, slot, k, g_y, g_x):
    """Cotangents for C.k of stage i, at the depths C.depths[block]: g_y, set; of x and t, added to.

    The layers' are left in C.layers[block]; those of theta, where it is each row's own, are gathered at once.
    """
    g_k, g_t, spare, room = C.k[tile], C.times[tile, 3], C.spare[tile], tile % C.layers.shape[0]
    depths, layers = C.depths[room, block], C.layers[room, block]
    if not kind.by_row:
        which = i * kind.by_stage
        row = copy_of(scratch, which, scratch.t.shape[0] - 1 - tile)  # the last tile is the first task
        rate_vjp(
            F, scratch.theta[row], C.transposed[row], depths, m, slot, k, 0, g_k, 0, g_y, 0, g_x, 0, g_t,
            C.theta[tile, which], layers, spare,
        )  # fmt: skip
        return
    slots, size, w = slot_size(F.net), cotangent_size(F.net), F.w
    theta, transposed, g_theta = scratch.own[tile], C.transposed[tile], C.theta[tile, 0]
    psi, slope, rows = scratch.own_psi[tile], scratch.own_slope[tile], scratch.rows
    for r in range(m):
        own_slot, own_layers = slot[r * slots : (r + 1) * slots], layers[r * size : (r + 1) * size]
        t = depths[r : r + 1]
        theta_at(V, t[0], rows.t0[tile, r], rows.T[tile, r], rows.cell[tile], theta, psi, slope)
        transpose_weights(F.net, theta, transposed)
        zero(g_theta)
        rate_vjp(
            F, theta, transposed, t, 1, own_slot, k, r * w, g_k, r * w, g_y, r * w, g_x, r * F.controls,
            g_t[r : r + 1], g_theta, own_layers, spare,
        )  # fmt: skip
        add_weights(F.net, theta, 1, 1, own_slot, 0, 0, own_layers, 0, 0, t, 0, 0, g_theta)
        g_u = theta_vjp(V, g_theta, psi, slope, C.still[tile], C.A[tile])
        coordinate_vjp(V, rows, tile, r, t[0], g_u, C.times[tile])


@inline
def coordinate_vjp(V, rows, tile, r, t, g_u, times):
    """What row r's t, t0 and T receive from u."""
    if not V.follows:
        times[3, r] += g_u / (V.hi - V.lo)
    elif g_u != 0:  # then the span has a length
        t0, T = rows.t0[tile, r], rows.T[tile, r]
        u, rate = (t - t0) / (T - t0), g_u / (T - t0)
        times[3, r] += rate
        times[4, r] -= (1 - u) * rate
        times[5, r] -= u * rate


@kernel
def step_back(F, V, B, kind, scratch, C, tile, m, block, slots, k, g_x):
    """Take the rows' cotangents C.g from y_{n+1} to y_n.

    Stage i's layers are left in C.layers[block + i]; C.times holds the cotangents of t, t_new and h when it returns.
    """
    w, stages, g = F.w, B.c.size, C.g[tile]
    size, h, g_h, times = m * w, scratch.h[tile], scratch.total[tile], C.times[tile]
    zero(times.reshape(times.size))
    zero(g_h)
    set_lengths(scratch.rows, tile, m, w, h)
    for i in range(stages - 1, -1, -1):
        g_y = C.stages[tile, i]
        if idle(B, i):
            zero(g_y[:size])
            continue
        stage_cotangent(B, i, g, C.stages[tile], h, k[i], size, g_h, C.k[tile])
        set_times(scratch.rows, tile, B.c[i], m, C.depths[tile % C.depths.shape[0], block + i])
        evaluate_vjp(F.rates, V, kind, scratch, C, tile, m, i, block + i, slots[i], k[i], g_y, g_x)
        stage_time_vjp(B.c[i], m, times)
    for r in range(m):
        for n in range(r * w, (r + 1) * w):
            times[2, r] += g_h[n]
    for i in range(stages):
        row = C.stages[tile, i][:size]
        for q in range(size):
            g[q] += row[q]


@inline
def hand_times(rows, C, tile, r, sample):
    """What row r's step gives to the ends of its sample's segment, and to those that theta(t) follows."""
    s, s_new, times = rows.s[tile, r], rows.s_new[tile, r], C.times[tile]
    g_t, g_new, g_h = times[0, r], times[1, r], times[2, r]
    C.start[sample] += (1 - s) * g_t + (1 - s_new) * g_new - (s_new - s) * g_h
    C.end[sample] += s * g_t + s_new * g_new + (s_new - s) * g_h
    C.t0[sample] += times[4, r]
    C.T[sample] += times[5, r]
