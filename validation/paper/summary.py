"""What runs with several seeds say together: means with their confidence."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any

import numpy as np

from refnode.experiments import Experiment
from refnode.solver import Solver
from validation.paper.statistics import fraction_interval, geometric_interval, mean_interval

Runs = Sequence[Mapping[str, Any]]


def by_model(runs: Runs) -> dict[str, list[Mapping[str, Any]]]:
    """The runs of every model, in the order in which models come."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["model"], []).append(run)
    return found


def summary(
    runs: Runs, errors: Sequence[str] = (), fractions: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Any]:
    """One model's: every measure of every seed with mean and interval, and the mean curves of the training.

    errors       measures that are positive: geometric mean, and Student's interval of the logarithms
    fractions    measures that are fractions of so many points: Korn and Graubard's interval; all others: Student's
    """
    measures = {name: [run["reached"][name] for run in runs] for name in runs[0]["reached"]}
    curves = {name: _short(np.mean([run["curve"][name] for run in runs], axis=0)) for name in runs[0]["curve"]}

    def interval(name: str, values: list[float]) -> tuple[float, float, float]:
        if name in fractions:
            return fraction_interval(values, fractions[name])
        return geometric_interval(values) if name in errors else mean_interval(values)

    return {
        "seeds": len(runs), "steps": runs[0]["steps"], "batch": runs[0]["batch"],
        "parameters": runs[0]["parameters"], "can": runs[0]["can"],
        "reached": {name: {"each": v, "mean_low_high": interval(name, v)} for name, v in measures.items()},
        "curve": curves,
    }  # fmt: skip


def _short(values: Any) -> list[float]:
    """Numbers of a curve, to six digits."""
    return [float(f"{value:.6g}") for value in values]


def table(models: Mapping[str, Any], measures: Mapping[str, str]) -> str:
    """A Markdown table: a row a model, and each measure as mean [low, high]."""
    head = f"| model | parameters | {' | '.join(measures.values())} |"
    lines = [head, "|---" * (2 + len(measures)) + "|"]
    for name, one in models.items():
        cells = (cell(*one["reached"][measure]["mean_low_high"]) for measure in measures)
        lines.append(f"| {name} | {one['parameters']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def settings(experiment: Experiment) -> str:
    """The settings of an experiment, and what in them is not the source's."""
    said = numerics(experiment.steps, experiment.batch, experiment.optimiser, experiment.solver)
    but = f" But: {experiment.deviation}." if experiment.deviation else ""
    return f"\nSettings: {said}. Source: {experiment.source}.{but}\n"


def numerics(steps: int, batch: int, optimiser: Any, solver: Solver) -> str:
    """Steps, samples a step, optimiser and solver in words."""
    how = f"tol {solver.tolerance:g}" if solver.adaptive else f"{solver.n_steps} steps"
    return f"{steps:,} steps of {batch:,}, {chosen(optimiser)}, {solver.method} with {how}"


def chosen(optimiser: Any) -> str:
    """An optimiser, its rate, and what else is not as it is by default."""
    values = ((field, getattr(optimiser, field.name)) for field in fields(optimiser))
    words = (f"{field.name}={value:g}" for field, value in values if field.name == "rate" or value != field.default)
    return f"{type(optimiser).__name__}({', '.join(words)})"


def cell(mean: float, low: float, high: float, digits: int = 4) -> str:
    """mean [low, high], to so many significant digits."""
    m, a, b = (f"{value:.{digits}g}" for value in (mean, low, high))
    return m if low == high else f"{m} [{a}, {b}]"
