"""Every float32 there is: tanh is right to 2 units in the last place; the other activations on every 16th."""

import numpy as np
import pytest

from tests.kernels.test_activations import computed

CHUNK = 2**22
TINY = np.finfo(np.float32).tiny
REFERENCE = {
    "tanh": np.tanh, "sin": np.sin, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}  # fmt: skip
FLUSHED = 2e-38  # e^-|x| below this counts as 0: sigmoid and softplus may be 0 there


def worst(name, numbers):
    """The largest error in units in the last place over float32 numbers, against float64."""
    with np.errstate(over="ignore"):
        want = REFERENCE[name](numbers.astype(np.float64))
        unit = np.spacing(np.maximum(np.abs(want).astype(np.float32), TINY)).astype(np.float64)
    got = computed(name, numbers)
    off = np.abs(got - want)
    if name in ("sigmoid", "softplus"):
        off[(np.abs(want) < FLUSHED) & (got == 0)] = 0
    return float(np.max(off / unit))


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCE)
def test_float32_numbers(name):
    """At most 2 ulp on all bit patterns that are finite numbers; for the sine up to 1e5, where libm takes over."""
    stride = 1 if name == "tanh" else 16
    for start in range(0, 2**31, stride * CHUNK):
        x = np.arange(start, start + stride * CHUNK, stride, dtype=np.int64).astype(np.uint32).view(np.float32)
        x = x[np.isfinite(x) & (x <= (1e5 if name == "sin" else np.inf))]
        for signed in (x, -x) if x.size else ():
            assert worst(name, signed) <= 2, (name, start)
