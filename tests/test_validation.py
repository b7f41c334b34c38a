"""The scoreboard tells right from wrong, survives what a library does to it, and draws and writes what it found."""

import ast
import os
import re
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import refnode as rn
from validation import scoreboard
from validation.board import picture, table
from validation.board.scores import Score, load, save, score, verdict
from validation.board.worker import Worker, timed
from validation.peers import scipy_adapter
from validation.peers.configurations import CONFIGURATIONS, chosen
from validation.peers.support import NotSupported, check
from validation.scoreboard import in_lanes, run_cell

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "validation" / "peers"
TOLERANCES = (1e-3, 1e-7)


def fake(tol, outcome="returned", message="", **digits):
    """A score of torchdyn's adjoint on mild."""
    digits = {name.replace("_", "."): value for name, value in digits.items()}
    cost = {"seconds": 0.01, "first": 0.02, "blown": 1.0} if outcome == "returned" else {}
    return Score("mild", "torchdyn adjoint", tol, outcome, message, digits, **cost)


# ---------------------------------------------------------------- scores


@pytest.fixture
def cosine():
    """A closed form and its truth."""
    (entry,) = rn.catalogue("cosine")
    return entry, rn.reference(entry.problem)


def test_a_score_measures_every_leaf_against_its_own_size(cosine):
    """One part in 10^4 off in k is 4 digits there and leaves the rest alone: true, it is bounded by the radius."""
    entry, truth = cosine
    wrong = {"theta.k": truth.grads["theta.k"] * 1.0001}
    got = score("cosine", "mine", 1e-3, entry, truth, {**truth.grads, **wrong}, 0.5, 0.7)
    assert got.outcome == "returned"
    assert got.digits["theta.k"] == pytest.approx(4.0, abs=0.01)
    assert got.worst() == "theta.k"
    assert got.bounded == ["x", "t0", "T"]
    assert got.blown == pytest.approx(1.0, abs=0.01)
    assert (got.seconds, got.first) == (0.5, 0.7)


def test_a_score_names_what_did_not_come(cosine):
    """Times that a library does not differentiate are missing, not wrong."""
    entry, truth = cosine
    got = score("cosine", "mine", 1e-3, entry, truth, {k: truth.grads[k] for k in ("theta.k", "x")}, 0.5, 0.5)
    assert got.missing == ["t0", "T"]
    assert got.worst(times=True) is None


@pytest.mark.parametrize(
    ("leaf", "said"), [(np.zeros(2, dtype=np.float32), "float32"), (np.zeros((1, 2)), "should be float64 (2,)")]
)
def test_a_score_refuses_other_dtypes_and_shapes(cosine, leaf, said):
    """A float32 or misshapen leaf is not measured, it is said."""
    entry, truth = cosine
    got = score("cosine", "mine", 1e-3, entry, truth, {**truth.grads, "theta.k": leaf}, 0.5, 0.5)
    assert got.outcome == "raised"
    assert said in got.message


def test_nan_is_zero_digits_and_writable(cosine, tmp_path):
    """A NaN gradient has no digit, and its score goes into a JSON file."""
    entry, truth = cosine
    got = score("cosine", "mine", 1e-7, entry, truth, {**truth.grads, "x": truth.grads["x"] * np.nan}, 0.5, 0.5)
    assert got.digits["x"] == 0.0
    assert got.blown is None
    save(tmp_path / "board.json", {}, [1e-7], [got])
    assert load(tmp_path / "board.json")[2] == [got]
    assert verdict([got]) == "wrong in x, not finite, no exception"


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([fake(1e-3, x=1.5, T=1.1), fake(1e-7, x=5.1, T=6.0)], "ok"),
        ([fake(1e-3, x=0.5), fake(1e-7, x=5.1)], "ok at the tightest"),
        ([fake(1e-3, x=4.0, t0=0.0), fake(1e-7, x=5.1, t0=0.2)], "wrong in t0"),
        ([fake(1e-3, x=0.0), replace(fake(1e-7, x=0.0), blown=4e14)], "wrong, 4e+14 times the truth, no exception"),
        ([fake(1e-7, x=4.0), fake(1e-9, x=4.2)], "stays at 4.2 in x"),
        ([fake(1e-7, x=4.0), fake(1e-9, x=5.5)], "short: 5.5 in x"),
        ([fake(1e-3, x=3.0), fake(1e-7, "timeout", "more than 10 CPU seconds")], "ok; timeout at 1e-07: more than 10"),
        ([fake(1e-3, "raised", "ValueError: no\nmore"), fake(1e-7, "not run")], "raised at 1e-03: ValueError: no"),
        ([replace(fake(1e-3, x=3.0), missing=["t0", "T"])], "ok; no t0, T"),
        ([replace(fake(1e-11, x=8.8), bounded=["x"])], "ok"),
    ],
)
def test_verdict(scores, said):
    """Scores over the tolerances, in words."""
    assert verdict(scores).startswith(said)


