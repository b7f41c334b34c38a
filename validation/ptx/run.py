"""A kernel compiled by gcc and launched on NumPy arrays.

    program = Program(parse(ptx))
    program.launch(blocks, threads, (y, np.float32(0.1), np.int32(10), Room(out)))
"""

import ctypes
import hashlib
import math
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from validation.ptx.parse import Kernel
from validation.ptx.translate import c_source

HEADER = Path(__file__).with_name("machine.h")
GCC = (                                             # of machine.h; kernels are compiled as they stand (see translate)
    "-O2", "-std=gnu11", "-w", "-fwrapv", "-ffp-contract=off", "-fno-strict-aliasing", "-shared", "-fPIC",
)  # fmt: skip
LIMIT = 2**33                                       # backward branches of a launch: minutes


class Fault(Exception):
    """What a kernel did wrong: the kind, and where.

    kind    "race", "range", "uninitialised", "misaligned", "barrier", "trap" or "endless"
    """

    def __init__(self, kind: str, where: str) -> None:
        super().__init__(f"{kind}: {where}")
        self.kind = kind


@dataclass(frozen=True, eq=False)
class Room:
    """An array that a kernel may read only where it wrote before."""

    array: np.ndarray


class _Area(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_uint64), ("words", ctypes.c_void_p)]


ARRAY = 2**40                                       # as in machine.h
WORD = np.dtype([("phases", np.uint32, 4), ("known", np.uint8), ("pad", np.uint8, 3)])  # Word of machine.h


