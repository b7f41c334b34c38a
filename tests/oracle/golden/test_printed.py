"""What is printed contains what was known, and says no more than was known."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, strategies as st

from refnode.oracle.decimals import float_above
from refnode.oracle.golden.document import MID
from refnode.oracle.golden.printed import printed

numbers = st.decimals(-(10**6), 10**6, allow_nan=False, places=40)
radii = st.builds(lambda m, e: Decimal(m).scaleb(e), st.integers(1, 10**6), st.integers(-60, 3))


@given(numbers, radii)
@example(Decimal("0.99999999"), Decimal("9.9e-5"))  # the rounding carries
@example(Decimal("1e-30"), Decimal("1e-3"))  # nothing is known but the size
@example(Decimal(0), Decimal("1e-9"))
def test_the_printed_ball_contains_the_ball(mid, radius):
    """|printed - mid| + radius <= printed radius, exactly; and that is at most 1.5 times the radius, rounded up."""
    text, size = printed(mid, radius)
    new = Fraction.from_float(float.fromhex(size))
    assert abs(Fraction(text) - Fraction(mid)) + Fraction(radius) <= new
    assert new <= Fraction(3, 2) * Fraction(radius) * (1 + Fraction(1, 2**7))


@given(numbers, radii)
def test_no_digit_beyond_the_radius(mid, radius):
    """The last place that is printed is that of the radius's first digit, or one that the number has not got."""
    text, size = printed(mid, radius)
    assert MID.fullmatch(text)
    assert re.fullmatch(r"0x1(\.[0-9a-f]{1,3})?p[+-]\d+", size)
    if text != "0":
        assert Decimal(text).as_tuple().exponent >= min(radius.adjusted(), 0)


@given(numbers, st.integers(-30, 0))
def test_a_finest_place_bounds_what_is_printed(mid, finest):
    """However small the radius, no place below the finest is printed, and the radius knows it."""
    text, size = printed(mid, Decimal("1e-50"), finest)
    assert text == "0" or Decimal(text).as_tuple().exponent >= finest
    assert abs(Fraction(text) - Fraction(mid)) <= Fraction.from_float(float.fromhex(size))


def test_what_is_exact_stays_exact():
    """A radius of zero is printed as zero, with all digits of the number."""
    assert printed(Decimal("0.1234567890123456789"), Decimal(0)) == ("1.234567890123456789e-1", "0x0p+0")
    assert printed(Decimal(0), Decimal(0)) == ("0", "0x0p+0")


@given(st.decimals(min_value=Decimal("1e-200"), max_value=Decimal("1e200"), allow_nan=False), st.integers(2, 53))
def test_rounding_up_is_tight(value, bits):
    """A float of so many bits not below the number, and less than one unit of those bits above."""
    up = Fraction.from_float(float_above(value, bits))
    assert Fraction(value) <= up < Fraction(value) * (1 + Fraction(4, 2**bits))


@pytest.mark.parametrize("value", ["5e-324", "1e-330", "2.5e-323"])
def test_rounding_up_below_the_normal_numbers(value):
    """Nothing becomes zero by rounding up."""
    assert Fraction.from_float(float_above(Decimal(value))) >= Fraction(Decimal(value))
