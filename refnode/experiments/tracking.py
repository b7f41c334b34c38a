"""Tracking a periodic signal beta(t) = (cos 2 pi t, sin 2 pi t) by the integral loss, and going on behind T.

A theta(t) whose basis has the signal's period goes on with it; one of another period, or one that follows the span, has
seen nothing behind T.

Signal, starts, span, solver and optimiser are the authors'.
"""

from collections.abc import Mapping

import numpy as np

from refnode.api import solve
from refnode.architectures import NeuralODE
from refnode.arrays import Array
from refnode.bases import Fourier
from refnode.depth import Galerkin
from refnode.experiments.experiment import Experiment, Kind
from refnode.field import MLP
from refnode.loss import Loss
from refnode.model import Model
from refnode.problem import Problem
from refnode.running import Harmonic, Tracking
from refnode.solver import Solver
from refnode.train.optimisers import Adam

BETA = Harmonic([1.0, 1.0], [1.0, 1.0], [0.0, -np.pi / 2])
FIELD = MLP(2, 32, 2)
FAR = 5.0


def starts(rng: np.random.Generator, b: int) -> Array:
    """x (b, 2) around the signal's start."""
    return np.array([1.0, 0.0]) + 0.5 * rng.standard_normal((b, 2))


def draw(rng: np.random.Generator, b: int) -> tuple[Array, Loss]:
    """x (b, 2) and the mean squared distance to the signal along the path."""
    return starts(rng, b), Loss(running=0.5 * Tracking(BETA))


def squared_distance(
    model: Model, params: Mapping[str, Array], solver: Solver, far: float = FAR, b: int = 200
) -> tuple[Array, Array, float]:
    """Depths (K,) up to `far`, the mean squared distance to the signal there (K,), and forward evaluations up to T.

    theta(t) and its basis go on behind T as they are: an interval of a basis's own is no span.
    """
    x, t = starts(np.random.default_rng(2**32), b), np.linspace(0.0, far, round(100 * far) + 1)
    loss = Loss(running=Tracking(BETA))
    longer = solve(Problem(model, params, x, loss, (0.0, far)), solver)
    z = longer.z(t)
    within = solve(Problem(model, params, x, loss), solver).stats.nfe
    return t, ((z - np.array([BETA(s) for s in t])[:, None]) ** 2).mean(axis=(1, 2)), float(within)


def measure(model: Model, params: Mapping[str, Array], solver: Solver) -> dict[str, float]:
    """The mean squared distance on [0, 1] and on [1, 5], at t = 1 and t = 5, and forward evaluations."""
    t, distance, nfe = squared_distance(model, params, solver)
    inside = t <= 1
    parts = {"path": distance[inside].mean(), "beyond": distance[~inside].mean()}
    ends = {"at_1": distance[inside][-1], "at_5": distance[-1], "nfe": nfe}
    return {name: float(value) for name, value in (parts | ends).items()}


def periodic(period: float) -> Kind:
    """theta(t) of a constant and two harmonics of this period, whatever the span."""
    return Kind(NeuralODE(FIELD, theta=Galerkin(Fourier(2), interval=(0.0, period))), still=False)


KINDS = {
    "right_period": periodic(1.0),
    "wrong_period": periodic(1.4),
    "time": Kind(NeuralODE(MLP(2, 32, 2, time="first")), still=False),
    "plain": Kind(NeuralODE(FIELD), still=False, can=False),
}

TRACKING = Experiment(
    name="tracking",
    about="a periodic signal followed by the integral loss on [0, 1], and on to t = 5",
    source="Massaroli et al. 2020, section 3.1",
    kinds=KINDS,
    draw=draw,
    batch=64,
    solver=Solver("dopri5", tol=1e-6),
    optimiser=Adam(1e-3),
    steps=2000,
    measure=measure,
    deviation="the source does not say how many steps of how many starts",
)
