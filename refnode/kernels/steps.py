"""One Runge-Kutta step of a tile of rows: the twin of `refnode.steps.rk_step`.

Every row has its own segment and its own fractions s, s_new of it; where a batch shares its steps these are equal.
They stand in the scratch's rows.
"""

import math

from refnode.kernels.compiled import inline, kernel
from refnode.kernels.systems import evaluate


@inline
def first_of(scratch, tile):
    """The first sample of a tile."""
    return tile * scratch.t.shape[1]


@inline
def rows_of(scratch, tile, batch):
    """How many samples a tile has."""
    return min(scratch.t.shape[1], batch - tile * scratch.t.shape[1])


@kernel
def share_step(piece, rows, tile, m, s, s_new):
    """Have the rows of a tile, samples of the batch, share the step from s to s_new."""
    first = tile * rows.s.shape[1]
    rows.cell[tile] = piece.cell
    for r in range(m):
        rows.start[tile, r], rows.end[tile, r] = piece.start[first + r], piece.end[first + r]
        rows.t0[tile, r], rows.T[tile, r] = piece.t0[first + r], piece.T[first + r]
        rows.s[tile, r], rows.s_new[tile, r] = s, s_new
    set_step(rows, tile, m)


@kernel
def set_step(rows, tile, m):
    """Where the rows' steps begin and end, and their lengths, from their fractions of the segment."""
    for r in range(m):
        start, end, s, s_new = rows.start[tile, r], rows.end[tile, r], rows.s[tile, r], rows.s_new[tile, r]
        rows.t[tile, r], rows.t_new[tile, r] = (1 - s) * start + s * end, (1 - s_new) * start + s_new * end
        rows.h[tile, r] = (s_new - s) * (end - start)


@kernel
def set_times(rows, tile, c, m, t):
    """The stage's depth for each row: t + c h, exactly the step's end for c = 1."""
    before, after, h = rows.t[tile], rows.t_new[tile], rows.h[tile]
    if c == 1:
        for r in range(m):
            t[r] = after[r]
    else:
        for r in range(m):
            t[r] = before[r] + c * h[r]


@kernel
def set_lengths(rows, tile, m, w, h):
    """h of each row, once for each of its numbers."""
    for r in range(m):
        for j in range(w):
            h[r * w + j] = rows.h[tile, r]


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
def runge_kutta(F, V, B, kind, scratch, tile, m, first, y, y_new, x, slots, k):
    """y_new and stages `first` .. from y and, if first is 1, k[0]; slots (stages, ..), or (1, ..) without vjps."""
    size, stages = m * F.w, B.c.size
    h, total, stage = scratch.h[tile], scratch.total[tile], scratch.stage[tile]
    set_lengths(scratch.rows, tile, m, F.w, h)
    for i in range(first, stages):
        target = y_new if B.fsal and i == stages - 1 else stage
        combine(B.a[i], i, k, 0, size, total)
        for q in range(size):
            target[q] = y[q] + h[q] * total[q]
        set_times(scratch.rows, tile, B.c[i], m, scratch.t[tile])
        slot = slots[min(i, len(slots) - 1)]
        evaluate(F, V, kind, i * kind.by_stage, scratch, tile, m, target, x, slot, k[i])
    if not B.fsal:
        combine(B.b, stages, k, 0, size, total)
        for q in range(size):
            y_new[q] = y[q] + h[q] * total[q]


@kernel
def error_rows(control, y, y_new, h, total, m, w, out):
    """Sum over each row of (h total / scale)^2; NaN where y_new is not finite."""
    rtol, atol = total.dtype.type(control.rtol), control.atol
    for r in range(m):
        own = 0.0
        for j in range(w):
            n = r * w + j
            e = h[n] * total[n] / (atol[j] + rtol * max(abs(y[n]), abs(y_new[n])))
            own += e * e if math.isfinite(y_new[n]) else math.nan
        out[r] = own


@kernel
def set_errors(B, control, scratch, tile, m, w, y, y_new, k):
    """The errors of a step's rows by both estimates; for fixed steps NaN where y_new is not finite, else 0."""
    size, errors = m * w, scratch.errors[tile]
    h, total = scratch.h[tile], scratch.total[tile]
    if control.adaptive:
        combine(B.b_err, B.c.size, k, 0, size, total)
        error_rows(control, y, y_new, h, total, m, w, errors[0])
        if B.two_errors:
            combine(B.b_err3, B.c.size, k, 0, size, total)
            error_rows(control, y, y_new, h, total, m, w, errors[1])
        return
    for r in range(m):
        errors[0, r] = 0.0
        for q in range(r * w, (r + 1) * w):
            errors[0, r] += 0.0 if math.isfinite(y_new[q]) else math.nan


@kernel
def error_of(B, first, second, count):
    """The error norm from sums of squares over `count` numbers, of one estimate or of two as DOP853 joins them."""
    err = math.sqrt(first / count)
    if not B.two_errors:
        return err
    total = math.sqrt(err * err + 0.01 * second / count)
    return err * err / total if total != 0 else total
