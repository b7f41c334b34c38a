"""Balls become decimal numbers without losing what they hold."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, arb_mat, ctx

from refnode.oracle.proof.decimals import decimal_ball, decimal_leaf
from refnode.oracle.proof.gathered import with_error


def ends(ball):
    """The ends of a ball as fractions: its midpoint and radius are whole numbers times powers of two."""
    mid, rad = (Fraction(int(m)) * Fraction(2) ** int(e) for m, e in (v.man_exp() for v in (ball.mid(), ball.rad())))
    return mid - rad, mid + rad


def holds(mid, radius, ball):
    """Whether the decimal ball holds the ball, in exact arithmetic."""
    low, high = ends(ball)
    m, r = Fraction(mid), Fraction(radius)
    return m - r <= low and high <= m + r


@pytest.mark.parametrize("places", [2, 5, 17, 40])
def test_decimal_ball_holds_the_ball(places):
    """500 random balls of sizes 1e-40 .. 1e40 and radii down to zero, to few and many places."""
    rng = np.random.default_rng(0)
    with ctx.workprec(150):
        for _ in range(500):
            mid = arb(float(rng.normal())).exp() / 3 * arb(10) ** int(rng.integers(-40, 40))
            radius = float(rng.choice([0.0, 1.0])) * 10.0 ** float(rng.uniform(-60, 3))
            ball = (mid.mid() + arb(0, radius)) * int(rng.choice([-1, 1]))
            found = decimal_ball(ball, places)
            assert holds(*found, ball)


def test_radius_is_not_wider_than_rounding_needs():
    """The radius exceeds the ball's by one unit of the last place and float64's rounding at most."""
    with ctx.workprec(200):
        ball = arb(1) / 3 + arb(0, 1e-20)
        mid, radius = decimal_ball(ball, 40)
    assert str(mid).startswith("0.33333333333333333333")
    assert 1e-20 <= radius <= 1e-20 * (1 + 1e-8)


def test_exact_numbers_stay_exact():
    """Dyadic numbers that fit the places have radius zero, zero among them."""
    for value in (0.0, 1.5, -0.375, 2.0**60):
        assert decimal_ball(arb(value), 30) == (Decimal(value), 0.0)


def test_rounding_of_the_midpoint_is_in_the_radius():
    """2^-70 has 49 digits: to 5 places a radius of up to a unit of the fifth, and not zero."""
    mid, radius = decimal_ball(arb(2) ** -70, 5)
    assert 0 < radius <= 1e-25
    assert holds(mid, radius, arb(2) ** -70)


def test_ball_without_bound():
    """An unbounded ball has an infinite radius."""
    assert decimal_ball(arb("nan"), 10)[1] == np.inf


def test_decimals_do_not_depend_on_the_callers_context():
    """The caller's precision of 3 digits is neither used nor changed."""
    with localcontext() as context:
        context.prec = 3
        mid, _ = decimal_ball(arb(1) / 3, 12)
        assert len(mid.as_tuple().digits) == 12
        assert context.prec == 3


def test_leaf_not_told_from_zero():
    """A leaf whose balls all hold zero has midpoint zero and a radius that still holds them."""
    balls = np.array([arb(1e-30, 1e-29), arb(0, 1e-31)], dtype=object)
    mid, radius = decimal_leaf(balls, 20)
    assert list(mid) == [Decimal(0), Decimal(0)]
    assert all(holds(m, r, b) for m, r, b in zip(mid, radius, balls, strict=True))
    told, _ = decimal_leaf(np.array([arb(1e-30, 1e-29), arb(1)], dtype=object), 20)
    assert told[0] != 0


def test_errors_widen_a_matrix():
    """What quadrature misses is added to the balls, entry by entry."""
    wide = with_error(arb_mat(1, 2, [1, 2]), np.array([[0.5, 0.0]]))
    assert wide[0, 0].contains(arb(1.5))
    assert wide[0, 0].contains(arb(0.5))
    assert wide[0, 1].rad().is_zero()
