"""Running losses have the values of their formulas, and their jvp and vjp are derivatives in t, z, theta, x and z'."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.errors import InvalidArgument
from tests.help import (
    LIBRARY,
    absolute,
    assert_adjoint,
    assert_close,
    assert_jvp,
    assert_vjp,
    complex_step,
    normals_like,
)

T = np.array(0.5)
PATH = ([1.5, -0.5], [1.0, 2.0], [0.3, 0.0])  # amplitudes, frequencies, phases


def at(**given_arguments):
    """Arguments of a running loss of three samples, zero where they are not given."""
    zero = rn.RunningArgs(T, np.zeros((3, 2)), np.zeros(4), np.zeros((3, 1)), np.zeros((3, 2)))
    return zero._replace(**given_arguments)


def everything(**how):
    """l = sin(t) |z|^2 + |theta|^2 sum(x) + sum(x) sum(rate)^2 for a shared theta: no argument is without effect."""

    def value(a):
        x, rate = a.x.sum(axis=1), a.rate.sum(axis=1)
        return np.sin(a.t) * (a.z**2).sum(axis=1) + (a.theta**2).sum() * x + x * rate**2

    def jvp(a, d):
        x, dx, rate, drate = a.x.sum(axis=1), d.x.sum(axis=1), a.rate.sum(axis=1), d.rate.sum(axis=1)
        return (
            np.cos(a.t) * d.t * (a.z**2).sum(axis=1)
            + 2 * np.sin(a.t) * (a.z * d.z).sum(axis=1)
            + 2 * (a.theta * d.theta).sum() * x
            + ((a.theta**2).sum() + rate**2) * dx
            + 2 * x * rate * drate
        )

    def vjp(a, g):
        x, rate, column = a.x.sum(axis=1), a.rate.sum(axis=1), g[:, None]
        return rn.RunningArgs(
            t=g * np.cos(a.t) * (a.z**2).sum(axis=1),
            z=2 * column * np.reshape(np.sin(a.t), (-1, 1)) * a.z,
            theta=2 * a.theta * (g * x).sum(),
            x=(g * ((a.theta**2).sum() + rate**2))[:, None] * np.ones(a.x.shape),
            rate=(2 * g * x * rate)[:, None] * np.ones(a.rate.shape),
        )

    return rn.UserRunning(value, jvp, vjp, **how)


@dataclass(frozen=True)
class AbsolutePath:
    """The sum of |terms| of -beta and of beta' for a harmonic path; a rounding of its argument moves cos and sin."""

    beta: rn.Harmonic

    def __call__(self, t):
        return -np.abs(self.beta.amplitude) * self._argument(t)

    def slope(self, t):
        return -np.abs(2 * np.pi * self.beta.frequency * self.beta.amplitude) * self._argument(t)

    def _argument(self, t):
        return 1 + np.abs(2 * np.pi * self.beta.frequency * np.abs(np.asarray(t))[..., None]) + np.abs(self.beta.phase)


def absolute_term(term):
    """A term whose jvp at absolute values is the sum of |terms| of the term's own."""
    if isinstance(term, rn.Tracking):
        return rn.Tracking(AbsolutePath(term.beta))
    if isinstance(term, rn.UserRunning):
        return bound_on_everything()
    return term


def bound_on_everything():
    """`everything` with |sin|, |cos| <= 1, and a rounding of t moving either."""

    def jvp(a, d):
        x, dx, rate, drate = a.x.sum(axis=1), d.x.sum(axis=1), a.rate.sum(axis=1), d.rate.sum(axis=1)
        squares = (a.z**2).sum(axis=1)
        through_t = (1 + a.t) * (d.t * squares + 2 * (a.z * d.z).sum(axis=1))
        through_theta = 2 * (a.theta * d.theta).sum() * x
        return through_t + through_theta + ((a.theta**2).sum() + rate**2) * dx + 2 * x * rate * drate

    return rn.UserRunning(len, jvp, len)


TERMS = {
    "squared norm": rn.SquaredNorm(),
    "kinetic": rn.Kinetic(),
    "parameter norm": rn.ParameterNorm(),
    "tracking": rn.Tracking(rn.Harmonic(*PATH)),
    "user": everything(),
}


# ---------------------------------------------------------------- values by hand

def test_squared_norm_by_hand():
    """|z|^2 of each sample."""
    np.testing.assert_array_equal(rn.SquaredNorm().value(at(z=np.array([[1.0, 2], [3, 0], [0, 0]]))), [5, 9, 0])


def test_kinetic_by_hand():
    """|rate|^2 of each sample: the rate of whatever `of` says."""
    a = at(rate=np.array([[1.0, -2], [3, 1], [0, 0]]), z=np.ones((3, 2)))
    for of in ("field", "state"):
        np.testing.assert_array_equal(rn.Kinetic(of=of).value(a), [5, 10, 0])


