"""grade: is another library's gradient right, and to how many digits? A verdict per problem, and what went wrong."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from refnode.api import digits_left
from refnode.arrays import positive
from refnode.errors import InvalidArgument
from refnode.oracle.answer import Answer, Gradient, ask, is_float64
from refnode.oracle.case import Case, relative
from refnode.oracle.diagnosis import diagnose
from refnode.oracle.entry import Entry
from refnode.oracle.own_solution import NOT_ASSESSED, GridLoss, assess
from refnode.oracle.parts import parts_of
from refnode.oracle.problems import catalogue
from refnode.oracle.report_card import Graded, Report, Trial, verdict
from refnode.oracle.truth import farthest, place
from refnode.problem import Problem

TOLS = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)
PROBLEMS = ("linear", "mild", "concat_time")  # an MLP and a squared error at T: what every library can do

Asked = str | Entry | Problem


def grade(
    function: Gradient,
    problems: Asked | Sequence[Asked] = PROBLEMS,
    tols: Sequence[float] = TOLS,
    *,
    loss: GridLoss | None = None,
    digits: float | None = None,
) -> Report:
    """Hold a gradient function to the truth, at several tolerances, on problems whose gradient is known.

    Parameters
    ----------
    function   function(problem, tol) -> {leaf: array-like}, for some or all leaves of the problem: problem["x"],
               problem["theta.W0"], .. are its numbers, exact float64
    problems   catalogue names, entries of `catalogue`, or problems of your own
    tols       tolerances, each > 0
    loss       loss(problem, grid) -> float, your own discrete loss on the step ends grid (K + 1,): function(problem,
               grid) is then held to be its gradient
    digits     the most digits that are asked for, however small a tolerance is; None: no limit

    Returns
    -------
    Report    print it; .ok for an exit status, .to_json() for a file

    A gradient passes if |g - truth| <= radius + 10^-claim scale, for -log10(tol) - 2 digits claimed, at least one;
    scale is the leaf's largest true entry. What the function raises is an outcome, not a crash.

    Raises InvalidArgument for unknown problems, NumericalError if the reference itself cannot be had.
    """
    limit = np.inf if digits is None else positive("digits", digits)
    return _grade(function, problems, tols, lambda tol: min(usual_digits(tol), limit), loss)


def assert_gradient(
    function: Gradient, problems: Asked | Sequence[Asked], digits: float = 6, tol: float | None = None
) -> None:
    """AssertionError unless every leaf that the function returns has so many digits on every problem.

    Parameters
    ----------
    function   as for `grade`
    problems   as for `grade`
    digits     correct digits asked for
    tol        the tolerance handed to the function; None: 10^-(digits + 2)

    Raises
    ------
    AssertionError    its message is the number farthest off and the whole table

    >>> from refnode import Solver, gradient
    >>> assert_gradient(lambda problem, tol: gradient(problem, "discrete", Solver(tol=tol)), "linear")
    """
    __tracebackhide__ = True
    positive("digits", digits)
    tols = (10.0 ** -(digits + 2) if tol is None else tol,)
    report = _grade(function, problems, tols, lambda _: float(digits), None)
    if not report.ok:
        raise AssertionError(f"{report.first_fault()}\n\n{report}")


def usual_digits(tol: float) -> float:
    """What is asked for at a tolerance: -log10(tol) - 2 digits, at least one.

    >>> usual_digits(1e-8), usual_digits(1e-2)
    (6.0, 1.0)
    """
    return max(1.0, float(-np.log10(tol) - 2))


def _grade(
    function: Gradient,
    problems: Asked | Sequence[Asked],
    tols: Sequence[float],
    promise: Callable[[float], float],
    loss: GridLoss | None,
) -> Report:
    if not callable(function):
        raise InvalidArgument("function", function, "a function of (problem, tol)")
    if loss is not None and not callable(loss):
        raise InvalidArgument("loss", loss, "a function of (problem, grid), or None")
    checked = sorted({positive("tols", tol) for tol in tols}, reverse=True)
    if not checked:
        raise InvalidArgument("tols", "none", "at least one tolerance")
    started = time.perf_counter()
    graded = []
    for entry in _entries(problems):
        handed = replace(entry.problem)  # what a function does to its problem's dictionary must not reach the truth
        answers = [ask(function, handed, tol) for tol in checked]
        graded.append(_judge(entry, answers, promise, function, loss))
    name = getattr(function, "__qualname__", type(function).__name__)
    return Report(name, tuple(graded), tuple(checked), time.perf_counter() - started)


def _entries(problems: Asked | Sequence[Asked]) -> list[Entry]:
    """The problems as entries, in the order given."""
    given: Iterable[Any] = [problems] if isinstance(problems, str | Entry | Problem) else list(problems)
    entries = []
    for n, asked in enumerate(given):
        if isinstance(asked, Problem):
            entries.append(Entry(f"problem {n + 1}", "", asked))
        elif isinstance(asked, Entry):
            entries.append(asked)
        elif isinstance(asked, str):
            entries.append(_remembered(asked))
        else:
            raise InvalidArgument("problems", asked, "catalogue names, entries or problems")
    if not entries:
        raise InvalidArgument("problems", "none", "at least one problem")
    return entries


@lru_cache(maxsize=64)
def _remembered(name: str) -> Entry:
    """The entry of a name: one object a process, so that its truth is computed once."""
    return catalogue(name)[0]


def _judge(
    entry: Entry, answers: list[Answer], promise: Callable[[float], float], function: Gradient, loss: GridLoss | None
) -> Graded:
    """Everything that is said about one problem."""
    parts = parts_of(entry.problem)
    case = Case(parts, parts.truth.scales(entry.faint), tuple(answers), promise)
    trials = tuple(_trial(case, answer) for answer in answers)
    found = tuple(diagnose(case))
    own = NOT_ASSESSED if loss is None else assess(entry.problem, function, loss)
    words, right = verdict(case, trials)
    given = {leaf for answer in answers for leaf in answer.given}
    missing = tuple(leaf for leaf in entry.problem.leaves() if leaf not in given)
    known = min(parts.truth.digits(entry.faint).values())
    return Graded(
        entry.name, entry.about, trials, tuple(entry.problem.leaves()), missing, case.slope, words, right, own, found,
        parts.truth.kind, known,
    )  # fmt: skip


def _trial(case: Case, answer: Answer) -> Trial:
    """One answer against the truth: digits of every leaf, and the number that is farthest off if any is too far."""
    problem, truth, asked = case.parts.problem, case.parts.truth, case.promise(answer.tol)
    got = answer.comparable(problem)
    digits, violation, error, most = {}, "", 0.0, 0.0
    for leaf, g in got.items():
        gap, scale, radius = truth.gap(leaf, g), case.scale[leaf], truth.radius[leaf]
        blurred = np.maximum(gap, radius)  # digits beyond the radius are not claimed
        digits[leaf] = digits_left(float(np.max(blurred, initial=0.0)), scale)
        error = max(error, relative(float(np.max(gap, initial=0.0)), scale))
        excess = gap - radius - 10.0**-asked * scale
        beyond = relative(float(np.max(excess, initial=0.0)), scale)
        if beyond > most:
            index, most = farthest(excess), beyond
            violation = f"{place(leaf, index)} is {g[index]:.10g}, should be {truth.words(leaf, index, 10)}"
    fault = answer.raised or violation or _fault(answer, problem, got)
    unusable = tuple(leaf for leaf in problem.leaves() if leaf in answer.given and leaf not in got)
    return Trial(answer.tol, asked, digits, unusable, error, fault, bool(answer.raised), answer.seconds)


def _fault(answer: Answer, problem: Problem, got: Iterable[str]) -> str:
    """Why an answer whose comparable leaves are right does not pass all the same."""
    leaves = problem.leaves()
    for name, a in answer.given.items():
        if name not in leaves:
            return f"unknown leaf {name!r}"
        if a.shape != leaves[name].shape:
            return f"{name} has shape {a.shape}, should be {leaves[name].shape}"
        if not is_float64(a):
            return f"{name} has dtype {a.dtype}, should be float64"
        if name not in got:
            return f"{name} has a NaN or infinity"
    return "" if answer.given else "no leaf returned"
