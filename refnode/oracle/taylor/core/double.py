"""Double-double arithmetic: a number is an unevaluated sum h + l of two floats, |l| <= ulp(h) / 2, about 32 digits.

Error-free transformations give the rounding error of a sum or product exactly, as a float; they need every operation to
be rounded as it is written, so nothing here may be compiled with fastmath. `fma` is the only fused operation.

Error of add, multiply and divide: a few units of 2^-106, relative to the result.
Source   Dekker 1971; Knuth, TAOCP 2, sec. 4.2.2; Ogita, Rump & Oishi 2005; Joldes, Muller & Popescu 2017.
"""

from fractions import Fraction
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from refnode.kernels.compiled import EXACT

EPS = 2.0**-106  # unit round-off of a double-double
LARGEST_ORDER = 64

scalar = numba.njit(**EXACT)  # becomes part of its callers

_TO = range(1, 2 * LARGEST_ORDER)
RECIPROCAL_H = np.array([0.0, *(1 / k for k in _TO)])  # of 1, 2, ..
RECIPROCAL_L = np.array([0.0, *(float(Fraction(1, k) - Fraction(RECIPROCAL_H[k])) for k in _TO)])


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), emit


@scalar
def two_sum(a, b):
    """a + b and its rounding error."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


@scalar
def quick_two_sum(a, b):
    """The same for |a| >= |b|, or a = 0."""
    s = a + b
    return s, b - (s - a)


@scalar
def two_product(a, b):
    """a b and its rounding error."""
    p = a * b
    return p, fma(a, b, -p)


@scalar
def add(ah, al, bh, bl):
    """a + b."""
    s, e = two_sum(ah, bh)
    t, f = two_sum(al, bl)
    s, e = quick_two_sum(s, e + t)
    return quick_two_sum(s, e + f)


@scalar
def multiply(ah, al, bh, bl):
    """a b."""
    p, e = two_product(ah, bh)
    return quick_two_sum(p, e + fma(ah, bl, al * bh))


@scalar
def divide(ah, al, bh, bl):
    """a / b: a float quotient, corrected twice."""
    q1 = ah / bh
    ph, pl = multiply(q1, 0.0, bh, bl)
    rh, rl = add(ah, al, -ph, -pl)
    q2 = rh / bh
    ph, pl = multiply(q2, 0.0, bh, bl)
    rh, rl = add(rh, rl, -ph, -pl)
    q1, q2 = quick_two_sum(q1, q2)
    return add(q1, q2, rh / bh, 0.0)


@scalar
def add_product(sh, sl, ah, al, bh, bl):
    """s + a b as a step of a sum of products: s is left unnormalised until `quick_two_sum` at the end of the sum.

    Error of a sum of n products: about n 2^-106 times the sum of their sizes.
    """
    p, e = two_product(ah, bh)
    s, f = two_sum(sh, p)
    return s, sl + (f + (e + fma(ah, bl, al * bh)))


@scalar
def scaled(ah, al, c):
    """c a for a float c."""
    p, e = two_product(ah, c)
    return quick_two_sum(p, fma(al, c, e))