def test_parameter_norm_by_hand():
    """|theta|^2: the same for every sample if theta is shared, else each its own."""
    np.testing.assert_array_equal(rn.ParameterNorm().value(at(theta=np.array([1.0, 2, 3]))), [14, 14, 14])
    own = np.array([[1.0, 0], [1, 1], [2, 0]])
    np.testing.assert_array_equal(rn.ParameterNorm().value(at(theta=own)), [1, 2, 4])


@pytest.mark.parametrize("t", [T, np.array([0.5, 0.5, 0.5])], ids=["shared t", "own t"])
def test_tracking_by_hand(t):
    """|z - beta(t)|^2; beta(1/2) = (cos pi, 2 cos 2 pi) = (-1, 2)."""
    beta = rn.Harmonic([1.0, 2.0], [1.0, 2.0], [0.0, 0.0])
    z = np.array([[-1.0, 2], [0, 2], [1, 0]])
    # the arguments pi and 2 pi are rounded, and where cos is +-1 that is of second order: LIBRARY roundings of cos
    assert_close(rn.Tracking(beta).value(at(t=t, z=z)), np.array([0.0, 1, 8]), 9.0, 4 * LIBRARY)


def test_of_is_the_field_unasked():
    """Terms see the field's rate unless told otherwise, by word or by position, and keep it when multiplied."""
    assert {name: term.of for name, term in TERMS.items()} == dict.fromkeys(TERMS, "field")
    assert rn.Kinetic("state").of == "state"
    assert (0.1 * rn.Kinetic(of="state")).of == "state"


@pytest.mark.parametrize(
    "make",
    [
        rn.SquaredNorm,
        rn.Kinetic,
        rn.ParameterNorm,
        everything,
        lambda: rn.Harmonic(*PATH),
        lambda: rn.Tracking(TERMS["tracking"].beta),
    ],
)
def test_terms_are_told_apart_by_identity(make):
    """Terms and paths, which hold arrays, equal themselves only and can be in a set; they do not change."""
    term = make()
    assert term != make()
    assert len({term, term, make()}) == 2
    with pytest.raises(AttributeError, match="cannot assign to field"):
        term.of = term.phase = "state"


# ---------------------------------------------------------------- derivatives

