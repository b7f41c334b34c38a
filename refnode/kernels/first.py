"""The first step of a batch or of each sample, from two evaluations: the twin of `refnode.steps.first_step`."""

import math

import numpy as np

from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.own import seat
from refnode.kernels.shared_steps import rates
from refnode.kernels.systems import evaluate

STATE, RATE, CHANGE = range(3)  # what a norm is of: y, h k_0 or h (k_1 - k_0), h the segment's length


@kernel
def squares(control, length, y, k_0, k_1, at, of):
    """Sum of squares over the row that begins at `at`: of y, its rate or the rate's change, over atol + rtol |y|."""
    total, rtol, atol = 0.0, control.rtol, control.atol
    for j in range(atol.size):
        here = y[at + j]
        scale = atol[j] + rtol * abs(here)
        if of == STATE:
            e = float(here)
        elif of == RATE:
            e = length * k_0[at + j]
        else:
            e = length * (float(k_1[at + j]) - k_0[at + j])
        total += (e / scale) * (e / scale) if math.isfinite(scale) else math.inf
    return total


@kernel
def euler_fraction(d0, d1):
    """A fraction h0 of the segment that moves y by 1 %, from the norms of y and of its rate."""
    return min(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1, 1.0)


@kernel
def hairers_fraction(d1, d2, h0, order):
    """The fraction at which order + 1 terms reach 1 %, from the norms of the rate and of its change over h0."""
    top = max(d1, d2)
    if math.isnan(d1) or math.isnan(d2):
        return math.nan
    h1 = max(1e-6, h0 * 1e-3) if top <= 1e-15 else (0.01 / top) ** (1 / (order + 1))
    return min(100 * h0, h1, 1.0)


# ---------------------------------------------------------------- of steps that the batch shares

@kernel
def scaled_norm(control, batch, length, y, k, of):
    """The error norm over the batch of what `squares` has of a row."""
    w, total = control.atol.size, 0.0
    size = y.shape[2] // w
    for i in range(batch):
        tile = i // size
        own = squares(control, length[i], y[tile, 0], k[tile, 0], k[tile, 1], i % size * w, of)
        if not control.worst:
            total += own
        elif own > total or math.isnan(own):
            total = own
            if math.isnan(own):
                break
    return math.sqrt(total / (w if control.worst else batch * w))


@kernel
def euler_step(w, batch, length, y, k, h0):
    """y[:, 1] becomes Euler's state behind the fraction h0.

    y (tiles, 2 or more, T w) has the state first, k (tiles, 2 or more, T w) its rate; length (b,) is signed.
    """
    size = y.shape[2] // w
    for i in range(batch):
        tile, step = i // size, h0 * length[i]
        for n in range(i % size * w, (i % size + 1) * w):
            y[tile, 1, n] = y[tile, 0, n] + step * k[tile, 0, n]


@kernel(allocates=True)
def first_step(loop, F, V, kind, control, piece, tape, scratch, x, batch, at, base, order):
    """The first step as a fraction of the segment, from the state at y[:, at]; NaN if its rate is not finite.

    k[:, base] is left as the rate there; y[:, at + 1] and k[:, base + 1] serve as room.
    """
    length, t = np.empty(batch), np.empty(batch)
    for i in range(batch):
        length[i] = piece.end[i] - piece.start[i]
    rates(loop, F, V, kind, piece, tape, scratch, x, batch, at, base, piece.start)
    y, k = tape.y[:, at:], tape.k[:, base:]
    d1 = scaled_norm(control, batch, length, y, k, RATE)
    if not math.isfinite(d1):
        return math.nan
    h0 = euler_fraction(scaled_norm(control, batch, length, y, k, STATE), d1)
    euler_step(F.w, batch, length, y, k, h0)
    for i in range(batch):
        t[i] = piece.start[i] + h0 * length[i]
    rates(loop, F, V, kind, piece, tape, scratch, x, batch, at + 1, base + 1, t)
    return hairers_fraction(d1, scaled_norm(control, batch, length, y, k, CHANGE) / h0, h0, order)


# ---------------------------------------------------------------- of each sample's own steps

@kernel
def pool_first_steps(F, V, kind, control, piece, S, L, scratch, x, edges, y, order, pool):
    """S.ds of the samples of one pool, from their states y (b, w) and the rates there, which are S.k."""
    w, rows, size, (h0, d1) = F.w, scratch.rows, L.sample.shape[1], scratch.errors[pool]
    here, moved, k, t = L.y[pool], scratch.y_new[pool], L.k[pool], scratch.t[pool]
    for first in range(edges[pool], edges[pool + 1], size):
        m = min(size, edges[pool + 1] - first)
        for r in range(m):
            i, at = first + r, r * w
            seat(F, piece, L, rows, x, pool, r, i)
            for j in range(w):
                here[at + j], k[0, at + j] = y[i, j], S.k[i, j]
            length = piece.end[i] - piece.start[i]
            d0 = math.sqrt(squares(control, length, here, k[0], k[1], at, STATE) / w)
            d1[r] = math.sqrt(squares(control, length, here, k[0], k[1], at, RATE) / w)
            h0[r] = euler_fraction(d0, d1[r])
            step = h0[r] * length
            t[r] = piece.start[i] + step
            for n in range(at, at + w):
                moved[n] = here[n] + step * k[0, n]
        evaluate(F, V, kind, 0, scratch, pool, m, moved, L.x[pool], scratch.slot[pool], k[1])
        for r in range(m):
            length = rows.end[pool, r] - rows.start[pool, r]
            d2 = math.sqrt(squares(control, length, here, k[0], k[1], r * w, CHANGE) / w) / h0[r]
            ds = hairers_fraction(d1[r], d2, h0[r], order)
            ds = ds if math.isfinite(ds) and ds > 0 else 1e-6
            S.ds[first + r] = ds if length != 0 else 1.0


@kernel
def own_first_steps(loop, F, V, kind, control, piece, S, L, scratch, x, edges, y, order):
    """The same for all pools."""
    each(loop, len(edges) - 1, pool_first_steps, (F, V, kind, control, piece, S, L, scratch, x, edges, y, order))
