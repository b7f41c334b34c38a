"""Arrays filled with zeros, copied, and called for. Numba's own assignment to slices takes seconds to compile."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from refnode.kernels.compiled import kernel

LINE = 64  # bytes of a cache line


@kernel
def fetch_before(a, first, count):
    """Have the cache begin to load numbers first .. of the array of the same size that ends where `a` begins.

    Memory answers late, but many calls at once; a call for what is not there does nothing.
    """
    for n in range(first - a.size, first - a.size + count, LINE // a.itemsize):
        _fetch_line(a, n)


@intrinsic
def _fetch_line(typing_context: Any, a: Any, n: Any) -> Any:
    """Call for the line in which number n of a flat array stands, into the first-level cache."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=arguments[0])
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), pointer)
        read, first_level, data = word(0), word(3), word(1)
        builder.call(prefetch, [place, read, first_level, data])
        return context.get_dummy_value()

    return types.none(a, types.intp), generate


@kernel
def zero(g):
    """g = 0."""
    for n in range(g.size):
        g[n] = 0


@kernel
def copy(source, target):
    """target = source."""
    for n in range(target.size):
        target[n] = source[n]


@kernel
def copy_columns(source, s0, source_pitch, target, t0, target_pitch, m, count):
    """target[t0 + s target_pitch + j] = source[s0 + s source_pitch + j] for s < m, j < count."""
    if source_pitch == count and target_pitch == count:  # one run of numbers, which takes vectors
        out, given = target[t0 : t0 + m * count], source[s0 : s0 + m * count]
        for n in range(m * count):
            out[n] = given[n]
        return
    for s in range(m):
        for j in range(count):
            target[t0 + s * target_pitch + j] = source[s0 + s * source_pitch + j]


@kernel
def add_columns(source, s0, source_pitch, target, t0, target_pitch, m, count):
    """target[t0 + s target_pitch + j] += source[s0 + s source_pitch + j] for s < m, j < count."""
    if source_pitch == count and target_pitch == count:
        out, given = target[t0 : t0 + m * count], source[s0 : s0 + m * count]
        for n in range(m * count):
            out[n] += given[n]
        return
    for s in range(m):
        for j in range(count):
            target[t0 + s * target_pitch + j] += source[s0 + s * source_pitch + j]
