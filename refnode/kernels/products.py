"""Sums of matrix products of tiles: C = S + sum_q A_q B_q, row-major, with general strides of A, for any sizes.

Every element of C is a sum whose order depends on the number of columns and on K, never on how many rows there are or
how they are cut into blocks: k = 0 .. K - 1, in float32 long ones that are added to C from 0, and in `dots` a sum for
each lane of a vector, and these in a tree.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from refnode.kernels.compiled import inline
from refnode.kernels.micro_kernels import begun, block, columns, dots, start
from refnode.kernels.vectors import Vectors, integer, vector_bytes

BYTES = vector_bytes()
VECTORS, SUMS = (4, 16) if BYTES == 64 else (2, 8)  # vectors of a block, and accumulators, of 32 or 16 registers
KINDS = "pipipiipiiiiiii"  # of C, ldc, S, lds, A, row_step, k_step, B, ldb, M, N, K, Q, qa, qb
NARROW = 4  # the most columns that have kernels of their own


@intrinsic
def products(
    typing_context: Any, C: Any, c0: Any, ldc: Any, S: Any, s0: Any, lds: Any, A: Any, a0: Any, row_step: Any,
    k_step: Any, B: Any, b0: Any, ldb: Any, M: Any, N: Any, K: Any, Q: Any, qa: Any, qb: Any,
) -> Any:  # fmt: skip
    """C[i, j] = S[i, j] + sum_q sum_k A_q[i, k] B_q[k, j] for i < M, j < N, k < K, q < Q.

    C, S, A and B are flat arrays of one dtype; row i of C starts at c0 + i ldc, of S at s0 + i lds, A_q[i, k] stands at
    a0 + q qa + i row_step + k k_step, row k of B_q starts at b0 + q qb + k ldb. C may be S, with the same rows, and
    overlaps neither A nor B. lds = 0 adds one row to all, lds = -1 nothing.
    """
    i = types.intp
    return types.none(C, i, i, S, i, i, A, i, i, i, B, *[i] * 8), _call


def _call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    C, S, A, B = (start(context, builder, signature, arguments, n) for n in (0, 3, 6, 10))
    function = _products(builder.module, signature.args[0].dtype == types.float32)
    ldc, lds, A_steps, of_B = arguments[2], arguments[5], arguments[8:10], arguments[12:]
    builder.call(function, [C, ldc, S, lds, A, *A_steps, B, *of_B])
    return context.get_dummy_value()


@inline
def add_product(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K):
    """C[i, j] += sum_k A[i, k] B[k, j]."""
    products(C, c0, ldc, C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K, 1, 0, 0)


@inline
def add_products(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K, Q, qa, qb):
    """C[i, j] += sum_q sum_k A_q[i, k] B_q[k, j]."""
    products(C, c0, ldc, C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, M, N, K, Q, qa, qb)


def _products(module: Any, single: bool) -> Any:
    """`products` by the kernel that fits the sizes."""
    function, new = begun(module, "products", single, KINDS)
    if not new:
        return function
    C, ldc, S, lds, _, row_step, k_step, _, ldb, M, N, K, *_ = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = integer(BYTES // (4 if single else 8))

    def all_of(*tests: tuple[str, Any, Any]) -> Any:
        met = [builder.icmp_signed(*test) for test in tests]
        whole = met[0]
        for one in met[1:]:
            whole = builder.and_(whole, one)
        return whole

    narrow = "<=", N, integer(NARROW)
    along_k = all_of(narrow, ("==", ldb, N), ("==", k_step, integer(1)), (">=", K, lanes))
    same = builder.and_(builder.icmp_unsigned("==", C, S), builder.icmp_signed("==", lds, ldc))
    along_rows = builder.and_(same, all_of(narrow, ("==", ldc, N), ("==", row_step, integer(1)), (">=", M, lanes)))
    with builder.if_else(along_k) as (yes, no):
        with yes:
            _by_dots(builder, function, single)
        with no, builder.if_else(along_rows) as (then, otherwise):
            with then:
                _by_columns(builder, function, single)
            with otherwise:
                builder.call(_blocks(module, single), function.args)
    builder.ret_void()
    return function


def _blocks(module: Any, single: bool) -> Any:
    """The same by vectors of columns, as wide as there are, and the last columns one number at a time."""
    function, new = begun(module, "blocks", single, KINDS)
    if not new:
        return function
    C, ldc, S, lds, A, row_step, k_step, B, ldb, M, N, K, Q, qa, qb = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes, one = BYTES // (4 if single else 8), integer(1)
    simd, done = Vectors(builder, lanes, single), integer(0)
    alone = builder.icmp_signed("==", M, one)
    wide = [(SUMS // vectors, vectors, lanes) for vectors in range(VECTORS, 1, -2)]
    short = 4 if single else 2
    for rows, vectors, width in ((1, 2 * VECTORS, lanes), *wide, (8, 1, lanes), (8, 1, short), (8, 1, 1)):
        panel, size = block(module, rows, vectors, width, single), integer(vectors * width)
        count = builder.sdiv(builder.sub(N, done), size)
        if rows == 1:
            count = builder.select(alone, count, integer(0))

        def of_panel(n: Any, _: list[Any], panel: Any = panel, size: Any = size, done: Any = done) -> list[Any]:
            j = builder.add(done, builder.mul(n, size))
            C_j, S_j, B_j = (simd.place(p, (j, one)) for p in (C, S, B))
            builder.call(panel, [C_j, ldc, S_j, lds, A, row_step, k_step, B_j, ldb, M, K, Q, qa, qb])
            return []

        simd.loop("panel", count, [], of_panel)
        done = builder.add(done, builder.mul(count, size))
    builder.ret_void()
    return function


def _by_dots(builder: Any, function: Any, single: bool) -> None:
    """1 to 4 columns, whole rows of B, by vectors along k; numbers that fill no vector follow."""
    C, ldc, S, lds, A, row_step, k_step, B, ldb, M, N, K, Q, qa, qb = function.args
    lanes, one, none = BYTES // (4 if single else 8), integer(1), integer(0)
    simd, size = Vectors(builder, lanes, single), integer(lanes)
    chunks = builder.sdiv(K, size)
    whole = builder.mul(chunks, size)

    def of_pair(q: Any, carried: list[Any]) -> list[Any]:
        A_q, B_q, S_q, lds_q = carried
        for n in range(1, NARROW + 1):
            with builder.if_then(builder.icmp_signed("==", N, integer(n))):
                kernel = dots(builder.module, min(8, SUMS // n), n, lanes, single)
                builder.call(kernel, [C, ldc, S_q, lds_q, A_q, row_step, B_q, M, chunks])
        with builder.if_then(builder.icmp_signed("<", whole, K)):
            A_rest, B_rest, rest = simd.place(A_q, (whole, one)), simd.place(B_q, (whole, N)), builder.sub(K, whole)
            after = [C, ldc, C, ldc, A_rest, row_step, k_step, B_rest, ldb, M, N, rest, one, none, none]
            builder.call(_blocks(builder.module, single), after)
        return [simd.place(A_q, (one, qa)), simd.place(B_q, (one, qb)), C, ldc]

    simd.loop("pair", Q, [A, B, S, lds], of_pair)


def _by_columns(builder: Any, function: Any, single: bool) -> None:
    """1 to 4 columns, whole rows of C, by vectors along the rows; rows that fill no vector follow."""
    C, ldc, _, _, A, row_step, k_step, B, ldb, M, N, K, Q, qa, qb = function.args
    lanes, one = BYTES // (4 if single else 8), integer(1)
    simd, size = Vectors(builder, lanes, single), integer(lanes)
    count = builder.sdiv(M, size)
    whole = builder.mul(count, size)
    for n in range(1, NARROW + 1):
        with builder.if_then(builder.icmp_signed("==", N, integer(n))):
            kernel = columns(builder.module, n, VECTORS, lanes, single)
            builder.call(kernel, [C, A, k_step, B, ldb, count, K, Q, qa, qb])
    with builder.if_then(builder.icmp_signed("<", whole, M)):
        C_rest, A_rest, rest = simd.place(C, (whole, N)), simd.place(A, (whole, one)), builder.sub(M, whole)
        after = [C_rest, ldc, C_rest, ldc, A_rest, row_step, k_step, B, ldb, rest, N, K, Q, qa, qb]
        builder.call(_blocks(builder.module, single), after)
