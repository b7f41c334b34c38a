"""refnode train: lists, trains, keeps, goes on, and refuses in one line."""

import json

import numpy as np
import pytest

import refnode as rn
from refnode.experiments import EXPERIMENTS, reflection
from tests.test_cli import refnode, refusal

SHORT = ("train", "reflection", "--model", "controlled", "--steps", 6)


def test_the_list_names_everything():
    """Every experiment and every model, and which cannot."""
    listed = refnode("train", "--list").stdout
    for experiment in EXPERIMENTS.values():
        assert experiment.name in listed
        assert all(f"--model {name}" in listed for name in experiment.kinds)
    assert listed.count("cannot, by theory") == sum(not k.can for e in EXPERIMENTS.values() for k in e.kinds.values())


def test_a_run_prints_what_it_reaches_and_keeps_it(tmp_path):
    """The table's loss is that of the model in the file; seed and method are said."""
    done = refnode(*SHORT, "--seed", 3, "--method", "interpolating", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
    model, params = rn.load_model(tmp_path / "run" / "model.json")
    reached = reflection.measure(model, params, reflection.REFLECTION.solver)
    kept = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))
    assert (kept["model"], kept["method"], kept["seed"]) == ("controlled", "interpolating", "3")
    assert float.fromhex(kept["reached"]["loss"]) == reached["loss"]
    with np.load(tmp_path / "run" / "weights.npz") as weights:
        assert set(weights) == set(params)
        assert all(np.array_equal(weights[leaf], params[leaf]) for leaf in params)
    rows = dict(line.split()[:2] for line in done.stdout.splitlines())
    assert rows["loss"] == f"{reached['loss']:.6g}"
    assert rows["seed"] == "3"


@pytest.mark.parametrize("words", [(), ("--hand-on",)], ids=["plain", "handed on"])
def test_it_goes_on_from_where_it_stood(words, tmp_path):
    """4 steps and then 2 more are 6, bit for bit."""
    assert refnode(*SHORT, *words, "--out", tmp_path / "whole").exit_code == 0
    assert refnode(*SHORT[:-1], 4, *words, "--out", tmp_path / "cut").exit_code == 0
    assert refnode(*SHORT, *words, "--out", tmp_path / "cut", "--resume").exit_code == 0
    kept = rn.load_checkpoint(tmp_path / "cut" / "checkpoint.json")
    assert (kept.settings["hand_on"], kept.state.proposal is not None) == (str(bool(words)), bool(words))
    (_, a), (_, b) = (rn.load_model(tmp_path / name / "model.json") for name in ("whole", "cut"))
    assert all(np.array_equal(a[leaf], b[leaf]) for leaf in a)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train",), "EXPERIMENT: got nothing"),
        (("train", "annuli", "--model", "magic"), "model: got 'magic'"),
        (("train", "annuli", "--resume"), "resume: got True"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments, said):
    assert said in refusal(*arguments)


def test_a_run_is_not_written_over(tmp_path):
    """Without --resume a folder that holds a run is refused."""
    refnode(*SHORT[:-1], 1, "--out", tmp_path)
    assert "resume=True" in refusal(*SHORT, "--out", tmp_path)


def test_ctrl_c_is_status_130(tmp_path, monkeypatch):
    def interrupted(*args, **words):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(reflection.REFLECTION), "train", interrupted)
    done = refnode(*SHORT, "--out", tmp_path)
    assert done.exit_code == 130
    assert "--resume goes on" in done.stderr
