"""A case: the answers of one function to one problem, and how far each leaf of them is from where it should be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from refnode.oracle.answer import Answer
from refnode.oracle.parts import Grads, Parts


@dataclass(frozen=True)
class Finding:
    """One diagnosis.

    word       its name, such as "dropped integral term"
    where      the leaves, terms or tolerances it is about
    evidence   the numbers it rests on, by name: error and what is left of it, factors, slopes
    """

    word: str
    where: str
    evidence: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in self.evidence.items())
        return f"{self.word}: {self.where}" + (f" ({numbers})" if numbers else "")


@dataclass(frozen=True, eq=False)
class Case:
    """The answers to one problem, from the loosest tolerance to the tightest, and what they are held against.

    scale     leaf -> what an error in it is measured against
    promise   tolerance -> digits that are asked for
    """

    parts: Parts
    scale: Mapping[str, float]
    answers: tuple[Answer, ...]
    promise: Callable[[float], float]

    @property
    def true(self) -> Grads:
        """The reference gradient."""
        return self.parts.truth.grads

    @cached_property
    def focus(self) -> Answer | None:
        """The answer that is explained: the one at the tightest tolerance that has anything to compare."""
        usable = [answer for answer in self.answers if answer.comparable(self.parts.problem)]
        return usable[-1] if usable else None

    @cached_property
    def got(self) -> Grads:
        """Its comparable leaves."""
        return {} if self.focus is None else self.focus.comparable(self.parts.problem)

    @cached_property
    def wrong(self) -> list[str]:
        """Its leaves that miss the claim."""
        return [leaf for leaf in self.got if self.off(self.true, leaf) > self.room(leaf)]

    def off(self, want: Grads, leaf: str) -> float:
        """The largest difference of a leaf from what is wanted, over its scale."""
        return relative(float(np.max(np.abs(self.got[leaf] - want[leaf]), initial=0.0)), self.scale[leaf])

    def room(self, leaf: str) -> float:
        """Relative error that claim and truth's radius allow."""
        claim = 0.0 if self.focus is None else 10.0 ** -self.promise(self.focus.tol)
        return claim + relative(float(np.max(self.parts.truth.radius[leaf], initial=0.0)), self.scale[leaf])

    def error(self, answer: Answer, leaf: str) -> float:
        """Relative error of a leaf of any answer, NaN if it is not comparable there."""
        got = answer.comparable(self.parts.problem)
        if leaf not in got:
            return np.nan
        return relative(float(np.max(self.parts.truth.gap(leaf, got[leaf]), initial=0.0)), self.scale[leaf])

    @cached_property
    def errors(self) -> list[tuple[float, float]]:
        """(tol, relative error of the worst leaf) of every answer that has comparable leaves."""
        named = [(answer, answer.comparable(self.parts.problem)) for answer in self.answers]
        return [(answer.tol, max(self.error(answer, leaf) for leaf in got)) for answer, got in named if got]

    @cached_property
    def floor(self) -> float:
        """Relative error below which the truth's radius and round-off hide what a tolerance does."""
        radii = self.parts.truth.radius.items()
        return max(1e-13, *(relative(float(np.max(r, initial=0.0)), self.scale[leaf]) for leaf, r in radii))

    @cached_property
    def slope(self) -> float | None:
        """Slope of log error against log tol, where errors are above the floor; None if fewer than two are."""
        points = [(tol, error) for tol, error in self.errors if 3 * self.floor < error < np.inf]
        if len({tol for tol, _ in points}) < 2:
            return None
        return log_slope(points)


def relative(error: float, scale: float) -> float:
    """error / scale; infinite for an error in what has no scale.

    >>> relative(1.0, 4.0), relative(1.0, 0.0), relative(0.0, 0.0)
    (0.25, inf, 0.0)
    """
    return error / scale if scale > 0 else (np.inf if error > 0 else 0.0)


def log_slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of log error against log tol, by least squares, for points (tol, error), both > 0, two or more.

    >>> round(log_slope([(1e-2, 1e-3), (1e-4, 1e-5)]), 6)
    1.0
    """
    x, y = np.log10(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])
