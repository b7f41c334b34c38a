"""Concentric annuli with every kind of model, and with h_x and h_y alone."""

from typing import Any

import numpy as np

import refnode as rn
from refnode.experiments.annuli import ANNULI, POINTS, draw
from validation.paper.runs import Job, job
from validation.paper.summary import by_model, settings, summary, table
from validation.paper.trained import params_of, rounded, trained

MEASURES = {"accuracy": "accuracy", "loss": "squared error", "nfe": "forward evaluations"}
SIDE, GRID = 3.0, 41
AUTHORS = 1024  # points a step
BATCHES = (ANNULI.batch, AUTHORS)


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Every model with every seed, and with seed 0 once more, on as many points a step as the authors took."""
    own = [_job(model, seed, **words) for seed in range(seeds) for model in ANNULI.kinds]
    return own + [_job(model, 0, batch=AUTHORS, **words) for model in ANNULI.kinds]


def _job(model: str, seed: int, **words: Any) -> Job:
    name = f"annuli/{model}_{seed}{'_larger' if 'batch' in words else ''}"
    return job(name, "validation.paper.annuli:one", model=model, seed=seed, out=name, **words)


def one(model: str, seed: int, out: str, batch: int | None = None, **words: Any) -> dict[str, Any]:
    """A run; that of seed 0 with what the pictures show."""
    run = trained("annuli", model, seed, out, batch=batch, **words)
    return run | ({"seen": seen(model, params_of(out))} if seed == 0 and run["batch"] == ANNULI.batch else {})


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
    own = [run for run in runs if run["batch"] == ANNULI.batch]
    models = {name: summary(each, ("loss",), {"accuracy": POINTS}) for name, each in by_model(own).items()}
    larger = {run["model"]: run["reached"] for run in runs if run["batch"] == AUTHORS}
    first = {run["model"]: run["seen"] for run in own if run["seed"] == 0}
    return {"models": models, "larger": larger, "batch": ANNULI.batch, "seen": first, "side": SIDE, "grid": GRID}


def page(found: dict[str, Any]) -> str:
    """Its table, and what seed 0 reaches on larger batches."""
    lines = [f"| model | {' | '.join(f'{word}, {b:,} points' for word in MEASURES.values() for b in BATCHES)} |"]
    lines += ["|---" * (1 + len(BATCHES) * len(MEASURES)) + "|"]
    for name, reached in found["larger"].items():
        own = {m: found["models"][name]["reached"][m]["each"][0] for m in MEASURES}
        cells = (f"{one[m]:.4g}" for m in MEASURES for one in (own, reached))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return f"""{table(found["models"], MEASURES)}{settings(ANNULI)}
What the smaller batch changes: seed 0 on {found["batch"]} points a step, and on {AUTHORS:,}, the authors' number.

{chr(10).join(lines)}
"""
