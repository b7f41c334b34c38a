"""What is computed: one network, 2-64-64-2 tanh, one loss, and the tasks A to D that several scripts share.

The loss is half the mean squared norm of z(1), or for its forward half z(1) itself.

    A  a training step: batch 256, dopri5, tol 1e-6, float32 and float64
    B  fixed work: batch 1024, RK4, 40 steps, float32 and float64
    C  an oracle: batch 1 and 8, dopri5, tol 1e-10, float64
    D  steps of each sample's own: 4,096 trajectories, dopri5, tol 1e-6, float32 and float64

Adaptive steps are chosen by the I controller, the rule of diffrax and torchdiffeq, so that all take the same steps and
are left with the same error. refnode's default, PI, takes more of them and gives more digits (docs/speed.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

import refnode as rn

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Task:
    """A name, a batch, a solver, the dtype of states and parameters, and which draw of weights and inputs."""

    name: str
    batch: int
    solver: rn.Solver
    dtype: str
    draw: int = 0

    @property
    def title(self) -> str:
        """In words."""
        numerics = f"{self.solver.n_steps} steps" if self.solver.n_steps else f"tol {self.solver.tolerance:.0e}"
        own = ", each sample its own steps" if self.solver.steps == "own" else ""
        return f"{self.name}: batch {self.batch}, {self.solver.method}, {numerics}{own}, {self.dtype}"

    @property
    def within(self) -> float:
        """The largest error that counts as right: a thousand tolerances, or what float32 leaves of a long sum.

        Libraries spend a tolerance differently: at one, errors of right gradients differ a hundredfold (see B0).
        """
        return max(1000 * (self.solver.tolerance or 1e-9), 1e-3 if self.dtype == "float32" else 0.0)


def problem(batch: int, draw: int = 0) -> rn.Problem:
    """The network with weights of some size, and normal inputs."""
    rng = np.random.default_rng(draw)
    model = rn.NeuralODE(rn.MLP(2, 64, 64, 2))
    sizes = {name: 1.6 / np.sqrt(shape[0]) if len(shape) == 2 else 0.3 for name, shape in model.shapes.items()}
    params = {name: sizes[name] * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    loss = rn.Loss(rn.SquaredError(np.zeros(2), weight=0.5))
    return rn.Problem(model, params, rng.standard_normal((batch, 2)), loss)


def spread(batch: int, draw: int = 0) -> rn.Problem:
    """The same with inputs from near 0 to far away, which need few steps and many."""
    calm = problem(batch, draw)
    return rn.Problem(calm.model, calm.params, calm.x * np.linspace(0.2, 2.0, batch)[:, None], calm.loss)


def of(task: Task) -> rn.Problem:
    """A task's problem."""
    return (spread if task.solver.steps == "own" else problem)(task.batch, task.draw)


I = rn.Controller(kind="I")
WORK = rn.Solver("rk4", n_steps=40)
STEP, ORACLE = (rn.Solver("dopri5", tol=tol, controller=I) for tol in (1e-6, 1e-10))
OWN = rn.Solver("dopri5", tol=1e-6, steps="own", controller=I)
A = [Task("A", 256, STEP, dtype) for dtype in DTYPES]
B = [Task("B", 1024, WORK, dtype) for dtype in DTYPES]
C = [Task("C", batch, ORACLE, "float64") for batch in (1, 8)]
D = [Task("D", 4096, OWN, dtype) for dtype in DTYPES]
SHORT = [Task("A", 40, STEP, "float64"), Task("C", 1, ORACLE, "float64")]
SHORT_OWN = [Task("D", 40, OWN, "float64")]


# ---------------------------------------------------------------- what is right

TRUTH = rn.Solver("dop853", tol=1e-12)


@cache
def _end(batch: int, own: bool, draw: int) -> np.ndarray:
    return rn.solve((spread if own else problem)(batch, draw), TRUTH, backend="numpy").z_T


def forward_error(task: Task) -> Callable[[np.ndarray], float]:
    """How far a z(1) is from that of dop853 at tol 1e-12 in NumPy, over the largest entry."""
    truth = _end(task.batch, task.solver.steps == "own", task.draw)
    return lambda z: float(np.max(np.abs(z - truth)) / np.max(np.abs(truth)))


@cache
def _gradient(batch: int, own: bool, draw: int) -> Mapping[str, np.ndarray]:
    return rn.gradient((spread if own else problem)(batch, draw), "discrete", TRUTH, backend="numpy").grads


def gradient_error(task: Task) -> Callable[[Mapping[str, np.ndarray]], float]:
    """The largest entry of any leaf's difference from that gradient, over the leaf's largest entry."""
    return error_against(_gradient(task.batch, task.solver.steps == "own", task.draw))


def error_against(truth: Mapping[str, np.ndarray]) -> Callable[[Mapping[str, np.ndarray]], float]:
    """The same against a given gradient; times are left out, as not every library differentiates them."""
    leaves = [name for name in truth if name not in ("t0", "T")]

    def error(grads: Mapping[str, np.ndarray]) -> float:
        return max(float(np.max(np.abs(grads[n] - truth[n])) / np.max(np.abs(truth[n]))) for n in leaves)

    return error