# ---------------------------------------------------------------- file, table, picture


def board():
    """A board with every outcome there is."""
    outcomes = [
        ("refnode discrete", fake(1e-3, theta_W0=3.0, t0=2.0), fake(1e-7, theta_W0=7.0, t0=6.0)),
        ("torchdyn adjoint", fake(1e-3, theta_W0=3.0, t0=0.0), fake(1e-7, theta_W0=7.0, t0=0.0)),
        ("diffrax backsolve, Tsit5", fake(1e-3, "timeout", "more than 10 CPU seconds"), fake(1e-7, "not run")),
        ("torchode autodiff", fake(1e-3, "crashed", "exit status -11"), fake(1e-7, "raised", "ValueError: a | b")),
        ("scipy interpolated, RK45", fake(1e-3, "n/a", "one span"), fake(1e-7, "n/a", "one span")),
    ]
    return [replace(s, configuration=name) for name, *scores in outcomes for s in scores]


def test_the_file_is_read_back(tmp_path):
    """What is saved is what is loaded, and no draft is left."""
    save(tmp_path / "board.json", {"numpy": "2"}, TOLERANCES, board())
    assert load(tmp_path / "board.json") == ({"numpy": "2"}, list(TOLERANCES), board())
    assert [path.name for path in tmp_path.iterdir()] == ["board.json"]


def test_the_table_has_a_row_for_every_configuration():
    """Digits, words for what did not return, reasons for what does not apply; no pipe breaks a row."""
    text = table.page({"numpy": "2"}, TOLERANCES, board(), {"mild": ("2-8-2 tanh", "estimated")})
    assert "| refnode discrete | 3.0 | 7.0 | theta.W0 | 6.0 t0 | 0.01 .. 0.01 | ok |" in text
    assert "| torchdyn adjoint | 3.0 | 7.0 | theta.W0 | 0.0 t0 | 0.01 .. 0.01 | wrong in t0 |" in text
    assert "| diffrax backsolve, Tsit5 | timeout | - |" in text
    assert "| torchode autodiff | crashed | raised |" in text
    assert "n/a, one span: scipy interpolated, RK45." in text
    tables = [line for line in text.splitlines() if line.startswith("| torchode")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) in (3, 8) for line in tables)


def test_the_picture_is_drawn(tmp_path):
    """A PNG and an SVG, whatever is missing from a panel."""
    pytest.importorskip("matplotlib")
    paths = [tmp_path / "board.png", tmp_path / "board.svg"]
    picture.draw(board(), CONFIGURATIONS, {"mild": "2-8-2 tanh"}, paths)
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in paths[1].read_text("utf-8")


# ---------------------------------------------------------------- workers


@dataclass(frozen=True)
class Job:
    """Something a library does to its process."""

    what: str
    limit: float = 0.3

    def __call__(self):
        if self.what == "exit":
            os._exit(3)
        if self.what == "spin":
            timed(lambda: [None for _ in iter(int, 1)], self.limit, False)
        return "returned", self.what


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer of CPU time")
def test_a_worker_survives_what_a_library_does():
    """A crash and an endless loop are answers, and the next job runs in a fresh process."""
    worker = Worker(core=0)
    try:
        assert worker.ask(Job("fine")) == ("returned", "fine")
        assert worker.ask(Job("exit")) == ("crashed", "the process ended with exit status 3")
        assert worker.ask(Job("spin")) == ("timeout", "more than 0.3 CPU seconds")
        assert worker.ask(Job("again")) == ("returned", "again")
    finally:
        worker.stop()


def test_lanes_keep_the_order():
    """Two workers, five items: answers come in the order of the items."""
    assert in_lanes([3, 1, 4, 1, 5], 2, lambda worker, item: item * item) == [9, 1, 16, 1, 25]


