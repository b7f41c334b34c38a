"""The history of a training: a row for each step, and whether the loss is still in sight of the first."""

from collections.abc import Mapping

import numpy as np

from refnode.arrays import Array
from refnode.errors import NumericalError
from refnode.gradients.result import GradientResult
from refnode.train.checkpoint import COLUMNS


class Book:
    """The history of a run as it grows: a row for each step."""

    def __init__(self, history: Mapping[str, Array], limit: float) -> None:
        self.rows = list(zip(*(history[name].tolist() for name in COLUMNS), strict=True))
        self.limit = limit

    def enter(self, k: int, result: GradientResult, seconds: float) -> tuple[float, int, int, float]:
        """Write the row of step k; NumericalError if the loss has grown beyond the limit."""
        first = self.rows[0][0] if k else result.loss
        if result.loss > first + self.limit * max(1.0, abs(first)):
            raise NumericalError(f"the loss is {result.loss:.3g}, after {first:.3g} at the first step")
        row = (result.loss, int(result.stats.nfe), int(result.stats.nfe_backward), seconds)
        self.rows[k:] = [row]
        return row

    def history(self, steps: int) -> dict[str, Array]:
        """The columns of the first so many steps."""
        columns = zip(*self.rows[:steps], strict=True) if steps else ((),) * len(COLUMNS)
        return {name: np.array(column, dtype=float) for name, column in zip(COLUMNS, columns, strict=True)}
