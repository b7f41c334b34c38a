"""Every float32 there is: tanh is right to 2 units in the last place; the other activations on every 16th.

`python -m benchmarks f1` measures all of them on every number, and says how far they are off.
"""

import numpy as np
import pytest

from benchmarks.ulps import REFERENCE, units, worst_float32, worst_float64


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCE)
def test_float32_numbers(name):
    """At most 2 ulp on all bit patterns that are finite numbers; for the sine up to 1e5, where libm takes over."""
    seen = worst_float32(name, 1 if name == "tanh" else 16)
    assert seen["numbers"] > 2**27
    assert seen["ulps"] <= 2


@pytest.mark.slow
@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="long double has no more digits than float64")
@pytest.mark.parametrize("name", REFERENCE)
def test_float64_numbers(name):
    """At most 2 ulp on seven million normal numbers from 1e-6 to 100."""
    assert worst_float64(name)["ulps"] <= 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units(rng, dtype):
    """A unit in the last place is NumPy's spacing, for powers of two and their neighbours too."""
    x = (rng.standard_normal(1000) * 10.0 ** rng.integers(-30, 30, 1000)).astype(dtype)
    powers = 2.0 ** np.arange(-100, 100).astype(dtype)
    x = np.concatenate([x, powers, np.nextafter(powers, dtype(0)), np.nextafter(powers, dtype(np.inf))])
    np.testing.assert_array_equal(units(x), np.spacing(np.abs(x)))
