"""Every layer and activation is accurate everywhere, and its jvp and vjp are the derivatives of its forward."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, strategies as st

from refnode import layers
from refnode.layers import ACTIVATIONS
from tests.help import (
    EPS,
    LIBRARY,
    STEP,
    UNSEEN,
    absolute,
    assert_adjoint,
    assert_close,
    assert_jvp,
    assert_vjp,
    complex_step,
    normals_like,
)

TINY = 5e-324  # spacing of subnormal numbers
EXTREMES = np.array([0.0, -0.0, TINY, -TINY, 1e-310, -1e-310, 2e-308, 1e-20, -1e-20, 1e-8, -1e-8, 0.3, -0.3, 1.0, -1.0])
LARGE = np.array([18.0, 19.5, 22.0, 36.7, 37.0, 354.0, 373.0, 709.0, 710.0, 745.0, 746.0, 750.0, 1e3, 1e6, 1e300])
EXTREMES = np.concatenate([EXTREMES, LARGE, -LARGE])

anywhere = st.floats(-800, 800) | st.floats(-40, 40) | st.floats(-1, 1) | st.sampled_from(EXTREMES.tolist())
every_activation = pytest.mark.parametrize("act", ACTIVATIONS)
every_smooth_activation = pytest.mark.parametrize("act", [a for a in ACTIVATIONS if ACTIVATIONS[a].smooth])
weights = pytest.mark.parametrize("lead", [(), (4,)], ids=["shared", "per sample"])


# ---------------------------------------------------------------- activations to many digits

def to_many_digits(name, u):
    """The function at u to 50 digits, or so many that 1 +- e^-|u| is resolved. |u| < 1e-10 has other tests."""
    with localcontext() as context:
        context.prec = 50
        u = Decimal(u)
        e = (-abs(u)).exp() if abs(u) < 1000 else Decimal(0)
        softplus_of_minus = (1 + e).ln() if e > Decimal("1e-20") else e - e * e / 2  # next: e^3/3, 1e-40 of e
        return {
            "tanh": lambda: (1 - e * e) / (1 + e * e) * (1 if u > 0 else -1),
            "tanh_slope": lambda: 4 * e * e / (1 + e * e) ** 2,
            "softplus": lambda: max(u, Decimal(0)) + softplus_of_minus,
            "sigmoid": lambda: (1 if u > 0 else e) / (1 + e),
            "sigmoid_slope": lambda: e / (1 + e) ** 2,
            "tanh_curvature": lambda: -8 * e * e * (1 - e * e) / (1 + e * e) ** 3 * (1 if u > 0 else -1),
            "sigmoid_curvature": lambda: -e * (1 - e) / (1 + e) ** 3 * (1 if u > 0 else -1),
        }[name]()


# Roundings of half an EPS, with LIBRARY EPS for exp, log1p and tanh; every one of these sums and quotients is of
# positive numbers. Where e^-|u| is subnormal its error is LIBRARY spacings, and tanh's slope multiplies it by 4.
ROUNDINGS = {
    "tanh": LIBRARY,
    "tanh_slope": LIBRARY + 2,  # e / (1 + e)^2: a sum that counts twice, a square, a quotient
    "softplus": 2 * LIBRARY + 0.5,  # exp, log1p, a sum
    "sigmoid": LIBRARY + 1,  # exp, a sum, a quotient
    "sigmoid_slope": LIBRARY + 2,
    "tanh_curvature": 2 * LIBRARY + 3,  # tanh, its slope, and their product
    "sigmoid_curvature": 2 * LIBRARY + 3,
}


@pytest.mark.parametrize("name", ROUNDINGS)
@given(u=anywhere)
def test_accuracy(name, u):
    """Values and slopes have full relative accuracy for every u, also where the value rounds to 0 or 1; no overflow."""
    if abs(u) < 1e-10:
        u = 0.0  # these functions of u differ there from u, or from their value at 0, by terms that have tests below
    want = to_many_digits(name, u)
    got = Decimal(float(getattr(layers, name)(np.array(u))))
    # the curvature of tanh multiplies the slope's error by 2
    assert abs(got - want) <= Decimal(ROUNDINGS[name] * EPS) * abs(want) + Decimal(8 * LIBRARY * TINY)


@pytest.mark.parametrize("u", EXTREMES[np.abs(EXTREMES) < 1e-8].tolist())
def test_next_to_zero(u):
    """For |u| < 1e-8, u^2 is below a rounding: tanh u = u, with its sign and its subnormals, and slopes are at 0."""
    a = np.array([u])
    np.testing.assert_array_equal(layers.tanh(a), a)
    assert np.signbit(layers.tanh(a)[0]) == np.signbit(u)
    for got, want in [
        (layers.tanh_slope(a), 1.0),
        (layers.sigmoid(a), 0.5),  # + u/4
        (layers.sigmoid_slope(a), 0.25),
        (layers.softplus(a), np.log(2)),  # + u/2
    ]:
        assert abs(got[0] - want) <= (2 * LIBRARY + 1) * EPS * want + abs(u)
    for name, factor in [("tanh", -2.0), ("sigmoid", -0.125), ("sin", -1.0)]:  # curvatures are odd: factor u
        got = ACTIVATIONS[name].curvature(a)[0]
        assert abs(got - factor * u) <= (2 * LIBRARY + 3) * EPS * abs(factor * u) + 2 * LIBRARY * TINY


@every_activation
def test_extremes_are_finite_for_real_and_complex_numbers(act):
    """From subnormals to 1e300 no value, slope or curvature is NaN or infinite, or warns, nor in the complex step."""
    activation = ACTIVATIONS[act]
    for u in (EXTREMES, EXTREMES + 1j * STEP):
        for out in (activation.value(u), activation.slope(u), activation.curvature(u)):
            assert np.isfinite(out).all()
            assert out.shape == u.shape


def test_limits():
    """The limits at +-1e3 are exact: tanh +-1, sigmoid 0 and 1, softplus 0 and u, slopes 0 (and 1 for softplus)."""
    u = np.array([-1e3, 1e3])
    np.testing.assert_array_equal(layers.tanh(u), [-1, 1])
    np.testing.assert_array_equal(layers.sigmoid(u), [0, 1])
    np.testing.assert_array_equal(layers.softplus(u), [0, 1e3])
    for slope in (layers.tanh_slope, layers.sigmoid_slope):
        np.testing.assert_array_equal(slope(u), [0, 0])


# ---------------------------------------------------------------- slopes

@every_activation
@given(u=anywhere)
def test_slope_is_the_complex_step_of_the_value(act, u):
    """To full relative accuracy, and at 0 too, where the formulas of two half-axes meet.

    Both sides: exp (or sin, cos, tanh), and six roundings; a complex quotient cancels at most two thirds of what it
    subtracts: 3 (LIBRARY + 6). The sine's slope is compared with 1, for sin x cosh h has the same argument reduction.
    """
    activation, a = ACTIVATIONS[act], np.array([u])
    if act == "sin":
        a = np.clip(a, -1e6, 1e6)
    want = complex_step(activation.value, (a,), (np.ones(1),))
    slope = activation.slope(a)
    np.testing.assert_array_less(np.abs(slope - want), 3 * (LIBRARY + 6) * EPS * np.abs(slope) + 4 * UNSEEN)


@every_activation
@given(u=anywhere)
def test_curvature_is_the_complex_step_of_the_slope(act, u):
    """To full relative accuracy, and at 0 too.

    As for the slopes; the slope's complex quotient e / (1 + e)^2 is differentiated as a whole, a difference of two
    parts that cancels where the curvature is 0: the room is that of the slope.
    """
    activation, a = ACTIVATIONS[act], np.array([u])
    if act == "sin":
        a = np.clip(a, -1e6, 1e6)
    want = complex_step(activation.slope, (a,), (np.ones(1),))
    size = np.abs(activation.curvature(a)) + np.abs(activation.slope(a)) * (activation.smooth and act != "identity")
    np.testing.assert_array_less(
        np.abs(activation.curvature(a) - want), 3 * (2 * LIBRARY + 9) * EPS * size + 16 * UNSEEN
    )


@every_activation
@given(u=anywhere)
def test_value_under_the_complex_step_is_the_value(act, u):
    """The real part at u + i 2^-100 is the value at u, so that a complex solve passes through the same states.

    Compared with 1 + |u|: NumPy's complex log1p rounds 1 + e^-|u|, so softplus is exact to EPS, not to EPS of itself.
    """
    a = np.array([u])
    value = ACTIVATIONS[act].value
    assert_close(value(a + 1j * STEP).real, value(a), 1 + np.abs(value(a)), 2 * LIBRARY + 1)


def test_slopes_are_those_of_the_textbook():
    """tanh' = 1 - tanh^2, softplus' = sigmoid, sigmoid' = sigmoid (1 - sigmoid), sin' = cos, identity' = 1."""
    u = np.linspace(-3, 3, 13)
    s = 1 / (1 + np.exp(-u))
    for act, want in {"tanh": 1 - np.tanh(u) ** 2, "softplus": s, "sigmoid": s * (1 - s), "sin": np.cos(u)}.items():
        # 1 - tanh^2 and 1 - s cancel: to the rounding of 1, a few roundings each
        assert_close(ACTIVATIONS[act].slope(u), want, 1, 4 * LIBRARY)
    np.testing.assert_array_equal(ACTIVATIONS["identity"].slope(u), np.ones(13))
    np.testing.assert_array_equal(ACTIVATIONS["identity"].value(u), u)


