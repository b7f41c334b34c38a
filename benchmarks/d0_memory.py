"""D0: how much memory each method takes, against the steps and against the batch.

    python -m benchmarks.d0_memory [--short]

The network of benchmarks/tasks.py, RK4 with fixed steps, float64, kernels. Every point is a process of its own, which
computes a small gradient first. "used" is how much its peak resident memory rises over that, "asked for" the peak of
what it allocates (tracemalloc), "reported" what the result says: bytes of states and stages held at once. Forward
sensitivities, which take a tangent for each of 4,482 numbers here, are not meant for such a network and left out.
"""

import math
import sys
from typing import Any

from benchmarks.children import ask
from benchmarks.script import Data, main

STEPS, BATCH = (10, 40, 160, 640, 2560), 128
BATCHES, FEW = (16, 64, 256, 1024, 4096), 40
METHODS = {
    "discrete, all stages": ("discrete", {"store": "stages"}),
    "discrete, states": ("discrete", {"store": "states"}),
    "discrete, sqrt(N) checkpoints": ("discrete", {"store": "binomial"}),
    "discrete, log2(N) checkpoints": ("discrete", {"store": "binomial"}),
    "backsolve": ("backsolve", {"check": False}),  # in ten steps z(t0) does not come back as it should
    "interpolating": ("interpolating", {"check": False}),
    "quadrature": ("quadrature", {}),
}
KINDS = {"used": "used", "asked": "asked for", "reported": "reported"}


def measure(short: bool) -> Data:
    """Every method at every number of steps, and at every batch."""
    steps, batches = ((10, 160), ()) if short else (STEPS, BATCHES)
    names = ("discrete, all stages",) if short else tuple(METHODS)
    by_steps = {name: [ask("d0_memory:point", name=name, steps=n, batch=BATCH) for n in steps] for name in names}
    by_batch = {name: [ask("d0_memory:point", name=name, steps=FEW, batch=b) for b in batches] for name in names}
    return {"steps": steps, "batches": batches, "by steps": by_steps, "by batch": by_batch}


def point(name: str, steps: int, batch: int) -> dict[str, int]:
    """Bytes of one gradient in this process, and how often it evaluates the dynamics."""
    import tracemalloc

    import refnode as rn
    from benchmarks import tasks
    from refnode.kernels.workspace import WORK

    method, options = METHODS[name]
    if "sqrt" in name or "log2" in name:
        count = math.isqrt(steps - 1) + 1 if "sqrt" in name else math.ceil(math.log2(steps))
        rows = -(-batch // 32) * 32  # tiles are whole
        options = options | {"memory_bytes": max(2, count) * rows * 2 * 8}
    tiny = options | ({"memory_bytes": 10**6} if "memory_bytes" in options else {})
    rn.gradient(tasks.problem(64), method, rn.Solver("rk4", n_steps=40), backend="cpu", **tiny)
    WORK.clear()
    problem, before = tasks.problem(batch), peak()
    tracemalloc.start()
    held = tracemalloc.get_traced_memory()[0]
    result = rn.gradient(problem, method, rn.Solver("rk4", n_steps=steps), backend="cpu", **options)
    asked = tracemalloc.get_traced_memory()[1] - held
    nfe = result.stats.nfe + result.stats.nfe_backward
    return {"used": peak() - before, "asked": asked, "reported": int(result.stats.peak_bytes), "nfe": int(nfe)}


def peak() -> int:
    """The most resident memory that this process has had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def exponent(counts: list[int], values: list[int]) -> float:
    """p of memory ~ counts^p over the last octaves, where what is constant has faded."""
    return math.log(values[-1] / values[-2]) / math.log(counts[-1] / counts[-2])


def page(data: Data) -> str:
    """Two tables: MiB against steps, and against the batch."""
    parts = []
    for key, counts, title in (
        ("by steps", data["steps"], f"MiB against steps, batch {BATCH}"),
        ("by batch", data["batches"], f"MiB against the batch, {FEW} steps"),
    ):
        if not counts:
            continue
        heads = [f"{count:,}" for count in counts]
        lines = [f"### {title}", "", f"| | | {' | '.join(heads)} | exponent |", "|---" * (len(counts) + 3) + "|"]
        for name, points in data[key].items():
            for kind, words in KINDS.items():
                values = [point[kind] for point in points]
                cells = [f"{value / 2**20:.2f}" for value in values]
                power = f"{exponent(counts, values):.2f}" if kind != "used" else ""  # of pages, the first may be 0
                lines.append(f"| {name} | {words} | {' | '.join(cells)} | {power} |")
            cells = [f"{point['nfe']:,}" for point in points]
            lines.append(f"| {name} | evaluations | {' | '.join(cells)} | |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def draw(data: Data, figure: Any) -> None:
    """MiB asked for, against steps and against the batch."""
    panels = figure.subplots(1, 2, sharey=True)
    for panel, key, counts, words in (
        (panels[0], "by steps", data["steps"], f"steps (batch {BATCH})"),
        (panels[1], "by batch", data["batches"], f"batch ({FEW} steps)"),
    ):
        for k, (name, points) in enumerate(data[key].items()):
            panel.plot(counts, [p["asked"] / 2**20 for p in points], marker="osv^Dx*"[k % 7], label=name, markersize=4)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel(words)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("MiB asked for, peak")
    panels[0].legend(fontsize=8)


if __name__ == "__main__":
    sys.exit(main("d0_memory", __doc__, measure, page, draw))
