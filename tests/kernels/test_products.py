"""Products of any sizes and strides are numpy's to round-off, and their bits do not depend on how they are cut."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from refnode.kernels.compiled import kernel
from refnode.kernels.products import add_product, add_products

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
SIZES = st.one_of(st.integers(1, 9), st.integers(1, 130))
SEEDS = st.integers(0, 2**32 - 1)


@kernel
def product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
    """`add_product`, which is for compiled code only, for a test to call."""
    add_product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K)


def padded(rng, shape, before, pitch, dtype):
    """A flat array that holds a matrix from `before` on with `pitch` numbers a row, noise around it, and the matrix."""
    rows, columns = shape
    flat = rng.standard_normal(before + rows * pitch + 5).astype(dtype)
    return flat, flat[before : before + rows * pitch].reshape(rows, pitch)[:, :columns]


@DTYPES
@settings(max_examples=150)
@given(M=SIZES, N=SIZES, K=SIZES, transposed=st.booleans(), pads=st.tuples(*[st.integers(0, 7)] * 6), seed=SEEDS)
def test_product(dtype, M, N, K, transposed, pads, seed):
    """C += A B or A^T B within K eps sum |a b|, from any offset and pitch; no number beside C is touched."""
    rng = np.random.default_rng(seed)
    C, c = padded(rng, (M, N), pads[0], N + pads[1], dtype)
    A, a = padded(rng, (K, M) if transposed else (M, K), pads[2], (M if transposed else K) + pads[3], dtype)
    B, b = padded(rng, (K, N), pads[4], N + pads[5], dtype)
    steps = (1, M + pads[3]) if transposed else (K + pads[3], 1)
    left, right, start = (v.astype(np.float64) for v in (a.T if transposed else a, b, c))
    outside, around = np.ones(C.size, bool), C.copy()
    outside[pads[0] : pads[0] + M * (N + pads[1])].reshape(M, N + pads[1])[:, :N] = False
    product(C, pads[0], N + pads[1], A, pads[2], *steps, B, pads[4], N + pads[5], M, N, K)
    # a fused step rounds once, another twice: K + 1 terms, 2 eps / 2 each; numpy's float64 sums likewise
    bound = 2 * (K + 1) * np.finfo(dtype).eps * (np.abs(start) + np.abs(left) @ np.abs(right))
    assert np.all(np.abs(c - (start + left @ right)) <= bound)
    np.testing.assert_array_equal(C[outside], around[outside])


@DTYPES
@settings(max_examples=60)
@given(M=SIZES, N=SIZES, K=SIZES, row=st.floats(0, 1), column=st.floats(0, 1), seed=SEEDS)
def test_cuts_keep_the_bits(dtype, M, N, K, row, column, seed):
    """Cutting rows and columns anywhere, and so into other blocks, gives the same bits: a sum runs k = 0 .. K - 1."""
    rng = np.random.default_rng(seed)
    A, B, C = (rng.standard_normal(shape).astype(dtype) for shape in ((M, K), (K, N), (M, N)))
    whole, parts = C.ravel().copy(), C.ravel().copy()
    product(whole, 0, N, A.ravel(), 0, K, 1, B.ravel(), 0, N, M, N, K)
    rows, columns = (0, round(row * M), M), (0, round(column * N), N)
    for r in (0, 1):
        for c in (0, 1):
            place, size = rows[r] * N + columns[c], (rows[r + 1] - rows[r], columns[c + 1] - columns[c])
            product(parts, place, N, A.ravel(), rows[r] * K, K, 1, B.ravel(), columns[c], N, *size, K)
    np.testing.assert_array_equal(parts, whole)


@DTYPES
@settings(max_examples=60)
@given(M=SIZES, N=SIZES, K=SIZES, Q=st.integers(0, 5), pads=st.tuples(*[st.integers(0, 7)] * 2), seed=SEEDS)
def test_sum_of_products(dtype, M, N, K, Q, pads, seed):
    """Several products at once have the bits of one after the other, whatever lies between the matrices."""
    rng = np.random.default_rng(seed)
    qa, qb = M * K + pads[0], K * N + pads[1]
    A, B = (rng.standard_normal((Q + 1) * pitch).astype(dtype) for pitch in (qa, qb))
    once = rng.standard_normal(M * N).astype(dtype)
    each = once.copy()
    add_products(once, 0, N, A, 0, K, 1, B, 0, N, M, N, K, Q, qa, qb)
    for q in range(Q):
        product(each, 0, N, A, q * qa, K, 1, B, q * qb, N, M, N, K)
    np.testing.assert_array_equal(once, each)


@DTYPES
def test_sum_over_nothing(dtype):
    """K = 0 leaves C as it is, whatever its size."""
    C = np.arange(35.0, dtype=dtype)
    product(C, 0, 7, C[:0].copy(), 0, 1, 1, C[:0].copy(), 0, 7, 5, 7, 0)
    np.testing.assert_array_equal(C, np.arange(35.0))