def test_curvatures_are_those_of_the_textbook():
    """tanh'' = -2 tanh tanh', softplus'' = sigmoid', sigmoid'' = sigmoid' (1 - 2 sigmoid), sin'' = -sin, relu'' = 0."""
    u = np.linspace(-3, 3, 13)
    s, c = 1 / (1 + np.exp(-u)), np.tanh(u)
    rows = {"tanh": -2 * c * (1 - c**2), "softplus": s * (1 - s), "sigmoid": s * (1 - s) * (1 - 2 * s)}
    for act, want in (rows | {"sin": -np.sin(u), "relu": 0 * u, "identity": 0 * u}).items():
        # 1 - tanh^2 and 1 - s cancel: to the rounding of 1, a few roundings each, times 2
        assert_close(ACTIVATIONS[act].curvature(u), want, 1, 8 * LIBRARY)


def test_relu():
    """max(u, 0), with slope 0 at 0 and at -0, by definition; the only activation that is not smooth."""
    u = np.array([-2.0, -TINY, -0.0, 0.0, TINY, 3.0])
    np.testing.assert_array_equal(layers.relu(u), [0, 0, 0, 0, TINY, 3])
    np.testing.assert_array_equal(layers.relu_slope(u), [0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(layers.relu(u + 1j).imag, [0, 0, 0, 0, 1, 1])
    assert [act for act, activation in ACTIVATIONS.items() if not activation.smooth] == ["relu"]


def test_activations_are_those_that_fields_name():
    """The table has the six words that an MLP accepts."""
    assert set(ACTIVATIONS) == {"tanh", "softplus", "sin", "sigmoid", "relu", "identity"}


# ---------------------------------------------------------------- linear layers

def draw_linear(rng, lead, b=4, i=3, o=2):
    """(W, x) and a cotangent of x W."""
    return (rng.standard_normal((*lead, i, o)), rng.standard_normal((b, i))), rng.standard_normal((b, o))


def linear_sizes(args):
    """d -> the sum of the |terms| of linear_jvp."""
    return lambda d: layers.linear_jvp(*absolute(args), *absolute(d))


@weights
def test_linear_is_a_loop(lead, rng):
    """y_bo = sum_i x_bi W_io, with W shared or a sample's own, for sizes that no two are equal."""
    (W, x), _ = draw_linear(rng, lead)
    own = np.broadcast_to(W, (4, 3, 2))
    want = [[sum(x[b, i] * own[b, i, o] for i in range(3)) for o in range(2)] for b in range(4)]
    assert_close(layers.linear(W, x), np.array(want), layers.linear(np.abs(W), np.abs(x)), 3)


@weights
def test_linear_derivatives(lead, rng):
    """linear_jvp and linear_vjp are the complex step of linear in W and in x, and adjoint to each other."""
    args, g = draw_linear(rng, lead)
    d, sizes = normals_like(rng, args), linear_sizes(args)
    n = 2 * 2 * 3 + 4  # two sums of 3 products, complex; the sum over 4 samples

    def jvp(d):
        return layers.linear_jvp(*args, *d)

    assert_jvp(layers.linear, jvp, args, d, sizes, n)
    assert_vjp(layers.linear, layers.linear_vjp(*args, g), args, g, sizes, n)
    assert_adjoint(layers.linear_vjp(*args, g), jvp, d, g, sizes, n + g.size)


@weights
def test_a_stack_of_batches(lead, rng):
    """K batches pass through one layer as each alone does, and the cotangents of W are the sum of theirs."""
    W, x = rng.standard_normal((*lead, 3, 2)), rng.standard_normal((5, 4, 3))
    g = rng.standard_normal((5, 4, 2))
    size = np.abs(x)[..., None] * np.abs(np.broadcast_to(W, (4, 3, 2)))
    assert_close(layers.linear(W, x), np.array([layers.linear(W, row) for row in x]), size.sum(axis=2), 3)
    g_W, g_x = layers.linear_stack_vjp(W, x, g)
    each = [layers.linear_vjp(W, *rows) for rows in zip(x, g, strict=True)]
    sizes = [layers.linear_vjp(np.abs(W), *rows) for rows in zip(np.abs(x), np.abs(g), strict=True)]
    assert_close(g_W, sum(part for part, _ in each), sum(part for part, _ in sizes), 5 * 4)
    assert_close(g_x, np.array([part for _, part in each]), np.array([part for _, part in sizes]), 2)


@weights
def test_bias_vjp(lead, rng):
    """The cotangent of a shared bias is g summed over the batch, that of a sample's own is g."""
    args, g = (rng.standard_normal((*lead, 2)),), rng.standard_normal((4, 2))

    def add(b):
        return np.zeros((4, 2)) + b

    assert_vjp(add, (layers.bias_vjp(*args, g),), args, g, lambda d: add(*d), 4)


@given(b=st.integers(1, 4), i=st.integers(1, 5), o=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_equal_weights_per_sample_are_shared_weights(b, i, o, seed):
    """With W repeated for every sample, y and x's cotangent are the same, and W's cotangents sum to the shared one."""
    (W, x), g = draw_linear(np.random.default_rng(seed), (), b, i, o)
    own = np.repeat(W[None], b, axis=0)
    assert_close(layers.linear(own, x), layers.linear(W, x), layers.linear(np.abs(W), np.abs(x)), i)
    sizes = layers.linear_vjp(*absolute((W, x, g)))
    for got, want, size in zip(layers.linear_vjp(own, x, g), layers.linear_vjp(W, x, g), sizes, strict=True):
        assert_close(got.sum(axis=0) if got.ndim == 3 else got, want, size, b + o)


@every_smooth_activation
def test_activation_as_a_layer(act, rng):
    """slope(u) du is the complex step along du, and slope(u) g its adjoint, for a batch."""
    value, slope, *_ = ACTIVATIONS[act]
    args = (rng.standard_normal((3, 4)),)
    g, d = rng.standard_normal((3, 4)), normals_like(rng, args)
    n = 3 * (LIBRARY + 6) + 2  # as for the slopes above, and products with du or g

    def jvp(d):
        return slope(*args) * d[0]

    def sizes(d):
        return np.abs(d[0]) * 1.0  # no slope is above 1

    assert_jvp(value, jvp, args, d, sizes, n)
    assert_vjp(value, (slope(*args) * g,), args, g, sizes, n)
    assert_adjoint((slope(*args) * g,), jvp, d, g, sizes, n + g.size)
