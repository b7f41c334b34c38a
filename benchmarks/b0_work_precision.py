"""B0: how many digits of the gradient a millisecond buys, by method and library, over tolerances from 1e-3 to 1e-11.

    python -m benchmarks.b0_work_precision [--short]

The network of benchmarks/tasks.py, batch 64, dopri5, float64. The error is against the discrete adjoint of dop853 at
tol 1e-12; an answer further from it than 1000 tol ends the measurement before anything is timed. torchdyn is left out:
its dopri5 has a tableau of float32 and stops at 8 digits.
"""

import math
import sys
from typing import Any

import refnode as rn
from benchmarks import of_jax, of_refnode, of_torch
from benchmarks.harness import as_data, race
from benchmarks.races import races_of
from benchmarks.script import Data, main
from benchmarks.tasks import Task, gradient_error

TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)
BATCH = 64
ROUNDING = 1e-12  # of sums over the batch and the steps: no tolerance gets below


def measure(short: bool) -> Data:
    """A race for each tolerance."""
    races = []
    for tol in TOLERANCES[1:3] if short else TOLERANCES:
        task = Task("B0", 8 if short else BATCH, rn.Solver("dopri5", tol=tol), "float64")
        calls = of_refnode.gradient(task) | of_refnode.continuous(task)
        if not short:
            calls |= of_torch.gradient(task) | of_torch.continuous(task) | of_jax.gradient(task)
            calls |= of_jax.continuous(task)
            calls = {name: call for name, call in calls.items() if not name.startswith("torchdyn")}
        words = {"rounds": 2, "seconds": 0.0} if short else {"rounds": 5, "seconds": 0.05}
        races.append(race(task.title, calls, gradient_error(task), 1000 * tol + ROUNDING, **words))
    return {"races": [as_data(one) for one in races]}


def page(data: Data) -> str:
    """A row for each contestant: median milliseconds and digits at every tolerance."""
    races = races_of(data)
    heads = [one.title.partition("tol ")[2].partition(",")[0] for one in races]
    lines = ["Milliseconds and correct digits at each tolerance.", "", f"| | {' | '.join(heads)} |"]
    lines.append("|---" * (len(races) + 1) + "|")
    for name in [timing.name for timing in races[0].timings]:
        cells = [f"{1e3 * one.of(name).median:.2f} ms, {-math.log10(one.of(name).error):.1f}" for one in races]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(data: Data, figure: Any) -> None:
    """Milliseconds against digits: down and to the right is better."""
    races = races_of(data)
    figure.set_size_inches(10, 6)
    axis = figure.subplots()
    for k, name in enumerate(timing.name for timing in races[0].timings):
        points = [(-math.log10(one.of(name).error), 1e3 * one.of(name).median) for one in races]
        style = {"linewidth": 1.8} if name.startswith("refnode") else {"linestyle": "--"}
        axis.plot(*zip(*points, strict=True), markersize=5, label=name, marker="osv^DPX*<>pH"[k % 12], **style)
    axis.set_yscale("log")
    axis.set_xlabel("correct digits of the worst leaf")
    axis.set_ylabel("milliseconds, median")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)


if __name__ == "__main__":
    sys.exit(main("b0_work_precision", __doc__, measure, page, draw))
