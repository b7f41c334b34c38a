"""The largest error of an activation in units in the last place, over every float32 or over many float64 numbers."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np

from benchmarks.machine import cores
from refnode.kernels.activations import ACT_NUMBERS, apply_32, apply_64

REFERENCE = {
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}
FLUSHED = {"float32": 2e-38, "float64": 3.1e-308}  # e^-|x| below this counts as 0
FARTHEST = 1e5  # of sine and cosine
CHUNK = 2**15  # numbers at once: what stays in a core's cache
SAMPLES, SCALES = 1_000_000, (1e-6, 1e-2, 0.3, 1.0, 3.0, 10.0, 100.0)


def computed(name: str, x: np.ndarray) -> np.ndarray:
    """act(x) by the kernel of x's dtype; for cos, what the kernel of sin leaves as its slope."""
    h, slope = x.copy(), np.zeros_like(x)
    (apply_32 if x.dtype == np.float32 else apply_64)(h, slope, ACT_NUMBERS["sin" if name == "cos" else name])
    return slope if name == "cos" else h


def errors(name: str, x: np.ndarray) -> np.ndarray:
    """Of every number, in units in the last place of the true result, against a type with more digits."""
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    with np.errstate(over="ignore", under="ignore"):
        want = REFERENCE[name](x.astype(wide))
        unit = units(want.astype(x.dtype))
    got = computed(name, x)
    off = np.abs(got - want)
    if name in ("sigmoid", "softplus"):
        off[(np.abs(want) < FLUSHED[x.dtype.name]) & (got == 0)] = 0
    return (off / unit).astype(np.float64)


def units(x: np.ndarray) -> np.ndarray:
    """The unit in the last place of every number: its power of two times eps, by its bits; of subnormals, of tiny."""
    info, whole = np.finfo(x.dtype), np.uint32 if x.dtype == np.float32 else np.uint64
    exponent = whole((2**info.iexp - 1) << info.nmant)
    powers = (np.maximum(np.abs(x), info.tiny).view(whole) & exponent).view(x.dtype)
    return powers.astype(np.float64) * float(info.eps)


def worst(name: str, x: np.ndarray) -> tuple[float, float, int]:
    """The largest error, where it is, and of how many numbers: those that are finite, and not too far for a sine."""
    x = x[np.abs(x) <= (FARTHEST if name in ("sin", "cos") else np.finfo(x.dtype).max)]
    if not x.size:
        return 0.0, 0.0, 0
    found = errors(name, x)
    at = int(np.argmax(found))  # NaN counts as the largest
    return float(found[at]), float(x[at]), x.size


def total(parts: Iterable[tuple[float, float, int]]) -> dict[str, Any]:
    """The worst of several parts."""
    parts = list(parts)
    ulps, at, _ = max(parts, key=lambda part: np.inf if np.isnan(part[0]) else part[0])
    return {"ulps": ulps, "at": at, "numbers": sum(part[2] for part in parts)}


def worst_float32(name: str, stride: int = 1) -> dict[str, Any]:
    """Over all bit patterns, or every stride-th, of either sign, on all cores."""

    def part(chunk: tuple[int, int]) -> tuple[float, float, int]:
        first, sign = chunk
        bits = np.arange(first, min(first + CHUNK * stride, 2**31), stride, dtype=np.uint32)
        return worst(name, (bits | np.uint32(sign)).view(np.float32))

    chunks = product(range(0, 2**31, CHUNK * stride), (0, 2**31))
    with ThreadPoolExecutor(cores()) as pool:
        return total(pool.map(part, chunks))


def worst_float64(name: str, samples: int = SAMPLES) -> dict[str, Any]:
    """Over normal numbers of every scale."""
    rng = np.random.default_rng(0)
    draws = [scale * rng.standard_normal(samples) for scale in SCALES]
    parts = [x[i : i + CHUNK] for x in draws for i in range(0, samples, CHUNK)]
    with ThreadPoolExecutor(cores()) as pool:
        return total(pool.map(lambda x: worst(name, x), parts))
