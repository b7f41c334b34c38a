""" "In practice, is it really better?" The integral loss against the terminal loss and a few observations.

All comparisons that the page speaks of are fixed here, before any run: pairs of objectives, measures, and one
correction for all of them together. What it says of them is in conclusions.py.
"""

from typing import Any

import numpy as np

from validation.paper.objectives import OBJECTIVES, POINTS, TASKS, Task
from validation.paper.runs import Job, job
from validation.paper.statistics import fraction_interval, geometric_interval, holm, mean_interval, ratio
from validation.paper.summary import cell, numerics

PAIRS = (("integral", "terminal"), ("integral", "8 seen"), ("mixed 1", "terminal"), ("kinetic 0.1", "terminal"))
MEASURES = {
    "at_T": "error at T", "path": "error along the path", "half": "error at T / 2", "beyond": "error behind T",
    "nfe": "forward evaluations", "training_nfe": "forward evaluations a step of training",
    "seconds": "CPU seconds of a gradient",
}  # fmt: skip
LEVEL = 0.05
SECONDS = (
    "Seconds are CPU time of one thread, on a machine that had\nother work beside it: they compare objectives, and say"
    " nothing of how fast refnode is."
)
FLOOR = 1e-8  # of an error in a ratio
LEAST_SEEDS = 12  # with fewer the least p of signed ranks, 2^(1 - n), passes no correction for so many comparisons


def jobs(seeds: int, **words: Any) -> list[Job]:
    """Every objective on every task with every seed."""
    seeds = max(seeds, LEAST_SEEDS)
    names = [(task, objective, seed) for seed in range(seeds) for task in TASKS for objective in OBJECTIVES]
    where = "validation.paper.objectives:one"
    return [job(f"study/{t}_{o.replace(' ', '_')}_{s}", where, task=t, objective=o, seed=s, **words)
            for t, o, s in names]  # fmt: skip


def collect(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means with intervals, geometric but for fractions, and every comparison with its factor, interval, effect size
    and corrected p."""
    each: dict[str, dict[str, list[Any]]] = {task: {o: [] for o in OBJECTIVES} for task in TASKS}
    for run in runs:
        each[run["task"]][run["objective"]].append(run["reached"])
    means = {
        task: {o: {m: _mean(rows, m) for m in rows[0]} for o, rows in objectives.items()}
        for task, objectives in each.items()
    }
    compared = [
        {"task": task, "a": a, "b": b, "measure": m} | ratio(*(_column(each[task][o], m) for o in (a, b)))
        for task in TASKS for a, b in PAIRS for m in MEASURES if m in each[task][a][0]
    ]  # fmt: skip
    for one, p in zip(compared, holm([one["p"] for one in compared]), strict=True):
        one["p_holm"] = p
    return {"means": means, "compared": compared, "seeds": len(runs) // (len(TASKS) * len(OBJECTIVES))}


def _mean(rows: list[Any], measure: str) -> tuple[float, float, float]:
    if measure in MEASURES:
        return geometric_interval(_column(rows, measure))
    values = [row[measure] for row in rows]
    return fraction_interval(values, POINTS) if "accuracy" in measure else mean_interval(values)


def _column(rows: list[Any], measure: str) -> list[float]:
    return [max(row[measure], FLOOR) for row in rows]


def found(data: dict[str, Any], task: str, a: str, b: str, measure: str) -> dict[str, Any]:
    """One comparison."""
    want = {"task": task, "a": a, "b": b, "measure": measure}
    return next(one for one in data["compared"] if want.items() <= one.items())


def shown(one: dict[str, Any]) -> bool:
    """Whether a difference is shown, after the correction."""
    return bool(one["p_holm"] < LEVEL)


def effect(one: dict[str, Any]) -> str:
    """The effect size d and its interval; "-" where all seeds have the same factor, so that there is no spread to
    measure it by."""
    d, low, high = (f"{round(one[word], 1) + 0:.1f}" for word in ("d", "d_low", "d_high"))  # + 0: no -0.0
    return "-" if one["d"] == 0 else f"{d} [{low}, {high}]"


def page(data: dict[str, Any]) -> str:
    """The tables behind the conclusions."""
    tasks = "; ".join(f"{name}, {settings_of(task)}" for name, task in TASKS.items())
    words = f"Means of evaluations and seconds are geometric, too. {SECONDS}\n\nSettings: {tasks}. Why: objectives.py."
    means = [_means(task, rows) for task, rows in data["means"].items()]
    return "\n".join([words, "", *means, _compared(data["compared"])])


def settings_of(task: Task) -> str:
    """The numerics of a task in words."""
    return numerics(task.steps, len(task.draw(np.random.default_rng(0))[0]), task.optimiser, task.solver)


def _means(task: str, rows: dict[str, Any]) -> str:
    """A row an objective."""
    words = MEASURES | {"exit": "depth of exit", "accuracy": "accuracy at T", "half accuracy": "accuracy at T / 2"}
    seen = {m: word for m, word in words.items() if m in rows["terminal"]}
    head = [f"### {task}", "", f"| objective | {' | '.join(seen.values())} |", "|---" * (1 + len(seen)) + "|"]
    body = [f"| {o} | {' | '.join(cell(*row[m]) for m in seen)} |" for o, row in rows.items()]
    return "\n".join([*head, *body]) + "\n"


def _compared(compared: list[dict[str, Any]]) -> str:
    """A row a comparison."""
    head = "| task | of | against | measure | factor | effect d | p (Holm) |"
    lines = ["### Comparisons", "", head, "|---" * 7 + "|"]
    for c in compared:
        factor = f"{c['mean']:.3g} [{c['low']:.3g}, {c['high']:.3g}]"
        who = f"{c['task']} | {c['a']} | {c['b']} | {MEASURES[c['measure']]}"
        lines.append(f"| {who} | {factor} | {effect(c)} | {c['p_holm']:.2g} |")
    return "\n".join(lines) + "\n"
