"""certify: every method on every catalogue problem against the best truth, and whether it keeps what it claims."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from refnode.ahead import compile_ahead, jobs
from refnode.api import digits_left, gradient
from refnode.arrays import Array
from refnode.backend import Backend, why_no_kernels
from refnode.errors import InvalidArgument, NumericalError, RefnodeError
from refnode.gradients import METHODS
from refnode.oracle.entry import Entry
from refnode.oracle.ladder import reference
from refnode.oracle.problems import CATALOGUE, catalogue
from refnode.oracle.truth import Truth, farthest, place
from refnode.solver import Solver

SOLVER = Solver("dopri5", tol=1e-8)
QUICK = ("exp", "linear", "cosine", "mild", "contracting", "theta_running", "zero", "tiny_span", "backwards", "own_T")
SLOW_METHODS = ("richardson", "forward_continuous")  # left out by quick

Progress = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True)
class Cell:
    """One method on one problem.

    claim, claimed_digits    what it promised; digits, worst_leaf what the worst leaf had (None if nothing came back)
    outcome                  in words; ok whether the promise was kept; note why it is not the usual promise
    """

    problem: str
    method: str
    claim: str
    claimed_digits: float | None
    digits: float | None
    worst_leaf: str
    seconds: float
    nfe: int
    nfe_backward: int
    outcome: str
    ok: bool
    truth: str
    note: str


@dataclass(frozen=True)
class Certificate:
    """All cells of a run, and the solver they ran with."""

    cells: tuple[Cell, ...]
    solver: Solver
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every cell keeps its claim."""
        return all(cell.ok for cell in self.cells)

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "format": "refnode.certificate",
            "version": 1,
            "ok": self.ok,
            "seconds": self.seconds,
            "solver": {"method": self.solver.method, "rtol": self.solver.rtol, "atol": self.solver.atol},
            "cells": [asdict(cell) for cell in self.cells],
        }


def certify(
    problems: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    quick: bool = False,
    progress: Progress | None = None,
    backend: Backend = "numpy",
) -> Certificate:
    """Run the methods on the problems and hold each to its claim.

    Parameters
    ----------
    problems   catalogue names; None: all, or the quick ones
    methods    names of METHODS; None: all, or the quick ones
    quick      leave out the largest problems and the slowest methods, where the names are not given
    backend    "numpy", the story; "cpu", the compiled kernels, on the problems and methods that they take
    progress   called before each cell with what runs, how many are done, and of how many

    Raises InvalidArgument for unknown names.
    """
    started = time.perf_counter()
    names = tuple(problems or (QUICK if quick else CATALOGUE))
    chosen = tuple(methods or (m for m in METHODS if not (quick and m in SLOW_METHODS)))
    if unknown := [m for m in chosen if m not in METHODS]:
        raise InvalidArgument("methods", ", ".join(unknown), "among " + ", ".join(METHODS))
    cells: list[Cell] = []
    entries = catalogue(*names)
    if backend == "cpu":
        compile_ahead(jobs(chosen, (SOLVER.method,)))
    for entry in entries:
        if progress:
            progress(f"{entry.name}: truth", len(cells), len(names) * len(chosen))
        truth = reference(entry.problem)
        for method in chosen:
            if backend != "numpy" and why_no_kernels(backend, entry.problem, SOLVER, method):
                continue
            if progress:
                progress(f"{entry.name}: {method}", len(cells), len(names) * len(chosen))
            cells.append(certify_cell(entry, method, truth, SOLVER, backend))
    return Certificate(tuple(cells), SOLVER, time.perf_counter() - started)


def certify_cell(entry: Entry, method: str, truth: Truth, solver: Solver, backend: Backend = "numpy") -> Cell:
    """Run one method on one problem and judge it."""
    claim, usual = entry.claim(method), usual_digits(solver)
    promised = usual if claim.word == "delivers" and claim.digits is None else claim.digits
    started = time.perf_counter()
    try:
        result = gradient(entry.problem, method, solver, backend=backend)  # type: ignore[arg-type]
    except NumericalError as error:
        seconds, ok = time.perf_counter() - started, claim.word == "refuses"
        outcome = f"raises {type(error).__name__}: {error}"
        cost = seconds, 0, 0
        return Cell(entry.name, method, claim.word, promised, None, "", *cost, outcome, ok, truth.kind, claim.because)
    seconds = time.perf_counter() - started
    scale = truth.scales(entry.faint)
    have = {leaf: digits_left(_largest(truth.gap(leaf, g)), scale[leaf]) for leaf, g in result.grads.items()}
    worst = min(have, key=lambda leaf: have[leaf])
    ok, outcome = _judge(claim.word, promised, usual, result.grads, truth, scale, have[worst], worst)
    cost = seconds, result.stats.nfe, result.stats.nfe_backward
    promise = entry.name, method, claim.word, promised
    return Cell(*promise, have[worst], worst, *cost, outcome, ok, truth.kind, claim.because)


def usual_digits(solver: Solver) -> float:
    """What a method claims on a well-conditioned problem: -log10(tol) - 2 digits."""
    if solver.tolerance is None:
        raise RefnodeError("certify needs a solver with a tolerance")
    return float(-np.log10(solver.tolerance) - 2)


def _judge(
    word: str,
    promised: float | None,
    usual: float,
    grads: Mapping[str, Array],
    truth: Truth,
    scale: Mapping[str, float],
    have: float,
    worst: str,
) -> tuple[bool, str]:
    """Whether a returned gradient keeps its promise, and the outcome in words."""
    if word == "refuses":
        return False, f"returned {have:.1f} digits where it should refuse"
    if word == "known-bad" and have >= usual:
        return False, f"returned {have:.1f} digits: better than known-bad"
    floor = promised or 0.0
    outside = beyond(grads, truth, scale, floor)
    if outside:
        return False, f"{have:.1f} digits in {worst}, {floor:.1f} promised; {outside}"
    if blunt := [leaf for leaf, r in truth.radius.items() if digits_left(_largest(r), scale[leaf]) < floor + 1]:
        return False, f"the truth about {', '.join(blunt)} is not sharp enough to tell"
    return True, f"{have:.1f} digits"


def beyond(grads: Mapping[str, Array], truth: Truth, scale: Mapping[str, float], promised: float) -> str:
    """The first leaf and index where |g - mid| > radius + claimed error; empty if there is none."""
    for leaf in truth.grads:
        excess = truth.gap(leaf, grads[leaf]) - truth.radius[leaf] - 10.0**-promised * scale[leaf]
        if promised > 0 and np.any(excess > 0):
            index = farthest(excess)
            return f"{place(leaf, index)} is {grads[leaf][index]:.17g}, should be {truth.words(leaf, index)}"
    return ""


def _largest(a: Array) -> float:
    return float(np.max(np.abs(a), initial=0.0))
