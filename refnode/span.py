"""A stretch of depth, and where a fraction of it lies."""

from dataclasses import dataclass

import numpy as np

from refnode.arrays import Array


@dataclass(frozen=True, eq=False)
class Span:
    """One segment between break-points: start and end, () or (b,)."""

    start: Array
    end: Array

    @property
    def length(self) -> Array:
        """end - start, signed."""
        return np.asarray(self.end - self.start)

    def at(self, s: Array) -> Array:
        """The depth t at the fraction s."""
        return np.asarray((1 - s) * self.start + s * self.end)
