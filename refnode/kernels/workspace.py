"""Memory for tapes, of which each thread has its own.

A workspace is allocated once and used again: fresh pages cost more than the steps written on them.
"""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from refnode.arrays import Array


class Workspace(threading.local):
    """Arrays by name and dtype, as large as the largest that was asked for; one workspace for each thread."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, Any], Array] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of this shape, whatever it holds. Valid until the next call with the same name."""
        size = int(np.prod(shape))
        held = self.arrays.get((name, dtype))
        if held is None or held.size < size:
            held = self.arrays[name, dtype] = np.empty(size, dtype)
        return held[:size].reshape(shape)

    def room(self, sizes: Mapping[str, int], dtype: Any) -> int:
        """How often `sizes` numbers under each name fit into what is held."""
        held = (self.arrays[name, dtype].size if (name, dtype) in self.arrays else 0 for name in sizes)
        return min(total // size for total, size in zip(held, sizes.values(), strict=True))

    def clear(self) -> None:
        """Give the memory of this thread back."""
        self.arrays.clear()
