"""Double-double arithmetic is right to its last bits, against exact fractions, on random and on hostile numbers."""

from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import assume, example, given, strategies as st

from refnode.kernels.compiled import EXACT
from refnode.oracle.taylor.core import double
from refnode.oracle.taylor.decimals import decimals, pairs

UNIT = Fraction(1, 2**106)

floats = st.floats(-1e100, 1e100, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-100)


@st.composite
def numbers(draw):
    """A double-double: a float, and a low part of up to half its last place, at times none or the whole half."""
    h = draw(floats)
    share = draw(st.sampled_from([0.0, 1.0, -1.0, 2.0**-40]) | st.floats(-1, 1, allow_subnormal=False))
    l = share * np.spacing(h) / 2
    return (h, l) if h + l == h else (h, 0.0)


def value(pair):
    """The exact value of a pair."""
    return Fraction(pair[0]) + Fraction(pair[1])


def assert_near(got, want, size, units):
    """got is normalised, and within so many units of 2^-106 of want, relative to size."""
    assert got[0] + got[1] == got[0]
    assert abs(value(got) - want) <= units * UNIT * abs(size)


# ---------------------------------------------------------------- error-free transformations

@given(floats, floats)
@example(1.0, 2.0**-53)
@example(2.0**53, 1.0)
@example(1.0, -1.0 + 2.0**-53)
def test_two_sum_is_exact(a, b):
    """Sum and error together are the sum."""
    assert value(double.two_sum(a, b)) == Fraction(a) + Fraction(b)


@given(floats, floats)
def test_quick_two_sum_is_exact_for_ordered_numbers(a, b):
    """So it is without half the operations, if the first is the larger."""
    large, small = (a, b) if abs(a) >= abs(b) else (b, a)
    assert value(double.quick_two_sum(large, small)) == Fraction(a) + Fraction(b)


@given(floats, floats)
@example(134217729.0, 134217729.0)
@example(1 + 2.0**-52, 1 - 2.0**-53)
def test_two_product_is_exact(a, b):
    """Product and error together are the product."""
    assert value(double.two_product(a, b)) == Fraction(a) * Fraction(b)


def test_nothing_is_contracted():
    """a b - c of a compiled function rounds twice where c is the rounded product: it gives 0, a fused one does not."""
    residue = numba.njit(**EXACT)(lambda a, b, c: a * b - c)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1000))
    assert all(residue(x, y, x * y) == 0.0 for x, y in zip(a, b, strict=True))
    assert np.count_nonzero([double.two_product(x, y)[1] for x, y in zip(a, b, strict=True)]) > 900


# ---------------------------------------------------------------- arithmetic

@given(numbers(), numbers())
@example((1.0, 2.0**-54), (-1.0, 0.0))
@example((1.0, -(2.0**-54)), (-1.0 + 2.0**-53, 2.0**-108))
def test_add(a, b):
    """Within 3 units of the sum, cancellation or not (Joldes et al., theorem 3.1: 3 u^2 + 13 u^3, u = 2^-53)."""
    want = value(a) + value(b)
    assert_near(double.add(*a, *b), want, want, 3.01)


@given(numbers(), numbers())
def test_multiply(a, b):
    """Within 7 units of the product (Joldes et al., algorithm 11: 6 u^2 without, 5 u^2 with another fma)."""
    want = value(a) * value(b)
    assume(abs(want) < 1e200)
    assert_near(double.multiply(*a, *b), want, want, 7)


@given(numbers(), numbers())
def test_divide(a, b):
    """Within 10 units of the quotient (Joldes et al., algorithm 18 and its variants: at most 9.8 u^2)."""
    assume(b[0] != 0)
    want = value(a) / value(b)
    assume(want == 0 or 1e-190 < abs(want) < 1e190)
    assert_near(double.divide(*a, *b), want, want, 10)


@given(numbers(), st.integers(1, 64))
def test_scaled(a, n):
    """Within 3 units of a float times a double-double."""
    assert_near(double.scaled(*a, float(n)), value(a) * n, value(a) * n, 3)


@given(st.lists(st.tuples(numbers(), numbers()), min_size=1, max_size=20))
def test_sums_of_products(terms):
    """A sum of n products is within 7 + n units of the sum of their sizes: 7 of each product's, 1 of each addition's
    in the low word, which is below 2^-52 of the sizes added so far."""
    sums, size = (0.0, 0.0), Fraction(0)
    for a, b in terms:
        sums = double.add_product(*sums, *a, *b)
        size += abs(value(a) * value(b))
    want = sum(value(a) * value(b) for a, b in terms)
    assert_near(double.quick_two_sum(*sums), want, size, 7 + 2 * len(terms))


def test_reciprocals():
    """1/k to half a unit, for every k that a series of 64 terms needs."""
    for k in range(1, 2 * double.LARGEST_ORDER):
        got = double.RECIPROCAL_H[k], double.RECIPROCAL_L[k]
        assert_near(got, Fraction(1, k), Fraction(1, k), 1)


# ---------------------------------------------------------------- Decimals

@given(numbers())
def test_pairs_and_decimals(a):
    """A pair becomes a Decimal exactly, and comes back as it was."""
    d = decimals(np.array(a))[()]
    assert Fraction(d) == value(a)
    assert pairs(d).tolist() == list(a)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_shapes(shape):
    """Arrays of any shape keep it."""
    a = np.random.default_rng(0).standard_normal((2, *shape))
    a[1] *= 2.0**-60
    assert decimals(a).shape == shape
    assert np.array_equal(pairs(decimals(a)), a)
