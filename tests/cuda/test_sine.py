"""sin and cos in float32 are right to 2 ulp where float32 knows the place in a period, and NaN beyond."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from numba import cuda, void

from refnode.kernels.cuda.compile import array_of, ptx
from refnode.kernels.cuda.sine import sine_32
from validation.ptx.assemble import assemble
from validation.ptx.parse import parse
from validation.ptx.run import Program

pytestmark = pytest.mark.slow


def both(shape):
    """A kernel of both functions."""
    sin, cos = sine_32()

    def kernel(x, s, c):
        i = cuda.grid(1)
        if i < x.shape[0]:
            s[i], c[i] = sin(x[i]), cos(x[i])

    one = array_of(np.float32, 1)
    return kernel, void(one, one, one)


def computed(x):
    """sin x and cos x by the compiled PTX."""
    s, c = np.empty_like(x), np.empty_like(x)
    Program(parse(ptx(both, "sine", (9, 0)))).launch(-(-len(x) // 256), 256, (x, s, c))
    return s, c


def test_two_ulp():
    """All magnitudes up to 1e5, and multiples of pi / 2, where one of the two is small: 2 ulp of float32."""
    rng = np.random.default_rng(0)
    x = np.concatenate([
        rng.uniform(-1e5, 1e5, 40_000), rng.uniform(-10, 10, 40_000), 10 ** rng.uniform(-30, 0, 20_000),
        np.round(rng.uniform(-6e4, 6e4, 40_000)) * np.pi / 2, [0.0],
    ]).astype(np.float32)  # fmt: skip
    for got, exact in zip(computed(x), (np.sin, np.cos), strict=True):
        want = exact(x.astype(np.float64))
        assert np.max(np.abs(got - want) / np.spacing(np.abs(want).astype(np.float32))) <= 2


def test_beyond():
    """NaN for what is too large, infinite or none itself: the state is then found not to be finite."""
    for got in computed(np.array([1.01e5, -3e38, np.inf, -np.inf, np.nan], np.float32)):
        assert np.isnan(got).all()


def test_no_float64():
    """The card's own sin computes in float64 where its argument is large."""
    assert assemble(ptx(both, "sine", (9, 0))).mix()["FP64"] == 0
