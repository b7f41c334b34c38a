"""Portable LLVM vectors for functions under construction, their width on this machine, and the bits of numbers.

LLVM lowers the vectors to whatever the machine has, so the same code runs with AVX-512, AVX2, SSE and NEON.
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


def integer(n: int) -> Any:
    """An index that is written out."""
    return ir.Constant(INDEX, n)


class Vectors:
    """Loads, stores, broadcasts and shuffles of vectors of `lanes` reals, in one function under construction."""

    def __init__(self, builder: Any, lanes: int, single: bool) -> None:
        self.builder, self.lanes = builder, lanes
        self.real = ir.FloatType() if single else ir.DoubleType()
        self.bytes = 4 if single else 8
        self.type = ir.VectorType(self.real, lanes)
        self.zero = ir.Constant(self.type, [0.0] * lanes)
        name = f"llvm.fmuladd.v{lanes}f{8 * self.bytes}"
        self._fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.type, [self.type] * 3), name)

    def place(self, pointer: Any, *strides: tuple[Any, Any]) -> Any:
        """pointer + sum of count * stride, in reals."""
        offset = integer(0)
        for count, stride in strides:
            offset = self.builder.add(offset, self.builder.mul(count, stride))
        return self.builder.gep(pointer, [offset])

    def beside(self, pointer: Any, count: int) -> Any:
        """pointer + count, in reals."""
        return self.builder.gep(pointer, [integer(count)])

    def load(self, pointer: Any, lanes: int | None = None) -> Any:
        """So many reals from a place of any alignment; one vector if not said otherwise."""
        kind = ir.VectorType(self.real, lanes or self.lanes)
        vector = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()))
        vector.align = self.bytes
        return vector

    def store(self, vector: Any, pointer: Any) -> None:
        """A vector of any length to a place of any alignment."""
        self.builder.store(vector, self.builder.bitcast(pointer, vector.type.as_pointer())).align = self.bytes

    def broadcast(self, pointer: Any) -> Any:
        """One real in every lane."""
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, self.builder.load(pointer), ir.Constant(ir.IntType(32), 0))
        return self.pick(first, first, [0] * self.lanes)

    def pick(self, a: Any, b: Any, lanes: list[int]) -> Any:
        """Those lanes of a and b, two vectors of one length one after the other."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
        return self.builder.shuffle_vector(a, b, mask)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c."""
        return self.builder.call(self._fma, [a, b, c])

    def loop(self, name: str, count: Any, carried: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """body(n, carried) for n = 0 .. count - 1, handing on what it returns; the last of it."""
        builder = self.builder
        function, entry = builder.function, builder.block
        loop, done = function.append_basic_block(name), function.append_basic_block(f"{name}_done")
        builder.cbranch(builder.icmp_signed(">", count, integer(0)), loop, done)
        builder.position_at_end(loop)
        n, within = builder.phi(INDEX), [builder.phi(value.type) for value in carried]
        after = body(n, within)
        following, end = builder.add(n, integer(1)), builder.block
        for phi, first, last in zip((n, *within), (integer(0), *carried), (following, *after), strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(last, end)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
        builder.position_at_end(done)
        results = [builder.phi(value.type) for value in carried]
        for phi, first, last in zip(results, carried, after, strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(last, end)
        return results


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
