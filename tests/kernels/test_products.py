"""Products of any sizes and strides are numpy's to round-off, and their bits do not depend on how they are cut."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from refnode.kernels.compiled import kernel
from refnode.kernels.products import add_product, add_products, products
from refnode.kernels.row_sums import SUMS, add_row_sums
from refnode.kernels.transpose import transpose

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
SIZES = st.one_of(st.integers(1, 9), st.integers(1, 130))
SEEDS = st.integers(0, 2**32 - 1)


@kernel
def product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
    """`add_product`, which is for compiled code only, for a test to call."""
    add_product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K)


@kernel
def with_start(C, c0, ldc, S, s0, lds, A, row_step, B, ldb, M, N, K):
    """`products` of one pair."""
    products(C, c0, ldc, S, s0, lds, A, 0, row_step, 1, B, 0, ldb, M, N, K, 1, 0, 0)


@kernel
def row_sums(C, c0, B, b0, ldb, N, K, Q, qb):
    """`add_row_sums`."""
    add_row_sums(C, c0, B, b0, ldb, N, K, Q, qb)


@kernel
def transposed(X, x0, i, o, Y, y0):
    """`transpose`."""
    transpose(X, x0, i, o, Y, y0)


@kernel
def several(C, A, B, M, N, K, Q, qa, qb):
    """`add_products`."""
    add_products(C, 0, N, A, 0, K, 1, B, 0, N, M, N, K, Q, qa, qb)


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
    """Cutting rows anywhere, and more than four columns, gives the same bits: a row does not see its company."""
    rng = np.random.default_rng(seed)
    A, B, C = (rng.standard_normal(shape).astype(dtype) for shape in ((M, K), (K, N), (M, N)))
    whole, parts = C.ravel().copy(), C.ravel().copy()
    product(whole, 0, N, A.ravel(), 0, K, 1, B.ravel(), 0, N, M, N, K)
    rows, columns = (0, round(row * M), M), (0, round(column * N) if N > 4 else N, N)
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
    several(once, A, B, M, N, K, Q, qa, qb)
    for q in range(Q):
        product(each, 0, N, A, q * qa, K, 1, B, q * qb, N, M, N, K)
    np.testing.assert_array_equal(once, each)


@DTYPES
def test_sum_over_nothing(dtype):
    """K = 0 leaves C as it is, whatever its size."""
    C = np.arange(35.0, dtype=dtype)
    product(C, 0, 7, C[:0].copy(), 0, 1, 1, C[:0].copy(), 0, 7, 5, 7, 0)
    np.testing.assert_array_equal(C, np.arange(35.0))


@DTYPES
@settings(max_examples=60)
@given(M=SIZES, N=SIZES, K=SIZES, pads=st.tuples(*[st.integers(0, 7)] * 2), seed=SEEDS)
def test_starts(dtype, M, N, K, pads, seed):
    """From one row for all, or from nothing, is the sum from rows that were written down; columns beside stay."""
    rng = np.random.default_rng(seed)
    A, B, bias = (rng.standard_normal(size).astype(dtype) for size in (M * K, K * N, N + 3))
    noise, ldc = rng.standard_normal(pads[0] + M * (N + pads[1])).astype(dtype), N + pads[1]
    for s0, lds, row in ((3, 0, bias[3:]), (0, -1, np.zeros(N, dtype))):
        got, want, written = noise.copy(), noise.copy(), noise.copy()
        written[pads[0] :].reshape(M, ldc)[:, :N] = row
        with_start(got, pads[0], ldc, bias, s0, lds, A, K, B, N, M, N, K)
        with_start(want, pads[0], ldc, written, pads[0], ldc, A, K, B, N, M, N, K)
        np.testing.assert_array_equal(got, want)


@DTYPES
@settings(max_examples=60)
@given(N=SIZES, K=SIZES, Q=st.integers(0, 3), pads=st.tuples(*[st.integers(0, 7)] * 2), seed=SEEDS)
def test_row_sums(dtype, N, K, Q, pads, seed):
    """Sums of every fourth row, those left over beside the first, joined in pairs and added."""
    rng = np.random.default_rng(seed)
    ldb = N + pads[0]
    pitch = K * ldb + pads[1]
    B, got = rng.standard_normal((Q + 1) * pitch).astype(dtype), rng.standard_normal(N).astype(dtype)
    want = got.copy()
    for q in range(Q):
        total = np.zeros((SUMS, N), dtype)
        for k, row in enumerate(B[q * pitch : q * pitch + K * ldb].reshape(K, ldb)[:, :N]):
            total[k % SUMS if k < K // SUMS * SUMS else 0] += row
        want += (total[0] + total[1]) + (total[2] + total[3])
    row_sums(got, 0, B, 0, ldb, N, K, Q, pitch)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("N", [1, 2, 3, 4, 9, 40, 130])
def test_long_sums_lose_no_small_terms(N):
    """2^20 + 64 times 0.05, in float32, whose numbers stand 1/8 apart there: every single term would be lost."""
    M, K, Q = 19, 64, 3
    C, A, B = np.full(M * N, 2.0**20, np.float32), np.ones(Q * M * K, np.float32), np.full(Q * K * N, 0.05, np.float32)
    several(C, A, B, M, N, K, Q, M * K, K * N)
    np.testing.assert_allclose(C - 2.0**20, Q * K * 0.05, rtol=0, atol=Q / 16)
    C[:] = 2.0**20
    for q in range(Q):                                  # A transposed, as weights' gradients have it
        product(C, 0, N, A, 0, 1, M, B, q * K * N, N, M, N, K)
    np.testing.assert_allclose(C - 2.0**20, Q * K * 0.05, rtol=0, atol=Q / 16)


@DTYPES
@settings(max_examples=60)
@given(i=SIZES, o=SIZES, at=st.tuples(*[st.integers(0, 7)] * 2), seed=SEEDS)
def test_transpose(dtype, i, o, at, seed):
    """Every entry goes to its place, and none elsewhere."""
    rng = np.random.default_rng(seed)
    X, Y = (rng.standard_normal(before + i * o + 3).astype(dtype) for before in at)
    want = Y.copy()
    want[at[1] : at[1] + i * o] = X[at[0] : at[0] + i * o].reshape(i, o).T.ravel()
    transposed(X, at[0], i, o, Y, at[1])
    np.testing.assert_array_equal(Y, want)
