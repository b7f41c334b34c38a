"""The matrix micro-kernel, emitted as portable LLVM vectors, and the width of those vectors on this machine.

    C[r, :] += sum_q sum_k A_q[r, k] B_q[k, :]        for a few rows r and a few vectors of columns

The accumulators stay in registers over the whole sum, and every A[r, k] is broadcast once: what a BLAS does, without
its packing and call costs, which dominate at 64 columns. LLVM lowers the vectors to whatever the machine has, so the
same code runs with AVX-512, AVX2, SSE and NEON.
"""

import os
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

INDEX = ir.IntType(64)


def vector_bytes() -> int:
    """Bytes of the widest vectors worth using: REFNODE_VECTOR_BYTES if set (16, 32 or 64), else what the CPU says."""
    asked = os.environ.get("REFNODE_VECTOR_BYTES")
    if asked is not None:
        if asked not in ("16", "32", "64"):
            raise ValueError(f"REFNODE_VECTOR_BYTES: got {asked!r}; must be 16, 32 or 64")
        return int(asked)
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx") else 16


def _data(context: Any, builder: Any, type_: Any, value: Any) -> Any:
    """The pointer to an array's numbers."""
    return cgutils.create_struct_proxy(type_)(context, builder, value=value).data


class _Vectors:
    """Loads, stores and broadcasts of vectors of `lanes` reals, in one function under construction."""

    def __init__(self, builder: Any, lanes: int, single: bool) -> None:
        self.builder, self.lanes = builder, lanes
        self.type = ir.VectorType(ir.FloatType() if single else ir.DoubleType(), lanes)
        self.bytes = 4 if single else 8
        name = f"llvm.fmuladd.v{lanes}f{8 * self.bytes}"
        self.fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.type, [self.type] * 3), name)

    def place(self, pointer: Any, *strides: tuple[Any, Any]) -> Any:
        """pointer + sum of count * stride, in reals."""
        offset = ir.Constant(INDEX, 0)
        for count, stride in strides:
            offset = self.builder.add(offset, self.builder.mul(count, stride))
        return self.builder.gep(pointer, [offset])

    def load(self, pointer: Any) -> Any:
        vector = self.builder.load(self.builder.bitcast(pointer, self.type.as_pointer()))
        vector.align = self.bytes
        return vector

    def store(self, vector: Any, pointer: Any) -> None:
        self.builder.store(vector, self.builder.bitcast(pointer, self.type.as_pointer())).align = self.bytes

    def broadcast(self, pointer: Any) -> Any:
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, self.builder.load(pointer), ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, everywhere)


def _integer(n: int) -> Any:
    return ir.Constant(INDEX, n)


