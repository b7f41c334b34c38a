"""A matrix transposed in blocks of 8 by 8 that stay in registers."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from refnode.kernels.micro_kernels import begun, in_blocks, start
from refnode.kernels.vectors import Vectors, integer

SIDE = 8  # of a block; a power of 2


@intrinsic
def transpose(typing_context: Any, X: Any, x0: Any, i: Any, o: Any, Y: Any, y0: Any) -> Any:
    """Y (o, i) from y0 = X (i, o) from x0, transposed; both are flat arrays of one dtype."""
    n = types.intp
    return types.none(X, n, n, n, Y, n), _call


def _call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    X, Y = (start(context, builder, signature, arguments, n) for n in (0, 4))
    function = _transpose(builder.module, signature.args[0].dtype == types.float32)
    builder.call(function, [X, arguments[2], arguments[3], Y])
    return context.get_dummy_value()


def _transpose(module: Any, single: bool) -> Any:
    """void f(X, i, o, Y)."""
    function, new = begun(module, "transpose", single, "piip")
    if not new:
        return function
    X, i, o, Y = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    simd = Vectors(builder, SIDE, single)

    def of_rows(r: Any, rows: int) -> None:
        def of_columns(c: Any, columns: int) -> None:
            source, target = simd.place(X, (r, o), (c, integer(1))), simd.place(Y, (c, i), (r, integer(1)))
            block = [simd.load(simd.place(source, (integer(n), o)), columns) for n in range(rows)]
            for n, column in enumerate(_turned(simd, block, columns)):
                simd.store(column, simd.place(target, (integer(n), i)))

        in_blocks(simd, o, SIDE, of_columns)

    in_blocks(simd, i, SIDE, of_rows)
    builder.ret_void()
    return function


def _turned(simd: Vectors, rows: list[Any], columns: int) -> list[Any]:
    """The columns of a block of SIDE rows and columns, or of one row or column."""
    if len(rows) < SIDE:
        return [simd.pick(rows[0], rows[0], [n]) for n in range(columns)]
    if columns < SIDE:
        while len(rows) > 1:
            length = rows[0].type.count
            rows = [simd.pick(a, b, list(range(2 * length))) for a, b in zip(rows[::2], rows[1::2], strict=True)]
        return rows
    for _ in range(SIDE.bit_length() - 1):  # row k zipped with row k + SIDE / 2, again and again: a perfect shuffle
        pairs = zip(rows[: SIDE // 2], rows[SIDE // 2 :], strict=True)
        low = [n + SIDE * other for n in range(SIDE // 2) for other in (0, 1)]
        rows = [simd.pick(a, b, [n + half for n in low]) for a, b in pairs for half in (0, SIDE // 2)]
    return rows
