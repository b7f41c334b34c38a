"""One run of an experiment as plain data: what it reached, and how the training went."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.experiments import EXPERIMENTS
from refnode.model_file import load_model

POINTS = 100  # of a curve over the training


def trained(
    experiment: str, model: str, seed: int, out: str, method: str = "discrete", batch: int | None = None, **words: Any
) -> dict[str, Any]:
    """Train one model with one seed, resuming what `out` holds, and keep its model file there. batch: samples a step,
    where they are others than the experiment's."""
    one = EXPERIMENTS[experiment] if batch is None else replace(EXPERIMENTS[experiment], batch=batch)
    run = one.train(model, seed, method, out=out, resume=True, every=200, show=False, **words)
    run.save(Path(out) / "model.json")
    Path(out, "checkpoint.json").unlink()
    size = sum(leaf.size for name, leaf in run.params.items() if name not in one.kind(model).frozen)
    return {
        "experiment": experiment, "model": model, "seed": seed, "method": method, "steps": len(run.history["loss"]),
        "batch": one.batch, "parameters": size, "can": one.kind(model).can, "reached": one.measured(model, run.params),
        "curve": curve(run.history),
    }  # fmt: skip


def curve(history: dict[str, Array], points: int = POINTS) -> dict[str, list[float]]:
    """Loss and evaluations, forwards and backwards, averaged over so many stretches of the training."""
    count = len(history["loss"])
    edges = np.linspace(0, count, min(points, count) + 1).astype(int)
    pieces, step = list(pairwise(edges)), [float(k) for k in (edges[:-1] + edges[1:]) / 2]
    names = ("loss", "nfe", "nfe_backward")
    return {"step": step} | {name: [float(history[name][a:b].mean()) for a, b in pieces] for name in names}


def params_of(out: str) -> dict[str, Array]:
    """The parameters that a run kept."""
    return load_model(Path(out) / "model.json")[1]


def rounded(a: Any, digits: int = 3) -> Any:
    """Numbers for a picture: nested lists with so many decimals, None for NaN."""
    return _plain(np.round(np.asarray(a, dtype=float), digits).tolist())


def _plain(node: Any) -> Any:
    return [_plain(child) for child in node] if isinstance(node, list) else node if node == node else None
