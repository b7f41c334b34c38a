"""The C of what an instruction computes, from the C of its operands."""

from collections.abc import Callable

from validation.ptx.parse import Instruction, Unsupported, width

C_TYPES = {"f32": "float", "f64": "double"} | {
    f"{letter}{8 * n}": f"{'' if letter == 's' else 'u'}int{8 * n}_t" for letter in "sub" for n in (1, 2, 4, 8)
}  # fmt: skip
INFIX = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^"}
# largest errors that PTX allows, relative and absolute
APPROXIMATE = {
    "ex2": ("exp2({})", 2.0**-22, 0.0), "lg2": ("log2({})", 2.0**-22, 2.0**-22), "rcp": ("1.0 / ({})", 2.0**-23, 0.0),
    "sqrt": ("sqrt({})", 2.0**-22, 0.0), "rsqrt": ("1.0 / sqrt({})", 2.0**-22, 0.0), "sin": ("sin({})", 0.0, 2.0**-20),
    "cos": ("cos({})", 0.0, 2.0**-20), "tanh": ("tanh({})", 2.0**-11, 0.0),
}  # fmt: skip


def value_of(i: Instruction, read: Callable[[str, str], str]) -> str:
    """The value of an instruction that writes its first operand; read(operand, type) is the C of an operand."""
    name, kind = i.op[0], kind_of(i)
    x = [read(operand, kind) for operand in i.operands[1:]]
    if "ftz" in i.op and kind == "f32":
        x = [f"flushed({value})" for value in x]
    if name in APPROXIMATE:
        return approximate(i, x[0])
    if kind in ("f32", "f64"):
        return of_floats(i, kind, x)
    if name in ("shl", "shr"):
        return shifted(i, kind, read)
    if name in ("mul", "mad"):
        return product(i, kind, x, read)
    if name == "bfi":
        place, many = read(i.operands[3], "u32"), read(i.operands[4], "u32")
        return f"inserted({x[0]}, {x[1]}, {place}, {many}, {kind[1:]})"
    return of_integers(i, kind, x)


def approximate(i: Instruction, x: str) -> str:
    """A function that the card computes approximately, or correctly rounded where it says rn."""
    formula, relative, absolute = APPROXIMATE[i.op[0]]
    value = formula.format(f"(double)({x})")
    if "approx" not in i.op:
        return f"({value})"
    if i.op[0] == "ex2":                                # 2^n is exact: NVIDIA's own exp for float64 is built on that
        return f"({x}) == rint({x}) ? (float){value} : inexact({value}, {relative!r}, {absolute!r})"
    return f"inexact({value}, {relative!r}, {absolute!r})"


def shifted(i: Instruction, kind: str, read: Callable[[str, str], str]) -> str:
    """Bits shifted; by the width or more they are gone, but for copies of the sign."""
    signed = i.op[0] == "shr" and kind[0] == "s"
    function = "shift_left" if i.op[0] == "shl" else "shift_signed" if signed else "shift_right"
    x = read(i.operands[1], kind if signed else f"u{kind[1:]}")
    return f"{function}({x}, {read(i.operands[2], 'u32')}, {kind[1:]})"


def product(i: Instruction, kind: str, x: list[str], read: Callable[[str, str], str]) -> str:
    """Low, high or all bits of a product of integers, plus what mad adds."""
    wide = {2: "int32_t", 4: "int64_t", 8: "__int128"}[width(kind)]
    wide = wide if kind[0] == "s" else f"unsigned {wide}" if wide == "__int128" else f"u{wide}"
    value = f"({wide})({x[0]}) * ({wide})({x[1]})"
    if "hi" in i.op:
        value = f"(({value}) >> {kind[1:]})"
    added = read(i.operands[3], kind_of_result(i)) if i.op[0] == "mad" else "0"
    return f"{value} + ({wide})({added})"


def of_floats(i: Instruction, kind: str, x: list[str]) -> str:
    """Arithmetic of float32 and float64."""
    name, suffix = i.op[0], "f" if kind == "f32" else ""
    if "rm" in i.op:
        if (name, kind) != ("fma", "f32"):
            raise Unsupported(f"line {i.line}: {'.'.join(i.op)}")
        return f"fma_down({x[0]}, {x[1]}, {x[2]})"
    if "rz" in i.op:
        if (name, kind) != ("add", "f32"):
            raise Unsupported(f"line {i.line}: {'.'.join(i.op)}")
        return f"add_to_zero({x[0]}, {x[1]})"
    if name in ("add", "sub", "mul"):
        return f"({x[0]}) {'*' if name == 'mul' else INFIX[name]} ({x[1]})"
    if name in ("fma", "mad"):
        return f"fma{suffix}({x[0]}, {x[1]}, {x[2]})"
    if name == "div":
        rounded = "approx" not in i.op and "full" not in i.op
        return f"({x[0]}) / ({x[1]})" if rounded else f"inexact((double)({x[0]}) / ({x[1]}), {2.0**-22!r}, 0.0)"
    if name in ("min", "max"):
        return f"f{name}{suffix}({x[0]}, {x[1]})"
    if name in ("neg", "abs"):
        return f"-({x[0]})" if name == "neg" else f"fabs{suffix}({x[0]})"
    if name == "copysign":
        return f"copysign{suffix}({x[1]}, {x[0]})"
    raise Unsupported(f"line {i.line}: {'.'.join(i.op)}")


def of_integers(i: Instruction, kind: str, x: list[str]) -> str:
    """Arithmetic of integers, bits and predicates."""
    name = i.op[0]
    if name in INFIX:
        return f"({x[0]}) {INFIX[name]} ({x[1]})"
    if name in ("div", "rem"):
        return f"({x[1]}) ? ({x[0]}) {'/' if name == 'div' else '%'} ({x[1]}) : -1"
    if name in ("min", "max"):
        return f"({x[0]}) {'<' if name == 'min' else '>'} ({x[1]}) ? ({x[0]}) : ({x[1]})"
    if name == "not":
        return f"!({x[0]})" if kind == "pred" else f"~({x[0]})"
    if name in ("neg", "abs"):
        return f"-({x[0]})" if name == "neg" else f"({x[0]}) < 0 ? -({x[0]}) : ({x[0]})"
    raise Unsupported(f"line {i.line}: {'.'.join(i.op)}")


def kind_of(i: Instruction) -> str:
    """The last type among the words of an instruction."""
    kinds = [word for word in i.op[1:] if word in C_TYPES or word == "pred"]
    if not kinds:
        raise Unsupported(f"line {i.line}: {'.'.join(i.op)}")
    return kinds[-1]


def kind_of_result(i: Instruction) -> str:
    """The same, of twice the width for wide products."""
    kind = kind_of(i)
    return f"{kind[0]}{2 * int(kind[1:])}" if "wide" in i.op else kind
