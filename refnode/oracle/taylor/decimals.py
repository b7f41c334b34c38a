"""Pairs of floats and Decimals: exact from pairs to Decimals, rounded to 106 bits the other way.

An array of pairs has the highs in row 0 and the lows in row 1: shape (2, ..).
"""

from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np

from refnode.arrays import Array

DIGITS = 60  # of Decimal arithmetic around the compiled core
ROOMY = Context(prec=2200)  # the sum of any two floats is exact

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")

Decimals = Array  # of dtype object


def pair(d: Decimal) -> tuple[float, float]:
    """A Decimal as a pair."""
    high = float(d)
    return high, float(d - Decimal(high))


def number(p: Any) -> Decimal:
    """One pair (2,) as a Decimal, exactly."""
    with localcontext(ROOMY):
        return Decimal(float(p[0])) + Decimal(float(p[1]))


def exact(a: Any) -> Decimals:
    """Floats as Decimals, without rounding."""
    return np.vectorize(lambda v: Decimal(float(v)), otypes=[object])(a)


def pairs(a: Any) -> Array:
    """Decimals (..) as pairs (2, ..), each half rounded to nearest."""
    a = np.asarray(a, dtype=object)
    high = a.astype(np.float64)
    with localcontext(ROOMY):
        low = np.asarray(a - exact(high), dtype=object).astype(np.float64)
    return np.stack([high, low])


def decimals(p: Array) -> Decimals:
    """Pairs (2, ..) as Decimals (..), exactly."""
    with localcontext(ROOMY):
        return np.asarray(exact(p[0]) + exact(p[1]), dtype=object)
