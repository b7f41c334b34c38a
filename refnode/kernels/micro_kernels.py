"""The inner loops of matrix products, emitted as portable LLVM vectors.

    block     C[r, :] = S[r, :] + sum_q sum_k A_q[r, k] B_q[k, :]    a few rows by a few vectors of columns
    dots      C[r, j] = S[r, j] + sum_k A[r, k] B[k, j]              1 to 4 columns: vectors run along k
    columns   C[:, j] += sum_q sum_k A_q[k, :] B_q[k, j]             1 to 4 columns: vectors run along the rows

In float32 and where S is C, a long sum over k, of LONG terms or more, begins with 0 and is added to C: of the
thousands of terms that a weight's gradient consists of, each is rounded to the size of a sum over k, not to that of
C. Short sums, and those in float64, go on from C.

The accumulators stay in registers over a whole sum, and every number that is not part of a vector is broadcast
once: what a BLAS does, without its packing and call costs, which dominate at 64 columns. Each is an LLVM function
of its own that is never inlined, so the compiler meets its body once.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from refnode.kernels.vectors import INDEX, Vectors, integer

LONG = 32  # terms


def begun(module: Any, name: str, single: bool, kinds: str) -> tuple[Any, bool]:
    """The function of that name, and whether its body is yet to be written; kinds: p for a pointer, i for an index."""
    pointer = (ir.FloatType() if single else ir.DoubleType()).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer if letter == "p" else INDEX for letter in kinds])
    function = cgutils.get_or_insert_function(module, kind, f"refnode_{name}_f{32 if single else 64}")
    if not function.is_declaration:
        return function, False
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    function.attributes.add("optsize")  # no loop is unrolled once more
    return function, True


def start(context: Any, builder: Any, signature: Any, arguments: Any, n: int) -> Any:
    """The place in an intrinsic's argument n, an array, that the next argument says."""
    array = cgutils.create_struct_proxy(signature.args[n])(context, builder, value=arguments[n])
    return builder.gep(array.data, [arguments[n + 1]])


def block(module: Any, rows: int, vectors: int, lanes: int, single: bool) -> Any:
    """void f(C, ldc, S, lds, A, row_step, k_step, B, ldb, M, K, Q, a_block, b_block); C starts from 0 if lds < 0."""
    function, new = begun(module, f"block_{rows}x{vectors * lanes}", single, "pipipiipiiiiii")
    if not new:
        return function
    C, ldc, S, lds, A, row_step, k_step, B, ldb, M, K, Q, a_block, b_block = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    simd = Vectors(builder, lanes, single)
    zeros = _zeros(simd, vectors * lanes)
    S, lds = _first_rows(simd, S, lds, zeros)
    apart, groups, pairs = _groups(simd, K, Q, builder.icmp_unsigned("==", C, S))

    def of_rows(first: Any, rows: int) -> None:
        C_n, S_n, A_n = (simd.place(p, (first, step)) for p, step in ((C, ldc), (S, lds), (A, row_step)))
        places = [(r, v) for r in range(rows) for v in range(vectors)]

        def of_k(_: Any, carried: list[Any]) -> list[Any]:
            A_k, B_k, *sums = carried
            b = [simd.load(simd.beside(B_k, v * lanes)) for v in range(vectors)]
            a = [simd.broadcast(simd.place(A_k, (integer(r), row_step))) for r in range(rows)]
            sums = [simd.fma(a[r], b[v], total) for (r, v), total in zip(places, sums, strict=True)]
            return [simd.place(A_k, (integer(1), k_step)), simd.place(B_k, (integer(1), ldb)), *sums]

        def at(matrix: Any, step: Any) -> list[Any]:
            return [simd.beside(simd.place(matrix, (integer(r), step)), v * lanes) for r, v in places]

        def of_group(_: Any, carried: list[Any]) -> list[Any]:
            A_g, B_g = carried
            begin = at(builder.select(apart, zeros, S_n), builder.select(apart, integer(0), lds))
            start = [simd.load(place) for place in begin]
            sums = _over_pairs(simd, K, pairs, (A_g, a_block), (B_g, b_block), start, of_k)
            target = at(C_n, ldc)
            with builder.if_else(apart) as (add, put):
                with add:
                    for total, place in zip(sums, target, strict=True):
                        simd.store(builder.fadd(simd.load(place), total), place)
                with put:
                    for total, place in zip(sums, target, strict=True):
                        simd.store(total, place)
            return [simd.place(A_g, (integer(1), a_block)), simd.place(B_g, (integer(1), b_block))]

        simd.loop("group", groups, [A_n, B], of_group)

    in_blocks(simd, M, rows, of_rows, pairs=vectors > 1)
    builder.ret_void()
    return function


