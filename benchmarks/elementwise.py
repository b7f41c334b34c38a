"""Contestants of F1: many applications of an activation in one call, so that the call costs nothing beside them."""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from benchmarks.ulps import REFERENCE
from refnode.kernels.activations import ACT_NUMBERS, apply_32, apply_64

SIZE, APPLICATIONS = 4096, 64


@numba.njit
def _libm_tanh(x, out, slope):
    for i in range(x.size):
        out[i] = math.tanh(x[i])


@numba.njit
def _libm_softplus(x, out, slope):
    for i in range(x.size):
        out[i] = max(x[i], 0.0) + math.log1p(math.exp(-abs(x[i])))


@numba.njit
def _libm_sigmoid(x, out, slope):
    for i in range(x.size):
        out[i] = 1.0 / (1.0 + math.exp(-x[i]))


@numba.njit
def _libm_sin(x, out, slope):
    for i in range(x.size):
        out[i], slope[i] = math.sin(x[i]), math.cos(x[i])


LIBM = {"tanh": _libm_tanh, "softplus": _libm_softplus, "sigmoid": _libm_sigmoid, "sin": _libm_sin}


@numba.njit
def _again_64(h, slope, act, applications):
    for _ in range(applications):
        apply_64(h, slope, act)


@numba.njit
def _again_32(h, slope, act, applications):
    for _ in range(applications):
        apply_32(h, slope, act)


def contestants(name: str, dtype: str) -> tuple[dict[str, Callable[[], Any]], Callable[[Any], float]]:
    """Calls that apply an activation APPLICATIONS times and return act(x), and how far that is off, in its last place.

    The kernel works in place: all its applications but the last are to what the one before has left.
    """
    x = np.random.default_rng(0).standard_normal(SIZE).astype(dtype)
    h, slope, out = x.copy(), np.empty_like(x), np.empty_like(x)
    again, act = (_again_64 if dtype == "float64" else _again_32), ACT_NUMBERS[name]
    truth = REFERENCE[name](x.astype(np.longdouble))

    def mine() -> np.ndarray:
        again(h, slope, act, APPLICATIONS - 1)
        np.copyto(h, x)
        again(h, slope, act, 1)
        return h

    def numpy() -> np.ndarray:
        for _ in range(APPLICATIONS):
            _by_numpy(name, x, out, slope)
        return out

    def libm() -> np.ndarray:
        for _ in range(APPLICATIONS):
            LIBM[name](x, out, slope)
        return out

    def error(got: np.ndarray) -> float:
        return float(np.max(np.abs(got - truth) / np.spacing(np.abs(truth).astype(dtype))))

    return {"refnode": mine, "numpy": numpy, "libm": libm}, error


def _by_numpy(name: str, x: np.ndarray, out: np.ndarray, slope: np.ndarray) -> None:
    """act(x) into out, by as few passes as NumPy has."""
    if name == "tanh":
        np.tanh(x, out=out)
    elif name == "sin":
        np.sin(x, out=out)
        np.cos(x, out=slope)
    elif name == "softplus":
        np.logaddexp(x, x.dtype.type(0), out=out)
    else:
        np.negative(x, out=out)
        np.exp(out, out=out)
        np.add(out, x.dtype.type(1), out=out)
        np.reciprocal(out, out=out)
