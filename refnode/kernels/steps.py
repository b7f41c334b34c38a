"""One Runge-Kutta step of all tiles, by steps that the batch shares: the twin of `refnode.steps.rk_step`."""

import math

from numba import prange
from numba.extending import overload

from refnode.kernels.compiled import kernel
from refnode.kernels.rates import rate
from refnode.kernels.tape import TILE, OneThread
from refnode.kernels.theta import theta_at


@kernel
def rows_of(tile, batch):
    """How many samples a tile has."""
    return min(TILE, batch - tile * TILE)


@kernel
def set_times(F, piece, s, s_new, c, tile, m, t):
    """The stage's depth for each row: t + c h, exactly the step's end for c = 1."""
    for r in range(m):
        i = tile * TILE + r
        start, end = piece.start[i], piece.end[i]
        before, after = (1 - s) * start + s * end, (1 - s_new) * start + s_new * end
        t[r] = after if c == 1 else before + c * ((s_new - s) * (end - start))


@kernel
def set_lengths(F, piece, s, s_new, tile, m, h):
    """h of each row, once for each of its numbers."""
    for r in range(m):
        i = tile * TILE + r
        length = (s_new - s) * (piece.end[i] - piece.start[i])
        for j in range(F.w):
            h[r * F.w + j] = length


@kernel
def combine(weights, count, k, first, size, total):
    """total = sum_j weights[j] k[first + j], the first `count` of them."""
    out = total[:size]
    for n in range(size):
        out[n] = 0
    for j in range(count):
        weight = weights[j]
        if weight != 0:
            row = k[first + j][:size]
            for n in range(size):
                out[n] += weight * row[n]


@kernel
def error_sum(control, y, y_new, h, total, m, w):
    """Sum over a tile of (h total / scale)^2, or the largest sample's; NaN if y_new is not finite."""
    rtol, atol = total.dtype.type(control.rtol), total.dtype.type(control.atol)
    result = 0.0
    for r in range(m):
        own = 0.0
        for n in range(r * w, (r + 1) * w):
            e = h[n] * total[n] / (atol + rtol * max(abs(y[n]), abs(y_new[n])))
            own += e * e if math.isfinite(y_new[n]) else math.nan
        result = max(result, own) if control.worst and not math.isnan(own) else result + own
    return result


@kernel
def tile_step(F, B, control, piece, tape, scratch, x, tile, batch, n, s, s_new, varying):
    """Stages 1 .. of step n for one tile; its new state; its share of the error norms."""
    m, w, stages = rows_of(tile, batch), F.w, B.c.size
    size, base = m * w, tape.base[n]
    y, y_new, k = tape.y[tile, n], tape.y[tile, n + 1], tape.k[tile]
    t, h, total, stage = scratch.t[tile], scratch.h[tile], scratch.total[tile], scratch.stage[tile]
    set_lengths(F, piece, s, s_new, tile, m, h)
    for i in range(1, stages):
        target = y_new if B.fsal and i == stages - 1 else stage
        combine(B.a[i], i, k, base, size, total)
        for q in range(size):
            target[q] = y[q] + h[q] * total[q]
        set_times(F, piece, s, s_new, B.c[i], tile, m, t)
        slot = tape.slots[tile, base + i]
        rate(F, scratch.theta[i if varying else 0], t, target, 0, x, tile * TILE * F.controls, m, slot, k[base + i], 0)
    if not B.fsal:
        combine(B.b, stages, k, base, size, total)
        for q in range(size):
            y_new[q] = y[q] + h[q] * total[q]
    if control.adaptive:
        combine(B.b_err, stages, k, base, size, total)
        scratch.errors[tile, 0] = error_sum(control, y, y_new, h, total, m, w)
        if B.two_errors:
            combine(B.b_err3, stages, k, base, size, total)
            scratch.errors[tile, 1] = error_sum(control, y, y_new, h, total, m, w)
    else:
        bad = 0.0
        for q in range(size):
            bad += 0.0 if math.isfinite(y_new[q]) else math.nan
        scratch.errors[tile, 0] = bad


@kernel(parallel=True)
def step_in_parallel(F, B, control, piece, tape, scratch, x, batch, n, s, s_new, varying):
    """One step of all tiles, by all threads."""
    for tile in prange(tape.y.shape[0]):
        tile_step(F, B, control, piece, tape, scratch, x, tile, batch, n, s, s_new, varying)


@kernel
def step_in_series(F, B, control, piece, tape, scratch, x, batch, n, s, s_new, varying):
    """One step of all tiles, by this thread."""
    for tile in range(tape.y.shape[0]):
        tile_step(F, B, control, piece, tape, scratch, x, tile, batch, n, s, s_new, varying)


def step_all(by, F, B, control, piece, tape, scratch, x, batch, n, s, s_new, varying):
    """One step of all tiles, by the threads that the type of `by` says."""
    raise NotImplementedError("compiled code only")


@overload(step_all)
def _step_all(by, F, B, control, piece, tape, scratch, x, batch, n, s, s_new, varying):
    step = step_in_series if by.instance_class is OneThread else step_in_parallel

    def implementation(by, F, B, control, piece, tape, scratch, x, batch, n, s, s_new, varying):
        step(F, B, control, piece, tape, scratch, x, batch, n, s, s_new, varying)

    return implementation


@kernel
def first_stage(F, piece, tape, scratch, x, batch, n, s):
    """k_0 of step n in all tiles."""
    for tile in range(tape.y.shape[0]):
        m, base = rows_of(tile, batch), tape.base[n]
        set_times(F, piece, s, s, 1.0, tile, m, scratch.t[tile])
        slot = tape.slots[tile, base]
        y, k = tape.y[tile, n], tape.k[tile, base]
        rate(F, scratch.theta[0], scratch.t[tile], y, 0, x, tile * TILE * F.controls, m, slot, k, 0)


@kernel
def set_theta(V, B, piece, scratch, s, s_new, first, last):
    """theta at stages first .. last - 1."""
    before, after = (1 - s) * piece.start[0] + s * piece.end[0], (1 - s_new) * piece.start[0] + s_new * piece.end[0]
    h = (s_new - s) * (piece.end[0] - piece.start[0])
    for i in range(first, last):
        t = after if B.c[i] == 1 else before + float(B.c[i]) * h
        theta_at(V, t, piece.t0, piece.T, piece.cell, scratch.theta[i], scratch.psi[i], scratch.slope[i])
