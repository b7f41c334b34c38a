"""Matrix products of tiles: C += A B, row-major, with general strides of A, for any sizes.

Every element of C is one sum over k from 0 to K - 1 in that order, whatever the blocking, so results do not depend on
how rows and columns are cut into blocks.
"""

from numba.core import types
from numba.extending import overload

from refnode.kernels.compiled import kernel
from refnode.kernels.vectors import micro_kernel, vector_bytes

BYTES = vector_bytes()
LANES_64, LANES_32 = BYTES // 8, BYTES // 4
ROWS, VECTORS = 4, (4 if BYTES == 64 else 2)  # 16 or 8 accumulators, of 32 or 16 registers
TALL = 8  # rows of a block that is one vector wide

wide_64, wide_row_64 = micro_kernel(ROWS, VECTORS, LANES_64, False), micro_kernel(1, VECTORS, LANES_64, False)
tall_64, row_64 = micro_kernel(TALL, 1, LANES_64, False), micro_kernel(1, 1, LANES_64, False)
pair_64, pair_row_64 = micro_kernel(TALL, 1, 2, False), micro_kernel(1, 1, 2, False)
wide_32, wide_row_32 = micro_kernel(ROWS, VECTORS, LANES_32, True), micro_kernel(1, VECTORS, LANES_32, True)
tall_32, row_32 = micro_kernel(TALL, 1, LANES_32, True), micro_kernel(1, 1, LANES_32, True)
quad_32, quad_row_32 = micro_kernel(TALL, 1, 4, True), micro_kernel(1, 1, 4, True)
pair_32, pair_row_32 = micro_kernel(TALL, 1, 2, True), micro_kernel(1, 1, 2, True)


@kernel
def columns_alone(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, j, N, K):
    """Columns j .. N - 1, one number at a time."""
    for column in range(j, N):
        for i in range(M):
            total = C[c0 + i * ldc + column]
            for k in range(K):
                total += A[a0 + i * row_step + k * k_step] * B[b0 + k * ldb + column]
            C[c0 + i * ldc + column] = total


@kernel
def product_64(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
    """C += A B in float64; see `add_product`."""
    j = 0
    while j + VECTORS * LANES_64 <= N:
        i = 0
        while i + ROWS <= M:
            wide_64(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += ROWS
        while i < M:
            wide_row_64(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += 1
        j += VECTORS * LANES_64
    while j + LANES_64 <= N:
        i = 0
        while i + TALL <= M:
            tall_64(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += TALL
        while i < M:
            row_64(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += 1
        j += LANES_64
    while j + 2 <= N:
        i = 0
        while i + TALL <= M:
            pair_64(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += TALL
        while i < M:
            pair_row_64(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += 1
        j += 2
    columns_alone(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, j, N, K)


@kernel
def product_32(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
    """C += A B in float32; see `add_product`."""
    j = 0
    while j + VECTORS * LANES_32 <= N:
        i = 0
        while i + ROWS <= M:
            wide_32(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += ROWS
        while i < M:
            wide_row_32(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += 1
        j += VECTORS * LANES_32
    while j + LANES_32 <= N:
        i = 0
        while i + TALL <= M:
            tall_32(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += TALL
        while i < M:
            row_32(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += 1
        j += LANES_32
    while j + 4 <= N:
        i = 0
        while i + TALL <= M:
            quad_32(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += TALL
        while i < M:
            quad_row_32(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += 1
        j += 4
    while j + 2 <= N:
        i = 0
        while i + TALL <= M:
            pair_32(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += TALL
        while i < M:
            pair_row_32(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K)
            i += 1
        j += 2
    columns_alone(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, j, N, K)


def add_product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
    """C[i, j] += sum_k A[i, k] B[k, j] for i < M, j < N, k < K.

    C, A and B are flat arrays of one dtype; row i of C starts at c0 + i ldc, A[i, k] stands at
    a0 + i row_step + k k_step, row k of B starts at b0 + k ldb. C overlaps neither A nor B.
    """
    raise NotImplementedError("compiled code only")


@overload(add_product)
def _add_product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
    product = product_32 if C.dtype is types.float32 else product_64

    def implementation(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
        product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K)

    return implementation