class Program:
    """A kernel as machine code of this computer.

    Raises Unsupported for what the runner does not model; RuntimeError if gcc is missing or fails.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._launch = ctypes.CDLL(str(_library(c_source(kernel, HEADER.read_text("utf-8"))))).launch
        self._launch.restype = None

    def launch(
        self, grid: int | Sequence[int], block: int | Sequence[int], arguments: Sequence[Any], *, dynamic: int = 0,
        order: int = 0, limit: int = LIMIT, short: Mapping[int, int] | None = None,
        removed: int = 0,
    ) -> None:  # fmt: skip
        """Run all blocks, one after the other.

        Parameters
        ----------
        grid, block    blocks and threads of a block, in up to three directions
        arguments      C-contiguous arrays, which are changed in place; Room(array); NumPy scalars; tuples of these
        dynamic        bytes of dynamic shared memory
        order          seed of the order in which threads run from barrier to barrier; 0: ascending
        limit          backward branches until the launch counts as endless
        removed        line of a barrier that is left out
        short          for array number k, how many numbers fewer it has than the kernel is told

        Raises
        ------
        Fault         at the first race, access out of range, uninitialised read, ..
        ValueError    for arguments that are not the kernel's
        """
        numbers, arrays, known = _marshal(arguments)
        if len(numbers) != len(self.kernel.params):
            raise ValueError(f"{len(numbers)} numbers for {len(self.kernel.params)} parameters")
        words = [_words(array.nbytes, yes) for array, yes in zip(arrays, known, strict=True)]
        missing = {k: n * arrays[k].itemsize for k, n in (short or {}).items()}
        self._run(grid, block, numbers, arrays, words, missing, (dynamic, order, removed), limit)

    def launch_at(
        self, grid: int | Sequence[int], block: int | Sequence[int], numbers: Sequence[int],
        memory: Mapping[int, tuple[np.ndarray, np.ndarray]], *, order: int = 0,
    ) -> None:  # fmt: skip
        """Run with parameters as they are, where k ARRAY + offset is an address in memory[k].

        memory[k] are an array's bytes, and which of its words of 4 bytes are known, which is updated.
        """
        places = {k: place for place, k in enumerate(memory, 1)}
        near = [n if n // ARRAY not in places else places[n // ARRAY] * ARRAY + n % ARRAY for n in numbers]
        arrays, words = [data for data, _ in memory.values()], [_words(len(data), yes) for data, yes in memory.values()]
        self._run(grid, block, near, arrays, words, {}, (0, order, 0), LIMIT)
        for (_, known), word in zip(memory.values(), words, strict=True):
            known[:] = word["known"]

    def _run(
        self, grid: int | Sequence[int], block: int | Sequence[int], numbers: list[int], arrays: list[np.ndarray],
        words: list[np.ndarray], missing: Mapping[int, int], rest: tuple[int, int, int], limit: int,
    ) -> None:  # fmt: skip
        """rest: dynamic shared memory, order, removed barrier."""
        arrays, words, numbers = list(arrays), list(words), list(numbers)
        for memory in self.kernel.constant:
            arrays.append(np.array(memory.data, np.uint8))
            words.append(_words(len(memory.data), True))
            numbers.append(len(arrays) * ARRAY)
        areas = [
            _Area(a.ctypes.data, a.nbytes - missing.get(k, 0), w.ctypes.data)
            for k, (a, w) in enumerate(zip(arrays, words, strict=True))
        ]
        text = ctypes.create_string_buffer(512)
        self._launch(
            (ctypes.c_uint64 * max(1, len(numbers)))(*numbers),
            (ctypes.c_uint32 * 9)(*_three(grid), *_three(block), *rest),
            (_Area * max(1, len(areas)))(*areas), len(areas), ctypes.c_uint64(limit), text,
        )  # fmt: skip
        if text.value:
            kind, _, where = text.value.decode().partition("|")
            raise Fault(kind, where)


def _words(size: int, known: Any) -> np.ndarray:
    """The record of an array's words of 4 bytes."""
    words = np.zeros(size // 4 + 2, WORD)
    words["known"] = known
    return words


def _library(source: str) -> Path:
    """The shared library of a C file, compiled once for each user."""
    compiler = os.environ.get("CC", "gcc")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refnode" / "ptx"
    path = folder / f"{hashlib.sha256(f'{compiler}{GCC}{source}'.encode()).hexdigest()[:24]}.so"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as here:
        code, built = Path(here) / "kernel.c", Path(here) / "kernel.so"
        code.write_text(source, "utf-8")
        command = [compiler, *GCC, code, "-o", built, "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise RuntimeError(f"the PTX runner needs {compiler}, or another C compiler in CC") from error
        if done.returncode:
            raise RuntimeError(f"{compiler} refused the translated kernel:\n{done.stderr[:2000]}")
        built.replace(path)
    return path


def _marshal(arguments: Sequence[Any]) -> tuple[list[int], list[np.ndarray], list[bool]]:
    """The 64-bit words of a kernel's parameters, its arrays, and whether their content is known.

    An array is what Numba passes: two null pointers, size, item size, data, shape and strides.
    """
    numbers: list[int] = []
    arrays: list[np.ndarray] = []
    known: list[bool] = []
    flat = [part for argument in arguments for part in (argument if isinstance(argument, tuple) else (argument,))]
    for argument in flat:
        if not isinstance(argument, np.ndarray | Room):
            numbers.append(_bits(argument))
            continue
        array = argument.array if isinstance(argument, Room) else argument
        if not array.flags.c_contiguous:
            raise ValueError("arrays must be C-contiguous")
        arrays.append(array)
        known.append(isinstance(argument, np.ndarray))
        numbers += [0, 0, array.size, array.itemsize, len(arrays) * ARRAY, *array.shape, *array.strides]
    return numbers, arrays, known


def _bits(number: Any) -> int:
    """A scalar as the low bits of a word; Python's own numbers are int64 and float64."""
    scalar = np.asarray(number)
    if scalar.ndim or scalar.dtype.kind not in "iufb":
        raise ValueError(f"{number!r} is no number")
    return int.from_bytes(scalar.tobytes(), "little")


def _three(size: int | Sequence[int]) -> tuple[int, int, int]:
    given = (size,) if isinstance(size, int) else tuple(size)
    if not 1 <= len(given) <= 3 or min(given) < 1 or (len(given) == 3 and math.prod(given) > 2**31):
        raise ValueError(f"size {size}")
    x, y, z = (*given, 1, 1)[:3]
    return x, y, z
