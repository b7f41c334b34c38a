"""B1: how far float32 leaves gradients from the truth, refnode's and those of other libraries, over many draws.

    python -m benchmarks.b1_round_off [--short]

Tasks A and B of benchmarks/tasks.py in float32, for 16 draws of weights and inputs. The error of one draw says little:
which of two sums of some eps ends further away is chance. So errors are compared draw by draw, and what counts is the
geometric mean of their ratios, with its standard error. The truth is the discrete adjoint of dop853 at tol 1e-12.
torchode is left out: each of its samples has steps of its own, and its error is that of other steps.
"""

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks import of_jax, of_refnode, of_torch, tasks
from benchmarks.harness import verify
from benchmarks.of_refnode import MINE, STORY
from benchmarks.races import REST
from benchmarks.script import Data, main

DRAWS = 16


def measure(short: bool) -> Data:
    """The errors of all contestants, draw by draw."""
    found = []
    for task in [replace(tasks.SHORT[0], dtype="float32")] if short else [tasks.A[0], tasks.B[0]]:
        errors: dict[str, list[float]] = {}
        for draw in range(2 if short else DRAWS):
            one = replace(task, draw=draw)
            calls, error = of_refnode.gradient(one), tasks.gradient_error(one)
            if not short:
                calls |= of_torch.gradient(one) | of_jax.gradient(one)
            these = {n: error(call()) for n, call in calls.items() if n != STORY and not n.startswith("torchode")}
            verify(f"{one.title}, draw {draw}", these, one.within)
            for name, value in these.items():
                errors.setdefault(name, []).append(value)
        found.append({"title": task.title, "errors": errors})
    return {"of": found}


def compared(mine: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """The geometric mean of mine / other over draws, and its standard error as a factor: 1.05 for 5 %."""
    logs = [math.log(a / b) for a, b in zip(mine, other, strict=True)]
    return math.exp(statistics.mean(logs)), math.exp(statistics.stdev(logs) / math.sqrt(len(logs)))


def page(data: Data) -> str:
    """A table for each task."""
    lines = []
    for found in data["of"]:
        errors = found["errors"]
        lines += [f"### {found['title']}, {len(errors[MINE])} draws", ""]
        lines += ["| | median error | smallest | largest | refnode's error over it | standard error |"]
        lines += ["|---|---|---|---|---|---|"]
        for name, each in errors.items():
            spread = " | ".join(f"{value:.1e}" for value in (statistics.median(each), min(each), max(each)))
            mean, factor = compared(errors[MINE], each)
            ratio = " | " if name == MINE else f"{mean:.2f} | {100 * (factor - 1):.0f} %"
            lines.append(f"| {name} | {spread} | {ratio} |")
        lines.append("")
    return "\n".join(lines)


def draw(data: Data, figure: Any) -> None:
    """The errors of each contestant, a point for each draw, a panel for each task."""
    panels = figure.subplots(1, len(data["of"]), squeeze=False)[0]
    for panel, found in zip(panels, data["of"], strict=True):
        for at, (name, errors) in enumerate(reversed(found["errors"].items())):
            colour = "black" if name == MINE else REST
            panel.plot(errors, [at] * len(errors), "o", color=colour, alpha=0.5, markersize=5)
            panel.plot(statistics.median(errors), at, "|", color=colour, markersize=22)
        panel.set_yticks(range(len(found["errors"])), list(reversed(found["errors"])), fontsize=8)
        panel.set_xscale("log")
        panel.set_title(found["title"], fontsize=9)
    label = "largest error of a leaf, over its largest entry; a point for each draw, a bar at the median"
    figure.supxlabel(label, fontsize=9)


if __name__ == "__main__":
    sys.exit(main("b1_round_off", __doc__, measure, page, draw))
