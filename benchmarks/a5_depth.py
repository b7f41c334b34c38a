"""A5: what theta(t) costs, against the same network with one theta.

    python -m benchmarks.a5_depth [--short]

Task A of benchmarks/tasks.py. The Galerkin theta(t) has 9 coefficients for each weight, of which every stage makes its
weights, and hands their cotangents back; here all but the constant function's are zero, which no kernel knows, so that
all of a race take the same steps. Gradients are the discrete adjoint's by the kernels, each verified against the
story's before anything is timed. They race on all cores and on one: weights and their cotangents are shared by threads,
and what a core reads that another has written takes longer, as a measurement beside the races shows.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import refnode as rn
from benchmarks import races, tasks
from benchmarks.children import ask
from benchmarks.harness import as_data, race
from benchmarks.machine import cores
from benchmarks.of_refnode import MINE
from benchmarks.races import draw
from benchmarks.script import Data, main

# of a leaf's largest number: round-off, which in float32 moves steps by a hundredth, and the error of the fastest waves
WITHIN = {"float32": 1e-2, "float64": 1e-9}
DEPTHS: dict[str, Any] = {
    "one theta": rn.Constant(), "Galerkin, 9 of Fourier's": rn.Galerkin(rn.Fourier(4)),
    "Galerkin, 9 of Legendre's": rn.Galerkin(rn.Legendre(9)),
}  # fmt: skip


def measure(short: bool) -> Data:
    """The races on all cores, those on one, and what it takes to read what another core wrote."""
    together = ask("a5_depth:on", threads=cores(), short=short)
    return {**together, "alone": ask("a5_depth:on", threads=1, short=short)["races"]}


def on(short: bool) -> Data:
    """A race for each precision, in this process; and with several threads what they hand each other."""
    from numba import get_num_threads

    from benchmarks import handed

    batch, solver = (40, tasks.SHORT[0].solver) if short else (256, tasks.STEP)
    problems = {name: problem(depth, batch) for name, depth in DEPTHS.items()}
    truths = {name: rn.gradient(p, "discrete", solver, backend="numpy").grads for name, p in problems.items()}

    def error(answer: tuple[str, Any]) -> float:
        name, grads = answer
        return tasks.error_against(truths[name])(grads)

    words = {"rounds": 3, "seconds": 0.0} if short else {"rounds": 15, "seconds": 0.1}
    found = []
    for dtype in tasks.DTYPES:
        calls = {f"{MINE}, {name}": gradient(name, p, solver, dtype) for name, p in problems.items()}
        title = tasks.Task("A", batch, solver, dtype).title
        found.append(as_data(race(title, calls, error, WITHIN[dtype], **words)))
    return {"races": found, "handed": handed.measure(2 if short else 30) if get_num_threads() > 1 else []}


def page(data: Data) -> str:
    """A table for each race, and one of what a core reads."""
    lines = [races.page(data), "## On one thread", "", races.page({"races": data["alone"]})]
    lines += ["## What another core has written", "", "Microseconds to read float32 that were just written.", ""]
    lines += ["| KB | by the same core | by the other |", "|---|---|---|"]
    lines += [f"| {one['KB']} | {one['own']:.1f} | {one['other']:.1f} |" for one in data["handed"]]
    return "\n".join([*lines, ""])


def problem(depth: Any, batch: int) -> rn.Problem:
    """Task A's, with its weights for the coefficients of the constant function."""
    plain = tasks.problem(batch)
    if type(depth) is rn.Constant:
        return plain
    model = rn.NeuralODE(plain.model.field, theta=depth)
    params = {name: np.zeros(shape) for name, shape in model.shapes.items()}
    for name, leaf in plain.params.items():
        params[name.replace("theta", "alpha")][0] = leaf / depth.basis.psi(np.zeros(()), 0)[0]
    return rn.Problem(model, params, plain.x, plain.loss)


def gradient(name: str, p: rn.Problem, solver: rn.Solver, dtype: Any) -> Callable[[], tuple[str, Any]]:
    """The kernels' gradient, with the name of whose it is."""
    return lambda: (name, rn.gradient(p, "discrete", solver, backend="cpu", dtype=dtype).grads)


if __name__ == "__main__":
    sys.exit(main("a5_depth", __doc__, measure, page, draw))
