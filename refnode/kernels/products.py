"""Sums of matrix products of tiles: C += sum_q A_q B_q, row-major, with general strides of A, for any sizes.

Every element of C is one sum over q and over k from 0 to K - 1 in that order, whatever the blocking, so results do not
depend on how rows and columns are cut into blocks.
"""

from refnode.kernels.compiled import inline, kernel
from refnode.kernels.vectors import lanes_of, micro_kernel, vector_bytes

BYTES = vector_bytes()
ROWS, VECTORS = 4, (4 if BYTES == 64 else 2)  # 16 or 8 accumulators, of 32 or 16 registers
TALL = 8  # rows of a block that is one vector wide

wide, wide_row = micro_kernel(ROWS, VECTORS, BYTES), micro_kernel(1, VECTORS, BYTES)
tall, row = micro_kernel(TALL, 1, BYTES), micro_kernel(1, 1, BYTES)
tall_16, row_16 = micro_kernel(TALL, 1, 16), micro_kernel(1, 1, 16)
tall_8, row_8 = micro_kernel(TALL, 1, 8), micro_kernel(1, 1, 8)


@kernel
def columns_alone(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, j, N, K, Q, qa, qb):
    """Columns j .. N - 1, one number at a time."""
    for column in range(j, N):
        for i in range(M):
            total = C[c0 + i * ldc + column]
            for q in range(Q):
                a, b = a0 + q * qa + i * row_step, b0 + q * qb + column
                for k in range(K):
                    total += A[a + k * k_step] * B[b + k * ldb]
            C[c0 + i * ldc + column] = total


@kernel
def add_products(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K, Q, qa, qb):
    """C[i, j] += sum_q sum_k A_q[i, k] B_q[k, j] for i < M, j < N, k < K, q < Q.

    C, A and B are flat arrays of one dtype; row i of C starts at c0 + i ldc, A_q[i, k] stands at
    a0 + q qa + i row_step + k k_step, row k of B_q starts at b0 + q qb + k ldb. C overlaps neither A nor B.
    """
    j, lanes = 0, lanes_of(C, BYTES)
    while j + VECTORS * lanes <= N:
        i = 0
        while i + ROWS <= M:
            wide(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K, Q, qa, qb)
            i += ROWS
        while i < M:
            wide_row(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K, Q, qa, qb)
            i += 1
        j += VECTORS * lanes
    while j + lanes <= N:
        i = 0
        while i + TALL <= M:
            tall(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K, Q, qa, qb)
            i += TALL
        while i < M:
            row(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K, Q, qa, qb)
            i += 1
        j += lanes
    lanes = lanes_of(C, 16)
    while j + lanes <= N:
        i = 0
        while i + TALL <= M:
            tall_16(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K, Q, qa, qb)
            i += TALL
        while i < M:
            row_16(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K, Q, qa, qb)
            i += 1
        j += lanes
    lanes = lanes_of(C, 8)
    while lanes > 1 and j + lanes <= N:
        i = 0
        while i + TALL <= M:
            tall_8(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K, Q, qa, qb)
            i += TALL
        while i < M:
            row_8(C, c0 + i * ldc + j, ldc, A, a0 + i * row_step, row_step, k_step, B, b0 + j, ldb, K, Q, qa, qb)
            i += 1
        j += lanes
    columns_alone(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, j, N, K, Q, qa, qb)


@inline
def add_product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
    """C[i, j] += sum_k A[i, k] B[k, j]: `add_products` of one pair."""
    add_products(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K, 1, 0, 0)
