"""What grade returns: trials, verdicts and findings, as text of at most 100 columns and as data."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from refnode.oracle.case import Case, Finding, log_slope
from refnode.oracle.own_solution import OwnVerdict

COLUMNS, LABEL, CELL = 100, 18, 8
FOLLOWS, FLAT = 0.5, 0.25  # slopes of error against tolerance, on logarithmic axes


@dataclass(frozen=True)
class Trial:
    """One call.

    tol, asked    tolerance, and digits that are asked for there
    digits        comparable leaf -> correct digits; unusable: leaves that came in another form
    error         relative error of the worst leaf
    fault         why it does not pass, in words; empty if it passes
    raised        whether it raised, or returned no mapping
    seconds       wall-clock
    """

    tol: float
    asked: float
    digits: Mapping[str, float]
    unusable: tuple[str, ...]
    error: float
    fault: str
    raised: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it passes."""
        return not self.fault

    @property
    def worst(self) -> float | None:
        """Digits of the worst leaf, None if nothing is comparable."""
        return min(self.digits.values()) if self.digits else None


@dataclass(frozen=True)
class Graded:
    """One problem's report.

    name, about     the problem
    trials          from the loosest tolerance to the tightest
    leaves          the problem's leaves; not_returned: those that never came
    slope           of log error against log tol, above truth's radius and round-off; None: too few points
    verdict, right  on the true gradient, in words and as a flag
    own             on the gradient of its own discrete solution
    findings        the diagnosis
    truth           kind of reference; truth_digits: what it is good for
    """

    name: str
    about: str
    trials: tuple[Trial, ...]
    leaves: tuple[str, ...]
    not_returned: tuple[str, ...]
    slope: float | None
    verdict: str
    right: bool
    own: OwnVerdict
    findings: tuple[Finding, ...]
    truth: str
    truth_digits: float

    @property
    def ok(self) -> bool:
        """Whether the true gradient is right, and the own one too where it was assessed."""
        return self.right and self.own.ok


@dataclass(frozen=True)
class Report:
    """What `grade` returns: print it, or ask `ok`.

    function   the name of what was graded;  tols   the tolerances;  seconds   wall-clock of the whole
    """

    function: str
    problems: tuple[Graded, ...]
    tols: tuple[float, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every problem passes at every tolerance."""
        return all(problem.ok for problem in self.problems)

    def first_fault(self) -> str:
        """The first thing that is wrong, in one line; empty if nothing is."""
        for problem in self.problems:
            for trial in problem.trials:
                if trial.fault:
                    return f"{problem.name}, tol {trial.tol:.0e}: {trial.fault}"
            if not problem.ok:
                return f"{problem.name}: {problem.own.words}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file, format "refnode.grade": numbers that are not finite become null."""
        from refnode import __version__

        data = {
            "format": "refnode.grade",
            "version": 1,
            "refnode": __version__,
            "ok": self.ok,
            **asdict(self),
        }
        for problem, node in zip(self.problems, data["problems"], strict=True):
            node["ok"] = problem.ok
            for trial, entry in zip(problem.trials, node["trials"], strict=True):
                entry |= {"ok": trial.ok, "worst": trial.worst, "error_over_tol": trial.error / trial.tol}
        return _plain(data)

    def __str__(self) -> str:
        right = sum(problem.ok for problem in self.problems)
        lines = [f"grade of {self.function}"]
        for problem in self.problems:
            lines += ["", *problem_lines(problem)]
        word = "problem passes" if len(self.problems) == 1 else "problems pass"
        lines += ["", f"{right} of {len(self.problems)} {word}; {self.seconds:.1f} s"]
        return "\n".join(lines)


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(value) for value in node]
    return None if isinstance(node, float) and not np.isfinite(node) else node


# ---------------------------------------------------------------- the verdict in words

