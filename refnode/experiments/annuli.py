"""Concentric annuli: which of two rings a point of the plane lies on.

A flow of the plane cannot carry the inner ring out of the outer one, so a plain Neural ODE bends space hard near a
boundary that it can never quite close. With a third dimension, or a control, the rings come apart with ease - and a
two-layer input map does it alone, which is why it is measured alone.

Models, radii, noise, loss, solver, optimiser and steps are the authors'; points a step are a quarter of theirs.
"""

from collections.abc import Mapping

import numpy as np

from refnode.adaptive import AdaptiveDepth
from refnode.api import solve
from refnode.architectures import NeuralODE
from refnode.arrays import Array
from refnode.bases import Fourier
from refnode.depth import Galerkin, Stacked
from refnode.experiments.experiment import Experiment, Kind
from refnode.field import MLP, Linear
from refnode.loss import Loss, SquaredError
from refnode.maps import PartialInput, ZeroAugment
from refnode.model import Model
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.train.optimisers import AdamW

RADII, NOISE = (1.0, 2.0), 0.1
FIELD = MLP(2, 32, 32, 2)
WIDE = MLP(3, 32, 32, 3)
MIDDLE = ("W1", "b1")
NO_DEPTH = (0.0, 0.0)
POINTS = 2000  # that models are measured on


def rings(rng: np.random.Generator, b: int) -> tuple[Array, Array]:
    """Points x (b, 2), half on each ring on average, and y (b, 1): -1 on the inner, 1 on the outer."""
    outer = rng.integers(0, 2, b)
    angle = rng.uniform(0, 2 * np.pi, b)
    radius = np.where(outer, RADII[1], RADII[0])[:, None]
    x = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1) + NOISE * rng.standard_normal((b, 2))
    return x, 2.0 * outer[:, None] - 1


def draw(rng: np.random.Generator, b: int) -> tuple[Array, Loss]:
    """x (b, 2) and the squared error of h_y(z(T))."""
    x, y = rings(rng, b)
    return x, Loss(SquaredError(y))


def measure(model: Model, params: Mapping[str, Array], solver: Solver, b: int = POINTS) -> dict[str, float]:
    """Accuracy, loss and forward evaluations on 2,000 points of their own."""
    x, y = rings(np.random.default_rng(2**32), b)
    solution = solve(Problem(model, params, x, Loss(SquaredError(y))), solver)
    right = float(np.mean(np.sign(solution.y_T) == y))
    return {"accuracy": right, "loss": solution.loss, "nfe": float(solution.stats.nfe)}


def without_depth(h_x: MLP | None = None) -> Kind:
    """h_x and h_y alone: a span of length zero, and a field that is not trained."""
    width = 2 if h_x is None else h_x.width_out
    model = NeuralODE(MLP(width, width), span=NO_DEPTH, h_x=h_x, h_y=Linear(width, 1))
    return Kind(model, frozen=("theta.W0", "theta.b0"), can=isinstance(h_x, MLP) and h_x.depth > 1)


KINDS = {
    "plain": Kind(NeuralODE(FIELD, h_y=Linear(2, 1))),
    "time": Kind(NeuralODE(MLP(2, 32, 32, 2, time="first"), h_y=Linear(2, 1))),
    "stacked": Kind(NeuralODE(MLP(2, 16, 16, 2), theta=Stacked(4), h_y=Linear(2, 1)), frozen=("edges",)),
    "galerkin": Kind(NeuralODE(MLP(2, 16, 16, 2), theta=Galerkin(Fourier(5), layers=MIDDLE), h_y=Linear(2, 1))),
    "zero_augmented": Kind(NeuralODE(WIDE, h_x=ZeroAugment(1), h_y=Linear(3, 1))),
    "input_layer": Kind(NeuralODE(WIDE, h_x=Linear(2, 3), h_y=Linear(3, 1))),
    "input_network": Kind(NeuralODE(WIDE, h_x=MLP(2, 16, 3), h_y=Linear(3, 1))),
    "partial_input": Kind(NeuralODE(WIDE, h_x=PartialInput(Linear(2, 1)), h_y=Linear(3, 1))),
    "second_order": Kind(NeuralODE(MLP(4, 32, 32, 2), order=2, h_y=Linear(4, 1))),
    "controlled": Kind(NeuralODE(MLP(4, 32, 2, act="softplus"), control="x", h_y=Linear(2, 1))),
    "adaptive": Kind(NeuralODE(FIELD, span=(0.0, AdaptiveDepth(MLP(2, 8, 1))), h_y=Linear(2, 1)), still=False),
    "readout_only": without_depth(),
    "input_layer_only": without_depth(Linear(2, 3)),
    "input_network_only": without_depth(MLP(2, 16, 3)),
}

ANNULI = Experiment(
    name="annuli",
    about="which of two concentric rings a point lies on",
    source="Massaroli et al. 2020, section 4, and the authors' notebooks",
    kinds=KINDS,
    draw=draw,
    batch=256,
    solver=Solver("dopri5", tol=1e-5),
    optimiser=AdamW(1e-3, weight_decay=1e-6),
    steps=2000,
    measure=measure,
    deviation="256 points a step instead of 1,024, so that ten seeds take twenty CPU minutes and not seventy",
)
