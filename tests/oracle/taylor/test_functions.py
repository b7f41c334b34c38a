"""exp, sin, cos and the activations of double-doubles, against mpmath."""

import mpmath
import numpy as np
import pytest

from refnode.oracle.taylor.core import functions
from refnode.oracle.taylor.core.double import EPS

FUNCTIONS = {
    "exp": (functions.EXP, mpmath.exp),
    "sin": (functions.SIN, mpmath.sin),
    "cos": (functions.COS, mpmath.cos),
    "tanh": (functions.TANH, mpmath.tanh),
    "sigmoid": (functions.SIGMOID, lambda u: 1 / (1 + mpmath.exp(-u))),
    "softplus": (functions.SOFTPLUS, lambda u: mpmath.log1p(mpmath.exp(u))),
}
HOSTILE = [0.0, 1e-200, -1e-200, 1e-20, 2.0**-53, np.log(2) / 2, np.pi / 4, -np.pi / 2, np.pi, 30.0, -40.0, 100.0]


def arguments():
    """Numbers of every size, and where a reduction changes its mind."""
    rng = np.random.default_rng(0)
    high = np.concatenate([HOSTILE, *(size * rng.standard_normal(100) for size in (1e-9, 1e-3, 0.1, 1, 3, 20))])
    return np.stack([high, np.spacing(high) / 2 * rng.uniform(-1, 1, len(high))], axis=1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_mpmath(name):
    """Within 16 units of 2^-106, plus what the rounding of the argument's reduction does, |u| units.

    Six units for each of the two roundings of the last step, and what a few squarings before them leave. sin and cos
    are measured against 1, the others against themselves.
    """
    number, f = FUNCTIONS[name]
    with mpmath.workprec(400):
        for h, l in arguments():
            u = mpmath.mpf(h) + mpmath.mpf(l)
            got, want = functions.value(number, h, l), f(u)
            size = 1 if name in ("sin", "cos") else abs(want)
            assert abs(mpmath.mpf(got[0]) + mpmath.mpf(got[1]) - want) <= (16 + abs(u)) * EPS * size, (h, l)


def test_far_out():
    """Where activations saturate they give the limit, and nothing overflows."""
    with np.errstate(all="raise"):
        assert functions.value(functions.TANH, -1e300, 0.0) == (-1.0, 0.0)
        assert functions.value(functions.SIGMOID, 1e5, 0.0) == (1.0, 0.0)
        assert functions.value(functions.SIGMOID, -1e5, 0.0) == (0.0, 0.0)
        assert functions.value(functions.SOFTPLUS, 1e5, 0.0) == (1e5, 0.0)
        assert functions.value(functions.SOFTPLUS, -1e5, 0.0) == (0.0, 0.0)