def dots(module: Any, rows: int, columns: int, lanes: int, single: bool) -> Any:
    """void f(C, ldc, S, lds, A, row_step, B, M, chunks): B's rows are `columns` long, K = chunks * lanes."""
    function, new = begun(module, f"dots_{rows}x{columns}_{lanes}", single, "pipipipii")
    if not new:
        return function
    C, ldc, S, lds, A, row_step, B, M, chunks = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    simd = Vectors(builder, lanes, single)
    S, lds = _first_rows(simd, S, lds, _zeros(simd, columns))

    def of_rows(first: Any, rows: int) -> None:
        C_n, S_n, A_n = (simd.place(p, (first, step)) for p, step in ((C, ldc), (S, lds), (A, row_step)))

        def of_chunk(k: Any, sums: list[Any]) -> list[Any]:
            B_k = simd.load(simd.place(B, (k, integer(columns * lanes))), columns * lanes)
            b = [simd.pick(B_k, B_k, list(range(j, columns * lanes, columns))) for j in range(columns)]
            A_k = simd.place(A_n, (k, integer(lanes)))
            a = [simd.load(simd.place(A_k, (integer(r), row_step))) for r in range(rows)]
            return [simd.fma(a[m // columns], b[m % columns], total) for m, total in enumerate(sums)]

        sums = simd.loop("k", chunks, [simd.zero] * (rows * columns), of_chunk)
        totals = _lane_sums(simd, sums)
        for r in range(rows):
            place, start = simd.place(C_n, (integer(r), ldc)), simd.place(S_n, (integer(r), lds))
            at = r * columns // lanes
            own = [r * columns + j - at * lanes for j in range(columns)]
            row = simd.pick(totals[at], totals[min(at + 1, len(totals) - 1)], own)
            simd.store(builder.fadd(simd.load(start, columns), row), place)

    in_blocks(simd, M, rows, of_rows)
    builder.ret_void()
    return function


def _first_rows(simd: Vectors, S: Any, lds: Any, zeros: Any) -> tuple[Any, Any]:
    """S and its pitch; where that is -1, zeros for every row."""
    none = simd.builder.icmp_signed("<", lds, integer(0))
    return simd.builder.select(none, zeros, S), simd.builder.select(none, integer(0), lds)


def _zeros(simd: Vectors, count: int) -> Any:
    """Where so many zeros stand."""
    builder = simd.builder
    name = f"refnode_{count}_zeros_f{8 * simd.bytes}"
    zeros = builder.module.globals.get(name)
    if zeros is None:
        zeros = ir.GlobalVariable(builder.module, ir.ArrayType(simd.real, count), name)
        zeros.linkage, zeros.global_constant = "linkonce_odr", True
        zeros.initializer = ir.Constant(zeros.type.pointee, [0.0] * count)
    return builder.gep(zeros, [integer(0), integer(0)])


def _groups(simd: Vectors, K: Any, Q: Any, added: Any) -> tuple[Any, Any, Any]:
    """Whether the pairs' sums are added to C one by one; how many groups of pairs, and how many pairs in each."""
    builder, one = simd.builder, integer(1)
    if simd.bytes == 8:
        return ir.Constant(ir.IntType(1), 0), one, Q
    apart = builder.and_(added, builder.icmp_signed(">=", K, integer(LONG)))
    return apart, builder.select(apart, Q, one), builder.select(apart, one, Q)


def _over_pairs(
    simd: Vectors, K: Any, Q: Any, A: tuple[Any, Any], B: tuple[Any, Any], sums: list[Any], body: Callable[..., Any]
) -> list[Any]:
    """body(k, [A_k, B_k, *sums]) for k < K of every pair q < Q, which lie apart as A and B say; the sums."""

    def of_q(_: Any, carried: list[Any]) -> list[Any]:
        A_q, B_q = carried[:2]
        after = simd.loop("k", K, carried, body)[2:]
        return [simd.place(A_q, (integer(1), A[1])), simd.place(B_q, (integer(1), B[1])), *after]

    return simd.loop("q", Q, [A[0], B[0], *sums], of_q)[2:]


def in_blocks(simd: Vectors, count: Any, size: int, body: Callable[[Any, int], None], pairs: bool = False) -> None:
    """body(first, size) for 0, size, .. while so many are left of `count`, then body(n, 1) for each that is left.

    With `pairs` body(n, 2) before that, which waits half as long where there are few.
    """
    builder = simd.builder
    blocks = builder.sdiv(count, integer(size))

    def of_block(n: Any, _: list[Any]) -> list[Any]:
        body(builder.mul(n, integer(size)), size)
        return []

    def of_one(n: Any, _: list[Any]) -> list[Any]:
        body(builder.add(builder.mul(blocks, integer(size)), n), 1)
        return []

    simd.loop("block", blocks, [], of_block)
    if size > 2 and pairs:
        first = builder.mul(blocks, integer(size))
        in_blocks(simd, builder.sub(count, first), 2, lambda n, rows: body(builder.add(first, n), rows))
    elif size > 1:
        simd.loop("one", builder.srem(count, integer(size)), [], of_one)


def _lane_sums(simd: Vectors, vectors: list[Any]) -> list[Any]:
    """The sum over each vector's lanes, one after the other in as few vectors as hold them: half plus half, again."""
    width = simd.lanes
    while width > 1:
        half, pairs = width // 2, zip(vectors[::2], vectors[1::2] + vectors[-1:], strict=False)
        low = [group + n for group in range(0, 2 * simd.lanes, width) for n in range(half)]
        high = [n + half for n in low]
        vectors = [simd.builder.fadd(simd.pick(a, b, low), simd.pick(a, b, high)) for a, b in pairs]
        width = half
    return vectors


def columns(module: Any, columns: int, vectors: int, lanes: int, single: bool) -> Any:
    """void f(C, A, k_step, B, ldb, M, K, Q, a_block, b_block): rows of C are `columns` long, A[:, k] is contiguous.

    Does M vectors of rows.
    """
    function, new = begun(module, f"columns_{vectors * lanes}x{columns}", single, "ppipiiiiii")
    if not new:
        return function
    C, A, k_step, B, ldb, M, K, Q, a_block, b_block = function.args
    kind = ir.VectorType(C.type.pointee, columns * lanes)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    simd = Vectors(builder, lanes, single)
    apart, groups, pairs = _groups(simd, K, Q, ir.Constant(ir.IntType(1), 1))

    def of_rows(first: Any, vectors: int) -> None:
        C_n, A_n = (simd.place(p, (first, integer(size * lanes))) for p, size in ((C, columns), (A, 1)))
        places = [(v, j) for v in range(vectors) for j in range(columns)]

        def of_k(_: Any, carried: list[Any]) -> list[Any]:
            A_k, B_k, *sums = carried
            a = [simd.load(simd.beside(A_k, v * lanes)) for v in range(vectors)]
            b = [simd.broadcast(simd.beside(B_k, j)) for j in range(columns)]
            sums = [simd.fma(a[v], b[j], total) for (v, j), total in zip(places, sums, strict=True)]
            return [simd.place(A_k, (integer(1), k_step)), simd.place(B_k, (integer(1), ldb)), *sums]

        rows = [simd.beside(C_n, v * lanes * columns) for v in range(vectors)]

        def of_group(_: Any, carried: list[Any]) -> list[Any]:
            A_g, B_g = carried
            before, zero = [simd.load(row, columns * lanes) for row in rows], ir.Constant(kind, [0.0] * columns * lanes)
            begin = [builder.select(apart, zero, row) for row in before]
            start = [simd.pick(begin[v], begin[v], list(range(j, columns * lanes, columns))) for v, j in places]
            sums = _over_pairs(simd, K, pairs, (A_g, a_block), (B_g, b_block), start, of_k)
            for v, row in enumerate(rows):
                total = _interleaved(simd, sums[v * columns : (v + 1) * columns])
                simd.store(builder.fadd(builder.select(apart, before[v], zero), total), row)
            return [simd.place(A_g, (integer(1), a_block)), simd.place(B_g, (integer(1), b_block))]

        simd.loop("group", groups, [A_n, B], of_group)

    in_blocks(simd, M, vectors, of_rows)
    builder.ret_void()
    return function


def _interleaved(simd: Vectors, vectors: list[Any]) -> Any:
    """Lane 0 of each, lane 1 of each, .. in one vector."""
    count, lanes = len(vectors), simd.lanes
    while len(vectors) > 1:
        length = vectors[0].type.count
        pairs = zip(vectors[::2], vectors[1::2] + vectors[-1:], strict=False)
        vectors = [simd.pick(a, b, list(range(2 * length))) for a, b in pairs]
    return simd.pick(vectors[0], vectors[0], [j * lanes + n for n in range(lanes) for j in range(count)])