def verdict(case: Case, trials: Sequence[Trial]) -> tuple[str, bool]:
    """The verdict on the true gradient, and whether it is right at every tolerance."""
    returned = [trial for trial in trials if not trial.raised]
    comparable = [trial for trial in returned if trial.worst is not None]
    if not returned:
        return f"refuses: {trials[-1].fault}", False
    if not comparable:
        return f"nothing to compare: {returned[-1].fault}", False
    last = comparable[-1]
    failed = [trial for trial in returned if trial.fault]
    if last.ok and not failed:
        return _right(case, last, [trial for trial in trials if trial.raised], len(trials))
    if last.ok:
        return f"true gradient, but not at tol {failed[0].tol:.0e}: {failed[0].fault}", False
    if (last.worst or 0.0) >= 2 and _flat(case):
        return f"plateau at {last.worst:.1f} digits: {last.fault}", False
    if (last.worst or 0.0) >= 2 or any(trial.ok for trial in returned):
        return f"falls short: {last.worst:.1f} of {last.asked:.1f} digits at tol {last.tol:.0e}: {last.fault}", False
    return f"wrong: {last.fault}", False


def _right(case: Case, last: Trial, raised: Sequence[Trial], calls: int) -> tuple[str, bool]:
    if raised:
        where = f"true gradient where it returns one, to {last.worst:.1f} digits"
        return f"{where}; at tol {raised[0].tol:.0e} {raised[0].fault}", False
    slope = case.slope
    if calls == 1:
        how = f" at tol {last.tol:.0e}"
    elif slope is None:
        how = " at every tolerance"
    else:
        how = ", error follows tol" if slope >= FOLLOWS else ", error does not follow tol"
    return f"true gradient: right to {last.worst:.1f} digits{how}", True


def _flat(case: Case) -> bool:
    """Whether the error stays where it is from the last tolerance but one to the last."""
    last = [(tol, error) for tol, error in case.errors[-2:] if 0 < error < np.inf]
    return len(last) == 2 and log_slope(last) < FLAT


# ---------------------------------------------------------------- text

def problem_lines(problem: Graded) -> Iterator[str]:
    """One problem's table, verdicts and findings."""
    about = f" - {problem.about}" if problem.about else ""
    known = f", {problem.truth_digits:.1f} digits" if problem.truth_digits < np.inf else ", exactly"
    yield f"{problem.name}{about}; truth: {problem.truth}{known}"
    if not all(trial.raised for trial in problem.trials):
        width = max(LABEL, 5 + max(map(len, problem.leaves)))
        fit = max(1, (COLUMNS - width) // CELL)
        for start in range(0, len(problem.trials), fit):
            yield from _table(problem, problem.trials[start : start + fit], width)
        if problem.slope is not None:
            yield _row("  slope", [f"{problem.slope:.2f}"], width)
        if problem.not_returned:
            yield from _wrapped("  not returned: ", ", ".join(problem.not_returned))
    yield from _wrapped("  ", problem.verdict[:1].upper() + problem.verdict[1:])
    yield from _wrapped("  its own discrete solution: ", problem.own.words)
    for finding in problem.findings:
        yield from _wrapped("  diagnosis: ", str(finding))


def _table(problem: Graded, trials: Sequence[Trial], width: int) -> Iterator[str]:
    """Digits of every leaf, one column a tolerance; then what was asked for, and what it cost."""
    yield _row("  correct digits", [f"{trial.tol:.0e}" for trial in trials], width)
    for leaf in problem.leaves:
        if leaf not in problem.not_returned:
            yield _row(f"    {leaf}", [_cell(trial, leaf) for trial in trials], width)
    over = ["-" if not trial.digits else f"{trial.error / trial.tol:.1e}" for trial in trials]
    yield _row("  asked for", [f"{trial.asked:.1f}" for trial in trials], width)
    yield _row("  error / tol", over, width)
    yield _row("  seconds", [f"{trial.seconds:.2f}" for trial in trials], width)


def _cell(trial: Trial, leaf: str) -> str:
    if trial.raised:
        return "raises"
    if leaf in trial.digits:
        return f"{trial.digits[leaf]:.1f}"
    return "bad" if leaf in trial.unusable else "-"


def _row(label: str, cells: Sequence[str], width: int) -> str:
    return label.ljust(width) + "".join(cell.rjust(CELL) for cell in cells)


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, COLUMNS, initial_indent=label, subsequent_indent="    ") or [label]
