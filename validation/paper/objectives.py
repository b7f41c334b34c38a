"""The objectives that the study compares, on three tasks with readouts that are not trained.

    terminal      L(yhat(T))
    k seen        1/k sum_j L(yhat(t_j)),   t_j = j T / k, the last at T
    integral      1/T int L(yhat(t)) dt
    mixed w       L(yhat(T)) + w 1/T int L(yhat(t)) dt
    kinetic w     L(yhat(T)) + w 1/T int |f|^2 dt

L is the squared distance to the target, which on the line and on the rings does not depend on t, and T = 1.

Tasks are smaller than the experiments of the same names - fewer steps, looser tolerances - since 36 trainings make a
seed. The readout's path loss on the line and on the rings is not compiled, as the other objectives are; seconds are
therefore those of a gradient by NumPy for all.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import refnode as rn
from refnode.experiments import annuli, reflection, tracking

OBJECTIVES = ("terminal", "2 seen", "4 seen", "8 seen", "16 seen", "integral", "mixed 0.1", "mixed 1", "mixed 10",
              "kinetic 0.01", "kinetic 0.1", "kinetic 1")  # fmt: skip
DEPTHS = np.linspace(0, 1, 101)
POINTS = 1000  # of the annuli, that models are measured on


@dataclass(frozen=True)
class Task:
    """A model, data, and what every objective is.

    draw     draw(rng) -> x (b, n), targets: (b, 1), or the signal's own
    column   of z that is read, or None: all of them
    test     data that is measured on
    """

    name: str
    model: rn.Model
    draw: Callable[[np.random.Generator], tuple[Any, Any]]
    column: int | None
    solver: rn.Solver
    optimiser: Any
    steps: int
    test: Callable[[], tuple[Any, Any]]


def along(y: Any, column: int) -> rn.UserRunning:
    """l = |z_column - y|^2, y (b, 1): the squared error of the readout z_column at every depth."""

    def off(at: rn.RunningArgs) -> Any:
        return at.z[:, column] - y[:, 0]

    def back(at: rn.RunningArgs, g: Any) -> rn.RunningArgs:
        g_z = np.zeros(at.z.shape)
        g_z[:, column] = 2 * g * off(at)
        return rn.no_cotangent(at)._replace(z=g_z)

    return rn.UserRunning(lambda at: off(at) ** 2, lambda at, d: 2 * off(at) * d.z[:, column], back)


def loss_of(task: Task, objective: str, y: Any) -> rn.Loss:
    """The loss of an objective for the targets of a batch."""
    path = 0.5 * rn.Tracking(tracking.BETA) if task.column is None else along(y, task.column)
    kind, _, number = objective.partition(" ")
    if number == "seen":
        return rn.Loss(observations=observed(task, int(kind), y))
    end = rn.SquaredError(target(task, y, 1.0), weight=weight(task))
    if kind == "terminal":
        return rn.Loss(end)
    if kind == "integral":
        return rn.Loss(running=path)
    return rn.Loss(end, running=float(number) * (path if kind == "mixed" else rn.Kinetic()))


def observed(task: Task, k: int, y: Any) -> rn.Observations:
    """k observations, evenly spaced, the last at T."""
    times = np.arange(1, k + 1) / k
    return rn.Observations(times, tuple(rn.SquaredError(target(task, y, t), weight=weight(task) / k) for t in times))


def weight(task: Task) -> float:
    """1 over the number of components: the mean squared error."""
    return 0.5 if task.column is None else 1.0


def target(task: Task, y: Any, t: float) -> Any:
    """What yhat(t) should be: (b, 1), or (2,) of the signal."""
    return tracking.BETA(np.asarray(t)) if task.column is None else y


def reached(task: Task, params: Any) -> dict[str, float]:
    """Mean squared errors of a trained model on data of its own, at T, along the path, at half the depth and behind T;
    the depth from which on the error is near its last (`exit_depth`); forward evaluations."""
    x, y = task.test()
    loss = loss_of(task, "terminal", y)
    solution = rn.solve(rn.Problem(task.model, params, x, loss), task.solver)
    error = np.array([squared(task, solution.z(t), y, t) for t in DEPTHS])
    found = {
        "at_T": error[-1], "path": np.trapezoid(error, DEPTHS), "half": error[50], "exit": exit_depth(error),
        "nfe": solution.stats.nfe,
    }  # fmt: skip
    if task.column is None:
        t = np.linspace(1, tracking.FAR, 401)
        far = rn.solve(rn.Problem(task.model, params, x, loss, (0.0, tracking.FAR)), task.solver)
        found["beyond"] = np.mean([squared(task, far.z(s), y, s) for s in t])
    if task.name == "annuli":
        found["accuracy"] = np.mean(np.sign(solution.z_T[:, task.column]) == y[:, 0])
        found["half accuracy"] = np.mean(np.sign(solution.z(0.5)[:, task.column]) == y[:, 0])
    return {name: float(value) for name, value in found.items()}


def squared(task: Task, z: Any, y: Any, t: float) -> float:
    """The mean squared error at t."""
    off = z - target(task, y, t) if task.column is None else z[:, task.column] - y[:, 0]
    return float(np.mean(off**2))


def exit_depth(error: Any) -> float:
    """The depth from which on the error stays below twice that at T, with a floor of 0.01."""
    above = np.flatnonzero(error > 2 * max(error[-1], 0.01))
    return float(DEPTHS[above[-1] + 1]) if len(above) and above[-1] + 1 < len(DEPTHS) else float(len(above) > 0)


def _annuli(rng: np.random.Generator, b: int = 64) -> tuple[Any, Any]:
    return annuli.rings(rng, b)


TASKS = {
    "tracking": Task(
        "tracking", tracking.KINDS["right_period"].model, lambda rng: (tracking.starts(rng, 64), None), None,
        rn.Solver("dopri5", tol=1e-4), rn.Adam(5e-3), 400,
        lambda: (tracking.starts(np.random.default_rng(2**32), 200), None),
    ),
    "annuli": Task(
        "annuli", rn.NeuralODE(rn.MLP(3, 16, 16, 3), h_x=rn.ZeroAugment(1), h_y=rn.Columns(2, 3)), _annuli, 2,
        rn.Solver("dopri5", tol=1e-3), rn.AdamW(1e-2, weight_decay=1e-6), 250,
        lambda: _annuli(np.random.default_rng(2**32), POINTS),
    ),
    "reflection": Task(
        "reflection", reflection.KINDS["zero_augmented"].model, lambda rng: (reflection.X, -reflection.X), 0,
        rn.Solver("dopri5", tol=1e-3), rn.Adam(1e-2), 150, lambda: (reflection.X, -reflection.X),
    ),
}  # fmt: skip


def one(task: str, objective: str, seed: int, backend: Any = "auto") -> dict[str, Any]:
    """A training: what it reaches, and what a step costs. Data and first parameters are the same for all objectives."""
    this = TASKS[task]
    rng = np.random.default_rng(seed)
    params = this.model.init(rng)

    def sample(rng: np.random.Generator, k: int) -> tuple[Any, rn.Loss]:
        x, y = this.draw(rng)
        return x, loss_of(this, objective, y)

    problem = rn.Problem(this.model, params, *sample(rng, 0))
    run = rn.fit(problem, sample, "discrete", this.solver, this.optimiser, steps=this.steps,
                 rng=np.random.default_rng([seed, 1]), backend=backend, show=False)  # fmt: skip
    problem = problem.with_data(run.params, problem.x, problem.loss)
    cost = {"seconds": cpu_seconds(problem, this.solver), "training_nfe": float(run.history["nfe"].mean())}
    return {"task": task, "objective": objective, "seed": seed, "reached": reached(this, run.params) | cost}


def cpu_seconds(problem: rn.Problem, solver: rn.Solver, repeats: int = 7) -> float:
    """CPU seconds that this process spends on a gradient by NumPy, the median of so many."""
    ends = [time.process_time()]
    for _ in range(repeats):
        rn.gradient(problem, "discrete", solver, backend="numpy")
        ends.append(time.process_time())
    return float(np.median(np.diff(ends)))
