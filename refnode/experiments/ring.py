"""A continuous normalising flow on a ring of six Gaussians, and one that is told which of them: p(x) and p(x | c).

Field, trace, solver and optimiser are the authors'; points a step are an eighth of theirs.
"""

from collections.abc import Mapping

import numpy as np

from refnode.api import solve
from refnode.arrays import Array
from refnode.experiments.experiment import Experiment, Kind
from refnode.field import MLP
from refnode.flows import CNF
from refnode.loss import Loss
from refnode.model import Model
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.train.optimisers import AdamW

MODES, RADIUS, SPREAD = 6, 2.0, 0.25
FLOW = CNF(MLP(2, 64, 64, 64, 2, act="softplus"))
GIVEN = CNF(MLP(4, 64, 64, 64, 2, act="softplus"), condition=2)
CENTRES = RADIUS * np.stack([np.cos(a := 2 * np.pi * np.arange(MODES) / MODES), np.sin(a)], axis=1)


def ring(rng: np.random.Generator, b: int) -> tuple[Array, Array]:
    """Points x (b, 2) and the centres of theirs (b, 2)."""
    centre = CENTRES[rng.integers(0, MODES, b)]
    return centre + SPREAD * rng.standard_normal((b, 2)), centre


def log_density(x: Array) -> Array:
    """log p(x) (b,) of the ring itself."""
    squares = ((x[:, None] - CENTRES) ** 2).sum(axis=2) / (2 * SPREAD**2)
    return np.log(np.exp(-squares).mean(axis=1)) - np.log(2 * np.pi * SPREAD**2)


def draw(rng: np.random.Generator, b: int) -> tuple[Array, Loss]:
    """x (b, 2) and the negative log-likelihood."""
    return ring(rng, b)[0], FLOW.loss()


def draw_given(rng: np.random.Generator, b: int) -> tuple[Array, Loss]:
    """[x, c] (b, 4), c the direction of x's own Gaussian, and the negative log-likelihood of x given c."""
    x, centre = ring(rng, b)
    return np.concatenate([x, centre / RADIUS], axis=1), GIVEN.loss()


def nll(model: Model, params: Mapping[str, Array], solver: Solver, b: int = 1000) -> dict[str, float]:
    """The negative log-likelihood of 1,000 points of their own, that of the ring itself, and forward evaluations.

    Given c it can fall below that of the ring: by log 6, where the Gaussians do not overlap.
    """
    x, centre = ring(np.random.default_rng(2**32), b)
    given = model.control != "none"
    flow, seen = (GIVEN, np.concatenate([x, centre / RADIUS], axis=1)) if given else (FLOW, x)
    solution = solve(Problem(model, params, seen, flow.loss()), solver)
    truth = -float(log_density(x).mean()) - (np.log(MODES) if given else 0.0)
    return {"loss": solution.loss, "truth": truth, "nfe": float(solution.stats.nfe)}


def _experiment(name: str, about: str, flow: CNF, drawn: object, steps: int) -> Experiment:
    return Experiment(
        name=name,
        about=about,
        source="Massaroli et al. 2020, section 6, and the authors' notebooks",
        kinds={"cnf": Kind(flow.model, still=False)},
        draw=drawn,  # type: ignore[arg-type]
        batch=128,
        solver=Solver("dopri5", tol=1e-4),
        optimiser=AdamW(2e-3, weight_decay=1e-6),
        steps=steps,
        measure=nll,
        deviation="128 points a step instead of 1,024, since the divergence of a field is not compiled and such a step"
        " takes most of a second; the source does not say how many steps",
    )


RING = _experiment("ring", "a normalising flow on a ring of six Gaussians", FLOW, draw, steps=1000)
RING_GIVEN = _experiment("ring_given", "the same, told which of the six", GIVEN, draw_given, steps=300)