@st.composite
def points(draw, name):
    """Arguments of three samples, with t and theta shared or their own, and a generator for directions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    own_t, own_theta = draw(st.booleans()), draw(st.booleans()) and name != "user"
    return rng, rn.RunningArgs(
        np.array(rng.standard_normal((3,) if own_t else ())),
        rng.standard_normal((3, 2)),
        rng.standard_normal((3, 4) if own_theta else 4),
        rng.standard_normal((3, 1)),
        rng.standard_normal((3, 2)),
    )


@pytest.mark.parametrize("name", TERMS)
@given(data=st.data())
def test_derivatives(name, data):
    """jvp is the complex step of value in every argument, vjp in every number, and the two are adjoint."""
    term, (rng, a) = TERMS[name], data.draw(points(name))
    d, g, size = rn.RunningArgs(*normals_like(rng, a)), rng.standard_normal(3), absolute_term(term)
    n = 2 * (4 * LIBRARY + 12)  # at most two library functions, sums of four products of four; complex

    def value(*arguments):
        return term.value(rn.RunningArgs(*arguments))

    def jvp(d):
        return term.jvp(a, rn.RunningArgs(*d))

    def sizes(d):
        return size.jvp(rn.RunningArgs(*absolute(a)), rn.RunningArgs(*absolute(d)))

    assert_jvp(value, jvp, a, d, sizes, n)
    back = term.vjp(a, g)
    assert isinstance(back, rn.RunningArgs)
    assert_vjp(value, back, a, g, sizes, n)
    assert_adjoint(back, jvp, d, g, sizes, n + 30)  # <J^T g, d> has at most 30 products


def test_no_cotangent(rng):
    """Zeros like every argument, with t one per sample whether t is shared or not."""
    for t in (T, np.zeros(3)):
        back = rn.no_cotangent(at(t=t, theta=np.ones((3, 4))))
        assert [c.shape for c in back] == [(3,), (3, 2), (3, 4), (3, 1), (3, 2)]
        assert not any(c.any() for c in back)


def test_jvp_is_linear_and_vanishes_at_zero(rng):
    """Doubling the direction doubles every jvp, bit by bit, and no direction gives none."""
    a = rn.RunningArgs(*normals_like(rng, at()))
    d = rn.RunningArgs(*normals_like(rng, at()))
    for term in TERMS.values():
        np.testing.assert_array_equal(term.jvp(a, rn.RunningArgs(*(2 * e for e in d))), 2 * term.jvp(a, d))
        np.testing.assert_array_equal(term.jvp(a, rn.RunningArgs(*(0 * e for e in d))), np.zeros(3))


# ---------------------------------------------------------------- harmonic paths

@pytest.mark.parametrize("own_t", [False, True], ids=["shared t", "own t"])
def test_harmonic(own_t, rng):
    """beta_j = amplitude_j cos(2 pi frequency_j t + phase_j), and slope is its complex step; (d,) or (b, d)."""
    beta = rn.Harmonic(*PATH)
    t = np.array(rng.standard_normal(3 if own_t else ()))
    path = AbsolutePath(beta)
    amplitude, frequency, phase = map(np.array, PATH)
    want = amplitude * np.cos(2 * np.pi * np.multiply.outer(t, frequency) + phase)
    assert beta(t).shape == beta.slope(t).shape == ((3, 2) if own_t else (2,))
    n = 2 * (LIBRARY + 6)
    assert_close(beta(t), want, np.abs(path(t)), n)
    assert_close(beta.slope(t), complex_step(beta, (t,), (np.ones(t.shape),)), np.abs(path.slope(t)), n)


def test_harmonic_at_simple_depths():
    """At a quarter period: beta = 0 and slope = -2 pi frequency amplitude; the phase pi/2 shifts by that quarter."""
    beta = rn.Harmonic([3.0, 3.0], [1.0, 1.0], [0.0, np.pi / 2])
    w = 6 * np.pi
    assert_close(beta(np.array(0.25)), np.array([0.0, -3.0]), 3 * (2 + np.pi), LIBRARY + 6)
    assert_close(beta.slope(np.array(0.25)), np.array([-w, 0.0]), w * (2 + np.pi), LIBRARY + 6)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((1.0, [1.0], [0.0]), r"^amplitude: got shape \(\); must be of shape \(any,\)"),
        (([1.0], [1.0, 2.0], [0.0]), r"^frequency: got shape \(2,\); must be of shape \(1,\)"),
        (([1.0], [1.0], 0.0), r"^phase: got shape \(\); must be of shape \(1,\)"),
        (([1.0], [1.0], [np.nan]), r"^phase: .*NaN"),
        ((np.ones(1, dtype=np.float32), [1.0], [0.0]), r"^amplitude: got dtype float32"),
    ],
)
def test_harmonic_refuses(parts, message):
    """Amplitudes, frequencies and phases are float64 of one length."""
    with pytest.raises(InvalidArgument, match=message):
        rn.Harmonic(*parts)


# ---------------------------------------------------------------- refusals

@pytest.mark.parametrize(
    "make",
    [rn.SquaredNorm, rn.Kinetic, rn.ParameterNorm, everything, lambda **how: rn.Tracking(rn.Harmonic(*PATH), **how)],
    ids=["squared norm", "kinetic", "parameter norm", "user", "tracking"],
)
@pytest.mark.parametrize("of", ["velocity", "", None, 1])
def test_of_refuses(make, of):
    """A running loss sees the rate of the field or of the state, and nothing else."""
    with pytest.raises(InvalidArgument, match=r"^running\[0\]\.of: got .*; must be one of 'field', 'state'$"):
        make(of=of).check("running[0]", 3, 2)


@pytest.mark.parametrize("name", TERMS)
def test_fitting_terms_pass(name):
    """Every term of this file fits three samples of width 2, for either rate."""
    TERMS[name].check("running[0]", 3, 2)
    assert rn.Loss(running=TERMS[name]).running == (TERMS[name],)


class NoSlope:
    """A path without a derivative."""

    def __call__(self, t):
        return np.zeros(2)


@pytest.mark.parametrize(
    ("beta", "message"),
    [
        (3, r"^running\[0\]\.beta: got 3; must be callable, with a method slope"),
        (NoSlope(), r"^running\[0\]\.beta: got .*NoSlope.*; must be callable, with a method slope"),
        (rn.Harmonic([1.0], [1.0], [0.0]), r"^running\[0\]\.beta: got beta\(t\) of shape \(3, 1\).*be \(3, 2\)"),
        (rn.Harmonic(*np.ones((3, 3))), r"^running\[0\]\.beta: got beta\(t\) of shape \(3, 3\)"),
    ],
)
def test_tracking_refuses(beta, message):
    """A path is callable, has a slope, and is as wide as the state: width 1 is no broadcast."""
    with pytest.raises(InvalidArgument, match=message):
        rn.Tracking(beta).check("running[0]", 3, 2)


@pytest.mark.parametrize("part", ["fn_value", "fn_jvp", "fn_vjp"])
def test_user_running_must_be_functions(part):
    """What cannot be called raises by name."""
    parts = {"fn_value": len, "fn_jvp": len, "fn_vjp": len} | {part: None}
    with pytest.raises(InvalidArgument, match=rf"^running\[2\]\.{part}: got None; must be a function of RunningArgs$"):
        rn.UserRunning(**parts).check("running[2]", 3, 2)
