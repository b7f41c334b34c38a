"""Normalising flows on a ring of six Gaussians, with and without being told which."""

from typing import Any

import numpy as np

import refnode as rn
from refnode.experiments.ring import CENTRES, FLOW, GIVEN, RADIUS, RING, RING_GIVEN, log_density
from validation.paper.runs import Job, job
from validation.paper.summary import by_model, settings, summary, table
from validation.paper.trained import params_of, rounded, trained

MEASURES = {"loss": "negative log-likelihood", "truth": "of the ring itself", "nfe": "forward evaluations"}
SIDE, GRID, SOLVER = 3.0, 61, rn.Solver("dopri5", tol=1e-4)


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Both flows with every seed."""
    where = "validation.paper.ring:one"
    names = [(e, seed) for seed in range(seeds) for e in ("ring", "ring_given")]
    return [job(f"ring/{e}_{s}", where, experiment=e, seed=s, out=f"ring/{e}_{s}", **words) for e, s in names]


def one(experiment: str, seed: int, out: str, **words: Any) -> dict[str, Any]:
    """A run; that of seed 0 with samples and the density on a grid (given: samples of every Gaussian)."""
    run = trained(experiment, "cnf", seed, out, **words) | {"model": experiment}
    return run | ({} if seed else {"seen": seen(experiment, params_of(out))})


def seen(experiment: str, params: dict[str, Any]) -> dict[str, Any]:
    """Samples (n, 2), and log p on a grid of the plane beside the ring's own."""
    rng, axis = np.random.default_rng(5), np.linspace(-SIDE, SIDE, GRID)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    if experiment == "ring_given":
        which = np.repeat(np.arange(6), 100)
        c = CENTRES[which] / RADIUS
        return {"samples": rounded(GIVEN.sample(params, 600, SOLVER, rng, c)), "which": which.tolist()}
    density = np.exp(FLOW.log_density(params, grid, SOLVER))
    samples = FLOW.sample(params, 600, SOLVER, rng)
    return {"samples": rounded(samples), "p": rounded(density, 4), "truth": rounded(np.exp(log_density(grid)), 4)}


def collect(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of this experiment."""
    models = {name: summary(each) for name, each in by_model(runs).items()}
    first = {run["model"]: run["seen"] for run in runs if run["seed"] == 0}
    return {"models": models, "seen": first, "side": SIDE, "grid": GRID}


def page(found: dict[str, Any]) -> str:
    """Its table."""
    given = f"Steps of the flow that is told which: {RING_GIVEN.steps}."
    return table(found["models"], MEASURES) + settings(RING) + given + "\n"
