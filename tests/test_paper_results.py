"""What the committed results of the paper's experiments claim is what their numbers say."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from refnode.experiments import EXPERIMENTS
from refnode.experiments.reflection import ONE_SIDE, ORDER_KEPT
from refnode.gallery import GALLERY
from validation.paper.__main__ import HEAD, NAMES
from validation.paper.conclusions import conclusions

PAPER = Path(__file__).resolve().parent.parent / "validation" / "paper"
RESULTS = PAPER / "results"
FOUND = {path.stem: json.loads(path.read_text("utf-8")) for path in RESULTS.glob("*.json")}
MOST = {".json": 500_000, ".png": 200_000, ".md": 50_000}  # bytes of a committed file


def each(name, model, measure):
    """What every seed of a model reached."""
    return np.array(FOUND[name]["models"][model]["reached"][measure]["each"])


# ---------------------------------------------------------------- pages and pictures

@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_that_of_the_numbers(name):
    """At least ten seeds; the table is what the JSON file says, to the letter, under the command that writes it."""
    data = FOUND[name]
    assert data["seeds"] >= 10
    page = HEAD.format(name=name, seeds=data["seeds"]) + import_module(f"validation.paper.{name}").page(data)
    assert (RESULTS / f"{name}.md").read_text("utf-8") == page


def test_the_conclusions_are_those_of_the_numbers():
    """The page that answers the slides' question is what the study's numbers say, to the letter."""
    assert (PAPER / "CONCLUSIONS.md").read_text("utf-8") == conclusions(FOUND["study"])


def test_every_picture_is_there_and_shown():
    """A picture for each name of the gallery, small, and shown on the page or, the study's, in the conclusions."""
    shown = (PAPER / "README.md").read_text("utf-8") + (PAPER / "CONCLUSIONS.md").read_text("utf-8")
    for name in GALLERY:
        assert (RESULTS / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"](results/{name}.png)" in shown
    assert all(path.stat().st_size <= MOST[path.suffix] for path in RESULTS.iterdir())


@pytest.mark.parametrize("name", ["annuli", "reflection", "tracking"])
def test_settings_are_those_of_today(name):
    """Models, their sizes and steps are those of the experiment: results of other settings are stale."""
    experiment, models = EXPERIMENTS[name], FOUND[name]["models"]
    assert set(models) == set(experiment.kinds)
    for model, found in models.items():
        kind = experiment.kind(model)
        leaves = experiment.problem(model, 0).params
        assert found["parameters"] == sum(leaf.size for n, leaf in leaves.items() if n not in kind.frozen)
        assert found["steps"] == experiment.steps
        assert found["can"] == kind.can


# ---------------------------------------------------------------- the reflection

FORBIDDEN = [name for name, kind in EXPERIMENTS["reflection"].kinds.items() if not kind.can]
ALLOWED = [name for name, kind in EXPERIMENTS["reflection"].kinds.items() if kind.can]


@pytest.mark.parametrize("model", FORBIDDEN)
def test_what_theory_forbids_fails(model):
    """No seed does better than theory allows, but for the solver's tolerance; all trajectories keep their order."""
    least = ONE_SIDE if model == "adaptive_autonomous" else ORDER_KEPT
    assert each("reflection", model, "loss").min() >= 0.999 * least
    assert each("reflection", model, "rising").min() == 1


@pytest.mark.parametrize("model", ALLOWED)
def test_what_theory_allows_succeeds(model):
    """Every seed of data control, augmentation, second order, and a depth of each sample's own under f(t, z)."""
    assert each("reflection", model, "loss").max() < ORDER_KEPT / 20
    assert each("reflection", model, "rising").max() < 0.05


# ---------------------------------------------------------------- function space

def test_plain_steps_slow_down_with_the_mesh_and_riesz_steps_do_not():
    """The same rate on 5, 17 and 65 hats: plain losses rise mesh by mesh; Riesz losses are below them all and fall, as
    a finer mesh holds more functions."""
    last = {name: mean for name, (mean, _, _) in FOUND["depth"]["last"].items()}
    assert last["plain 5"] < last["plain 17"] < last["plain 65"]
    riesz = [last[f"riesz {nodes}"] for nodes in (5, 17, 65)]
    assert last["plain 5"] / 5 > riesz[0] > riesz[1] > riesz[2] > riesz[0] / 2


def test_plain_gradients_oscillate_on_an_uneven_mesh():
    """From node to node, where cells are wide and narrow in turn; the representer follows dloss/dtheta(t)."""
    seen = {name: np.array(values) for name, values in FOUND["depth"]["seen"].items()}
    truth = np.interp(seen["mesh"], seen["t"], seen["density"])
    off = {name: np.max(np.abs(seen[name] - truth)) for name in ("plain", "riesz")}
    assert off["riesz"] < 0.1 * np.max(np.abs(truth)) < 0.25 * np.max(np.abs(truth)) < off["plain"]


# ---------------------------------------------------------------- gradient methods as training engines

def test_backsolve_stops_where_the_others_train_on():
    """At the loose tolerance most of its trainings stop, and are not right by luck; no other method ever stops."""
    engines = FOUND["engines"]["engines"]
    assert len(engines["backsolve 0.001"]["stopped"]) > engines["backsolve 0.001"]["seeds"] / 2
    assert all("solved backwards missed" in one["why"] for one in engines["backsolve 0.001"]["stopped"])
    assert all(not e["stopped"] for e in engines.values() if e["method"] != "backsolve")


def test_a_tighter_tolerance_costs_evaluations_and_gives_digits():
    """Two digits of tolerance: at least one of every gradient through all of the training, and more evaluations."""
    engines = FOUND["engines"]["engines"]
    for method in ("discrete", "interpolating", "quadrature"):
        loose, tight = engines[f"{method} 0.001"], engines[f"{method} 1e-05"]
        assert np.min(np.subtract(loose["log10_error"], tight["log10_error"])) > 1
        assert np.mean(tight["curve"]["nfe"]) > 1.5 * np.mean(loose["curve"]["nfe"])


def test_the_discrete_adjoint_costs_the_least_backwards():
    """Of all methods at either tolerance; quadrature pays most."""
    engines = FOUND["engines"]["engines"]
    for tol in ("0.001", "1e-05"):
        spent = [engines[f"{m} {tol}"]["curve"]["nfe_backward"] for m in ("discrete", "interpolating", "quadrature")]
        discrete, interpolating, quadrature = np.mean(spent, axis=1)
        assert discrete < interpolating < quadrature
