"""A5: what theta(t) costs, against the same network with one theta.

    python -m benchmarks.a5_depth [--short]

2-64-64-2 tanh, batch 256, 8 steps of dopri5 whatever theta is: all of a race evaluate the network equally often. Of a
Galerkin theta(t) with 9 coefficients for each weight every stage makes its weights, and hands their cotangents back;
one that is linear between 9 depths does so too, and a stacked one changes where a step ends. Gradients are the discrete
adjoint's by the kernels, each verified against the story's before anything is timed.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import refnode as rn
from benchmarks import tasks
from benchmarks.harness import as_data, race
from benchmarks.of_refnode import MINE
from benchmarks.races import draw, page
from benchmarks.script import Data, main
from refnode.api import digits

SOLVER = rn.Solver("dopri5", n_steps=8)
WITHIN = {"float32": 1e-3, "float64": 1e-9}  # round-off, relative to a leaf's largest number
DEPTHS: dict[str, Any] = {
    "one theta": rn.Constant(), "Galerkin, 9 of Fourier's": rn.Galerkin(rn.Fourier(4)),
    "Galerkin, 9 of Legendre's": rn.Galerkin(rn.Legendre(9)), "linear between 9 depths": rn.Galerkin(rn.Hat(9)),
    "stacked, 8 layers": rn.Stacked(8),
}  # fmt: skip


def measure(short: bool) -> Data:
    """A race for each precision."""
    problems = {name: problem(depth, 40 if short else 256) for name, depth in DEPTHS.items()}
    truths = {name: rn.gradient(p, "discrete", SOLVER, backend="numpy").grads for name, p in problems.items()}

    def error(answer: tuple[str, Any]) -> float:
        name, grads = answer
        return max(10.0 ** -digits(grads[leaf], truth, 1.0) for leaf, truth in truths[name].items())

    words = {"rounds": 3, "seconds": 0.0} if short else {"rounds": 15, "seconds": 0.1}
    races = []
    for dtype in tasks.DTYPES:
        calls = {f"{MINE}, {name}": gradient(name, p, dtype) for name, p in problems.items()}
        title = f"batch {problems['one theta'].batch}, dopri5, {SOLVER.n_steps} steps, {dtype}"
        races.append(as_data(race(title, calls, error, WITHIN[dtype], **words)))
    return {"races": races}


def problem(depth: Any, batch: int) -> rn.Problem:
    """Task A's, with normal coefficients of theta(t) that are as large as its weights."""
    plain, rng = tasks.problem(batch), np.random.default_rng(1)
    model = rn.NeuralODE(plain.model.field, theta=depth)
    params = {"edges": model.edges} if len(model.edges) else {}
    for name, shape in model.shapes.items():
        if name not in params:
            params[name] = 0.2 * rng.standard_normal(shape)
    return rn.Problem(model, params, plain.x, plain.loss)


def gradient(name: str, p: rn.Problem, dtype: Any) -> Callable[[], tuple[str, Any]]:
    """The kernels' gradient, with the name of whose it is."""
    return lambda: (name, rn.gradient(p, "discrete", SOLVER, backend="cpu", dtype=dtype).grads)


if __name__ == "__main__":
    sys.exit(main("a5_depth", __doc__, measure, page, draw))
