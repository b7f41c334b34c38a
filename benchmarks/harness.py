"""Contestants in turn: verified before they are timed, medians of rounds, ratios with their spread.

The rounds of all contestants alternate, so that a machine that slows down slows all of them. The first call, which may
compile, is timed apart. A ratio is taken round by round, and its spread is that of the rounds.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
VERSIONS = ("refnode", "numpy", "numba", "llvmlite", "torch", "torchdiffeq", "jax", "jaxlib", "diffrax")


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant: the first call, the median of the rounds and each round's; its error."""

    name: str
    first: float
    median: float
    rounds: list[float]
    error: float


def race(
    contestants: Mapping[str, Callable[[], object]],
    error: Callable[[object], float],
    rounds: int = 7,
    seconds: float = 0.1,
) -> list[Timing]:
    """Time the contestants, `rounds` times at least `seconds` each, in turn. error(answer) is measured once, first."""
    firsts, errors, calls = {}, {}, {}
    for name, call in contestants.items():
        start = time.perf_counter()
        answer = call()
        firsts[name], errors[name] = time.perf_counter() - start, error(answer)
        start = time.perf_counter()
        call()
        calls[name] = max(1, round(seconds / max(time.perf_counter() - start, 1e-9)))
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                call()
            taken[name].append((time.perf_counter() - start) / calls[name])
    return [Timing(name, firsts[name], statistics.median(t), t, errors[name]) for name, t in taken.items()]


def ratio(slow: Timing, fast: Timing) -> tuple[float, float, float]:
    """How many times longer `slow` takes: the median over rounds, the smallest and the largest."""
    each = [a / b for a, b in zip(slow.rounds, fast.rounds, strict=True)]
    return statistics.median(each), min(each), max(each)


def table(title: str, timings: list[Timing], mine: str) -> str:
    """A Markdown table of one race, ratios against the contestant `mine`."""
    (fast,) = [t for t in timings if t.name == mine]
    head = ["| | median ms | times refnode | spread | first call s | error |", "|---|---|---|---|---|---|"]
    lines = [f"### {title}", "", *head]
    for t in timings:
        middle, low, high = ratio(t, fast)
        spread = "" if t is fast else f"{low:.1f} .. {high:.1f}"
        lines.append(f"| {t.name} | {1e3 * t.median:.3f} | {middle:.2f} | {spread} | {t.first:.2f} | {t.error:.1e} |")
    return "\n".join(lines) + "\n"


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    facts = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        facts["processor"] = f"{models[0]}, {len(models)} cores"
    except (OSError, IndexError):
        pass
    for package in VERSIONS:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts


def save(name: str, races: Mapping[str, list[Timing]], text: str) -> None:
    """Results as JSON and Markdown."""
    RESULTS.mkdir(exist_ok=True)
    data = {"machine": machine(), "races": {title: [asdict(t) for t in timings] for title, timings in races.items()}}
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    (RESULTS / f"{name}.md").write_text(text, "utf-8")
