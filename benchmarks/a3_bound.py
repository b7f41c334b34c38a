"""A3: how near solves and gradients are to what their products and activations alone cost on this machine.

    python -m benchmarks.a3_bound [--short]

    bound = (flops / rate + activations * cost) / threads

The rate is that of the micro-kernel on one thread, on a product of 64 x 64 weights with as many rows as a tile has, the
weights in the cache; the costs are those of one tanh, and of one slope in gradients. All are measured here, in the run
that times the kernels. What is left of the time is sums of stages, error norms, the weights' gradients of thin layers,
starting threads, stages that are run again (own steps), and Python. Tasks are A to D of benchmarks/tasks.py, on one
thread and on all.
"""

import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numba
import numpy as np

import refnode as rn
from benchmarks import of_refnode, tasks
from benchmarks.children import ask
from benchmarks.machine import cores
from benchmarks.script import Data, main
from refnode.kernels.activations import TANH, apply_act, times_slope
from refnode.kernels.fill import copy
from refnode.kernels.products import add_product
from refnode.kernels.tape import SMALL, tile_of
from refnode.kernels.workspace import aligned

WIDTH, ROUNDS = 64, 9


def measure(short: bool) -> Data:
    """The tasks on one thread and on all cores."""
    counts = [1] if short else sorted({1, cores()})
    return {"threads": {n: ask("a3_bound:on", threads=n, count=n, short=short) for n in counts}}


def on(count: int, short: bool) -> list[dict[str, Any]]:
    """Bound and time of every task in this process, which has so many threads."""
    found = []
    for task in tasks.SHORT + tasks.SHORT_OWN if short else tasks.A + tasks.B + tasks.C + tasks.D:
        cost = costs(np.dtype(task.dtype).type, min(task.batch, tile_of(task.batch)), 0.002 if short else 0.05)
        threads, gradient = count if task.batch > SMALL else 1, of_refnode.gradient(task)[of_refnode.MINE]
        calls = {"forward": of_refnode.forward(task)[of_refnode.MINE], "gradient": gradient}
        for (what, call), least in zip(calls.items(), bounds(task, cost), strict=True):
            taken = [seconds(repeated(call), 1, 0.0 if short else 0.05) for _ in range(2 if short else ROUNDS)]
            title = f"{what}, {task.title}"
            found.append({"title": title, "bound": least / threads, "rounds": taken, "cost": cost})
    return found


def repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    """A call so many times over."""

    def again(count: int) -> None:
        for _ in range(count):
            call()

    return again


@numba.njit(error_model="numpy")
def _product(count, C, A, B, M, N, K, row_step, k_step):
    for _ in range(count):
        add_product(C, 0, N, A, 0, row_step, k_step, B, 0, N, M, N, K)


@numba.njit(error_model="numpy")
def _copies(count, h, start):
    for _ in range(count):
        copy(start, h)


@numba.njit(error_model="numpy")
def _activation(count, h, start):
    for _ in range(count):
        copy(start, h)
        apply_act(h, h, TANH)


@numba.njit(error_model="numpy")
def _slope(count, g, h, start):
    for _ in range(count):
        copy(start, g)
        times_slope(g, h, h, TANH)


def seconds(call: Any, rounds: int, least: float) -> float:
    """Of one repetition, the best of the rounds of at least so long; call(count) repeats."""
    call(1)
    begun = time.perf_counter()
    call(1)
    count = max(1, round(least / max(time.perf_counter() - begun, 1e-9)))
    best = np.inf
    for _ in range(rounds):
        begun = time.perf_counter()
        call(count)
        best = min(best, (time.perf_counter() - begun) / count)
    return best


