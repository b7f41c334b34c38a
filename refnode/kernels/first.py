"""The first step of steps that the batch shares, from two evaluations: the twin of `refnode.steps.first_step`."""

import math

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.kernels.shared_steps import rates

STATE, RATE, CHANGE = range(3)  # what a norm is of: y, h k_0 or h (k_1 - k_0), h the segment's length


@kernel
def scaled_norm(rtol, atol, worst, batch, length, y, k, of):
    """The error norm of y, of its rate or of the rate's change, relative to atol + rtol |y|."""
    w, total = atol.size, 0.0
    size = y.shape[2] // w
    for i in range(batch):
        tile, first, own = i // size, i % size * w, 0.0
        for j in range(w):
            here = y[tile, 0, first + j]
            scale = atol[j] + rtol * abs(here)
            if of == STATE:
                e = float(here)
            elif of == RATE:
                e = length[i] * k[tile, 0, first + j]
            else:
                e = length[i] * (float(k[tile, 1, first + j]) - k[tile, 0, first + j])
            own += (e / scale) * (e / scale) if math.isfinite(scale) else math.inf
        if not worst:
            total += own
        elif own > total or math.isnan(own):
            total = own
            if math.isnan(own):
                break
    return math.sqrt(total / (w if worst else batch * w))


@kernel
def euler_step(rtol, atol, worst, batch, length, y, k):
    """A fraction h0 of the segment that moves y by 1 %, and the norm of the rate; y[:, 1] becomes Euler's state.

    y (tiles, 2 or more, T w) has the state first, k (tiles, 2 or more, T w) its rate; length (b,) is signed.
    """
    w, d0 = atol.size, scaled_norm(rtol, atol, worst, batch, length, y, k, STATE)
    d1 = scaled_norm(rtol, atol, worst, batch, length, y, k, RATE)
    h0 = min(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1, 1.0)
    size = y.shape[2] // w
    for i in range(batch):
        tile, step = i // size, h0 * length[i]
        for n in range(i % size * w, (i % size + 1) * w):
            y[tile, 1, n] = y[tile, 0, n] + step * k[tile, 0, n]
    return h0, d1


@kernel
def hairers_step(rtol, atol, worst, batch, length, y, k, h0, d1, order):
    """The fraction at which order + 1 terms reach 1 %; k[:, 1] is the rate at Euler's state."""
    d2 = scaled_norm(rtol, atol, worst, batch, length, y, k, CHANGE) / h0
    top = max(d1, d2)
    if math.isnan(d1) or math.isnan(d2):
        return math.nan
    h1 = max(1e-6, h0 * 1e-3) if top <= 1e-15 else (0.01 / top) ** (1 / (order + 1))
    return min(100 * h0, h1, 1.0)


@kernel(allocates=True)
def first_step(loop, F, V, kind, control, piece, tape, scratch, x, batch, at, base, order):
    """The first step as a fraction of the segment, from the state at y[:, at]; NaN if its rate is not finite.

    k[:, base] is left as the rate there; y[:, at + 1] and k[:, base + 1] serve as room.
    """
    length, t = np.empty(batch), np.empty(batch)
    for i in range(batch):
        length[i] = piece.end[i] - piece.start[i]
    rates(loop, F, V, kind, piece, tape, scratch, x, batch, at, base, piece.start)
    y, k, rtol, atol = tape.y[:, at:], tape.k[:, base:], control.rtol, control.atol
    h0, d1 = euler_step(rtol, atol, control.worst, batch, length, y, k)
    if not math.isfinite(d1):
        return math.nan
    for i in range(batch):
        t[i] = piece.start[i] + h0 * length[i]
    rates(loop, F, V, kind, piece, tape, scratch, x, batch, at + 1, base + 1, t)
    return hairers_step(rtol, atol, control.worst, batch, length, y, k, h0, d1, order)