def _define(module: Any, rows: int, vectors: int, lanes: int, single: bool) -> Any:
    """The micro-kernel as an LLVM function of its own, never inlined: the compiler meets its body once.

    void f(C, ldc, A, row_step, k_step, B, ldb, K, Q, a_block, b_block)
    """
    real = ir.FloatType() if single else ir.DoubleType()
    name = f"refnode_product_{rows}x{vectors * lanes}_f{32 if single else 64}"
    pointer = real.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [pointer, INDEX, pointer, INDEX, INDEX, pointer, *[INDEX] * 5])
    function = cgutils.get_or_insert_function(module, kind, name)
    if not function.is_declaration:
        return function
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    C, ldc, A, row_step, k_step, B, ldb, K, Q, a_block, b_block = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    simd = _Vectors(builder, lanes, single)
    one = _integer(1)
    places = [
        simd.place(C, (_integer(r), ldc), (one, _integer(v * lanes))) for r in range(rows) for v in range(vectors)
    ]
    before = [simd.load(place) for place in places]

    def of_block(q: Any, sums: list[Any]) -> list[Any]:
        A_q, B_q = simd.place(A, (q, a_block)), simd.place(B, (q, b_block))

        def of_k(k: Any, sums: list[Any]) -> list[Any]:
            b = [simd.load(simd.place(B_q, (k, ldb), (one, _integer(v * lanes)))) for v in range(vectors)]
            a = [simd.broadcast(simd.place(A_q, (k, k_step), (_integer(r), row_step))) for r in range(rows)]
            return [builder.call(simd.fma, [a[n // vectors], b[n % vectors], total]) for n, total in enumerate(sums)]

        return _loop(builder, "k", K, sums, of_k)

    for place, result in zip(places, _loop(builder, "q", Q, before, of_block), strict=True):
        simd.store(result, place)
    builder.ret_void()
    return function


def _loop(builder: Any, name: str, count: Any, sums: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> Any:
    """body(n, sums) for n = 0 .. count - 1, handing on what it returns; the last of it."""
    function, entry = builder.function, builder.block
    loop, done = function.append_basic_block(name), function.append_basic_block(f"{name}_done")
    builder.cbranch(builder.icmp_signed(">", count, _integer(0)), loop, done)
    builder.position_at_end(loop)
    n, carried = builder.phi(INDEX), [builder.phi(total.type) for total in sums]
    after = body(n, carried)
    following, end = builder.add(n, _integer(1)), builder.block
    for phi, first, last in zip((n, *carried), (_integer(0), *sums), (following, *after), strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(last, end)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    results = [builder.phi(total.type) for total in sums]
    for phi, first, last in zip(results, sums, after, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(last, end)
    return results


def micro_kernel(rows: int, vectors: int, vector: int) -> Callable[..., None]:
    """A kernel that adds sum_q A_q B_q to `rows` rows of `vectors` vectors, of `vector` bytes each, of C:

        kernel(C, c0, ldc, A, a0, row_step, k_step, B, b0, ldb, K, Q, a_block, b_block)

    C row r starts at c0 + r ldc, A_q[r, k] stands at a0 + q a_block + r row_step + k k_step, B_q row k at
    b0 + q b_block + k ldb. All arrays are flat and of one dtype; the general strides of A serve A and its transpose.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        C, A, B = (_data(context, builder, signature.args[i], arguments[i]) for i in (0, 3, 7))
        c0, ldc, a0, row_step, k_step, b0, ldb, *counts = (arguments[i] for i in (1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13))
        single = signature.args[0].dtype == types.float32
        function = _define(builder.module, rows, vectors, vector // (4 if single else 8), single)
        starts = [builder.gep(pointer, [offset]) for pointer, offset in ((C, c0), (A, a0), (B, b0))]
        builder.call(function, [starts[0], ldc, starts[1], row_step, k_step, starts[2], ldb, *counts])
        return context.get_dummy_value()

    @intrinsic
    def kernel(
        typing_context: Any, C: Any, c0: Any, ldc: Any, A: Any, a0: Any, row_step: Any, k_step: Any,
        B: Any, b0: Any, ldb: Any, K: Any, Q: Any, a_block: Any, b_block: Any,
    ) -> Any:  # fmt: skip
        i = types.intp
        return types.none(C, i, i, A, i, i, i, B, i, i, i, i, i, i), generate

    return kernel


@intrinsic
def lanes_of(typing_context: Any, array: Any, vector: Any) -> Any:
    """How many numbers of an array's dtype make a vector of so many bytes."""
    size = 4 if array.dtype == types.float32 else 8

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sdiv(arguments[1], _integer(size))

    return types.intp(array, types.intp), generate


@intrinsic
def float64_of_bits(typing_context: Any, bits: Any) -> Any:
    """The float64 that a 64-bit integer's bits are."""
    return types.float64(types.int64), lambda c, builder, s, a: builder.bitcast(a[0], ir.DoubleType())


@intrinsic
def bits_of_float64(typing_context: Any, x: Any) -> Any:
    """The bits of a float64 as an integer."""
    return types.int64(types.float64), lambda c, builder, s, a: builder.bitcast(a[0], ir.IntType(64))


@intrinsic
def float32_of_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 that a 32-bit integer's bits are."""
    return types.float32(types.int32), lambda c, builder, s, a: builder.bitcast(a[0], ir.FloatType())


@intrinsic
def bits_of_float32(typing_context: Any, x: Any) -> Any:
    """The bits of a float32 as an integer."""
    return types.int32(types.float32), lambda c, builder, s, a: builder.bitcast(a[0], ir.IntType(32))
