"""Gradient methods as training engines: the same seed and data, another gradient, and how wrong it is on the way."""

import shutil
from typing import Any

import numpy as np

import refnode as rn
from refnode.experiments.annuli import rings
from validation.paper.runs import Job, job
from validation.paper.statistics import geometric_interval
from validation.paper.summary import cell, chosen
from validation.paper.trained import curve

METHODS = ("discrete", "backsolve", "interpolating", "quadrature")
TOLS = (1e-3, 1e-5)
MODEL = rn.NeuralODE(rn.MLP(2, 16, 16, 2, time="first"), h_y=rn.Linear(2, 1))
OPTIMISER, STEPS, STRIDE, BATCH = rn.AdamW(5e-3, weight_decay=1e-6), 400, 40, 128
TRUE = rn.Solver("dop853", tol=1e-11)
LEGEND = f"""

Settings are our own: the annuli by f(t, z) of widths 2-16-16-2, {STEPS} steps of {BATCH}, {chosen(OPTIMISER)}, dopri5.

Errors are those against the gradient of the ODE itself, by dop853 at tol 1e-11 after every {STRIDE} of {STEPS} steps:
the largest of any leaf, relative to that leaf. The discrete adjoint is exact for the computed solution; its error here
is what the solve loses. A training stops where backsolve finds that its state does not come back
(`rn.UnreliableGradient`); losses and evaluations are means of the trainings that went to their end.
"""


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Every method at every tolerance with every seed."""
    where = "validation.paper.engines:one"
    names = [(method, tol, seed) for seed in range(seeds) for tol in TOLS for method in METHODS]
    return [job(f"engines/{m}_{t:g}_{s}", where, method=m, tol=t, seed=s, out=f"engines/{m}_{t:g}_{s}", **words)
            for m, t, s in names]  # fmt: skip


def sample(rng: np.random.Generator, k: int) -> tuple[Any, rn.Loss]:
    """Points of the rings."""
    x, y = rings(rng, BATCH)
    return x, rn.Loss(rn.SquaredError(y))


def one(method: Any, tol: float, seed: int, out: str, backend: Any = "auto") -> dict[str, Any]:
    """A training in strides, after each of which the gradient is held to that of a solver eight digits better."""
    rng = np.random.default_rng(seed)
    problem = rn.Problem(MODEL, MODEL.init(rng), *sample(rng, 0))
    solver, errors, stopped = rn.Solver("dopri5", tol=tol), [], None
    history = None
    shutil.rmtree(out, ignore_errors=True)
    for steps in range(STRIDE, STEPS + 1, STRIDE):
        try:
            run = rn.fit(problem, sample, method, solver, OPTIMISER, steps=steps, rng=np.random.default_rng([seed, 1]),
                         out=out, resume=True, backend=backend, show=False)  # fmt: skip
        except rn.TrainingDiverged as error:
            stopped = {"step": error.step, "why": str(error.args[0])}
            break
        history = run.history
        errors.append(gradient_error(problem, run.params, method, solver, seed))
    shutil.rmtree(out, ignore_errors=True)
    return {"method": method, "tol": tol, "seed": seed, "errors": errors, "stopped": stopped,
            "curve": None if history is None else curve(history, 40)}  # fmt: skip


def gradient_error(problem: rn.Problem, params: Any, method: Any, solver: rn.Solver, seed: int) -> float | None:
    """The largest error of any parameter's gradient against the largest entry of its leaf, on a batch of its own."""
    here = problem.with_data(params, *sample(np.random.default_rng([seed, 2]), 0))
    truth = rn.gradient(here, "discrete", TRUE).grads
    try:
        grads = rn.gradient(here, method, solver).grads
    except rn.UnreliableGradient:
        return None
    return max(float(np.max(np.abs(grads[n] - truth[n])) / np.max(np.abs(truth[n]))) for n in params)


def collect(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Curves and last losses, means of the trainings that went to their end; log10 errors through training, means of
    those that still went on; and why the others stopped. None where nothing is left to average."""
    found: dict[str, Any] = {"stride": STRIDE, "engines": {}}
    for tol in TOLS:
        for method in METHODS:
            each = [run for run in runs if (run["method"], run["tol"]) == (method, tol)]
            whole = [run for run in each if run["stopped"] is None]
            found["engines"][f"{method} {tol:g}"] = {
                "method": method, "tol": tol, "seeds": len(each),
                "stopped": [run["stopped"] for run in each if run["stopped"]],
                "log10_error": [mean_log10([run["errors"][k:k + 1] for run in each]) for k in range(STEPS // STRIDE)],
                "curve": mean_curves([run["curve"] for run in whole]) if whole else None,
                "final": geometric_interval([run["curve"]["loss"][-1] for run in whole]) if whole else None,
            }  # fmt: skip
    return found


def mean_log10(errors: list[list[float | None]]) -> float | None:
    """The mean of log10 over those that are known."""
    logs = [float(np.log10(e)) for some in errors for e in some if e is not None]
    return float(np.mean(logs)) if logs else None


def mean_curves(curves: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds."""
    return {name: np.mean([curve[name] for curve in curves], axis=0).tolist() for name in curves[0]}


def page(found: dict[str, Any]) -> str:
    """A row an engine."""
    lines = [
        "| engine, tol | loss at the end | error of its gradient, first | last | evaluations a step | stopped |",
        "|---|---|---|---|---|---|",
    ]
    for name, e in found["engines"].items():
        final, nfe, known = "-", "-", [log for log in e["log10_error"] if log is not None]
        first, last = (f"{10 ** known[k]:.1e}" for k in (0, -1)) if known else "--"
        if e["curve"]:
            final = cell(*e["final"])
            nfe = f"{np.mean(e['curve']['nfe']):.0f} + {np.mean(e['curve']['nfe_backward']):.0f}"
        lines.append(f"| {name} | {final} | {first} | {last} | {nfe} | {len(e['stopped'])} of {e['seeds']} |")
    return "\n".join(lines) + LEGEND
