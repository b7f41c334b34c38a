"""refnode's contestants: the kernels, and the story in NumPy beside them."""

from collections.abc import Callable
from typing import Any

import numpy as np

import refnode as rn
from benchmarks.tasks import Task, of

MINE = "refnode kernels"
STORY = "refnode story (float64)"
Calls = dict[str, Callable[[], Any]]


def forward(task: Task) -> Calls:
    """z(1) by the kernels and by the story."""
    problem = of(task)
    return {MINE: lambda: end(problem, task.solver, task.dtype), STORY: lambda: story(problem, task.solver)}


def story(problem: rn.Problem, solver: rn.Solver) -> np.ndarray:
    """z(T) in NumPy."""
    return rn.solve(problem, solver, backend="numpy").z_T


def end(problem: rn.Problem, solver: rn.Solver, dtype: str) -> np.ndarray:
    """z(T) by the kernels' forward half."""
    from refnode.kernels.own_solve import solve_own
    from refnode.kernels.run import run_of
    from refnode.kernels.solve import solve
    from refnode.kernels.tape import KEEP_NOTHING

    run = run_of(problem, problem.resolved, solver, np.dtype(dtype).type)
    solved = solve_own(run) if solver.steps == "own" else solve(run, KEEP_NOTHING, for_vjps=False)
    return solved.forward.at_bounds[-1]


def gradient(task: Task) -> Calls:
    """The discrete adjoint by the kernels and by the story."""
    by = of(task), task.solver
    return {
        MINE: lambda: rn.gradient(by[0], "discrete", by[1], backend="cpu", dtype=task.dtype).grads,
        STORY: lambda: rn.gradient(by[0], "discrete", by[1], backend="numpy").grads,
    }


def continuous(task: Task) -> Calls:
    """The kernels' continuous adjoints, backsolve first."""
    problem = of(task)

    def by(method: str) -> Callable[[], Any]:
        return lambda: rn.gradient(problem, method, task.solver, backend="cpu", dtype=task.dtype).grads

    return {f"{MINE}, {method}": by(method) for method in ("backsolve", "interpolating", "quadrature")}
