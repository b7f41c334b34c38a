"""A1: how long a loss and its gradient take, kernels against the story, torchdiffeq, torchode, torchdyn, diffrax, jax.

    python -m benchmarks.a1_gradient [--short]

Tasks A to D of benchmarks/tasks.py (D in float64) by gradients of the computed solution, and A by continuous adjoints
against those of torchdiffeq and diffrax. Contestants race in one process, in turn; each is verified against the
discrete adjoint of dop853 at tol 1e-12 before anything is timed.
"""

import sys
from dataclasses import replace

from benchmarks import of_jax, of_refnode, of_torch, tasks
from benchmarks.harness import as_data, race
from benchmarks.races import draw, page
from benchmarks.script import Data, main


def measure(short: bool) -> Data:
    """The races."""
    words = {"rounds": 3, "seconds": 0.01} if short else {}
    races = []
    for task in tasks.SHORT + tasks.SHORT_OWN if short else tasks.A + tasks.B + tasks.C + tasks.D[1:]:
        calls = of_refnode.gradient(task)
        if not short:
            calls |= of_torch.gradient(task) | of_jax.gradient(task)
        races.append(race(task.title, calls, tasks.gradient_error(task), task.within, **words))
    for task in tasks.SHORT[:1] if short else tasks.A:
        calls = of_refnode.continuous(task)
        if not short:
            calls |= of_torch.continuous(task) | of_jax.continuous(task)
        title = replace(task, name=f"{task.name}, continuous adjoints").title
        races.append(race(title, calls, tasks.gradient_error(task), task.within, **words))
    return {"races": [as_data(one) for one in races]}


if __name__ == "__main__":
    sys.exit(main("a1_gradient", __doc__, measure, page, draw))
