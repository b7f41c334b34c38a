"""Which threads share the tiles of a batch: the calling one, or all of Numba's, by the only parallel loop there is."""

import threading
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numba import prange
from numba.core import types

from refnode.kernels.apart import address_of, run_task
from refnode.kernels.compiled import kernel

ALONE = 0  # the address of no loop
LAUNCH = threading.Lock()  # some of Numba's threading layers end the process if two threads start parallel loops


@kernel(parallel=True)
def shared(task, held, tasks):
    """Run the tasks of `refnode.kernels.apart.each` by all threads."""
    for n in prange(tasks):
        run_task(task, held, np.int64(n))


@cache
def together() -> int:
    """The address of `shared`, for `each`."""
    return address_of(shared, (types.intp,) * 3)


def launch(loop: int) -> AbstractContextManager[Any]:
    """Held while a kernel runs: one thread at a time starts loops that all of Numba's threads share."""
    return nullcontext() if loop == ALONE else LAUNCH
