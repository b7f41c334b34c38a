"""A3: how near a gradient is to what its products and activations alone cost on this machine.

    python -m benchmarks.a3_bound [--short]

    bound = flops / (threads * rate) + activations * cost / threads

The rate is that of the micro-kernel on one thread, on a product of 64 x 64 weights with as many rows as a tile has, the
weights in the cache; the cost is one tanh and one slope. Both are measured here, in the run that times the gradients.
What is left of a gradient's time is sums of stages, error norms, the weights' gradients of thin layers, starting
threads, and Python. Tasks are A to C of benchmarks/tasks.py, on one thread and on all.
"""

import statistics
import sys
import time
from itertools import pairwise
from typing import Any

import numba
import numpy as np

import refnode as rn
from benchmarks import tasks
from benchmarks.children import ask
from benchmarks.machine import cores
from benchmarks.script import Data, main
from refnode.kernels.activations import TANH, apply_act, times_slope
from refnode.kernels.products import add_product
from refnode.kernels.tape import TILE
from refnode.kernels.workspace import aligned

WIDTH, ROUNDS = 64, 9


def measure(short: bool) -> Data:
    """The tasks on one thread and on all cores."""
    counts = [1] if short else sorted({1, cores()})
    return {"threads": {n: ask("a3_bound:on", threads=n, count=n, short=short) for n in counts}}


def on(count: int, short: bool) -> list[dict[str, Any]]:
    """Bound and time of every task in this process, which has so many threads."""
    found = []
    for task in tasks.SHORT if short else tasks.A + tasks.B + tasks.C:
        problem = tasks.of(task)

        def call(problem: rn.Problem = problem, task: tasks.Task = task) -> Any:
            return rn.gradient(problem, "discrete", task.solver, backend="cpu", dtype=task.dtype)

        def again(count: int, call: Any = call) -> None:
            for _ in range(count):
                call()

        result, cost = call(), costs(np.dtype(task.dtype).type, min(task.batch, TILE), 0.002 if short else 0.05)
        threads = count if task.batch > TILE else 1
        taken = [seconds(again, 1, 0.0 if short else 0.05) for _ in range(2 if short else ROUNDS)]
        least = bound(problem, result, cost, threads)
        found.append({"title": task.title, "bound": least, "rounds": taken, "cost": cost})
    return found


@numba.njit(error_model="numpy")
def _product(count, C, A, B, M, N, K, row_step, k_step):
    for _ in range(count):
        add_product(C, 0, N, A, 0, row_step, k_step, B, 0, N, M, N, K)


@numba.njit(error_model="numpy")
def _activation(count, h, g, start):
    for _ in range(count):
        h[:] = start
        apply_act(h, h, TANH)
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


def costs(dtype: type, rows: int, least: float) -> tuple[float, float, float]:
    """Seconds of one flop in a product with the weights, of one flop in their gradient, and of one activation."""
    rng = np.random.default_rng(0)
    H, W, C, h, g, start = (aligned(WIDTH * WIDTH, dtype) for _ in range(6))
    for a in (H, W, C, h, g, start):
        a[:] = rng.standard_normal(a.size)
    with_weights = seconds(lambda n: _product(n, C, H, W, rows, WIDTH, WIDTH, WIDTH, 1), 20, least)
    of_weights = seconds(lambda n: _product(n, C, H, W, WIDTH, WIDTH, WIDTH, 1, WIDTH), 20, least)
    one = seconds(lambda n: _activation(n, h, g, start), 20, least) / h.size
    return with_weights / (2 * rows * WIDTH**2), of_weights / (2 * WIDTH**3), one


def bound(problem: rn.Problem, result: Any, cost: tuple[float, float, float], threads: int) -> float:
    """Seconds of the products and activations of a discrete adjoint."""
    widths = problem.model.field.widths
    weights = sum(i * o for i, o in pairwise(widths))
    with_weights, of_weights, activation = cost
    forward, backward = (problem.batch * n for n in (result.stats.nfe, result.stats.nfe_backward))
    flops = 2 * weights * ((forward + backward) * with_weights + backward * of_weights)
    return (flops + sum(widths[1:-1]) * forward * activation) / threads


def page(data: Data) -> str:
    """A table for each number of threads."""
    lines = []
    for count, found in data["threads"].items():
        lines += [f"### {count} thread{'s' * (int(count) > 1)}", ""]
        lines += ["| | bound ms | median ms | share of the bound | products, GFLOP/s | tanh and slope, ns |"]
        lines += ["|---|---|---|---|---|---|"]
        for one in found:
            rates = " and ".join(f"{1e-9 / c:.0f}" for c in one["cost"][:2])
            times = f"{1e3 * one['bound']:.3f} | {1e3 * statistics.median(one['rounds']):.3f}"
            lines.append(f"| {one['title']} | {times} | {share(one):.0%} | {rates} | {1e9 * one['cost'][2]:.2f} |")
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
