"""Memory for tapes, of which each thread has its own.

A workspace is allocated once and used again: fresh pages cost more than the steps written on them. Its arrays begin at
the start of a cache line, for a vector that lies across two takes twice as long to load.
"""

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refnode.arrays import Array

LINE = 64  # bytes of a cache line
RECORDS = 256  # kept at most


def aligned(size: int, dtype: Any) -> Array:
    """So many numbers, whatever they are, from the start of a cache line on."""
    width = np.dtype(dtype).itemsize
    whole = np.empty(size + LINE // width, dtype)
    first = -whole.ctypes.data % LINE // width
    return whole[first : first + size]


class Workspace(threading.local):
    """Arrays by name and dtype, as large as the largest that was asked for; one workspace for each thread."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, Any], Array] = {}
        self.records: dict[Any, tuple[int, Any]] = {}
        self.replaced = 0  # how often an array was allocated
        self.outer: list[tuple[Any, Any]] = []  # arrays and records of those who are not done

    def __enter__(self) -> None:
        """Begin a solve or a gradient. One inside another, in a loss of the user's, has memory of its own."""
        self.outer.append((self.arrays, self.records))
        if len(self.outer) > 1:
            self.arrays, self.records = {}, {}

    def __exit__(self, *error: object) -> None:
        """End it."""
        self.arrays, self.records = self.outer.pop()

    def get(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of this shape, whatever it holds. Valid until the next call with the same name."""
        size = math.prod(shape)
        held = self.arrays.get((name, dtype))
        if held is None or held.size < size:
            held = self.arrays[name, dtype] = aligned(size, dtype)
            self.replaced += 1
            self.records.clear()  # they hold what is replaced
        return held[:size].reshape(shape)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """The same, filled with zeros."""
        held = self.get(name, shape, dtype)
        held.fill(0)
        return held

    def record(self, key: Any, make: Callable[[], Any]) -> Any:
        """make(), a record of arrays, or what it made before under this key if no array was replaced since.

        To lay out a record of some fifteen arrays for the kernels takes as long as some steps of a single sample.
        """
        replaced, record = self.records.get(key, (-1, None))
        if replaced != self.replaced:
            if len(self.records) >= RECORDS:
                self.records.clear()
            record = make()
            self.records[key] = self.replaced, record
        return record

    def room(self, sizes: Mapping[str, int], dtype: Any) -> int:
        """How often `sizes` numbers under each name fit into what is held."""
        held = (self.arrays[name, dtype].size if (name, dtype) in self.arrays else 0 for name in sizes)
        return min(total // size for total, size in zip(held, sizes.values(), strict=True))

    def clear(self) -> None:
        """Give the memory of this thread back."""
        self.arrays.clear()
        self.records.clear()


WORK = Workspace()
