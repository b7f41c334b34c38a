"""A0: how long a forward solve takes, kernels against the story, torchdiffeq, torchode, torchdyn, diffrax and jax.

    python -m benchmarks.a0_forward [--short]

Tasks A to D of benchmarks/tasks.py. Contestants race in one process, in turn; each is verified against dop853 at tol
1e-12 before anything is timed.
"""

import sys

from benchmarks import of_jax, of_refnode, of_torch, tasks
from benchmarks.harness import as_data, race
from benchmarks.races import draw, page
from benchmarks.script import Data, main


def measure(short: bool) -> Data:
    """The races."""
    races = []
    for task in tasks.SHORT + tasks.SHORT_OWN if short else tasks.A + tasks.B + tasks.C + tasks.D:
        calls = of_refnode.forward(task)
        if not short:
            calls |= of_torch.forward(task) | of_jax.forward(task)
        error, words = tasks.forward_error(task), {"rounds": 3, "seconds": 0.01} if short else {}
        races.append(as_data(race(task.title, calls, error, task.within, **words)))
    return {"races": races}


if __name__ == "__main__":
    sys.exit(main("a0_forward", __doc__, measure, page, draw))