def test_the_file_is_written_by_one_lane_at_a_time(cosine, monkeypatch):
    """Lanes run at once, but save one after the other, each all scores there are, in order."""
    busy, saved = [], []

    def keep(scores):
        assert not busy
        busy.append(True)
        time.sleep(0.01)
        saved.append([s.configuration for s in scores])
        busy.pop()

    def run_cell(worker, entry, configuration, *rest):
        return [replace(fake(1e-3, x=3.0), configuration=configuration.name)]

    monkeypatch.setattr(scoreboard, "run_cell", run_cell)
    entry = replace(cosine[0], name="mild")
    cells = [(entry, c) for c in CONFIGURATIONS]
    scores = scoreboard.run(cells, {"mild": None}, (1e-3,), 1.0, 4, [], keep)
    assert [s.configuration for s in scores] == [c.name for c in CONFIGURATIONS]
    assert sorted(len(names) for names in saved) == list(range(1, len(CONFIGURATIONS) + 1))
    assert scoreboard.run(cells, {"mild": None}, (1e-3,), 1.0, 4, scores, keep) == scores
    assert len(saved) == len(CONFIGURATIONS)


def test_after_a_timeout_tighter_tolerances_are_not_tried(cosine):
    """They would take longer still; an exception, though, may go away."""
    entry, truth = cosine
    asked = []

    class Late:
        def ask(self, job):
            asked.append(job.tol)
            return ("raised", "ValueError") if job.tol == 1e-3 else ("timeout", "late")

    scores = run_cell(Late(), entry, CONFIGURATIONS[0], truth, (1e-3, 1e-5, 1e-7, 1e-9), 1.0)
    assert asked == [1e-3, 1e-5]
    assert [s.outcome for s in scores] == ["raised", "timeout", "not run", "not run"]


def test_repeats_are_timed_apart_from_the_first_call():
    """The median is that of calls after the first."""
    calls = []
    value, seconds, first = timed(lambda: calls.append(sum(range(10**5 if calls else 10**7))) or len(calls), 10.0, True)
    assert value == 1
    assert len(calls) > 1
    assert 0 < seconds < first


# ---------------------------------------------------------------- configurations and adapters


def test_every_configuration_has_its_function():
    """Each target is a function, or a partial one, of an adapter beside the configurations."""
    for configuration in CONFIGURATIONS:
        module, _, function = configuration.target.partition(":")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8"))
        named = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        named |= {t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets}
        assert function in named, configuration
    assert len({c.name for c in CONFIGURATIONS}) == len(CONFIGURATIONS)


def test_configurations_are_chosen_by_library_or_name():
    """A library means all of its configurations; an unknown name is refused with the names there are."""
    assert chosen([]) == list(CONFIGURATIONS)
    assert {c.library for c in chosen(["torchode", "diffrax forward mode, Tsit5"])} == {"torchode", "diffrax"}
    with pytest.raises(ValueError, match="no configuration is called nobody; there are: refnode discrete;"):
        chosen(["nobody"])


@pytest.mark.parametrize("name", ["theta_running", "observations", "cosine", "backwards"])
def test_scipys_adjoint_by_hand_agrees(name):
    """Derivatives that share nothing with refnode's agree with its reference to 9 digits in every leaf."""
    (entry,) = rn.catalogue(name)
    digits = rn.compare(scipy_adapter.interpolated_dop853(entry.problem, 1e-12), rn.reference(entry.problem))
    assert set(digits) == set(entry.problem.leaves())
    assert min(digits.values()) > 9


def test_what_cannot_be_translated_says_why():
    """A span for each sample is not supported unless the library has it."""
    (entry,) = rn.catalogue("own_T")
    check(entry.problem, own_span=True)
    with pytest.raises(NotSupported, match="one span for the whole batch"):
        check(entry.problem)


# ---------------------------------------------------------------- the peers' environment


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-torchdyn.txt"])
def test_requirements_pin_versions(name):
    """Every package has one exact version."""
    lines = [line for line in (PEERS / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert lines
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*", line) for line in lines), lines


def test_torch_is_installed_first_and_torchdyn_without_dependencies():
    """Any other order lets pip replace torch."""
    installs = [line for line in (PEERS / "install.sh").read_text("utf-8").splitlines() if "pip" in line]
    first_pin = next(line for line in (PEERS / "requirements.txt").read_text("utf-8").splitlines() if line[0] != "#")
    assert installs[0].endswith(f"install {first_pin}")
    assert first_pin.startswith("torch==")
    assert installs[1].endswith("install -r validation/peers/requirements.txt")
    assert installs[2].endswith("install --no-deps -r validation/peers/requirements-torchdyn.txt")
