"""Contestants in turn: verified before they are timed, medians of rounds, ratios with their spread.

The rounds of all contestants alternate, so that a machine that slows down slows all of them. Before each there is a
pause: threads of the one before may spin for a while when their work is done, and would take a core from the next. The
first call, which may compile, is timed apart. After it all objects there are count as permanent: a garbage collection
that walks through those of all libraries takes 100 ms, and would fall to whoever happens to ask for an object then. A
ratio is taken round by round, and its spread is that of the rounds.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

PAUSE = 0.25  # seconds


class WrongAnswer(Exception):
    """A contestant's answer is further from the truth than the race allows: nothing is timed."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant: the first call, the median of the rounds and each round's; its error."""

    name: str
    first: float
    median: float
    rounds: list[float]
    error: float


@dataclass(frozen=True)
class Race:
    """What is raced, the largest error that was allowed, and the contestants' timings."""

    title: str
    within: float
    timings: list[Timing]

    def of(self, name: str) -> Timing:
        """The timing of a contestant."""
        (found,) = [timing for timing in self.timings if timing.name == name]
        return found


def race(
    title: str,
    contestants: Mapping[str, Callable[[], Any]],
    error: Callable[[Any], float],
    within: float,
    rounds: int = 7,
    seconds: float = 0.1,
) -> Race:
    """Time the contestants, `rounds` times at least `seconds` each, in turn.

    Raises WrongAnswer before anything is timed if error(answer) of a first call is not at most `within`.
    """
    firsts, errors = {}, {}
    for name, call in contestants.items():
        start = time.perf_counter()
        answer = call()
        firsts[name], errors[name] = time.perf_counter() - start, float(error(answer))
    verify(title, errors, within)
    settle()
    calls = {name: _calls_of(call, seconds) for name, call in contestants.items()}
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            time.sleep(PAUSE)
            taken[name].append(_seconds_of(call, calls[name]))
    timings = [Timing(name, firsts[name], statistics.median(t), t, errors[name]) for name, t in taken.items()]
    return Race(title, within, timings)


def settle() -> None:
    """Leave all objects there are out of further garbage collections."""
    gc.collect()
    gc.freeze()


def verify(title: str, errors: Mapping[str, float], within: float) -> None:
    """Raise WrongAnswer if an error is larger than allowed, or no number."""
    wrong = [f"{name} is off by {error:.1e}" for name, error in errors.items() if not error <= within]
    if wrong:
        raise WrongAnswer(f"{title}: {', '.join(wrong)}; allowed are {within:.0e}")


def _calls_of(call: Callable[[], Any], seconds: float) -> int:
    return max(1, round(seconds / max(_seconds_of(call, 1), 1e-9)))


def _seconds_of(call: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def ratio(slow: Timing, fast: Timing) -> tuple[float, float, float]:
    """How many times longer `slow` takes: the median over rounds, the smallest and the largest."""
    each = [a / b for a, b in zip(slow.rounds, fast.rounds, strict=True)]
    return statistics.median(each), min(each), max(each)


def best_other(race: Race, mine: str, others: tuple[str, ...]) -> Timing:
    """The fastest of the contestants whose names begin with one of `others`."""
    rivals = [timing for timing in race.timings if timing.name != mine and timing.name.startswith(others)]
    return min(rivals, key=lambda timing: timing.median)


def as_data(race: Race) -> dict[str, Any]:
    """A race for a JSON file."""
    return asdict(race)


def from_data(data: Mapping[str, Any]) -> Race:
    """The race of a JSON file."""
    return Race(data["title"], data["within"], [Timing(**timing) for timing in data["timings"]])


def table(race: Race, mine: str) -> str:
    """A Markdown table of one race, ratios against the contestant `mine`."""
    fast = race.of(mine)
    head = ["| | median ms | times refnode | spread | first call s | error |", "|---|---|---|---|---|---|"]
    lines = [f"### {race.title}", "", *head]
    for t in race.timings:
        middle, low, high = ratio(t, fast)
        spread = "" if t is fast else f"{low:.2f} .. {high:.2f}"
        lines.append(f"| {t.name} | {1e3 * t.median:.3f} | {middle:.2f} | {spread} | {t.first:.2f} | {t.error:.1e} |")
    return "\n".join(lines) + "\n"
