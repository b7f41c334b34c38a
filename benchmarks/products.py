"""Contestants of F0: many products in one compiled loop, so that a call from Python costs nothing beside them."""

import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from refnode.kernels.products import add_product
from refnode.kernels.vectors import vector_bytes

CALLS = 200  # products in one call
ROWS = 4
VECTORS = 4 if vector_bytes() == 64 else 2  # accumulators that fit into 32 registers, or into 16
STEPS = 20_000  # of the sum that finds the peak


@numba.njit
def _by_micro_kernel(A, B, C, M, N, K, calls):
    for _ in range(calls):
        C[:] = 0
        add_product(C, 0, N, A, 0, K, 1, B, 0, N, M, N, K)


@numba.njit
def _by_openblas(A, B, C, calls):
    for _ in range(calls):
        np.dot(A, B, C)


@numba.njit
def _in_registers(A, B, C, width, steps):
    add_product(C, 0, width, A, 0, 0, 0, B, 0, 0, ROWS, width, steps)


def contestants(
    M: int, N: int, K: int, dtype: str
) -> tuple[dict[str, Callable[[], Any]], Callable[[Any], float], float]:
    """Calls that do CALLS products (M, K) (K, N), the error of what they return, and how large it may be."""
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((M, K)).astype(dtype), rng.standard_normal((K, N)).astype(dtype)
    C = np.empty((M, N), dtype)
    truth, size = A.astype(np.longdouble) @ B.astype(np.longdouble), np.abs(A) @ np.abs(B)
    a, b, c = A.ravel(), B.ravel(), C.ravel()

    def mine() -> np.ndarray:
        _by_micro_kernel(a, b, c, M, N, K, CALLS)
        return C

    def called() -> np.ndarray:
        for _ in range(CALLS):
            np.dot(A, B, out=C)
        return C

    def compiled() -> np.ndarray:
        _by_openblas(A, B, C, CALLS)
        return C

    calls = {"micro-kernel": mine, "OpenBLAS, np.dot": called, "OpenBLAS, np.dot compiled": compiled}
    # a sum of K products in any order: at most K roundings of half a unit, relative to the sum of absolute values
    return calls, lambda product: float(np.max(np.abs(product - truth) / size)), K * float(np.finfo(dtype).eps)


def peak_contestant(dtype: str) -> tuple[Callable[[], None], int]:
    """A call that multiplies and adds in registers alone, and how many operations it does."""
    width = VECTORS * vector_bytes() // np.dtype(dtype).itemsize
    A, B, C = np.full(1, 0.5, dtype), np.ones(width, dtype), np.zeros(ROWS * width, dtype)
    return lambda: _in_registers(A, B, C, width, STEPS), 2 * ROWS * width * STEPS


def copied_bytes_per_second(size: int = 2**26, rounds: int = 7) -> float:
    """Bytes read and written while an array of `size` bytes is copied, the best of the rounds."""
    source, target = np.ones(size // 8), np.empty(size // 8)
    np.copyto(target, source)
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        np.copyto(target, source)
        taken.append(time.perf_counter() - start)
    return 2 * size / min(taken)
