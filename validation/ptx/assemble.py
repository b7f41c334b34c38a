"""What the assembler makes of PTX: registers, spills, shared memory, and the instructions of each loop."""

import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KINDS = {                                           # class: first letters of the machine's instructions
    "FFMA": ("FFMA",), "FMUL": ("FMUL",), "FADD": ("FADD",), "MUFU": ("MUFU",),
    "FP64": ("DFMA", "DADD", "DMUL", "DSETP", "F2F.F64", "F2F.F32.F64"), "shared": ("LDS", "STS"),
    "local": ("LDL", "STL"), "global": ("LDG", "STG"), "atomic": ("ATOM", "RED"), "constant": ("LDC", "ULDC"),
    "barrier": ("BAR",), "branch": ("BRA", "BSSY", "BSYNC", "CALL", "RET"),
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """A kernel as machine code.

    registers      of a thread;  stack, spills   bytes of local memory, and those stored or loaded for want of registers
    shared         bytes of static shared memory
    instructions   in order, (name, operands, address);  loops   (first, last) instruction of each, inner ones last
    """

    registers: int
    stack: int
    spills: int
    shared: int
    instructions: tuple[tuple[str, str, int], ...]
    loops: tuple[tuple[int, int], ...]

    def mix(self, first: int = 0, last: int | None = None) -> Counter[str]:
        """How many instructions of each class stand between two places, and "all"."""
        chosen = self.instructions[first : None if last is None else last + 1]
        counts = Counter(kind_of(name) for name, _, _ in chosen)
        counts["all"] = len(chosen)
        return counts

    def warps(self, threads: int, *, registers: int = 65536, shared: int = 227 * 1024, most: int = 64) -> int:
        """Warps that a multiprocessor holds at once for blocks of so many threads."""
        of_block = -(-threads // 32)
        by_registers = registers // (-(-self.registers * 32 // 256) * 256) // of_block
        return of_block * min(32, most // of_block, by_registers, shared // (self.shared + 1024))


def kind_of(name: str) -> str:
    """The class of a machine instruction."""
    return next((kind for kind, heads in KINDS.items() if name.startswith(heads)), "other")


def tool(name: str) -> str:
    """The path of ptxas or nvdisasm, of the packages that pip installed or of the system.

    Raises FileNotFoundError.
    """
    ours = sorted(Path(sysconfig.get_path("purelib")).glob(f"nvidia/*/bin/{name}"))
    found = str(ours[0]) if ours else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name}: pip install nvidia-cuda-nvcc nvidia-cuda-nvdisasm")
    return found


@cache
def assemble(ptx: str) -> Machine:
    """Assemble PTX for its own target and take the result to pieces.

    Raises RuntimeError if the assembler refuses it.
    """
    target = re.search(r"\.target\s+(\w+)", ptx)
    with tempfile.TemporaryDirectory() as folder:
        text, binary = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        text.write_text(ptx, "utf-8")
        command = [tool("ptxas"), "-v", "-O3", f"-arch={target[1] if target else ''}", text, "-o", binary]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        command = [tool("nvdisasm"), "-c", "-ndf", binary]                                 # no analysis of data flow
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spills = _number(r"(\d+) bytes spill stores", done.stderr) + _number(r"(\d+) bytes spill loads", done.stderr)
    registers, stack = _number(r"Used (\d+) registers", done.stderr), _number(r"(\d+) bytes stack", done.stderr)
    return Machine(registers, stack, spills, _number(r"(\d+) bytes smem", done.stderr), *_listing(listing))


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def _listing(text: str) -> tuple[tuple[tuple[str, str, int], ...], tuple[tuple[int, int], ...]]:
    """Instructions, and loops: from the target of a branch that leads back to that branch."""
    instructions: list[tuple[str, str, int]] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        elif m := re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_.]+)\s*(.*?)\s*;", line):
            instructions.append((m[2], m[3], int(m[1], 16)))
    loops = []
    for place, (name, operands, _) in enumerate(instructions):
        target = re.search(r"(\.L_x_\d+)", operands) if name.startswith("BRA") else None
        if target and labels[target[1]] < place:            # a branch to itself is padding behind the end
            loops.append((labels[target[1]], place))
    return tuple(instructions), tuple(sorted(loops, key=lambda loop: loop[0] - loop[1]))
