"""A periodic signal tracked by the integral loss, and on to t = 5."""

from typing import Any

import numpy as np

import refnode as rn
from refnode import figure_data
from refnode.experiments.tracking import FAR, TRACKING, squared_distance, starts
from validation.paper.runs import Job, job
from validation.paper.statistics import geometric_interval
from validation.paper.summary import by_model, settings, summary, table
from validation.paper.trained import params_of, rounded, trained

MEASURES = {
    "path": "error on [0, 1]", "at_1": "error at 1", "beyond": "error on [1, 5]", "at_5": "error at 5",
    "nfe": "forward evaluations",
}  # fmt: skip


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Every model with every seed."""
    where = "validation.paper.tracking:one"
    names = [(model, seed) for seed in range(seeds) for model in TRACKING.kinds]
    return [job(f"tracking/{m}_{s}", where, model=m, seed=s, out=f"tracking/{m}_{s}", **words) for m, s in names]


def one(model: str, seed: int, out: str, **words: Any) -> dict[str, Any]:
    """A run, with the mean squared distance to the signal up to t = 5; that of seed 0 with some ways there."""
    run = trained("tracking", model, seed, out, **words)
    return run | afterwards(model, seed, params_of(out))


def afterwards(model: str, seed: int, params: dict[str, Any]) -> dict[str, Any]:
    """What the pictures show of a trained model."""
    kind = TRACKING.kind(model)
    t, distance, _ = squared_distance(kind.model, params, TRACKING.solver)
    far = {"distance": [float(f"{value:.4g}") for value in distance[::2]]}
    if seed:
        return far
    x = starts(np.random.default_rng(5), 8)
    loss = TRACKING.draw(np.random.default_rng(0), 8)[1]
    z = rn.solve(rn.Problem(kind.model, params, x, loss, (0.0, FAR)), TRACKING.solver).z(t[::5])
    seen = {"t": rounded(t[::5]), "z": rounded(z)}
    depth = depth_of(rn.Problem(kind.model, params, x, loss)) if model == "right_period" else {}
    return far | {"seen": seen | depth}


def depth_of(problem: rn.Problem) -> dict[str, Any]:
    """theta(t), and the field over the plane at several depths with the samples in it."""
    curves, found = figure_data.theta_curves(problem, 100), rn.costate(problem, rn.Solver(tol=1e-6))
    shots = figure_data.snapshots(found, figure_data.paths(found, 60))
    leaves = {name: rounded(values) for name, values in curves.leaves.items()}
    plane = {name: rounded(getattr(shots, name)) for name in ("t", "grid", "rate", "states", "path")}
    return {"theta": {"axis": curves.axis, "at": rounded(curves.at), "leaves": leaves}, "field": plane}


def collect(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of this experiment."""
    models = {name: summary(each, errors=("path", "at_1", "beyond", "at_5")) for name, each in by_model(runs).items()}
    far = {name: [run["distance"] for run in each] for name, each in by_model(runs).items()}
    bands = {name: np.array([geometric_interval(at) for at in zip(*each, strict=True)]) for name, each in far.items()}
    distance = {name: [[float(f"{v:.4g}") for v in row] for row in band.T] for name, band in bands.items()}
    return {"models": models, "distance": distance, "far": FAR,
            "seen": {run["model"]: run["seen"] for run in runs if run["seed"] == 0}}  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """Its table."""
    return table(found["models"], MEASURES) + settings(TRACKING)
