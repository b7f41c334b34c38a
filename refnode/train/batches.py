"""Mini-batches of a data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refnode.arrays import Array, count, float64
from refnode.errors import InvalidArgument
from refnode.loss import Loss


class Sample(Protocol):
    """What draws the data of step k: a pure function of the generator, which is the step's own, and of k."""

    def __call__(self, rng: np.random.Generator, k: int) -> tuple[Array, Loss]: ...


@dataclass(frozen=True, eq=False)
class Batches:
    """Every epoch all rows of a data set in an order of its own, `size` at a time; what is left over waits for none.

    Parameters
    ----------
    x, y    inputs (n, ..) and targets (n, ..): reals, or labels
    loss    loss(y rows) -> Loss
    size    rows in a batch
    seed    of the orders

    >>> from refnode.loss import SquaredError
    >>> batches = Batches(np.arange(6.0)[:, None], np.zeros((6, 1)), lambda y: Loss(SquaredError(y)), size=3)
    >>> rows = [batches(np.random.default_rng(0), k)[0].ravel() for k in range(2)]
    >>> sorted(np.concatenate(rows).tolist())
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    x: Any
    y: Any
    loss: Callable[[Array], Loss]
    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", float64("x", self.x, (None, None)))
        object.__setattr__(self, "y", np.asarray(self.y))
        if len(self.y) != len(self.x):
            raise InvalidArgument("y", f"{len(self.y)} rows", f"{len(self.x)} rows, as many as x")
        if count("size", self.size) > len(self.x):
            raise InvalidArgument("size", self.size, f"at most {len(self.x)}, the rows there are")
        count("seed", self.seed, 0)

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch."""
        return len(self.x) // self.size

    def __call__(self, rng: np.random.Generator, k: int) -> tuple[Array, Loss]:
        """The batch of step k."""
        epoch, n = divmod(k, self.per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.x))
        rows = order[n * self.size : (n + 1) * self.size]
        return self.x[rows], self.loss(self.y[rows])
