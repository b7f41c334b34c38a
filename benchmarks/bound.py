"""A2: how near a gradient is to what its products and activations alone cost on this machine.

    python -m benchmarks.bound [--threads 1|2]

    bound = flops / (threads * rate) + activations * cost / threads

The rate is that of the micro-kernel on one thread, on a product of 64 x 64 weights with as many rows as a tile has, the
weights in the cache; the cost is one tanh and one slope. Both are measured here, in the run that times the gradients.
What is left of a gradient's time is sums of stages, error norms, the weights' gradients of thin layers, starting
threads, and Python. Tasks are those of `benchmarks.gradients`.
"""

import argparse
import os
import sys
import time
from itertools import pairwise

import numpy as np

WIDTH, SECONDS = 64, 0.05


def repeated():
    """Compiled loops over a product and over an activation and its slope."""
    import numba

    from refnode.kernels.activations import TANH, apply_act, times_slope
    from refnode.kernels.products import add_product

    @numba.njit(error_model="numpy")
    def product(count, C, A, B, M, N, K, row_step, k_step):
        for _ in range(count):
            add_product(C, 0, N, A, 0, row_step, k_step, B, 0, N, M, N, K)

    @numba.njit(error_model="numpy")
    def activation(count, h, g, start):
        for _ in range(count):
            h[:] = start
            apply_act(h, h, TANH)
            times_slope(g, h, h, TANH)

    return product, activation


def seconds(call):
    """Of one repetition, the best of many rounds; call(count) repeats."""
    call(1)
    begun = time.perf_counter()
    call(10)
    count = max(1, round(10 * SECONDS / 10 / max(time.perf_counter() - begun, 1e-9)))
    best = np.inf
    for _ in range(20):
        begun = time.perf_counter()
        call(count)
        best = min(best, (time.perf_counter() - begun) / count)
    return best


def costs(dtype, rows):
    """Seconds of one flop in a product with the weights, of one flop in their gradient, and of one activation."""
    from refnode.kernels.workspace import aligned

    product, activation = repeated()
    rng = np.random.default_rng(0)
    H, W, C, h, g, start = (aligned(WIDTH * WIDTH, dtype) for _ in range(6))
    for a in (H, W, C, h, g, start):
        a[:] = rng.standard_normal(a.size)
    with_weights = seconds(lambda n: product(n, C, H, W, rows, WIDTH, WIDTH, WIDTH, 1)) / (2 * rows * WIDTH**2)
    of_weights = seconds(lambda n: product(n, C, H, W, WIDTH, WIDTH, WIDTH, 1, WIDTH)) / (2 * WIDTH**3)
    return with_weights, of_weights, seconds(lambda n: activation(n, h, g, start)) / h.size


def bound(problem, result, cost, threads):
    """Seconds of the products and activations of a discrete adjoint."""
    widths = problem.model.field.widths
    weights = sum(i * o for i, o in pairwise(widths))
    with_weights, of_weights, activation = cost
    forward, backward = (problem.batch * n for n in (result.stats.nfe, result.stats.nfe_backward))
    flops = 2 * weights * ((forward + backward) * with_weights + backward * of_weights)
    return (flops + sum(widths[1:-1]) * forward * activation) / threads


def main():
    """Measure the costs, race each task against its bound, print and save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bound")
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2))
    threads = parser.parse_args().threads
    if threads == 1:
        os.environ |= {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        os.sched_setaffinity(0, {0})
    import refnode as rn
    from benchmarks.gradients import setup, tasks
    from benchmarks.harness import machine, save

    lines = ["| task | bound ms | measured ms | share of the bound |", "|---|---|---|---|"]
    for title, batch, solver, dtype, _ in tasks(short=False):
        problem, kind, rows = setup(batch), np.dtype(dtype).type, min(batch, 32)

        def call(problem=problem, solver=solver, dtype=dtype):
            return rn.gradient(problem, "discrete", solver, backend="cpu", dtype=dtype)

        result, cost = call(), costs(kind, rows)
        taken = sorted(_timed(call) for _ in range(9))[4]
        least = bound(problem, result, cost, threads if batch > 32 else 1)
        lines.append(f"| {title} | {1e3 * least:.3f} | {1e3 * taken:.3f} | {least / taken:.0%} |")
        rates = [1e-9 / c for c in cost[:2]]
        print(lines[-1], f"products {rates[0]:.0f} and {rates[1]:.0f} GFLOP/s, tanh and slope {1e9 * cost[2]:.2f} ns")
    facts = "\n".join(f"- {name}: {value}" for name, value in machine().items())
    head = f"# Share of the bound, {threads} threads\n\nRegenerate: `python -m benchmarks.bound --threads {threads}`."
    save(f"bound_{threads}_threads", {}, f"{head}\n\n{facts}\n\n" + "\n".join(lines) + "\n")
    return 0


def _timed(call):
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        call()
        count += 1
    return (time.perf_counter() - begun) / count


if __name__ == "__main__":
    sys.exit(main())
