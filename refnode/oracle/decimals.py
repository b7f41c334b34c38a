"""Decimal numbers beside float64: exact one way, rounded up the other."""

from decimal import Context, Decimal
from fractions import Fraction
from math import ceil

import numpy as np

from refnode.arrays import Array

EXACT = Context(prec=2000)  # digits: sums and differences of midpoints and of float64 radii are exact


def exact(a: Array) -> Array:
    """The same numbers as Decimals (dtype object), without rounding."""
    return np.array([Decimal(v) for v in np.ravel(a).tolist()], dtype=object).reshape(np.shape(a))


def float_above(value: Decimal, bits: int = 53) -> float:
    """The least multiple of a power of two, of at most so many bits, that is not below a decimal >= 0.

    >>> float_above(Decimal("0.1")) == 0.1, float_above(Decimal("0.1"), bits=4)
    (True, 0.109375)
    """
    number = Fraction(value)
    size = number.numerator.bit_length() - number.denominator.bit_length() + 1  # number < 2^size
    step = Fraction(2) ** max(size - bits, -1074)
    return float(ceil(number / step) * step)
