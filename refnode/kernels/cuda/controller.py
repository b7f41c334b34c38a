"""What a step was worth and how long the next one is: the twin of `refnode.integrate.adaptive_steps`' bookkeeping.

Of one trajectory; kernels differ in how they take a step, and share this.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from refnode.kernels.advance import step_factor
from refnode.kernels.cuda.compile import device, once, shared
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.shape import U
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


class Controller(NamedTuple):
    """Device functions. s and s_new are fractions of the segment, of which a step is one, too.

    aim(s, step)                    s_new
    judge(L, err, err_before, s, s_new, step, grow)
                                    whether the step is accepted, and the wish for the next; grow: the last one was
    fault(s, s_new, length, size, err)
                                    why a step that was rejected cannot be made smaller, or DONE
    halt(n, failed, room, max_steps)
                                    why there is no further attempt after n steps and `failed` rejections, or DONE
    """

    aim: Any
    judge: Any
    fault: Any
    halt: Any


@once
def controller_of(S: Any) -> Controller:
    """The device functions for a shape."""
    factor, one, ahead = shared(step_factor, S.real), S.real(1), S.real(1.01)
    smallest = S.real(16 * np.finfo(S.real).eps)

    @device
    def aim(s, step):
        return one if s + ahead * step >= one else s + step

    @device
    def judge(L, err, err_before, s, s_new, step, grow):
        good = err <= one and s_new > s
        times = factor(L, err, err_before)
        wish = (s_new - s) * (min(times, one) if good and not grow else times)
        return good, max(wish, step) if good and s_new == one else wish

    @device
    def fault(s, s_new, length, size, err):
        if (s_new - s) * abs(length) <= smallest * size:
            return UNDERFLOW if math.isfinite(err) else NOT_FINITE
        return DONE

    @device
    def halt(n, failed, room, max_steps):
        return TOO_MANY if n + failed >= max_steps else FULL if n >= room else DONE

    return Controller(aim, judge, fault, halt)


@once
def atol_of(S: Any) -> Any:
    """The absolute tolerance of number j of y, or of u = [z, a]."""
    costate, d = isinstance(S, Costate | TileCostate), U(S.d)

    @device
    def atol(L, j):
        return L.adj_atol if costate and j >= d else L.atol

    return atol


@once
def squares_of(S: Any) -> Any:
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


@once
def first_step_of(S: Any) -> tuple[Any, Any]:
    """Hairer's first step as a fraction of the segment: the twin of `refnode.steps.first_step`, before and behind the
    evaluation that it takes. Device functions; k begins with the slope at the start.

    probe(L, length, y, k, u)                   a fraction h0, the slope's norm d1, and u = y + h0 length k
    first_step(L, length, y, k, k1, h0, d1)     with the slope k1 at u
    """
    real, w, root = S.real, U(S.width), S.real(1 / (S.butcher.order + 1))
    one, tiny, least, share, none, most = (S.real(n) for n in (1, 1e-5, 1e-6, 0.01, 1e-15, 100))
    thousandth, count, atol = S.real(1e-3), S.real(S.width), atol_of(S)

    @device
    def probe(L, length, y, k, u):
        d0, d1 = real(0), real(0)
        for j in range(w):
            scale = atol(L, j) + L.rtol * abs(y[j])
            d0 += (y[j] / scale) * (y[j] / scale)
            d1 += (length * k[j] / scale) * (length * k[j] / scale)
        d0, d1 = math.sqrt(d0 / count), math.sqrt(d1 / count)
        h0 = min(least if d0 < tiny or d1 < tiny else share * d0 / d1, one)
        for j in range(w):
            u[j] = y[j] + h0 * length * k[j]
        return h0, d1

    @device
    def first_step(L, length, y, k, k1, h0, d1):
        d2 = real(0)
        for j in range(w):
            e = length * (k1[j] - k[j]) / (atol(L, j) + L.rtol * abs(y[j]))
            d2 += e * e
        top = max(d1, math.sqrt(d2 / count) / h0)
        h1 = max(least, h0 * thousandth) if top <= none else math.exp(root * math.log(share / top))
        ds = min(min(most * h0, h1), one)
        return ds if ds > real(0) else least

    return probe, first_step
