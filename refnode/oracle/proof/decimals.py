"""Balls as decimal numbers: midpoints rounded, radii rounded up by what the midpoint's rounding took."""

from decimal import Decimal, localcontext
from math import inf, nextafter
from typing import Any

import numpy as np
from flint import ctx

from refnode.arrays import Array


def decimal_ball(ball: Any, places: int) -> tuple[Decimal, float]:
    """A Decimal of `places` digits and a radius about it that hold the ball.

    The midpoint is m 2^e with whole m and e; as a quotient of whole numbers it is rounded once, by half a unit of the
    last place at most, and the radius grows by a whole one unless the quotient is exact.
    """
    if not ball.is_finite():
        return Decimal(0), inf
    man, exp = (int(v) for v in ball.mid().man_exp())
    numerator, denominator = (man << exp, 1) if exp >= 0 else (man, 1 << -exp)
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = places, -999999, 999999
        mid = Decimal(numerator) / Decimal(denominator)
        unit = Decimal(0) if _equal(mid, numerator, denominator) else abs(mid) * Decimal(10) ** (1 - places)
    return mid, _sum_up(_float_up(ball.rad()), _up(float(unit)))


def _equal(mid: Decimal, numerator: int, denominator: int) -> bool:
    p, q = mid.as_integer_ratio()
    return p * denominator == numerator * q


def _float_up(exact: Any) -> float:
    """A float64 not below a non-negative ball of radius 0."""
    with ctx.workprec(53):
        return _up(float(exact.upper()))


def _up(x: float) -> float:
    return nextafter(x, inf) if x else 0.0


def _sum_up(a: float, b: float) -> float:
    return a if b == 0 else b if a == 0 else nextafter(a + b, inf)


def decimal_leaf(balls: Array, places: int) -> tuple[Array, Array]:
    """Midpoints (Decimals) and radii of a leaf's balls, shaped like it.

    A leaf of which no entry is told from zero is given the midpoint zero: that is what is known of it.
    """
    mid, radius = np.empty(balls.shape, dtype=object), np.zeros(balls.shape)
    unknown = all(ball.contains(0) for ball in balls.ravel())
    for i in np.ndindex(balls.shape):
        mid[i], radius[i] = decimal_ball(balls[i], places)
        if unknown:
            mid[i], radius[i] = Decimal(0), _sum_up(_up(abs(float(mid[i]))), float(radius[i]))
    return mid, radius
