"""Slopes come from values to what their formula can give; tails, and arguments beyond the range of the vector code."""

import numpy as np
import pytest

from refnode.kernels.activations import ACT_NUMBERS, apply_32, apply_64, times_slope
from refnode.layers import ACTIVATIONS
from tests.kernels.test_activations import REFERENCE, SLACK, WIDE, computed, ulps

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
SMALL = {np.float64: np.exp(-708), np.float32: np.exp(-87)}  # e^-|x| below counts as 0


@DTYPES
@pytest.mark.parametrize("name", ACT_NUMBERS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_slopes(name, dtype, scale):
    """g act'(u): within a few roundings of |g|, for tanh, sigmoid and softplus subtract values from 1."""
    rng = np.random.default_rng(0)
    u, g = (scale * rng.standard_normal(10_001).astype(dtype), rng.standard_normal(10_001).astype(dtype))
    h, slope, got = u.copy(), np.zeros_like(u), g.copy()
    (apply_64 if dtype == np.float64 else apply_32)(h, slope, ACT_NUMBERS[name])
    times_slope(got, h, slope, ACT_NUMBERS[name])
    want = g * ACTIVATIONS[name].slope(u.astype(np.float64))
    # h is off by 2 ulp <= 2 eps, so 1 - h^2 and h (1 - h) by 4 eps, and two or three roundings follow
    assert np.max(np.abs(got - want) / np.abs(g)) <= 8 * np.finfo(dtype).eps


@DTYPES
def test_slope_of_relu_at_its_kink(dtype):
    """0 at 0, as in the story, and 0 times any cotangent behind it."""
    h, g = np.array([0.0, -0.0, 1.0, -1.0], dtype), np.full(4, 3.0, dtype)
    apply = apply_64 if dtype == np.float64 else apply_32
    apply(h, h, ACT_NUMBERS["relu"])
    times_slope(g, h, h, ACT_NUMBERS["relu"])
    np.testing.assert_array_equal(g, np.array([0.0, 0.0, 3.0, 0.0], dtype))


@DTYPES
@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
def test_tails(name, dtype):
    """Down to the smallest normal number 2 ulp; below it 0 or as good as the unit there; above, the limit."""
    x = np.linspace(-760, 760, 200_001).astype(dtype)
    got = computed(name, x)
    with np.errstate(over="ignore"):
        want = REFERENCE[name](x.astype(WIDE))
    flushed = np.abs(want) < SMALL[dtype]
    assert np.max(ulps(got, want, dtype)[~flushed]) <= 2 + SLACK
    assert np.all((got[flushed] >= 0) & (got[flushed] <= SMALL[dtype]))


@DTYPES
@pytest.mark.parametrize("size", [1e2, 1e4, 1e5, 1e6, 1e12])
def test_sine_of_large_numbers(size, dtype):
    """2 ulp to 1e5, beyond by libm; the cosine beside it likewise, and the small numbers between large ones."""
    rng = np.random.default_rng(0)
    x = (size * rng.uniform(-1, 1, 200_000)).astype(dtype)
    x[::3] = rng.standard_normal(x[::3].size).astype(dtype)
    h, slope = x.copy(), np.zeros_like(x)
    (apply_64 if dtype == np.float64 else apply_32)(h, slope, ACT_NUMBERS["sin"])
    assert np.max(ulps(h, np.sin(x.astype(WIDE)), dtype)) <= 2 + SLACK
    assert np.max(ulps(slope, np.cos(x.astype(WIDE)), dtype)) <= 2 + SLACK


@DTYPES
def test_sine_near_multiples_of_pi(dtype):
    """Where the sine or the cosine cancels, 2 ulp of the small result."""
    multiples = np.arange(1, 60_000) * (np.pi / 2)
    near = multiples.astype(dtype)
    for x in (near, np.nextafter(near, dtype(0)), -near):
        x = x[np.abs(x) < 9e4]
        h, slope = x.copy(), np.zeros_like(x)
        (apply_64 if dtype == np.float64 else apply_32)(h, slope, ACT_NUMBERS["sin"])
        # numpy's long double reduces by an exact pi / 2; float64's truth needs its 64 bits
        assert np.max(ulps(h, np.sin(x.astype(WIDE)), dtype)) <= 2 + SLACK
        assert np.max(ulps(slope, np.cos(x.astype(WIDE)), dtype)) <= 2 + SLACK
