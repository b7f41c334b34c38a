"""Steps of each trajectory's own: the twin of `refnode.integrate.adaptive_steps` with steps="own", for FSAL tableaux.

A thread goes on until its trajectory has arrived or has failed. Threads of a warp whose trajectories need fewer steps
wait for the one that needs most; every trajectory's result and fault are its own.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, from_dtype, int32, uint64, void

from refnode.kernels.advance import step_factor
from refnode.kernels.cuda.compile import array_of, device, shared
from refnode.kernels.cuda.costate import Costate, rate_of
from refnode.kernels.cuda.shape import Shape, U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.tape import DONE, FULL, NOT_FINITE, TOO_MANY, UNDERFLOW


class Limits(NamedTuple):
    """A solver's numbers, in a kernel's precision; adj_atol is the absolute tolerance of a costate."""

    rtol: Any
    atol: Any
    alpha: Any
    beta: Any
    safety: Any
    min_factor: Any
    max_factor: Any
    adj_atol: Any


def own(S: Shape) -> tuple[Callable[..., None], Any]:
    """The kernel that solves one segment, of y, or of u = [z, a] by the error of both; and its signature.

    y               (w, b) at the segment's start, and at its end
    x .. c          as in `refnode.kernels.cuda.forward`
    limits          those of `Limits` (8,);  max_steps   attempts
    start, end      of the segment (b,)
    ds              the first step as a fraction of the segment, or 0 for Hairer's; then the wish for the next (b,)
    tape_y, tape_s  states and fractions at which steps begin, and the last (room + 1, w, b), (room + 1, b); states only
                    if they are kept
    count           steps (b,);  rejected   (b,)
    word            (b,) DONE, or why it stopped: FULL, UNDERFLOW, TOO_MANY, NOT_FINITE
    """
    rate = rate_of(S)
    load, factor, states = load_of(), shared(step_factor, S.real), S.keep != "nothing"
    _, runge_kutta = stages_of(S, rate)
    squares, hairer = squares_of(S), _first_step(S, rate)
    scalar, real, zero, one = from_dtype(np.dtype(S.dtype)), S.real, S.real(0), S.real(1)
    ahead, smallest, last = S.real(1.01), S.real(16 * np.finfo(S.real).eps), U((S.butcher.stages - 1) * S.width)
    w, n_x, theta_size, tableau_size = U(S.width), U(S.controls), S.size, butcher_of(S).size
    numbers, width, stage_size, x_room = S.real(S.width), S.width, S.butcher.stages * S.width, max(1, S.controls)

    def kernel(y, x, theta, neurons, B, c, limits, start, end, ds, max_steps, tape_y, tape_s, count, rejected, word):
        W = cuda.shared.array(theta_size, scalar, alignment=16)
        tableau = cuda.shared.array(tableau_size, scalar)
        load(theta, W, theta_size)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        last_weight = uint64(neurons)
        i = uint64(cuda.grid(1))
        if i >= uint64(y.shape[1]):
            return
        L = Limits(limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6], limits[7])
        now, u = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        mine, k = cuda.local.array(x_room, scalar), cuda.local.array(stage_size, scalar)
        for j in range(w):
            now[j] = y[j, i]
            if states:
                tape_y[U(0), j, i] = now[j]
        for j in range(n_x):
            mine[j] = x[j, i]
        first, length, room = start[i], end[i] - start[i], tape_s.shape[0] - 1
        size = max(abs(start[i]), abs(end[i]))
        rate(W, last_weight, mine, c, first, now, mine, u)
        for j in range(w):
            k[j] = u[j]
        s, err_before, grow, n, failed, why = zero, one, True, 0, 0, DONE
        tape_s[U(0), i] = s
        step = ds[i] if ds[i] > zero else hairer(W, last_weight, c, L, first, length, now, mine, k, u)
        while s < one and why == DONE:
            s_new = one if s + ahead * step >= one else s + step
            t, t_new = (one - s) * first + s * end[i], (one - s_new) * first + s_new * end[i]
            runge_kutta(W, last_weight, y, U(0), c, tableau, t, t_new, (s_new - s) * length, now, mine, 1, mine, k, u)
            err = math.sqrt(squares(tableau, L, (s_new - s) * length, now, u, k) / numbers)
            good = err <= one and s_new > s
            times = factor(L, err, err_before)
            wish = (s_new - s) * (min(times, one) if good and not grow else times)
            step = max(wish, step) if good and s_new == one else wish
            grow = good
            if good:
                n += 1
                for j in range(w):
                    now[j] = u[j]
                    k[j] = k[last + j]
                    if states:
                        tape_y[uint64(n), j, i] = u[j]
                s, err_before = s_new, err
                tape_s[uint64(n), i] = s
            else:
                failed += 1
                if (s_new - s) * abs(length) <= smallest * size:
                    why = UNDERFLOW if math.isfinite(err) else NOT_FINITE
            if s < one and why == DONE:
                why = TOO_MANY if n + failed >= max_steps else FULL if n >= room else DONE
        for j in range(w):
            y[j, i] = now[j]
        ds[i], count[i], rejected[i], word[i] = step, n, failed, why

    one_, two, three, whole = array_of(real, 1), array_of(real, 2), array_of(real, 3), array_of(np.int32, 1)
    return kernel, void(
        two, two, one_, int32, one_, one_, one_, one_, one_, one_, int32, three, two, whole, whole, whole
    )  # fmt: skip


def atol_of(S: Shape) -> Any:
    """The absolute tolerance of number j of y, or of u = [z, a]."""
    costate, d = isinstance(S, Costate | TileCostate), U(S.d)

    @device
    def atol(L, j):
        return L.adj_atol if costate and j >= d else L.atol

    return atol


def squares_of(S: Shape) -> Any:
    """The sum of squares of a step's errors relative to their tolerances; NaN if the new state is not finite."""
    real, w, s, error_at = S.real, U(S.width), U(S.butcher.stages), U(S.butcher.stages**2 + 2 * S.butcher.stages)
    nan, atol = S.real(np.nan), atol_of(S)

    @device
    def squares(B, L, h, y, y_new, k):
        total = real(0)
        for j in range(w):
            e = real(0)
            for r in range(s):
                e += B[error_at + r] * k[r * w + j]
            e = h * e / (atol(L, j) + L.rtol * max(abs(y[j]), abs(y_new[j])))
            total += e * e if math.isfinite(y_new[j]) else nan
        return total

    return squares


