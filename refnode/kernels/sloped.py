"""Products that are multiplied by the slope of tanh as they are stored: cotangents on their way through a layer.

    C[i, j] = (1 - H[i, j]^2) sum_k A[i, k] B[k, j]

H is what the forward solve left on its tape, which a cache may not hold. So memory is asked, while a product is summed,
for as much of the tape as lies before H: going backwards, that is what is read next.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from refnode.kernels.compiled import inline
from refnode.kernels.micro_kernels import begun, in_blocks, start
from refnode.kernels.products import BYTES, SUMS, VECTORS
from refnode.kernels.vectors import Vectors, integer

LINE = 64  # bytes that memory is asked for at once


@inline
def whole_vectors(A):
    """How many numbers of A's dtype a vector has."""
    return BYTES // A.itemsize


@intrinsic
def sloped_products(
    typing_context: Any, C: Any, c0: Any, A: Any, a0: Any, B: Any, b0: Any, H: Any, h0: Any, M: Any, N: Any, K: Any
) -> Any:  # fmt: skip
    """The same for i < M, j < N, k < K, all rows contiguous; N is a multiple of `whole_vectors` of the dtype."""
    i = types.intp
    return types.none(C, i, A, i, B, i, H, i, i, i, i), _call


def _call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    C, A, B, H = (start(context, builder, signature, arguments, n) for n in (0, 2, 4, 6))
    function = _panels(builder.module, signature.args[0].dtype == types.float32)
    builder.call(function, [C, A, B, H, *arguments[8:]])
    return context.get_dummy_value()


def _panels(module: Any, single: bool) -> Any:
    """void f(C, A, B, H, M, N, K): by panels of columns, as wide as there are."""
    function, new = begun(module, "sloped", single, "ppppiii")
    if not new:
        return function
    C, A, B, H, M, N, K = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes, one = BYTES // (4 if single else 8), integer(1)
    simd, done = Vectors(builder, lanes, single), integer(0)
    before = simd.place(H, (integer(-1), builder.mul(M, N)))
    for vectors in [count for count in (4, 2, 1) if count <= VECTORS]:
        panel, size = _block(module, min(8, SUMS // vectors), vectors, lanes, single), integer(vectors * lanes)
        count = builder.sdiv(builder.sub(N, done), size)

        def of_panel(n: Any, _: list[Any], panel: Any = panel, size: Any = size, done: Any = done) -> list[Any]:
            j = builder.add(done, builder.mul(n, size))
            C_j, B_j, H_j, before_j = (simd.place(p, (j, one)) for p in (C, B, H, before))
            builder.call(panel, [C_j, A, B_j, H_j, before_j, M, N, K])
            return []

        simd.loop("panel", count, [], of_panel)
        done = builder.add(done, builder.mul(count, size))
    builder.ret_void()
    return function


def _block(module: Any, rows: int, vectors: int, lanes: int, single: bool) -> Any:
    """void f(C, A, B, H, before, M, N, K): a few rows by a few vectors of columns; `before` is asked for."""
    function, new = begun(module, f"sloped_{rows}x{vectors * lanes}", single, "pppppiii")
    if not new:
        return function
    C, A, B, H, before, M, N, K = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    simd, one = Vectors(builder, lanes, single), integer(1)
    ones = ir.Constant(simd.type, [1.0] * lanes)

    def of_rows(first: Any, rows: int) -> None:
        C_n, H_n, before_n = (simd.place(p, (first, N)) for p in (C, H, before))
        A_n = simd.place(A, (first, K))
        places = [(r, v) for r in range(rows) for v in range(vectors)]
        for r in range(rows):
            for at in range(0, vectors * lanes * simd.bytes, LINE):
                _ask(module, builder, simd.beside(simd.place(before_n, (integer(r), N)), at // simd.bytes))

        def of_k(_: Any, carried: list[Any]) -> list[Any]:
            A_k, B_k, *sums = carried
            b = [simd.load(simd.beside(B_k, v * lanes)) for v in range(vectors)]
            a = [simd.broadcast(simd.place(A_k, (integer(r), K))) for r in range(rows)]
            sums = [simd.fma(a[r], b[v], total) for (r, v), total in zip(places, sums, strict=True)]
            return [simd.beside(A_k, 1), simd.place(B_k, (one, N)), *sums]

        sums = simd.loop("k", K, [A_n, B, *[simd.zero] * len(places)], of_k)[2:]
        for (r, v), total in zip(places, sums, strict=True):
            h, target = (simd.beside(simd.place(p, (integer(r), N)), v * lanes) for p in (H_n, C_n))
            value = simd.load(h)
            slope = builder.fsub(ones, builder.fmul(value, value))
            simd.store(builder.fmul(total, slope), target)

    in_blocks(simd, M, rows, of_rows)
    builder.ret_void()
    return function


def _ask(module: Any, builder: Any, place: Any) -> None:
    """Have the cache load what stands there, for reading, soon; nothing happens where no memory is."""
    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
    function = cgutils.get_or_insert_function(module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(place, byte), *(ir.Constant(word, n) for n in (0, 3, 1))])
