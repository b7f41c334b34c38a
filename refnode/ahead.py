"""Kernels compiled ahead of their use, by two processes where there are two cores.

    python -m refnode.ahead METHOD:TABLEAU:STEPS:DTYPE ..        fills the cache of compiled kernels

Compiled kernels are kept in a cache that processes share. Of two processes that need the same kernels in opposite
orders each finds what the other has compiled already, and both are done in two thirds of the time.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from refnode.api import gradient, solve
from refnode.architectures import NeuralODE
from refnode.bases import Monomial
from refnode.depth import Constant, Depth, Galerkin
from refnode.field import MLP
from refnode.loss import Loss, SquaredError
from refnode.problem import Problem
from refnode.running import SquaredNorm
from refnode.solver import Solver

METHODS = ("discrete", "backsolve", "interpolating", "quadrature", "forward_discrete", "forward_continuous")
SOLVERS = {  # by tableau: between them they need all that some tableau needs
    "dopri5": Solver("dopri5", tol=1e-3), "rk4": Solver("rk4", n_steps=2), "dop853": Solver("dop853", tol=1e-3),
}  # fmt: skip
KNOWN = {  # steps that are known beforehand: given ones and proposed ones
    "rk4": SOLVERS["rk4"], "dop853": Solver("dop853", tol=1e-3, proposal=((0.0, 1.0),)),
}  # fmt: skip
STEPS, DTYPES = ("shared", "own"), ("float64", "float32")


class Job(NamedTuple):
    """A method, a tableau of SOLVERS, steps that samples share or their own, and a precision."""

    method: Any
    tableau: Any
    steps: Any
    dtype: Any


def jobs(
    methods: Sequence[str] = METHODS, tableaux: Sequence[str] = tuple(SOLVERS), steps: Sequence[str] = STEPS[:1],
    dtypes: Sequence[str] = DTYPES[:1],
) -> list[Job]:  # fmt: skip
    """All of them; methods without kernels are left out, and fixed steps of a sample's own, which there are not."""
    every = [Job(m, t, s, d) for d in dtypes for s in steps for t in tableaux for m in METHODS if m in methods]
    return [job for job in every if job.steps == "shared" or SOLVERS[job.tableau].adaptive]


def compile_ahead(work: Sequence[Job]) -> None:
    """Have the kernels of some gradients of MLPs compiled: they serve every shape of them."""
    with _helped(work):
        _run(work)


def _run(work: Sequence[Job]) -> None:
    """Each job's gradient of a small problem: all its kernels are called, and so compiled if they are not yet.

    Its theta varies with depth: one that does not needs nothing else but where steps are known.
    """
    problem = _problem(Galerkin(Monomial(2)))
    for method, tableau, steps, dtype in work:
        gradient(problem, method, replace(SOLVERS[tableau], steps=steps), backend="cpu", dtype=dtype)
        if method == "discrete" and steps == "shared" and tableau in KNOWN:
            gradient(_problem(Constant()), method, KNOWN[tableau], backend="cpu", dtype=dtype)
            solve(_problem(Constant()), KNOWN[tableau], backend="cpu", dtype=dtype)


def _problem(theta: Depth) -> Problem:
    model, x = NeuralODE(MLP(2, 4, 2), theta=theta), np.linspace(-1.0, 1.0, 128).reshape(64, 2)
    params = {name: np.full(shape, 0.1) for name, shape in model.shapes.items()}
    return Problem(model, params, x, Loss(SquaredError(np.zeros_like(x)), running=SquaredNorm()))


@contextmanager
def _helped(work: Sequence[Job]) -> Iterator[None]:
    """From the first compilation on a second process that begins with the last job, if there is a core for it.

    It is waited for: soon after the first process is done, it is too. Where it cannot be started, nobody misses it.
    """
    from numba.core import event

    class Helper(event.Listener):
        process: Any = None
        wanted = len(work) > 1 and _cores() > 1

        def on_start(self, event: Any) -> None:
            if self.wanted:
                self.wanted = False
                command = [sys.executable, "-W", "ignore", "-m", __name__, *(":".join(job) for job in reversed(work))]
                quiet = subprocess.DEVNULL
                with suppress(OSError):
                    self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)

        def on_end(self, event: Any) -> None: ...

    helper = Helper()
    try:
        with event.install_listener("numba:compile", helper):
            yield
    except BaseException:
        if helper.process is not None:
            helper.process.kill()
        raise
    finally:
        if helper.process is not None:
            helper.process.wait()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    _run([Job(*word.split(":")) for word in sys.argv[1:]])