def _first_step(S: Shape, rate: Any) -> Any:
    """Hairer's first step as a fraction of the segment: the twin of `refnode.steps.first_step`."""
    scalar, width = from_dtype(np.dtype(S.dtype)), S.width
    real, w, root = S.real, U(S.width), S.real(1 / (S.butcher.order + 1))
    one, tiny, least, share, none, most = (S.real(n) for n in (1, 1e-5, 1e-6, 0.01, 1e-15, 100))
    thousandth, count, atol = S.real(1e-3), S.real(S.width), atol_of(S)

    @device
    def hairer(W, end, c, L, t, length, y, x, k, u):
        k1, d0, d1 = cuda.local.array(width, scalar), real(0), real(0)
        for j in range(w):
            scale = atol(L, j) + L.rtol * abs(y[j])
            d0 += (y[j] / scale) * (y[j] / scale)
            d1 += (length * k[j] / scale) * (length * k[j] / scale)
        d0, d1 = math.sqrt(d0 / count), math.sqrt(d1 / count)
        h0 = min(least if d0 < tiny or d1 < tiny else share * d0 / d1, one)
        for j in range(w):
            u[j] = y[j] + h0 * length * k[j]
        rate(W, end, x, c, t + h0 * length, u, x, k1)
        d2 = real(0)
        for j in range(w):
            e = length * (k1[j] - k[j]) / (atol(L, j) + L.rtol * abs(y[j]))
            d2 += e * e
        top = max(d1, math.sqrt(d2 / count) / h0)
        h1 = max(least, h0 * thousandth) if top <= none else math.exp(root * math.log(share / top))
        ds = min(min(most * h0, h1), one)
        return ds if ds > real(0) else least

    return hairer
