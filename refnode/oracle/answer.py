"""What a function under test returned, as it came, and what of it can be compared with the truth."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import ProgramFailed
from refnode.problem import Problem

Gradient = Callable[[Problem, Any], Any]  # (problem, tol) -> {leaf: array-like}

MESSAGE = 160  # characters of an exception's message that are kept


@dataclass(frozen=True, eq=False)
class Answer:
    """What a function returned at one tolerance.

    tol       the tolerance it was called with
    given     name -> array, of whatever dtype and shape; empty if it raised
    raised    what it raised or returned instead of a mapping, in words; empty if it returned one
    seconds   wall-clock seconds of the call
    """

    tol: float
    given: Mapping[str, Array]
    raised: str
    seconds: float

    def comparable(self, problem: Problem) -> dict[str, Array]:
        """The leaves that have the problem's names and shapes and finite real numbers, as float64."""
        leaves = problem.leaves()
        fits = {name: a for name, a in self.given.items() if name in leaves and a.shape == leaves[name].shape}
        numbers = {name: as_float64(a) for name, a in fits.items()}
        return {name: numbers[name] for name in leaves if name in numbers and np.isfinite(numbers[name]).all()}


def as_float64(a: Array) -> Array:
    """Real numbers of any dtype as float64, imaginary parts left out; NaN for what is no number."""
    if a.dtype.kind in "iufbc":
        return np.real(a).astype(np.float64)
    return np.full(a.shape, np.nan)


def is_float64(a: Array) -> bool:
    """Whether numbers have all of float64's digits; integers do."""
    return a.dtype == np.float64 or a.dtype.kind in "iu"


def ask(function: Gradient, problem: Problem, tol: float) -> Answer:
    """Call a function under test. Whatever it raises, short of an interrupt, is an outcome.

    Parameters
    ----------
    function   called as function(problem, tol); returns a mapping from leaf names, or an object with such `grads`
    tol        the tolerance to hand over, > 0

    A leaf that is None counts as not returned, as automatic differentiation marks leaves it did not reach.
    """
    started = time.perf_counter()
    try:
        given, raised = as_given(function(problem, tol)), ""
    except (Exception, SystemExit) as error:
        given, raised = {}, in_words(error)
    return Answer(tol, given, raised, time.perf_counter() - started)


def as_given(result: Any) -> dict[str, Array]:
    """What was returned as name -> array; TypeError if it is no mapping, or a leaf is no array."""
    grads = result if isinstance(result, Mapping) else getattr(result, "grads", None)
    if not isinstance(grads, Mapping):
        raise TypeError(f"the function returned {type(result).__name__}, not a mapping from leaf names to arrays")
    return {str(name): _array(str(name), value) for name, value in grads.items() if value is not None}


def _array(name: str, value: Any) -> Array:
    try:
        return np.array(value)
    except Exception as error:
        raise TypeError(f"leaf {name!r} cannot be read as an array: {in_words(error)}") from error


def in_words(error: BaseException) -> str:
    """An exception in one line: its class and the start of its message; of a program's failure the message alone."""
    text = " ".join(str(error).split())
    text = text if len(text) <= MESSAGE else text[: MESSAGE - 2] + ".."
    return text if isinstance(error, ProgramFailed) else f"{type(error).__name__}: {text}".rstrip(": ")
