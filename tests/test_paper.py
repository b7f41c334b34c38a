"""The scripts of the paper's results: runs are kept and not run again, and the page says what the numbers say."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

import refnode as rn
from refnode.experiments.depth import DEPTH
from refnode.gallery import GALLERY
from validation.paper import depth, objectives, runs, study
from validation.paper.conclusions import conclusions

NAMES = ("reflection", "tracking", "depth", "engines", "study", "annuli", "ring")


def count(seed, out=None):
    """A run that counts how often it is run."""
    CALLS.append(seed)
    return {"seed": seed}


CALLS = []


def test_runs_are_kept(tmp_path, monkeypatch):
    """Any executor; a second call runs only what is missing."""
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    jobs = [runs.job(f"a/{seed}", "tests.test_paper:count", seed=seed) for seed in range(3)]
    CALLS.clear()
    assert runs.results(jobs[:2], lambda: ThreadPoolExecutor(1)) == [{"seed": 0}, {"seed": 1}]
    assert runs.results(jobs, lambda: ThreadPoolExecutor(2)) == [{"seed": k} for k in range(3)]
    assert CALLS == [0, 1, 2]


@pytest.mark.parametrize("name", NAMES)
def test_every_job_names_a_function(name):
    """Names are distinct, at least one a seed, and every function is there."""
    module = import_module(f"validation.paper.{name}")
    jobs = module.jobs(2)
    assert len({one.name for one in jobs}) == len(jobs) >= 2
    for one in jobs:
        where, _, function = one.function.partition(":")
        assert callable(getattr(import_module(where), function))


def made_up(factor):
    """Runs in which the integral loss leaves `factor` times the error of every other objective, beside noise."""
    for task in objectives.TASKS:
        for objective in objectives.OBJECTIVES:
            for seed in range(study.LEAST_SEEDS):
                rng = np.random.default_rng([seed, objectives.OBJECTIVES.index(objective)])
                noise = np.exp(0.1 * rng.standard_normal(8))
                size = factor if objective == "integral" else 1.0
                names = (*study.MEASURES, "exit", "accuracy", "half accuracy")
                reached = {name: size * float(noise[k % 8]) for k, name in enumerate(names)}
                yield {"task": task, "objective": objective, "seed": seed, "reached": reached}


def test_the_page_says_what_the_numbers_say():
    """A tenth of the error is "less", ten times "more", the same is no difference; the factors are the ones made."""
    for factor, word in ((0.1, "smaller"), (10.0, "larger"), (1.0, "not shown to differ")):
        data = study.collect(list(made_up(factor)))
        assert data["seeds"] == study.LEAST_SEEDS
        page = conclusions(data)
        assert f"Error along the path, against the terminal loss: tracking {word} (x " in page
        one = study.found(data, "tracking", "integral", "terminal", "path")
        assert abs(np.log(one["mean"] / factor)) < 4 * 0.1 * np.sqrt(2 / study.LEAST_SEEDS)  # four standard errors
        assert one["of_a"] / one["of_b"] == pytest.approx(one["mean"], rel=1e-12)
        assert study.page(data).count("\n") > len(data["compared"])


def test_the_path_loss_is_differentiated_rightly():
    """The running loss of a readout's column: its value, jvp and vjp against central differences of a whole problem."""
    task = objectives.TASKS["reflection"]
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 1)), rng.standard_normal((3, 1))
    problem = rn.Problem(task.model, task.model.init(rng), x, objectives.loss_of(task, "integral", y))
    solver = rn.Solver("rk4", n_steps=3)
    exact, differences = (rn.gradient(problem, method, solver).grads for method in ("discrete", "complex_step"))
    for leaf in exact:  # the same discrete map: round-off of some hundred operations alone
        size = np.max(np.abs(differences[leaf]))
        assert np.max(np.abs(exact[leaf] - differences[leaf])) <= 1e3 * np.finfo(float).eps * max(size, 1.0)


