"""Descent in function space: what a mesh does to plain steps, and what the Riesz representer makes of it.

Two things are shown beside the trainings of `refnode.experiments.depth`. Where theta(t) is given at the very times of
RK4's stages, as in a network that is read as an ODE solved by RK4, plain differentiation through the solver weighs them
1, 4, 2, 4, .., 4, 1: nodal gradients oscillate from node to node, on every mesh, and steps along them leave a theta(t)
that oscillates. And where cells are wide and narrow in turn, coefficients of hats have a gradient that is so, too.
The Riesz representer, with the Gram matrix of the same quadrature, follows dloss/dtheta(t) in both cases.
Source of the first: Xu et al. 2023, "Correcting auto-differentiation in neural-ODE training", arXiv 2306.02192.
"""

from typing import Any

import numpy as np

import refnode as rn
from refnode.experiments.depth import DEPTH, FIELD, MESHES, RATE
from refnode.experiments.tracking import draw
from validation.paper.runs import Job, job
from validation.paper.statistics import geometric_interval
from validation.paper.summary import by_model, cell, settings, summary
from validation.paper.trained import rounded, trained

NODES = (17, 33, 65)  # of RK4 with 8, 16 and 32 steps
SHOWN = 33  # nodes of the trainings
WIDTHS = (3.0, 1.0)  # of cells in turn
LEAF = "alpha.W1"
KINDS = ("plain", "riesz")


class StageNodes:
    """theta(t) by its values on m even nodes, straight between them. That it has kinks is not said, so that (m - 1) / 2
    steps of RK4 have their three times on three nodes."""

    def __init__(self, m: int) -> None:
        self.m, self.kinks, self.jumps = m, np.zeros(0), False

    def psi(self, u: Any, cell: int = 0) -> Any:
        """1 at the node itself, 0 at all others."""
        return np.maximum(1 - np.abs(self._away(u)), 0)

    def slope(self, u: Any, cell: int = 0) -> Any:
        """Up to the node and down again."""
        away = self._away(u)
        return np.where(np.abs(away) < 1, -np.sign(away), 0) * (self.m - 1)

    def _away(self, u: Any) -> Any:
        return np.asarray(u)[..., None] * (self.m - 1) - np.arange(self.m)


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Both kinds of step on every mesh of hats, and on the nodes of the stages, with every seed."""
    here = "validation.paper.depth:"
    hats = [job(f"depth/{m}_{s}", f"{here}one", model=m, seed=s, out=f"depth/{m}_{s}", **words)
            for s in range(seeds) for m in DEPTH.kinds]  # fmt: skip
    return hats + [job(f"depth/stages_{s}", f"{here}stages", seed=s, **words) for s in range(seeds)]


def one(model: str, seed: int, out: str, **words: Any) -> dict[str, Any]:
    """A training on a mesh of hats."""
    return trained("depth", model, seed, out, **words)


def stages(seed: int, backend: Any = "auto") -> dict[str, Any]:
    """How much first gradients on the nodes of the stages oscillate, and theta(t) after a training along them; seed 0
    with what the pictures show."""
    first = {str(m): oscillations(problem_on(StageNodes(m), seed), solver_of(m)) for m in NODES}
    problem, found = problem_on(StageNodes(SHOWN), seed), {}
    for kind, rate in (("plain", SHOWN * RATE), ("riesz", RATE)):
        run = rn.fit(problem, None, "discrete", solver_of(SHOWN), rn.SGD(rate), steps=DEPTH.steps, show=False,
                     rng=np.random.default_rng(0), riesz=kind == "riesz", backend=backend)  # fmt: skip
        change = np.concatenate([flat(run.params[name] - problem[name]) for name in problem.params], axis=1)
        found[kind] = {"theta": rounded(run.params[LEAF][:, 0, 0], 5), "oscillation": oscillation(change)}
    gradients = {"stages": seen(StageNodes(SHOWN), solver_of(SHOWN)), "hats": seen(uneven(), DEPTH.solver)}
    return {"seed": seed, "first": first, "trained": found} | ({} if seed else {"seen": gradients})


def solver_of(nodes: int) -> rn.Solver:
    """RK4 with a step for every two cells."""
    return rn.Solver("rk4", n_steps=(nodes - 1) // 2)


def uneven() -> rn.Hat:
    """Hats on cells that are wide and narrow in turn."""
    widths = np.tile(WIDTHS, 8)
    return rn.Hat(np.cumsum(widths)[:-1] / widths.sum())


def problem_on(basis: Any, seed: int) -> rn.Problem:
    """The tracked signal with theta(t) on a basis, constant at first."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(FIELD, theta=rn.Galerkin(basis))
    constant = FIELD.init(rng)
    params = {f"alpha.{name}": np.repeat(leaf[None], basis.m, axis=0) for name, leaf in constant.items()}
    return rn.Problem(model, params, *draw(rng, DEPTH.batch))


