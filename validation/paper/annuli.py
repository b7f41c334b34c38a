"""Concentric annuli with every kind of model, and with h_x and h_y alone."""

from typing import Any

import numpy as np

import refnode as rn
from refnode.experiments.annuli import ANNULI, draw
from validation.paper.runs import Job, job
from validation.paper.summary import by_model, summary, table
from validation.paper.trained import params_of, rounded, trained

MEASURES = {"accuracy": "accuracy", "loss": "squared error", "nfe": "forward evaluations"}
SIDE, GRID = 3.0, 41


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Every model with every seed."""
    where = "validation.paper.annuli:one"
    names = [(model, seed) for seed in range(seeds) for model in ANNULI.kinds]
    return [job(f"annuli/{m}_{s}", where, model=m, seed=s, out=f"annuli/{m}_{s}", **words) for m, s in names]


def one(model: str, seed: int, out: str, **words: Any) -> dict[str, Any]:
    """A run; that of seed 0 with what the pictures show."""
    run = trained("annuli", model, seed, out, **words)
    return run | ({} if seed else {"seen": seen(model, params_of(out))})


def seen(model: str, params: dict[str, Any]) -> dict[str, Any]:
    """yhat on a grid of the plane, and the ways of some points through the first two components of z."""
    kind, axis = ANNULI.kind(model), np.linspace(-SIDE, SIDE, GRID)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    x, loss = draw(np.random.default_rng(5), 60)
    flat = rn.Loss(rn.SquaredError(np.zeros(1)))
    yhat = rn.solve(rn.Problem(kind.model, params, grid, flat), ANNULI.solver).y_T[:, 0]
    points = rn.Problem(kind.model, params, x, loss)
    solution, t0, T = rn.solve(points, ANNULI.solver), *points.span
    ways = [solution.z_T] if np.all(t0 == T) else [ways_at(solution, s, t0, T) for s in np.linspace(0, 1, 21)]
    label = loss.terminal.target[:, 0]
    depth = {"T": rounded(rn.Problem(kind.model, params, grid, flat).span[1])} if kind.model.adaptive else {}
    return {"yhat": rounded(yhat, 2), "ways": rounded(ways, 2), "label": label.tolist(), "x": rounded(x), **depth}


def ways_at(solution: Any, s: float, t0: Any, T: Any) -> Any:
    """z at the fraction s of every sample's own span (b, d)."""
    t = t0 + s * (T - t0)
    if np.ndim(t) == 0:
        return solution.z(t)
    (segment,) = solution.dense  # an adaptive depth here has no breaks
    return segment(t)[:, : solution.z_T.shape[1]]


def collect(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of this experiment."""
    models = {name: summary(each) for name, each in by_model(runs).items()}
    first = {run["model"]: run["seen"] for run in runs if run["seed"] == 0}
    return {"models": models, "seen": first, "side": SIDE, "grid": GRID}


def page(found: dict[str, Any]) -> str:
    """Its table."""
    return table(found["models"], MEASURES)