def test_objectives_are_what_they_say():
    """On a trajectory that stands still at distance one every objective but the kinetic part is one."""
    task = objectives.TASKS["reflection"]
    model = task.model
    params = {name: np.zeros(shape) for name, shape in model.shapes.items()}
    x = np.array([[0.5], [-0.25]])
    for objective in objectives.OBJECTIVES:
        loss = objectives.loss_of(task, objective, x + 1.0)
        kind, _, number = objective.partition(" ")
        wanted = 1 + float(number) if kind == "mixed" else 1.0
        assert abs(rn.solve(rn.Problem(model, params, x, loss)).loss - wanted) < 1e-14 * 10


@pytest.mark.parametrize(
    ("basis", "solver"),
    [(depth.uneven(), DEPTH.solver), (depth.StageNodes(33), depth.solver_of(33))],
    ids=["wide and narrow cells", "nodes of the stages"],
)
def test_the_riesz_representer_is_the_gradient_in_function_space(basis, solver):
    """The representer follows (df/dtheta)^T a, found from the costate at every t, to what straight pieces can follow,
    h^2 / 8 |v''| and as much again for the projection; plain gradients are off by a quarter."""
    seen = {name: np.array(values) for name, values in depth.seen(basis, solver).items()}
    v = np.interp(seen["mesh"], seen["t"], seen["density"])
    curvature = np.max(np.abs(np.diff(seen["density"][::5], 2))) / 0.05**2  # at a stride that five decimals allow
    allowed = 2 * np.max(np.diff(seen["mesh"])) ** 2 / 8 * curvature
    assert np.max(np.abs(seen["riesz"] - v)) < allowed < 0.1 * np.max(np.abs(v))
    assert np.max(np.abs(seen["plain"] - v)) > 0.25 * np.max(np.abs(v))


def test_oscillation_is_the_part_that_changes_sign():
    """1 of a function that changes sign at every node, 0 of a straight one; weights 2, 4, 2, .. give 1 / sqrt(10)."""
    k = np.arange(34)[:, None]
    assert depth.oscillation((-1.0) ** k) == pytest.approx(1)
    assert depth.oscillation(1.0 + k) == pytest.approx(0)
    assert depth.oscillation(3 - (-1.0) ** k) == pytest.approx(1 / np.sqrt(10))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reflection", "tracking", "ring", "annuli", "depth", "engines"])
def test_every_script_runs_to_its_pictures(name, tmp_path, monkeypatch):
    """Two steps of one seed of everything: runs, table, every picture."""
    module = import_module(f"validation.paper.{name}")
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    for constant, short in (("STEPS", 2), ("STRIDE", 1), ("BATCH", 8)):
        if hasattr(module, constant):
            monkeypatch.setattr(module, constant, short)
    words = {} if name in ("depth", "engines") else {"steps": 2}
    data = module.collect(runs.results(module.jobs(1, **words), lambda: ThreadPoolExecutor(1)))
    data = json.loads(json.dumps(data, allow_nan=False))
    assert module.page(data).count("|") > 10
    for source, function in GALLERY.values():
        if source == name:
            assert function(data).axes


@pytest.mark.slow
@pytest.mark.parametrize("task", objectives.TASKS)
def test_every_objective_trains(task, monkeypatch):
    """Two steps of every objective on every task, and finite measures."""
    monkeypatch.setitem(objectives.TASKS, task, replace(objectives.TASKS[task], steps=2))
    for objective in objectives.OBJECTIVES:
        reached = objectives.one(task, objective, 0)["reached"]
        assert all(np.isfinite(value) for value in reached.values())
        assert set(study.MEASURES) - set(reached) <= {"beyond"}


def test_corrections_leave_room_for_a_verdict():
    """The least p of signed ranks with so many seeds, 2^(1 - n), passes Holm's correction for all comparisons."""
    data = study.collect(list(made_up(0.1)))
    assert 2.0 ** (1 - study.LEAST_SEEDS) * len(data["compared"]) < study.LEVEL
