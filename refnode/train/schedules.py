"""Schedules: the rate of an optimiser at step k = 0, 1, ..; a plain number is the same at every step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refnode.arrays import count, finite, positive
from refnode.errors import InvalidArgument

Rate = float | Callable[[int], float]


def rate_at(rate: Rate, k: int) -> float:
    """The rate at step k.

    >>> rate_at(0.1, 7), rate_at(StepDecay(0.1, 0.5, every=5), 7)
    (0.1, 0.05)
    """
    return rate(k) if callable(rate) else rate


def checked_rate(rate: object) -> Rate:
    """A rate > 0 or a schedule, or InvalidArgument."""
    return rate if callable(rate) else positive("rate", rate)


@dataclass(frozen=True)
class StepDecay:
    """rate factor^floor(k / every)."""

    rate: float
    factor: float = 0.9
    every: int = 1000

    def __post_init__(self) -> None:
        positive("rate", self.rate)
        positive("factor", self.factor)
        count("every", self.every)

    def __call__(self, k: int) -> float:
        """The rate at step k."""
        return self.rate * self.factor ** (k // self.every)


@dataclass(frozen=True)
class Cosine:
    """least + (rate - least) (1 + cos(pi k / steps)) / 2, and least from k = steps on.

    Source   Loshchilov and Hutter 2017, equation (5), without restarts.
    """

    rate: float
    steps: int
    least: float = 0.0

    def __post_init__(self) -> None:
        positive("rate", self.rate)
        count("steps", self.steps)
        if not 0 <= finite("least", self.least) <= self.rate:
            raise InvalidArgument("least", self.least, f"between 0 and the rate, {self.rate}")

    def __call__(self, k: int) -> float:
        """The rate at step k."""
        turn = np.cos(np.pi * min(k, self.steps) / self.steps)
        return float(self.least + (self.rate - self.least) * (1 + turn) / 2)


@dataclass(frozen=True)
class Warmup:
    """(k + 1) / steps times the rate that follows, as long as that factor is below one."""

    steps: int
    then: Rate

    def __post_init__(self) -> None:
        count("steps", self.steps)
        checked_rate(self.then)

    def __call__(self, k: int) -> float:
        """The rate at step k."""
        return min(1.0, (k + 1) / self.steps) * rate_at(self.then, k)
