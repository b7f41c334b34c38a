"""The reflection x -> -x of a line, with the identity as readout: what a flow of the line cannot do.

Trajectories of z' = f(t, z) in one dimension do not cross, so z(T) grows with x, and of all growing functions the one
nearest to -x is a constant: the mean squared error is at least the variance of x, here about 1/3, whatever theta(t)
is. With a depth T(x) of each sample's own and an autonomous f no trajectory passes 0 in both directions, so that half
of the samples fail by |x| at least: 1/6. A time-dependent f, a control, a second dimension or a second order lift the
ban.
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
from refnode.maps import Columns, PartialInput, ZeroAugment
from refnode.model import Model
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.train.optimisers import Adam

X = np.linspace(-1.0, 1.0, 100)[:, None]
ORDER_KEPT = float(np.mean(X**2))  # the least error of a model whose trajectories do not cross
ONE_SIDE = ORDER_KEPT / 2  # of one that lets one side pass
ACROSS = MLP(1, 64, 1)
POSITION = Columns(0, 1)
DEPTH = AdaptiveDepth(MLP(1, 8, 1))


def draw(rng: np.random.Generator, b: int) -> tuple[Array, Loss]:
    """The 100 points; nothing is random."""
    return X, Loss(SquaredError(-X))


def measure(model: Model, params: Mapping[str, Array], solver: Solver) -> dict[str, float]:
    """The mean squared error, how much of x -> y keeps its order, and forward evaluations."""
    solution = solve(Problem(model, params, X, Loss(SquaredError(-X))), solver)
    rising = float(np.mean(np.diff(solution.y_T[:, 0]) > 0))
    return {"loss": solution.loss, "rising": rising, "nfe": float(solution.stats.nfe)}


KINDS = {
    "plain": Kind(NeuralODE(ACROSS), still=False, can=False),
    "time": Kind(NeuralODE(MLP(1, 64, 1, time="first")), still=False, can=False),
    "stacked": Kind(NeuralODE(ACROSS, theta=Stacked(4)), still=False, frozen=("edges",), can=False),
    "galerkin": Kind(NeuralODE(ACROSS, theta=Galerkin(Fourier(2))), still=False, can=False),
    "adaptive_autonomous": Kind(NeuralODE(ACROSS, span=(0.0, DEPTH)), still=False, can=False),
    "adaptive": Kind(NeuralODE(MLP(1, 64, 1, time="first"), span=(0.0, DEPTH)), still=False),
    "zero_augmented": Kind(NeuralODE(MLP(2, 64, 2), h_x=ZeroAugment(1), h_y=POSITION), still=False),
    "partial_input": Kind(NeuralODE(MLP(2, 64, 2), h_x=PartialInput(Linear(1, 1)), h_y=POSITION), still=False),
    "second_order": Kind(NeuralODE(MLP(2, 64, 1), order=2, h_y=POSITION), still=False),
    "controlled": Kind(NeuralODE(MLP(2, 64, 1), control="x"), still=False),
}

REFLECTION = Experiment(
    name="reflection",
    about="x -> -x on a line, which trajectories that do not cross cannot do",
    source="Massaroli et al. 2020, section 5",
    kinds=KINDS,
    draw=draw,
    batch=len(X),
    solver=Solver("dopri5", tol=1e-5),
    optimiser=Adam(1e-2),
    steps=250,
    measure=measure,
    whole=True,
)
