"""Memory for tapes that is allocated once and used again: fresh pages cost more than the steps written on them."""

import threading
from typing import Any

import numpy as np

from refnode.arrays import Array


class Workspace(threading.local):
    """Arrays by name and dtype, as large as the largest that was asked for; one workspace for each thread.

    room    steps for which a tape has room at first: as many as the longest solve of this thread took so far
    """

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, Any], Array] = {}
        self.room = 32

    def get(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of this shape, whatever it holds. Valid until the next call with the same name."""
        size = int(np.prod(shape))
        held = self.arrays.get((name, dtype))
        if held is None or held.size < size:
            held = self.arrays[name, dtype] = np.empty(size, dtype)
        return held[:size].reshape(shape)

    def clear(self) -> None:
        """Give the memory of this thread back."""
        self.arrays.clear()
        self.room = 32
