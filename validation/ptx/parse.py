"""PTX text -> Kernel. Only what a compiler emits for one kernel: no calls, no second entry."""

import re
from dataclasses import dataclass

BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}


class Unsupported(Exception):
    """PTX that the runner does not know; it never guesses."""


@dataclass(frozen=True)
class Memory:
    """A named array of bytes in shared, local, constant or global memory; data are its first contents, or ()."""

    name: str
    align: int
    size: int
    data: tuple[int, ...] = ()


@dataclass(frozen=True)
class Instruction:
    """One instruction: `@!%p1 ld.global.f32 %f1, [%rd2+4];`

    op         split at its dots: ("ld", "global", "f32")
    operands   ("%f1", "[%rd2+4]")
    guard      "p1", or "" if it is always executed;  unless   True for @!
    line       of the PTX text
    """

    op: tuple[str, ...]
    operands: tuple[str, ...]
    guard: str
    unless: bool
    line: int


@dataclass(frozen=True)
class Label:
    """A place to branch to."""

    name: str


@dataclass(frozen=True)
class Kernel:
    """One kernel.

    params, registers         name -> type: {"n": "u32"}, {"%f1": "f32"}
    shared, local, constant   tuples of Memory
    body        instructions and labels in order
    """

    name: str
    target: str
    params: dict[str, str]
    registers: dict[str, str]
    shared: tuple[Memory, ...]
    local: tuple[Memory, ...]
    constant: tuple[Memory, ...]
    body: tuple[Instruction | Label, ...]

    def count(self, *names: str) -> int:
        """Instructions whose first word is among these, in the text: kernel.count("atom", "red")."""
        return sum(isinstance(item, Instruction) and item.op[0] in names for item in self.body)


def parse(text: str) -> Kernel:
    """The only kernel of a PTX module.

    Raises Unsupported for calls, device functions that were not inlined and further entries.
    """
    text = re.sub(r"//.*", "", re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL))
    entries = list(re.finditer(r"\.entry\s+([\w$.]+)\s*\((.*?)\)([^{;]*)\{", text, re.DOTALL))
    if len(entries) != 1:
        raise Unsupported(f"{len(entries)} entries, not one")
    if re.search(r"^\s*(\.visible\s+|\.weak\s+)?\.func\b", text, re.MULTILINE):
        raise Unsupported("a device function that was not inlined")
    (entry,) = entries
    end = text.rindex("}")
    body, module = text[entry.end() : end], text[: entry.start()] + text[end + 1 :]
    first_line = text.count("\n", 0, entry.end()) + 1
    params = {m[2]: m[1] for m in re.finditer(r"\.param\s+(?:\.\w+\s+)*?\.(\w+)\s+([\w$]+)", entry[2])}
    target = re.search(r"\.target\s+(\w+)", text)
    return Kernel(
        entry[1], target[1] if target else "", params, registers(body),
        memories(text, "shared"), memories(body, "local"),
        memories(module, "const") + tuple(m for m in memories(module, "global") if m.data),
        tuple(statements(body, first_line)),
    )  # fmt: skip


def registers(body: str) -> dict[str, str]:
    """Name -> type. One that several blocks of braces declare, each for itself, is one: none reads another's."""
    found: dict[str, str] = {}
    for m in re.finditer(r"\.reg\s+\.(\w+)\s+([^;]+);", body):
        for name in m[2].replace(" ", "").split(","):
            prefix, _, count = name.rstrip(">").partition("<")
            for register in [f"{prefix}{k}" for k in range(int(count))] if count else [prefix]:
                if found.setdefault(register, m[1]) != m[1]:
                    raise Unsupported(f"register {register} of two types")
    return found


def memories(text: str, space: str) -> tuple[Memory, ...]:
    """The arrays that are declared in a state space."""
    pattern = rf"\.{space}\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d*)\](?:\s*=\s*\{{([^}}]*)\}})?"
    return tuple(
        Memory(m[2], int(m[1]), int(m[3] or 0), tuple(int(b, 0) for b in m[4].split(",")) if m[4] else ())
        for m in re.finditer(pattern, text)
    )


def statements(body: str, line: int) -> list[Instruction | Label]:
    """Instructions and labels of a body that begins in this line; declarations are left out."""
    found: list[Instruction | Label] = []
    at = 0
    for m in re.finditer(r"\s*([\w$]+):(?!:)|\s*([^;{}\s][^;]*?)\s*;|\s*[{}]|\s*;|(\S)", body):
        if not m.lastindex:
            continue
        start = m.start(m.lastindex)
        line, at = line + body.count("\n", at, start), start
        if m[3]:
            raise Unsupported(f"line {line}: {body[start:][:60]!r}")
        if m[1]:
            found.append(Label(m[1]))
        elif not m[2].startswith("."):
            found.append(instruction(" ".join(m[2].split()), line))
    return found


def instruction(text: str, line: int) -> Instruction:
    """One instruction, without its semicolon.

    >>> instruction("@!%p1 add.s32 %r1, %r2, 4", 7)
    Instruction(op=('add', 's32'), operands=('%r1', '%r2', '4'), guard='p1', unless=True, line=7)
    """
    m = re.fullmatch(r"(?:@(!?)%(\w+) )?([a-z][\w.]*)(?: (.*))?", text)
    if not m:
        raise Unsupported(f"line {line}: {text}")
    operands = re.split(r",\s*(?![^{\[]*[}\]])", m[4]) if m[4] else []
    return Instruction(tuple(m[3].split(".")), tuple(o.strip() for o in operands), m[2] or "", m[1] == "!", line)


def width(kind: str) -> int:
    """Bytes of a type: width("f32") is 4; a predicate has one."""
    if kind == "pred":
        return 1
    if kind[1:] not in BYTES:
        raise Unsupported(f"type {kind}")
    return BYTES[kind[1:]]
