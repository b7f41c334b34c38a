"""What a worker is asked to do: the truth about a problem, or one configuration's gradient at one tolerance.

A job is called in the worker process and returns (outcome, value or message).
"""

from dataclasses import dataclass
from functools import lru_cache

import refnode as rn
from validation.board.problems import entries
from validation.board.worker import timed
from validation.peers.configurations import Configuration
from validation.peers.support import NotSupported


@lru_cache(maxsize=1)
def entry(name):
    """An entry: the same object for every job about it, so that a compiled function is found again."""
    return entries(name)[0]


@dataclass(frozen=True)
class TruthJob:
    """The reference of one problem."""

    problem: str
    limit: float = 100.0

    def __call__(self):
        return "returned", rn.reference(entry(self.problem).problem)


@dataclass(frozen=True)
class GradientJob:
    """One configuration on one problem at one tolerance: gradients, seconds, seconds of the first call."""

    problem: str
    configuration: Configuration
    tol: float
    limit: float

    def __call__(self):
        problem = entry(self.problem).problem
        try:
            function = self.configuration.load()
        except ImportError as error:
            return "n/a", f"{self.configuration.library} cannot be imported: {error}"
        try:
            grads, seconds, first = timed(lambda: function(problem, self.tol), self.limit, self.configuration.compiles)
        except NotSupported as error:
            return "n/a", str(error)
        except Exception as error:  # whatever a library raises is its answer
            return "raised", f"{type(error).__name__}: {error}"
        return "returned", (grads, seconds, first)
