"""The reflection of a line with every kind of model, and the failures that theory demands."""

from typing import Any

import numpy as np

import refnode as rn
from refnode.experiments.reflection import ONE_SIDE, ORDER_KEPT, REFLECTION, X
from validation.paper.runs import Job, job
from validation.paper.summary import by_model, settings, summary, table
from validation.paper.trained import params_of, rounded, trained

MEASURES = {"loss": "squared error", "rising": "pairs in order", "nfe": "forward evaluations"}


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Every model with every seed."""
    where = "validation.paper.reflection:one"
    names = [(model, seed) for seed in range(seeds) for model in REFLECTION.kinds]
    return [job(f"reflection/{m}_{s}", where, model=m, seed=s, out=f"reflection/{m}_{s}", **words) for m, s in names]


def one(model: str, seed: int, out: str, **words: Any) -> dict[str, Any]:
    """A run; that of seed 0 with its map x -> y and its depths."""
    run = trained("reflection", model, seed, out, **words)
    if seed:
        return run
    problem = rn.Problem(REFLECTION.kind(model).model, params_of(out), X, rn.Loss(rn.SquaredError(-X)))
    y = rn.solve(problem, REFLECTION.solver).y_T[:, 0]
    T = np.broadcast_to(problem.span[1], len(X))
    return run | {"seen": {"x": rounded(X[:, 0]), "y": rounded(y), "T": rounded(T)}}


def collect(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of this experiment, and whether every forbidden model respects its bound."""
    models = {name: summary(each, errors=("loss",)) for name, each in by_model(runs).items()}
    first = {run["model"]: run["seen"] for run in runs if run["seed"] == 0}
    forbidden = [name for name, model in models.items() if not model["can"]]
    least = {name: ONE_SIDE if name == "adaptive_autonomous" else ORDER_KEPT for name in forbidden}
    kept = {name: min(models[name]["reached"]["loss"]["each"]) >= 0.999 * bound for name, bound in least.items()}
    return {"models": models, "seen": first, "least": least, "kept": kept}


def page(found: dict[str, Any]) -> str:
    """Its table and its bounds."""
    bounds = ", ".join(f"{name} {bound:.4f}" for name, bound in found["least"].items())
    least = f"\nNo parameters can do better than, by theory: {bounds}.\n"
    return table(found["models"], MEASURES) + least + settings(REFLECTION)