def costs(dtype: type, rows: int, least: float, width: int = WIDTH) -> tuple[float, float, float, float]:
    """Seconds of one flop in a product with the weights, of one flop in their gradient, of a tanh, of a slope."""
    rng = np.random.default_rng(0)
    H, W, C, h, g, start = (aligned(max(rows, width) * width, dtype) for _ in range(6))
    for a in (H, W, C, h, g, start):
        a[:] = rng.standard_normal(a.size)
    with_weights = seconds(lambda n: _product(n, C, H, W, rows, width, width, width, 1), 20, least)
    of_weights = seconds(lambda n: _product(n, C, H, W, width, width, width, 1, width), 20, least)
    tanh, slope = activation_costs(h, g, start, least)
    return with_weights / (2 * rows * width**2), of_weights / (2 * width**3), tanh / h.size, slope / h.size


def activation_costs(h: Any, g: Any, start: Any, least: float) -> tuple[float, float]:
    """Seconds of tanh of all numbers of `start`, and of their slopes, without those that it takes to set them anew."""
    copies = seconds(lambda n: _copies(n, h, start), 20, least)
    tanh = seconds(lambda n: _activation(n, h, start), 20, least)
    return tanh - copies, seconds(lambda n: _slope(n, g, h, start), 20, least) - copies


def bounds(task: tasks.Task, cost: tuple[float, float, float, float]) -> tuple[float, float]:
    """Seconds of the products and activations of a forward solve, and of it and its discrete adjoint."""
    problem = tasks.of(task)
    stats = rn.gradient(problem, "discrete", task.solver, backend="cpu", dtype=task.dtype).stats
    return bounds_of(problem, task.solver, stats, cost)


def evaluated(problem: rn.Problem, solver: rn.Solver, stats: rn.Stats) -> tuple[int, int]:
    """How often a gradient evaluated the field for a sample, and how many vjps it took; stages run again left out."""
    accepted, rejected = (int(np.broadcast_to(n, problem.batch).sum()) for n in (stats.accepted, stats.rejected))
    fresh = solver.tableau.stages - solver.tableau.fsal  # stages that a step evaluates, and as many vjps
    return fresh * (accepted + rejected), fresh * accepted


def bounds_of(
    problem: rn.Problem, solver: rn.Solver, stats: rn.Stats, cost: tuple[float, float, float, float]
) -> tuple[float, float]:
    """The same for a gradient that took these steps."""
    evaluations, vjps = evaluated(problem, solver, stats)
    widths = problem.model.field.widths
    weights, units = sum(i * o for i, o in pairwise(widths)), sum(widths[1:-1])
    with_weights, of_weights, tanh, slope = cost
    forward = evaluations * (2 * weights * with_weights + units * tanh)
    return forward, forward + vjps * (2 * weights * (with_weights + of_weights) + units * slope)


def page(data: Data) -> str:
    """A table for each number of threads."""
    lines = []
    for count, found in data["threads"].items():
        lines += [f"### {count} thread{'s' * (int(count) > 1)}", ""]
        lines += ["| | bound ms | median ms | share of the bound | products, GFLOP/s | tanh and slope, ns |"]
        lines += ["|---|---|---|---|---|---|"]
        for one in found:
            rates = " and ".join(f"{1e-9 / c:.0f}" for c in one["cost"][:2])
            ns = " and ".join(f"{1e9 * c:.2f}" for c in one["cost"][2:])
            times = f"{1e3 * one['bound']:.3f} | {1e3 * statistics.median(one['rounds']):.3f}"
            lines.append(f"| {one['title']} | {times} | {share(one):.0%} | {rates} | {ns} |")
        lines.append("")
    return "\n".join(lines)


def share(one: dict[str, Any]) -> float:
    """The bound over the median time."""
    return one["bound"] / statistics.median(one["rounds"])


def draw(data: Data, figure: Any) -> None:
    """The share of the bound, a panel for each number of threads."""
    panels = figure.subplots(1, len(data["threads"]), sharey=True, squeeze=False)[0]
    for panel, (count, found) in zip(panels, data["threads"].items(), strict=True):
        panel.barh([one["title"] for one in found], [100 * share(one) for one in found], color="black")
        panel.set_xlim(0, 100)
        panel.set_title(f"threads: {count}", fontsize=9)
        panel.set_xlabel("share of the bound, %")
        panel.tick_params(labelsize=7)


if __name__ == "__main__":
    sys.exit(main("a3_bound", __doc__, measure, page, draw))
