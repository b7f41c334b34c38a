"""Descent in function space: what a mesh does to plain steps, and what the Riesz representer makes of it."""

from typing import Any

import numpy as np

import refnode as rn
from refnode.experiments.tracking import BETA, starts
from validation.paper.runs import Job, job
from validation.paper.statistics import mean_interval
from validation.paper.trained import rounded

FIELD, SOLVER, STEPS, RATE = rn.MLP(2, 16, 2), rn.Solver("rk4", n_steps=16), 100, 0.5
MESHES = (5, 17, 65)
WIDTHS = (3.0, 1.0)  # of cells in turn, where the oscillation is shown


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Plain and Riesz steps on every mesh with every seed."""
    where = "validation.paper.depth:one"
    names = [(nodes, riesz, seed) for seed in range(seeds) for nodes in MESHES for riesz in (False, True)]
    return [job(f"depth/{n}_{'riesz' if r else 'plain'}_{s}", where, nodes=n, riesz=r, seed=s, **words)
            for n, r, s in names]  # fmt: skip


def problem_on(nodes: Any, seed: int) -> rn.Problem:
    """The tracked signal with theta(t) on hats, the same function at first whatever the mesh."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(FIELD, theta=rn.FunctionSpace(nodes))
    return rn.Problem(model, model.init(rng), starts(rng, 32), rn.Loss(running=0.5 * rn.Tracking(BETA)))


def one(nodes: int, riesz: bool, seed: int, backend: Any = "auto") -> dict[str, Any]:
    """A training by gradient descent of one rate; seed 0 on the coarsest mesh brings the picture of the gradients."""
    rng = np.random.default_rng(seed)
    run = rn.fit(problem_on(nodes, seed), None, "discrete", SOLVER, rn.SGD(RATE), steps=STEPS, rng=rng, riesz=riesz,
                 backend=backend, show=False)  # fmt: skip
    found = {"nodes": nodes, "riesz": riesz, "seed": seed, "loss": rounded(run.history["loss"], 6)}
    return found | ({"seen": gradients()} if seed == 0 and riesz and nodes == MESHES[0] else {})


def gradients() -> dict[str, Any]:
    """Of one entry of W1 on a mesh whose cells are wide and narrow in turn: the coefficients' gradient, its Riesz
    representer, and dloss/dtheta(t) itself, from the costate."""
    widths = np.tile(WIDTHS, 8)
    nodes = np.cumsum(widths)[:-1] / widths.sum()
    problem = problem_on(nodes, 0)
    result = rn.gradient(problem, "discrete", SOLVER)
    found, shapes = rn.costate(problem), problem.model.field.shapes
    t = np.linspace(0, 1, 101)
    density = [at(found, problem, s, shapes) for s in t]
    mesh = np.concatenate([[0.0], nodes, [1.0]])
    return {
        "mesh": rounded(mesh, 4), "t": rounded(t), "density": rounded(density, 5),
        "plain": rounded(result.grads["alpha.W1"][:, 0, 0] * len(mesh), 5),
        "riesz": rounded(rn.riesz(problem, result)["alpha.W1"][:, 0, 0], 5),
    }  # fmt: skip


def at(found: Any, problem: rn.Problem, t: float, shapes: Any) -> float:
    """(df/dtheta)^T a at t, the entry W1[0, 0]."""
    side = "before" if t == 1 else "after"
    cell = (
        int(np.searchsorted(problem.model.depth.breaks, t, side="right")) if t < 1 else len(problem.model.depth.breaks)
    )
    theta = problem.model.depth.forward(np.asarray(t), cell, problem.values.alpha, shapes)
    g = problem.model.field.vjp(np.asarray(t), found.z(t), theta, None, found.adj(t, side))[2]
    start = sum(int(np.prod(shape)) for name, shape in shapes.items() if name in ("W0", "b0"))
    return float(g[start])


def collect(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean curves of the loss, and the last loss of every mesh with its interval."""
    curves, last = {}, {}
    for nodes in MESHES:
        for riesz in (False, True):
            each = [run["loss"] for run in runs if (run["nodes"], run["riesz"]) == (nodes, riesz)]
            name = f"{'riesz' if riesz else 'plain'} {nodes}"
            curves[name], last[name] = np.mean(each, axis=0).tolist(), mean_interval([one[-1] for one in each])
    return {"curves": curves, "last": last, "seen": next(run["seen"] for run in runs if "seen" in run), "rate": RATE}


def page(found: dict[str, Any]) -> str:
    """The last losses."""
    lines = [
        f"| steps of rate {found['rate']:g} | " + " | ".join(f"{n} hats" for n in MESHES) + " |",
        "|---" * (1 + len(MESHES)) + "|",
    ]
    for kind in ("plain", "riesz"):
        cells = [found["last"][f"{kind} {n}"] for n in MESHES]
        lines.append(f"| {kind} | " + " | ".join(f"{m:.4g} [{low:.4g}, {high:.4g}]" for m, low, high in cells) + " |")
    return "\n".join(lines) + "\n"
