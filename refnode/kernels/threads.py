"""Which threads share the tiles of a batch: the calling one, or all of Numba's, by the only parallel loop there is."""

import os
import threading
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numba import get_num_threads, prange
from numba.core import types

from refnode.kernels.apart import address_of, run_task
from refnode.kernels.compiled import kernel

ALONE = 0  # the address of no loop


class _Process:
    """What this process has done with Numba's threads.

    launch      some of Numba's threading layers end the process if two threads start parallel loops
    begun       whether it asked for them
    orphaned    whether it was forked from one that had: they did not come along, and OpenMP ends who calls for them
    """

    launch, begun, orphaned = threading.Lock(), False, False


def _forked() -> None:
    """Begin anew in the child of a fork, where a lock that another thread held would never be given back."""
    _Process.launch, _Process.orphaned = threading.Lock(), _Process.begun or _Process.orphaned


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@kernel(parallel=True)
def shared(task, held, tasks):
    """Run the tasks of `refnode.kernels.apart.each` by all threads."""
    for n in prange(tasks):
        run_task(task, held, np.int64(n))


@cache
def _shared_at() -> int:
    return address_of(shared, (types.intp,) * 3)


def together() -> int:
    """The address of `shared`, for `each`; where there are no threads to share with, of no loop."""
    if _Process.orphaned:
        return ALONE
    _Process.begun = True
    return _shared_at()


def workers() -> int:
    """How many threads the loop of `together` has."""
    return 1 if together() == ALONE else get_num_threads()


def launch(loop: int) -> AbstractContextManager[Any]:
    """Held while a kernel runs: one thread at a time starts loops that all of Numba's threads share."""
    return nullcontext() if loop == ALONE else _Process.launch
