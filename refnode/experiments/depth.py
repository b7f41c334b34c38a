"""Descent in function space: the tracked signal with theta(t) on hats, by plain and by Riesz steps of one rate.

A coefficient's plain gradient is the function-space gradient times the width of its hat, so that steps of one rate slow
down with the mesh. The Riesz representer takes the width out again.

The paper asks for descent in function space (its theorem 1) and says no settings; these are ours: the signal and the
starts are those of tracking, the solver is RK4 with fixed steps, and the optimiser is plain gradient descent, so that
nothing but the gradient tells the meshes apart.
"""

from collections.abc import Mapping

import numpy as np

from refnode.api import solve
from refnode.architectures import NeuralODE
from refnode.arrays import Array
from refnode.depth import FunctionSpace
from refnode.experiments.experiment import Experiment, Kind
from refnode.experiments.tracking import draw
from refnode.field import MLP
from refnode.model import Model
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.train.optimisers import SGD

FIELD = MLP(2, 16, 2)
MESHES = (5, 17, 65)
RATE = 0.5


def measure(model: Model, params: Mapping[str, Array], solver: Solver, b: int = 200) -> dict[str, float]:
    """The mean squared distance to the signal on [0, 1], from starts of their own."""
    x, loss = draw(np.random.default_rng(2**32), b)
    return {"loss": solve(Problem(model, params, x, loss), solver).loss}


KINDS = {
    f"{kind}_{nodes}": Kind(NeuralODE(FIELD, theta=FunctionSpace(nodes)), still=False, riesz=kind == "riesz")
    for nodes in MESHES
    for kind in ("plain", "riesz")
}

DEPTH = Experiment(
    name="depth",
    about="the tracked signal by descent in function space, with plain and with Riesz steps on several meshes",
    source="Massaroli et al. 2020, theorem 1",
    kinds=KINDS,
    draw=draw,
    batch=32,
    solver=Solver("rk4", n_steps=16),
    optimiser=SGD(RATE),
    steps=100,
    measure=measure,
    whole=True,
    deviation="the source says no settings for this; all are our own",
)
