"""E0: how long a new process takes to its first gradient, with compiled kernels in the cache and without.

    python -m benchmarks.e0_start_up [--short]

Task A of benchmarks/tasks.py, and its like. "first gradient" counts from before `import refnode`, numpy and all, as
the process itself sees it; "process" is all of a process as its parent sees it.
"""

import statistics
import sys
import tempfile
import time
from typing import Any

from benchmarks.children import ask
from benchmarks.script import Data, main

CASES = {
    "discrete, float64": {"task": "A", "dtype": "float64"},
    "discrete, float32": {"task": "A", "dtype": "float32"},
    "discrete, batch 1": {"task": "C", "dtype": "float64"},
    "discrete, own steps": {"task": "D", "dtype": "float64"},
    "backsolve": {"task": "A", "dtype": "float64", "method": "backsolve"},
    "interpolating": {"task": "A", "dtype": "float64", "method": "interpolating"},
    "quadrature": {"task": "A", "dtype": "float64", "method": "quadrature"},
}
PEERS = ("torchdiffeq", "diffrax")
COLD = ("discrete, float64", "discrete, float32", "quadrature")
CERTIFY = "all methods of `refnode certify --backend cpu`"
ROUNDS = 5


def measure(short: bool) -> Data:
    """Imports, first gradients in processes that find the cache filled, and compilation into an empty one."""
    rounds, cases = (1, dict(list(CASES.items())[:1])) if short else (ROUNDS, CASES)
    for case in cases.values():
        first(case)  # fills both caches, the kernels' and the file system's
    imports = [ask("e0_start_up:imports") for _ in range(rounds)]
    firsts = {name: [first(case) for _ in range(rounds)] for name, case in cases.items()}
    if short:
        return {"imports": imports, "first gradient": firsts, "other libraries": {}, "compilation": {}}
    others = {name: [ask("e0_start_up:of_peer", name=name) for _ in range(2)] for name in PEERS}
    compilation = {name: cold("of_refnode", CASES[name]) for name in COLD} | {CERTIFY: cold("of_every_method", {})}
    return {
        "imports": imports, "first gradient": firsts, "compilation": compilation,
        "other libraries": {name: times for name, times in others.items() if times[0] is not None},
    }  # fmt: skip


def imports() -> dict[str, float]:
    """Seconds of `import numpy`, and of `import refnode` after it."""
    start = time.perf_counter()
    import numpy  # noqa: F401

    middle = time.perf_counter()
    import refnode  # noqa: F401

    return {"numpy": middle - start, "refnode": time.perf_counter() - middle}


def first(case: dict[str, str]) -> dict[str, float]:
    """The first gradient of a new process."""
    start = time.perf_counter()
    inside = ask("e0_start_up:of_refnode", **case)
    return inside | {"process": time.perf_counter() - start}


def cold(function: str, case: dict[str, str]) -> float:
    """Seconds of the same where nothing is compiled yet."""
    with tempfile.TemporaryDirectory() as folder:
        return ask(f"e0_start_up:{function}", settings={"REFNODE_CACHE_DIR": folder}, **case)["gradient"]


def of_every_method() -> dict[str, float]:
    """Seconds from before `import refnode` until the kernels of every method that is compiled are there."""
    start = time.perf_counter()
    from refnode.ahead import compile_ahead, jobs

    compile_ahead(jobs(tableaux=("dopri5",)))
    return {"gradient": time.perf_counter() - start}


def of_refnode(task: str, dtype: str, method: str = "discrete") -> dict[str, float]:
    """Seconds from before `import refnode` to the end of a gradient, and of the same gradient once more."""
    start = time.perf_counter()
    import refnode as rn
    from benchmarks import tasks

    (one,) = [t for t in tasks.A + tasks.C[:1] + tasks.D if (t.name, t.dtype) == (task, dtype)]
    problem = tasks.of(one)
    rn.gradient(problem, method, one.solver, backend="cpu", dtype=dtype)
    done = time.perf_counter()
    rn.gradient(problem, method, one.solver, backend="cpu", dtype=dtype)
    return {"gradient": done - start, "second": time.perf_counter() - done}


def of_peer(name: str) -> float | None:
    """Seconds from the import of a library to the end of task A's gradient; None where it is not installed."""
    from benchmarks import of_jax, of_torch, tasks

    start = time.perf_counter()
    calls = (of_torch if name == "torchdiffeq" else of_jax).gradient(tasks.A[1])
    mine = [call for contestant, call in calls.items() if contestant.startswith(name)]
    if not mine:
        return None
    mine[0]()
    return time.perf_counter() - start


def middle(values: list[float]) -> str:
    """Median and extremes, in seconds."""
    return f"{statistics.median(values):.3f} | {min(values):.3f} .. {max(values):.3f}"


def page(data: Data) -> str:
    """Tables of seconds."""
    lines = ["### Imports", "", "| | median s | spread |", "|---|---|---|"]
    lines += [f"| {words} | {middle([one[key] for one in data['imports']])} |" for key, words in
              (("numpy", "`import numpy`"), ("refnode", "`import refnode` after it"))]  # fmt: skip
    lines += ["", "### The first gradient of a process", ""]
    lines += ["| | median s | spread | process, median s | once more, ms |", "|---|---|---|---|---|"]
    for name, runs in data["first gradient"].items():
        process, second = (statistics.median(run[key] for run in runs) for key in ("process", "second"))
        seconds = middle([run["gradient"] for run in runs])
        lines.append(f"| refnode, {name} | {seconds} | {process:.3f} | {1e3 * second:.2f} |")
    lines += [f"| {name}, task A | {middle(times)} | | |" for name, times in data["other libraries"].items()]
    if data["compilation"]:
        lines += ["", "### Where nothing is compiled yet", "", "| | seconds |", "|---|---|"]
        lines += [f"| refnode, {name} | {seconds:.1f} |" for name, seconds in data["compilation"].items()]
    return "\n".join(lines) + "\n"


def draw(data: Data, figure: Any) -> None:
    """First gradients with a filled cache, and compilation into an empty one."""
    panels = figure.subplots(1, 2)
    firsts = {f"refnode, {name}": [run["gradient"] for run in runs] for name, runs in data["first gradient"].items()}
    rows = {"`import refnode`": [one["numpy"] + one["refnode"] for one in data["imports"]]} | firsts
    rows |= data["other libraries"]
    bars(panels[0], {name: statistics.median(times) for name, times in rows.items()}, "seconds to the first gradient")
    bars(panels[1], data["compilation"], "seconds where nothing is compiled yet")


def bars(panel: Any, values: dict[str, float], words: str) -> None:
    """A bar for each value, the first on top."""
    from benchmarks.races import REST  # not above: what this module imports is not timed

    at = range(len(values), 0, -1)
    others = ("torch", "diffrax")
    panel.barh(at, values.values(), color=[REST if name.startswith(others) else "black" for name in values])
    panel.set_yticks(at, values, fontsize=8)
    for y, value in zip(at, values.values(), strict=True):
        panel.text(value, y, f" {value:.2f}", va="center", fontsize=8)
    panel.set_xlabel(words)
    panel.margins(x=0.15)


if __name__ == "__main__":
    sys.exit(main("e0_start_up", __doc__, measure, page, draw))
