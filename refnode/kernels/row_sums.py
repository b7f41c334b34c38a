"""Sums of the rows of tiles, C += sum_q sum_k B_q[k, :], which biases receive.

One sum of a thousand rows would wait for each addition before the next. So the rows of a pair go to SUMS of them in
turn, those that are left over to the first; joined, ((0 + 1) + (2 + 3)), they are added to C.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from refnode.kernels.micro_kernels import begun, start
from refnode.kernels.products import BYTES, VECTORS
from refnode.kernels.vectors import Vectors, integer

SUMS = 4


@intrinsic
def add_row_sums(
    typing_context: Any, C: Any, c0: Any, B: Any, b0: Any, ldb: Any, N: Any, K: Any, Q: Any, qb: Any
) -> Any:  # fmt: skip
    """C[j] += sum_q sum_k B_q[k, j] for j < N; row k of B_q starts at b0 + q qb + k ldb."""
    i = types.intp
    return types.none(C, i, B, i, i, i, i, i, i), _call


def _call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    C, B = (start(context, builder, signature, arguments, n) for n in (0, 2))
    builder.call(_panels(builder.module, signature.args[0].dtype == types.float32), [C, B, *arguments[4:]])
    return context.get_dummy_value()


def _panels(module: Any, single: bool) -> Any:
    """void f(C, B, ldb, N, K, Q, qb): by vectors of columns, as wide as there are, and then by single columns."""
    function, new = begun(module, "row_sums", single, "ppiiiii")
    if not new:
        return function
    C, B, ldb, N, K, Q, qb = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes, one = BYTES // (4 if single else 8), integer(1)
    simd, done = Vectors(builder, lanes, single), integer(0)
    for vectors, width in ((VECTORS, lanes), (1, lanes), (1, 1)):
        panel, size = _panel(module, vectors, width, single), integer(vectors * width)
        count = builder.sdiv(builder.sub(N, done), size)

        def of_panel(n: Any, _: list[Any], panel: Any = panel, size: Any = size, done: Any = done) -> list[Any]:
            j = builder.add(done, builder.mul(n, size))
            builder.call(panel, [simd.place(C, (j, one)), simd.place(B, (j, one)), ldb, K, Q, qb])
            return []

        simd.loop("panel", count, [], of_panel)
        done = builder.add(done, builder.mul(count, size))
    builder.ret_void()
    return function


def _panel(module: Any, vectors: int, lanes: int, single: bool) -> Any:
    """void f(C, B, ldb, K, Q, qb): a few vectors of columns."""
    function, new = begun(module, f"row_sums_{vectors * lanes}", single, "ppiiii")
    if not new:
        return function
    C, B, ldb, K, Q, qb = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    simd, turns = Vectors(builder, lanes, single), integer(SUMS)
    places = [(u, v) for u in range(SUMS) for v in range(vectors)]

    def of_rows(rows: int) -> Any:
        def add(_: Any, carried: list[Any]) -> list[Any]:
            B_k, *sums = carried
            for n, (u, v) in enumerate(places[: rows * vectors]):
                row = simd.load(simd.beside(simd.place(B_k, (integer(u), ldb)), v * lanes))
                sums[n] = builder.fadd(sums[n], row)
            return [simd.place(B_k, (integer(rows), ldb)), *sums]

        return add

    def of_pair(_: Any, carried: list[Any]) -> list[Any]:
        (B_q,) = carried
        sums = simd.loop("turn", builder.sdiv(K, turns), [B_q, *[simd.zero] * len(places)], of_rows(SUMS))
        sums = simd.loop("rest", builder.srem(K, turns), sums, of_rows(1))[1:]
        for v in range(vectors):
            a, b, c, d = sums[v::vectors]
            total, place = builder.fadd(builder.fadd(a, b), builder.fadd(c, d)), simd.beside(C, v * lanes)
            simd.store(builder.fadd(simd.load(place), total), place)
        return [simd.place(B_q, (integer(1), qb))]

    simd.loop("pair", Q, [B], of_pair)
    builder.ret_void()
    return function
