"""C0: how the time of a gradient goes with the batch, from 1 to 65,536 samples.

    python -m benchmarks.c0_batch [--short]

The network of benchmarks/tasks.py, RK4, 10 steps, so that every sample is the same work; float32 and float64. Errors
are against the story's gradient by the same steps: only rounding differs.
"""

import sys
from typing import Any

import refnode as rn
from benchmarks import of_jax, of_refnode, of_torch, tasks
from benchmarks.harness import as_data, race
from benchmarks.of_refnode import MINE
from benchmarks.races import races_of
from benchmarks.script import Data, main
from benchmarks.tasks import Task

BATCHES = (1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536)
SOLVER = rn.Solver("rk4", n_steps=10)
WITHIN = {"float64": 1e-9, "float32": 1e-3}  # some thousand roundings in sums over 65,536 samples
LARGE = 10_000  # samples from which three rounds of one call are enough


def measure(short: bool) -> Data:
    """A race for each batch and dtype."""
    races = []
    for batch in (1, 40, 200) if short else BATCHES:
        problem = tasks.problem(batch)
        error = tasks.error_against(rn.gradient(problem, "discrete", SOLVER, backend="numpy").grads)
        for dtype in ("float64",) if short else tasks.DTYPES:
            task = Task("C0", batch, SOLVER, dtype)
            calls = {MINE: of_refnode.gradient(task)[MINE]}
            if not short:
                calls |= of_torch.gradient(task) | of_jax.gradient(task)
            few = short or batch >= LARGE
            words = {"rounds": 3, "seconds": 0.0} if few else {"rounds": 5, "seconds": 0.05}
            races.append(as_data(race(task.title, calls, error, WITHIN[dtype], **words)) | {"batch": batch})
    return {"races": races}


def page(data: Data) -> str:
    """A row for each batch: microseconds a sample."""
    lines = []
    for dtype in tasks.DTYPES:
        races = of_dtype(data, dtype)
        if not races:
            continue
        names = [timing.name for timing in races[0][1].timings]
        lines += [f"### Microseconds a sample, {dtype}", "", f"| batch | {' | '.join(names)} |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for batch, one in races:
            cells = [f"{1e6 * one.of(name).median / batch:.3g}" for name in names]
            lines.append(f"| {batch:,} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def of_dtype(data: Data, dtype: str) -> list[tuple[int, Any]]:
    """(batch, race) of one dtype."""
    pairs = zip((one["batch"] for one in data["races"]), races_of(data), strict=True)
    return [(batch, one) for batch, one in pairs if one.title.endswith(dtype)]


def draw(data: Data, figure: Any) -> None:
    """Microseconds a sample against the batch, a panel for each dtype."""
    dtypes = [dtype for dtype in tasks.DTYPES if of_dtype(data, dtype)]
    panels = figure.subplots(1, len(dtypes), sharey=True, squeeze=False)[0]
    for panel, dtype in zip(panels, dtypes, strict=True):
        races = of_dtype(data, dtype)
        for name in [timing.name for timing in races[0][1].timings]:
            points = [(batch, 1e6 * one.of(name).median / batch) for batch, one in races]
            own = name == MINE
            panel.plot(*zip(*points, strict=True), marker="o", label=name, linestyle="-" if own else "--")
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(dtype, fontsize=9)
        panel.set_xlabel("batch")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("microseconds a sample")
    panels[0].legend(fontsize=8)


if __name__ == "__main__":
    sys.exit(main("c0_batch", __doc__, measure, page, draw))