def oscillations(problem: rn.Problem, solver: rn.Solver) -> dict[str, float]:
    """How much the plain gradient oscillates from node to node, and how much its representer."""
    result = rn.gradient(problem, "discrete", solver)
    leaves = {"plain": result.grads, "riesz": rn.riesz(problem, result)}
    return {kind: oscillation(np.concatenate([flat(g[name]) for name in problem.params], axis=1))
            for kind, g in leaves.items()}  # fmt: skip


def oscillation(v: Any) -> float:
    """The part of v (m, p) that changes sign from node to node, against all of it, at inner nodes:
    |v_k-1 - 2 v_k + v_k+1| / 4 over |v_k|. Weights 2, 4, 2, .. alone give 1 / sqrt(3^2 + 1)."""
    turns = v[:-2] - 2 * v[1:-1] + v[2:]
    return float(np.linalg.norm(turns[1:-1]) / 4 / np.linalg.norm(v[2:-2]))


def flat(a: Any) -> Any:
    """(m, ..) as (m, p)."""
    return np.reshape(a, (len(a), -1))


def seen(basis: Any, solver: rn.Solver) -> dict[str, Any]:
    """Of one entry of W1: the coefficients' gradient, times their number; its Riesz representer; and dloss/dtheta(t)
    itself, from the costate."""
    problem = problem_on(basis, 0)
    result, t = rn.gradient(problem, "discrete", solver), np.linspace(0, 1, 101)
    mesh = np.linspace(0, 1, basis.m) if isinstance(basis, StageNodes) else np.concatenate([[0.0], basis.nodes, [1.0]])
    return {
        "mesh": rounded(mesh, 4), "t": rounded(t), "density": rounded(densities(problem, t), 5),
        "plain": rounded(result.grads[LEAF][:, 0, 0] * len(mesh), 5),
        "riesz": rounded(rn.riesz(problem, result)[LEAF][:, 0, 0], 5),
    }  # fmt: skip


def densities(problem: rn.Problem, t: Any) -> list[float]:
    """(df/dtheta)^T a at every t, the entry W1[0, 0]. theta(t) is the same for all t here."""
    found, field = rn.costate(problem), problem.model.field
    theta = field_at_first(problem)
    start = sum(int(np.prod(field.shapes[name])) for name in ("W0", "b0"))
    return [float(field.vjp(np.asarray(s), found.z(s), theta, None, found.adj(s, "before" if s else "after"))[2][start])
            for s in t]  # fmt: skip


def field_at_first(problem: rn.Problem) -> Any:
    """The field's parameters (p,), those of t = 0."""
    return problem.model.depth.forward(np.asarray(0.0), 0, problem.values.alpha, problem.model.field.shapes)


def collect(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of this experiment."""
    on_hats = by_model([run for run in runs if "model" in run])
    on_stages = [run for run in runs if "model" not in run]
    models = {name: summary(each, errors=("loss",)) for name, each in on_hats.items()}
    first = {m: {kind: geometric_interval([r["first"][m][kind] for r in on_stages]) for kind in KINDS}
             for m in on_stages[0]["first"]}  # fmt: skip
    after = {kind: geometric_interval([r["trained"][kind]["oscillation"] for r in on_stages]) for kind in KINDS}
    theta = {kind: on_stages[0]["trained"][kind]["theta"] for kind in KINDS}
    return {"models": models, "rate": RATE, "first": first, "trained": after, "theta": theta,
            "seen": on_stages[0]["seen"]}  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """Losses on hats; oscillations on the nodes of the stages."""
    losses = {kind: [error_of(found, f"{kind}_{n}") for n in MESHES] for kind in KINDS}
    turns = {kind: [*(first[kind] for first in found["first"].values()), found["trained"][kind]] for kind in KINDS}
    return f"""Errors of tracking after {DEPTH.steps} steps of rate {found["rate"]:g}, theta(t) on hats:

{rows([f"{n} hats" for n in MESHES], losses)}
Oscillation from node to node, where theta(t) is given at the times of RK4's stages: the part of a function on the nodes
that changes sign at each, against all of it. First of the gradient, then of what {DEPTH.steps} steps along it make of
theta(t) ({SHOWN} nodes; the plain rate is {SHOWN} times the other, for steps of one size).

{rows([*(f"gradient, {m} nodes" for m in found["first"]), "theta(t)"], turns)}{settings(DEPTH)}"""


def error_of(found: dict[str, Any], model: str) -> Any:
    """Mean and interval of a model's error."""
    return found["models"][model]["reached"]["loss"]["mean_low_high"]


def rows(head: list[str], cells: dict[str, Any]) -> str:
    """A table: a row a kind of step."""
    lines = [f"| steps | {' | '.join(head)} |", "|---" * (1 + len(head)) + "|"]
    lines += [f"| {kind} | {' | '.join(cell(*one) for one in each)} |" for kind, each in cells.items()]
    return "\n".join(lines) + "\n"
