"""sin and cos are right to 2 ulp up to 1e5 in float32 and 1e9 in float64, and NaN beyond."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from numba import cuda, void

from refnode.kernels.cuda.compile import array_of, ptx
from refnode.kernels.cuda.sine import sine_32, sine_64
from validation.ptx.assemble import assemble
from validation.ptx.parse import parse
from validation.ptx.run import Program

pytestmark = pytest.mark.slow
LARGEST = {"float32": 1e5, "float64": 1e9}
MORE = {"float32": np.float64, "float64": np.longdouble}        # in which libm's sin is right to the last bit of ours


def both(dtype):
    """A kernel of both functions."""
    sin, cos = sine_32() if dtype == "float32" else sine_64()

    def kernel(x, s, c):
        i = cuda.grid(1)
        if i < x.shape[0]:
            s[i], c[i] = sin(x[i]), cos(x[i])

    one = array_of(np.dtype(dtype).type, 1)
    return kernel, void(one, one, one)


def computed(x):
    """sin x and cos x by the compiled PTX."""
    s, c = np.empty_like(x), np.empty_like(x)
    Program(parse(ptx(both, x.dtype.name, (9, 0)))).launch(-(-len(x) // 256), 256, (x, s, c))
    return s, c


@pytest.mark.parametrize("dtype", LARGEST)
def test_two_ulp(dtype):
    """All magnitudes up to the largest, and multiples of pi / 2, where one of the two is small: 2 ulp."""
    rng, largest = np.random.default_rng(0), LARGEST[dtype]
    x = np.concatenate([
        rng.uniform(-largest, largest, 40_000), rng.uniform(-10, 10, 40_000), 10 ** rng.uniform(-30, 0, 20_000),
        np.round(rng.uniform(-0.6, 0.6, 40_000) * largest) * np.pi / 2,
        np.round(rng.uniform(-99, 99, 5_000)) * np.pi / 2, [0.0, largest, -largest, np.finfo(dtype).tiny],
    ]).astype(dtype)  # fmt: skip
    for got, exact in zip(computed(x), (np.sin, np.cos), strict=True):
        want = exact(x.astype(MORE[dtype]))
        ulp = np.spacing(np.abs(want).astype(dtype)).astype(MORE[dtype])
        assert np.max(np.abs(got - want) / ulp) <= 2


@pytest.mark.parametrize("dtype", LARGEST)
def test_beyond(dtype):
    """NaN for what is too large, infinite or none itself: the state is then found not to be finite."""
    for got in computed(np.array([1.01 * LARGEST[dtype], -3e38, np.inf, -np.inf, np.nan], dtype)):
        assert np.isnan(got).all()


def test_no_float64():
    """The card's own sin computes in float64 where its argument is large."""
    assert assemble(ptx(both, "float32", (9, 0))).mix()["FP64"] == 0
