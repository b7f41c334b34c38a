"""What it takes to read numbers that another core has just written, beside those that a core wrote itself."""

import statistics
import time

import numpy as np

from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.threads import together

SIZES = (16, 64, 256)  # KB that each of two tasks writes and reads
TIMES = 200


@kernel
def write(a, task):
    """Change all of a task's row."""
    row = a[task]
    for n in range(row.size):
        row[n] += 1


@kernel
def read(a, sums, other, task):
    """Add a task's row, or the other task's, to the task's sums."""
    row, total = a[(task + other) % 2], sums[task]
    for n in range(row.size):
        total[n] += row[n]


@kernel
def again(loop, times, a, sums, other, reading):
    """Both tasks write, and then read if asked to, so many times."""
    for _ in range(times):
        each(loop, 2, write, (a,))
        if reading:
            each(loop, 2, read, (a, sums, other))


def measure(rounds: int) -> list[dict[str, float]]:
    """For each size the microseconds of reading, beyond those of writing alone: `own` numbers, and the `other` core's.

    Two tasks on two threads: a task keeps to its thread. The first round, which may compile, is left out.
    """
    loop, found = together(), []
    for size in SIZES:
        a, sums = np.zeros((2, 2, size * 256), np.float32)
        ways = ((0, 0), (0, 1), (1, 1))
        taken: list[list[float]] = [[] for _ in ways]
        for _ in range(1 + rounds):
            for (other, reading), seconds in zip(ways, taken, strict=True):
                start = time.perf_counter()
                again(loop, TIMES, a, sums, other, reading)
                seconds.append((time.perf_counter() - start) / TIMES)
        alone, own, other = (1e6 * statistics.median(seconds[1:]) for seconds in taken)
        found.append({"KB": size, "own": own - alone, "other": other - alone})
    return found
