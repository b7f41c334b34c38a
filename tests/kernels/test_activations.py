"""Activations are right to 2 units in the last place, and keep zeros, infinities and NaN."""

import numpy as np
import pytest

from refnode.kernels.activations import ACT_NUMBERS, apply_32, apply_64

REFERENCE = {
    "tanh": np.tanh, "sin": np.sin, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softplus": lambda x: np.logaddexp(0, x),
}  # fmt: skip
WIDE = np.longdouble  # 64 bits of mantissa on x86; where it is float64, numpy's own 1 ulp is allowed for
SLACK = 0.0 if np.finfo(WIDE).nmant > 60 else 1.0


def computed(name, x):
    """act(x) by the kernel of x's dtype."""
    h = x.copy()
    (apply_64 if x.dtype == np.float64 else apply_32)(h, np.empty_like(h), ACT_NUMBERS[name])
    return h


def ulps(got, want, dtype):
    """Errors in units in the last place of the result, where it is no subnormal."""
    unit = np.spacing(np.abs(want).astype(dtype)).astype(WIDE)
    return np.where(np.abs(want) < np.finfo(dtype).tiny, 0, np.abs(got.astype(WIDE) - want) / unit)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("scale", [1e-6, 1e-2, 0.3, 1.0, 3.0, 10.0, 100.0])
def test_float64(name, scale):
    """At most 2 ulp on 20,000 normal numbers of every scale."""
    x = scale * np.random.default_rng(0).standard_normal(20_000)
    assert np.max(ulps(computed(name, x), REFERENCE[name](x.astype(WIDE)), np.float64)) <= 2 + SLACK


@pytest.mark.parametrize("name", REFERENCE)
def test_float32(name):
    """At most 2 ulp on every 997th float32 up to 80 in size (20 for the sine), of either sign, against float64."""
    x = np.arange(0, 2**31, 997, dtype=np.int64).astype(np.uint32).view(np.float32)
    x = x[x < (20 if name == "sin" else 80)]
    for signed in (x, -x):
        want = REFERENCE[name](signed.astype(np.float64)).astype(WIDE)
        assert np.max(ulps(computed(name, signed), want, np.float32)) <= 2


def special(dtype):
    """Zeros, the smallest subnormals and the smallest normal numbers of either sign; infinities; NaN."""
    tiny, normal = np.nextafter(dtype(0), dtype(1)), np.finfo(dtype).tiny
    return np.array([0.0, -0.0, tiny, -tiny, normal, -normal, np.inf, -np.inf, np.nan], dtype)


HALF, LOG_2 = 6 * [0.5], 6 * [np.log(2.0)]
LIMITS = {  # what zeros, subnormals and the like become, None: what they were; infinities; NaN
    "tanh": (None, 1.0, -1.0), "sin": (None, np.nan, np.nan), "sigmoid": (HALF, 1.0, 0.0),
    "softplus": (LOG_2, np.inf, 0.0), "relu": ([0.0, 0.0, None, 0.0, None, 0.0], np.inf, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", LIMITS)
def test_special_values(name, dtype):
    """Signs of zero, subnormals and NaN come through where the activation is the identity; infinities go to limits."""
    x, (near, above, below) = special(dtype), LIMITS[name]
    small = x[:6] if near is None else [was if number is None else number for was, number in zip(x, near, strict=False)]
    got = computed(name, x)
    np.testing.assert_array_equal(got, np.array([*small, above, below, np.nan], dtype))
    if near is None:
        np.testing.assert_array_equal(np.signbit(got[:6]), np.signbit(x[:6]))
