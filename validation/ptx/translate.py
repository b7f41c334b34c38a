"""Kernel -> C: one statement for each instruction, on variables that hold a register's bits.

A register is an unsigned integer; an instruction says how its bits are read. So float registers of one compiler
version and bit registers of another mean the same.
"""

from validation.ptx.arithmetic import C_TYPES, kind_of, kind_of_result, value_of
from validation.ptx.parse import Instruction, Kernel, Label, Unsupported, width

REGISTERS = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}
SPECIAL = {
    "%laneid": "((uint32_t)(self - threads) & 31)", "%dynamic_smem_size": "dynamic_bytes", "WARP_SZ": "32u",
    "%total_smem_size": "shared_bytes",
} | {
    f"%{name}.{axis}": value
    for k, axis in enumerate("xyz")
    for name, value in (
        ("tid", f"self->{axis}"), ("ntid", f"block[{k}]"), ("ctaid", f"here[{k}]"), ("nctaid", f"grid[{k}]")
    )
}  # fmt: skip
SPACES = {"global": "GLOBAL", "const": "GLOBAL", "shared": "SHARED", "local": "LOCAL"}
WORDS = {                                           # what may stand beside operation and type; anything else is refused
    "rn", "rm", "rz", "rni", "rzi", "rmi", "rpi", "ftz", "sat", "approx", "full", "lo", "hi", "wide", "volatile", "nc",
    "v2", "v4", "to", "param",
} | set(SPACES)  # fmt: skip
COMPARISONS = {
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">=",
}  # fmt: skip
ROUNDED = {"rni": "rint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}


def c_source(kernel: Kernel, header: str) -> str:
    """A C file with `launch` (see machine.h) for this kernel."""
    return _Translator(kernel).source(header)


def layout(arrays: tuple, dynamic_last: bool = False) -> tuple[dict[str, int], int]:
    """Offsets of arrays laid out one after the other, and their bytes in all; one without a size begins at the end."""
    offsets, end = {}, 0
    for memory in sorted(arrays, key=lambda m: dynamic_last and not m.size):
        end = -(-end // memory.align) * memory.align
        offsets[memory.name] = end
        end += memory.size
    return offsets, end


class _Translator:
    """Where symbols stand, and the C of operands and instructions."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.shared, self.shared_bytes = layout(kernel.shared, dynamic_last=True)
        self.local, self.local_bytes = layout(kernel.local)
        self.params = {name: k for k, name in enumerate(kernel.params)}
        self.constant = {memory.name: len(self.params) + k for k, memory in enumerate(kernel.constant)}
        self.registers = {name: REGISTERS[width(kind)] for name, kind in kernel.registers.items()}
        self.places = {item.name: k for k, item in enumerate(kernel.body) if isinstance(item, Label)}

    def source(self, header: str) -> str:
        """The whole file."""
        lines = [f"#define SHARED_BYTES {self.shared_bytes}u", f"#define LOCAL_BYTES {self.local_bytes}u"]
        lines += [f"#define STACK_BYTES {65536 + 16 * len(self.registers)}", header]
        lines.append('#pragma GCC optimize("O0")')  # most are launched once or twice: to compile them takes longer
        lines.append("static void kernel(const uint64_t *arguments) {")
        lines += [f"    {kind} {_name(register)} = 0;" for register, kind in self.registers.items()]
        for place, item in enumerate(self.kernel.body):
            lines.append(f"{_name(item.name)}:;" if isinstance(item, Label) else f"    {self.statement(item, place)}")
        return "\n".join([*lines, "    return;", "}", ""])

    def statement(self, i: Instruction, place: int) -> str:
        """One instruction, under its guard."""
        self.check(i)
        code = self.jump(i, place) if i.op[0] == "bra" else self.unguarded(i)
        return f"if ({'!' if i.unless else ''}{_name(i.guard)}) {{ {code} }}" if i.guard else code

    def check(self, i: Instruction) -> None:
        """Refuse what would be translated into something else."""
        free = i.op[0] in ("ret", "exit", "trap", "bra", "bar", "barrier", "setp")
        known = all(word in WORDS or word in C_TYPES or word == "pred" for word in i.op[1:])
        if not free and not known:
            raise Unsupported(f"line {i.line}: {'.'.join(i.op)}")

    def unguarded(self, i: Instruction) -> str:
        """The statement without its guard."""
        name = i.op[0]
        if name in ("ret", "exit"):
            return "return;"
        if name == "trap":
            return f'fault({i.line}, "trap", "");'
        if name in ("bar", "barrier"):
            return self.barrier(i)
        if name in ("ld", "ldu"):
            return self.load(i)
        if name == "st":
            return self.store(i)
        moves = {"setp": self.setp, "selp": self.selp, "mov": self.mov, "cvta": self.cvta, "cvt": self.cvt}
        if name in moves:
            return moves[name](i)
        return self.write(i.operands[0], kind_of_result(i), value_of(i, self.read), i.op)

    def jump(self, i: Instruction, place: int) -> str:
        """A branch; those that lead back are counted, so that no launch runs for ever."""
        back = f"branch({i.line}); " if self.places[i.operands[0]] < place else ""
        return f"{back}goto {_name(i.operands[0])};"

    # ---- operands

    def read(self, operand: str, kind: str) -> str:
        """An operand as a number of a type."""
        if kind == "pred":
            return _name(operand) if operand.startswith("%") else operand
        if operand.startswith(("0f", "0F")):
            return f"f32_of(0x{operand[2:]}u)"
        if operand.startswith(("0d", "0D")):
            number = f"f64_of(0x{operand[2:]}ull)"
            return number if kind == "f64" else f"(float){number}"
        if kind in ("f32", "f64"):
            return f"{kind}_of({self.bits(operand)})"
        return f"({C_TYPES[kind]}){self.bits(operand)}"

    def bits(self, operand: str) -> str:
        """An operand as an unsigned integer."""
        if operand in SPECIAL:
            return SPECIAL[operand]
        if operand in self.registers:
            return _name(operand)
        if operand in self.shared:
            return f"{self.shared[operand]}ull"
        if operand in self.local:
            return f"{self.local[operand]}ull"
        if operand in self.constant:
            return f"arguments[{self.constant[operand]}]"
        if operand.lstrip("-").isdigit() or operand.startswith("0x"):
            return f"({operand.rstrip('U')}ll)"
        raise Unsupported(f"operand {operand}")

    def write(self, register: str, kind: str, value: str, op: tuple[str, ...] = ()) -> str:
        """register = value, a number of a type."""
        if kind in ("f32", "f64"):
            value = f"saturated({value})" if "sat" in op else value
            value = f"flushed({value})" if "ftz" in op and kind == "f32" else value
            return f"{_name(register)} = bits_{kind}({value});"
        return f"{_name(register)} = {value if kind == 'pred' else f'({C_TYPES[kind]})({value})'};"

    def address(self, operand: str) -> str:
        """[%rd1+8] or [symbol+8]."""
        base, _, offset = operand[1:-1].strip().partition("+")
        return f"(uint64_t)({self.bits(base)}) + ({offset or 0}ll)"

    # ---- memory

    def load(self, i: Instruction) -> str:
        """Registers from memory, all of a vector at once."""
        kind, targets = i.op[-1], i.operands[0].strip("{}").replace(" ", "").split(",")
        if "param" in i.op:
            base, _, offset = i.operands[1][1:-1].partition("+")
            if base not in self.params or offset:
                raise Unsupported(f"line {i.line}: parameter {i.operands[1]}")
            from_bits = f"{kind}_of" if kind[0] == "f" else f"({C_TYPES[kind]})"
            return self.write(targets[0], kind, f"{from_bits}(arguments[{self.params[base]}])")
        place = self.touch(i, i.operands[1], len(targets) * width(kind), 0)
        parts = " ".join(self.write(target, kind, f"from[{k}]") for k, target in enumerate(targets))
        return f"{{ const {C_TYPES[kind]} *from = {place}; {parts} }}"

    def store(self, i: Instruction) -> str:
        """Memory from registers or numbers."""
        kind, sources = i.op[-1], i.operands[1].strip("{}").replace(" ", "").split(",")
        place = self.touch(i, i.operands[0], len(sources) * width(kind), 1)
        parts = " ".join(f"to[{k}] = {self.read(source, kind)};" for k, source in enumerate(sources))
        return f"{{ {C_TYPES[kind]} *to = {place}; {parts} }}"

    def touch(self, i: Instruction, address: str, size: int, writing: int) -> str:
        """The checked host address of an access."""
        space = next((SPACES[word] for word in i.op if word in SPACES), "GLOBAL")
        return f"touch({i.line}, {space}, {self.address(address)}, {size}, {writing})"

    def barrier(self, i: Instruction) -> str:
        """A barrier of the whole block."""
        if "sync" not in i.op or "warp" in i.op or i.operands[0] != "0" or len(i.operands) > 1:
            raise Unsupported(f"line {i.line}: {'.'.join(i.op)} {', '.join(i.operands)}")
        return f"barrier({i.line});"

    # ---- moves and conversions

    def mov(self, i: Instruction) -> str:
        """A move; a symbol's address is its offset in its own space."""
        target, source = i.operands
        if (target + source).count("{") and i.op[1:] != ("b64",):
            raise Unsupported(f"line {i.line}: mov of a vector of {'.'.join(i.op[1:])}")
        if target.startswith("{"):
            low, high = target.strip("{}").replace(" ", "").split(",")
            return f"{_name(low)} = (uint32_t){self.bits(source)}; {_name(high)} = {self.bits(source)} >> 32;"
        if source.startswith("{"):
            low, high = source.strip("{}").replace(" ", "").split(",")
            return f"{_name(target)} = (uint32_t){self.bits(low)} | (uint64_t){self.bits(high)} << 32;"
        return self.write(i.operands[0], kind_of(i), self.read(i.operands[1], kind_of(i)))

    def cvta(self, i: Instruction) -> str:
        """Between a space's offsets and addresses of all memory."""
        base = {"shared": "SHARED_BASE", "local": "LOCAL_BASE"}.get(i.op[-2], "0")
        sign = "-" if "to" in i.op else "+"
        return self.write(i.operands[0], "u64", f"(uint64_t)({self.bits(i.operands[1])}) {sign} {base}")

    def cvt(self, i: Instruction) -> str:
        """A number of another type."""
        to, kind = i.op[-2], i.op[-1]
        value, rounding = self.read(i.operands[1], kind), next((ROUNDED[w] for w in i.op if w in ROUNDED), "")
        if kind[0] == "f":
            value = f"flushed({value})" if "ftz" in i.op and kind == "f32" else value
            value = f"{rounding}({value})" if rounding else value
            if to[0] != "f":
                value = _to_integer(to, value)
        elif "sat" in i.op:
            raise Unsupported(f"line {i.line}: {'.'.join(i.op)}")
        return self.write(i.operands[0], to, f"({C_TYPES[to]})({value})", i.op)

    def setp(self, i: Instruction) -> str:
        """A comparison; with u, as in ltu, it is true if an operand is NaN."""
        how, kind = i.op[1], kind_of(i)
        if len(i.op) > 3 + ("ftz" in i.op) or "|" in i.operands[0]:
            raise Unsupported(f"line {i.line}: {'.'.join(i.op)}")
        x, y = (self.read(operand, kind) for operand in i.operands[1:])
        nan = f"(isnan({x}) || isnan({y}))"
        if how in ("nan", "num"):
            return self.write(i.operands[0], "pred", nan if how == "nan" else f"!{nan}")
        unordered = kind[0] == "f" and how.endswith("u")
        true = f"(({x}) {COMPARISONS[how[:-1] if unordered else how]} ({y}))"
        if unordered:
            true = f"({true} || {nan})"
        elif kind[0] == "f" and how == "ne":
            true = f"({true} && !{nan})"
        return self.write(i.operands[0], "pred", true)

    def selp(self, i: Instruction) -> str:
        """One of two."""
        kind = kind_of(i)
        x, y = (self.read(operand, kind) for operand in i.operands[1:3])
        return self.write(i.operands[0], kind, f"{_name(i.operands[3])} ? {x} : {y}")


def _to_integer(kind: str, value: str) -> str:
    bits = int(kind[1:])
    if kind[0] == "s":
        return f"to_integer({value}, {-(2.0 ** (bits - 1))!r}, {2.0 ** (bits - 1) - (bits < 64)!r})"
    return f"to_unsigned({value}, {2.0**bits - (bits < 64)!r})"


def _name(symbol: str) -> str:
    """A C name for a PTX one."""
    return "v_" + symbol.lstrip("%").replace("$", "_D_").replace(".", "_P_")

