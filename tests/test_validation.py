"""The scoreboard tells right from wrong, survives what a library does to it, and draws and writes what it found."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pytest

import refnode as rn
from refnode.segments import bounds
from tests.help import EPS
from validation import scoreboard
from validation.board import expected, picture, table
from validation.board.known import KNOWN
from validation.board.problems import OWN, entries
from validation.board.scores import Board, Score, load, save, score, verdict, word
from validation.board.worker import Worker, timed
from validation.peers import numpy_problem, scipy_adapter
from validation.peers.configurations import CONFIGURATIONS, chosen
from validation.peers.support import NotSupported, check, expressible, functions, rescaled, used
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
    """One part in 10^4 off in k is 4 digits there and leaves the rest alone, which have all of float64's."""
    entry, truth = cosine
    wrong = {"theta.k": truth.grads["theta.k"] * 1.0001}
    got = score("cosine", "mine", 1e-3, entry, truth, {**truth.grads, **wrong}, 0.5, 0.7)
    assert got.outcome == "returned"
    assert got.digits["theta.k"] == pytest.approx(4.0, abs=0.01)
    assert got.worst() == "theta.k"
    assert got.farthest == f"theta.k[{np.argmax(np.abs(truth.grads['theta.k']))}]"
    assert [got.digits[leaf] for leaf in ("x", "t0", "T")] == [pytest.approx(16, abs=0.5)] * 3
    assert got.bounded == []  # the radius is far below float64's digits
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
    save(tmp_path / "board.json", Board({}, [1e-7], 1.0, scores=[got]))
    assert load(tmp_path / "board.json").scores == [got]
    assert verdict([got]) == "wrong in x, not finite, no exception"


@pytest.mark.parametrize(
    ("scores", "found", "said"),
    [
        ([fake(1e-3, x=1.5, T=1.1), fake(1e-7, x=5.1, T=6.0)], "right", "right"),
        ([fake(1e-3, x=0.5), fake(1e-7, x=5.1)], "right", "right from 1e-07"),
        ([fake(1e-3, x=4.0, t0=0.0), fake(1e-7, x=5.1, t0=0.2)], "wrong", "wrong in t0"),
        ([fake(1e-3, x=4.0), fake(1e-7, x=0.2, w=0.1, k=0.3)], "wrong", "wrong"),
        ([replace(fake(1e-7, x=0.0), blown=4e14)], "wrong", "wrong in x, up to 4e+14 times the truth, no exception"),
        ([replace(fake(1e-3, x=0.0), blown=4e14), fake(1e-7, x=5.1)], "wrong", "wrong, up to 4e+14 times the truth"),
        ([fake(1e-3, x=0.0)], "short", "short: 0.0 in x"),
        ([fake(1e-7, x=4.0), fake(1e-9, x=4.2)], "short", "stays at 4.2 in x"),
        ([fake(1e-7, x=4.0), fake(1e-9, x=5.5)], "short", "short: 5.5 in x"),
        ([fake(1e-3, x=3.0), fake(1e-7, "timeout", "late")], "right", "right; timeout at 1e-07: late"),
        ([fake(1e-3, "raised", "ValueError: no\nmore"), fake(1e-7, "not run")], "none", "raised at 1e-03: Value"),
        ([fake(1e-3, "n/a", "one span")], "n/a", ""),
        ([replace(fake(1e-3, x=3.0), missing=["t0", "T"])], "right", "right; no t0, T"),
        ([replace(fake(1e-11, x=8.8), bounded=["x"])], "right", "right"),
        ([replace(fake(1e-11, x=0.0), bounded=["x"])], "right", "right"),
    ],
)
def test_verdict(scores, found, said):
    """Scores over the tolerances, in a word and in a few; a blow-up at any tolerance is wrong, whatever comes after."""
    assert word(scores) == found
    assert verdict(scores).startswith(said)


# ---------------------------------------------------------------- file, table, picture


def board():
    """A board with every outcome there is."""
    outcomes = [
        ("refnode discrete", fake(1e-3, theta_W0=3.0, t0=2.0), fake(1e-7, theta_W0=7.0, t0=6.0)),
        ("torchdiffeq adjoint", replace(fake(1e-3, x=0.0), blown=1e12), replace(fake(1e-7, x=0.0), blown=3e18)),
        ("torchdyn adjoint", fake(1e-3, theta_W0=3.0, t0=0.0), fake(1e-7, theta_W0=7.0, t0=0.0)),
        ("diffrax backsolve, Tsit5", fake(1e-3, "timeout", "more than 10 CPU seconds"), fake(1e-7, "not run")),
        ("torchode autodiff", fake(1e-3, "crashed", "exit status -11"), fake(1e-7, "raised", "ValueError: a | b")),
        ("scipy interpolated, RK45", fake(1e-3, "n/a", "one span"), fake(1e-7, "n/a", "one span")),
    ]
    scores = [replace(s, configuration=name) for name, *scores in outcomes for s in scores]
    problems = {"mild": {"about": "2-8-2 tanh", "truth": "estimated"}}
    return Board({"numpy": "2"}, list(TOLERANCES), 10.0, problems, scores)


def test_the_file_is_read_back(tmp_path):
    """What is saved is what is loaded, and no draft is left."""
    save(tmp_path / "board.json", board())
    assert load(tmp_path / "board.json") == board()
    assert [path.name for path in tmp_path.iterdir()] == ["board.json"]


def test_the_table_has_a_row_for_every_configuration():
    """Digits, words for what did not return, reasons for what does not apply; no pipe breaks a row."""
    text = table.page(board())
    assert "| refnode discrete | 3.0 | 7.0 | theta.W0 | 6.0 t0 | 0.01 .. 0.01 | right |" in text
    assert "| torchdyn adjoint | 3.0 | 7.0 | theta.W0 | 0.0 t0 | 0.01 .. 0.01 | wrong in t0 |" in text
    assert "| diffrax backsolve, Tsit5 | timeout | - |" in text
    assert "| torchode autodiff | crashed | raised |" in text
    assert "n/a, one span: scipy interpolated, RK45." in text
    tables = [line for line in text.splitlines() if line.startswith("| torchode")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) in (3, 8) for line in tables)


def test_the_table_begins_with_who_is_right():
    """One row a configuration: on how many problems it is right, short, wrong, silent; and where it is wrong."""
    text = table.page(board())
    first = text[: text.index("![")]
    assert "5 other libraries returned a gradient in 2 cases; in 2 of them it is wrong" in first
    assert "| refnode discrete | 1 |  |  |  |  |  |" in first
    assert "| torchdiffeq adjoint |  |  | **1** |  |  | mild: up to 3e+18 times the truth |" in first
    assert "| torchdyn adjoint |  |  | **1** |  |  | t0 on mild |" in first
    assert "| diffrax backsolve, Tsit5 |  |  |  | 1 |  |  |" in first
    assert "| scipy interpolated, RK45 |  |  |  |  | 1 |  |" in first


def test_the_limits_stand_in_the_table():
    """A reader learns what counted as too long, and at which tolerances."""
    text = table.page(board())
    assert "took more than 10 CPU seconds (30 more where it compiles)" in text
    assert "at which it returned (1e-07 unless it raised there)" in text


def test_what_is_wrong_is_bold():
    """In the overview a gradient without one right digit cannot be overlooked; one that truth cannot tell is not it."""
    wrong = fake(1e-7, x=0.3)
    assert table.loud(wrong) == "**0.3**"
    assert table.loud(replace(wrong, bounded=["x"])) == ">=0.3"
    assert table.loud(fake(1e-7, x=1.3)) == "1.3"


def test_the_pictures_are_drawn(tmp_path):
    """A PNG and an SVG, whatever is missing from a panel, and a smaller one of fewer problems."""
    pytest.importorskip("matplotlib")
    paths = [tmp_path / "board.png", tmp_path / "board.svg"]
    picture.draw(board(), CONFIGURATIONS, paths)
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    drawn = paths[1].read_text("utf-8")
    assert "<svg" in drawn
    assert list(picture.few(replace(board(), problems={"mild": {}, "exp": {}})).problems) == ["mild"]


def test_panels_say_what_they_cannot_draw():
    """Wrong gradients and how far they go, and those that did not return, stand in words beside the lines."""
    mine = {name: scores for (_, name), scores in board().cells().items()}
    assert picture.wrong_words(mine) == "1 wrong, up to 3e+18 times the truth; 1 in times only"
    assert picture.refusals(mine) == "2 raise or time out"
    assert picture.wrong_words({}) == picture.refusals({}) == ""


# ---------------------------------------------------------------- what is expected


def test_a_board_is_as_it_states(tmp_path):
    """What a board states of itself does not differ from it, and counts every cell."""
    expected.write(tmp_path / "e.json", board())
    assert expected.differences(tmp_path / "e.json", board()) == []
    assert expected.count(tmp_path / "e.json") == 6
    cell = expected.read(tmp_path / "e.json")["torchdyn adjoint"]["mild"]
    assert cell == {"word": "wrong", "digits": 7.0, "times": 0.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"digits": {"theta.W0": 6.4, "t0": 6.0}}, "refnode discrete on mild: expected {'word': 'right'"),
        ({"digits": {"theta.W0": 7.0, "t0": 5.4}}, "refnode discrete on mild: expected"),
        ({"digits": {"theta.W0": 7.0}}, "refnode discrete on mild: expected"),
        ({"blown": 1e9}, "refnode discrete on mild: expected"),
        ({"outcome": "raised"}, "refnode discrete on mild: expected"),
    ],
)
def test_what_differs_is_said(tmp_path, change, said):
    """Half a digit more or less is a machine's; another word, fewer digits, no gradient of t0 are not."""
    expected.write(tmp_path / "e.json", board())
    close, other = board(), board()
    close.scores[1] = replace(close.scores[1], digits={"theta.W0": 7.3, "t0": 5.6})
    other.scores[1] = replace(other.scores[1], **change)
    assert expected.differences(tmp_path / "e.json", close) == []
    (line,) = expected.differences(tmp_path / "e.json", other)
    assert line.startswith(said)


def test_digits_of_an_exploded_backsolve_are_chance():
    """Where no parameter has a digit, only the word must agree; where one has, or the word is another, all must."""
    exploded = {"word": "wrong", "digits": 0.0, "times": 5.3}
    assert expected.same(exploded, {"word": "wrong", "digits": 0.4, "times": 0.7})
    assert not expected.same(exploded, {"word": "short", "digits": 0.4, "times": 0.7})
    assert not expected.same(exploded, {"word": "wrong", "digits": 5.0, "times": 5.3})
    times_only = {"word": "wrong", "digits": 7.0, "times": 0.0}
    assert expected.same(times_only, {"word": "wrong", "digits": 6.6, "times": 0.1})
    assert not expected.same(times_only, {"word": "wrong", "digits": 6.0, "times": 0.0})
    assert not expected.same(times_only, {"word": "wrong", "digits": 7.0, "times": 0.7})


def test_what_was_not_run_is_a_difference(tmp_path):
    """A cell of the file that the board lacks does not pass."""
    expected.write(tmp_path / "e.json", board())
    rest = replace(board(), scores=board().scores[2:])
    (line,) = expected.differences(tmp_path / "e.json", rest)
    assert line.endswith("found nothing: not run")
    with pytest.raises(SystemExit) as ended:
        scoreboard.compare(tmp_path / "e.json", rest)
    assert ended.value.code == 1
    scoreboard.compare(tmp_path / "e.json", board())


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

    def keep(kept):
        assert not busy
        busy.append(True)
        time.sleep(0.01)
        saved.append([s.configuration for s in kept.scores])
        busy.pop()

    def run_cell(worker, entry, configuration, *rest):
        return [replace(fake(1e-3, x=3.0), configuration=configuration.name)]

    monkeypatch.setattr(scoreboard, "run_cell", run_cell)
    entry = replace(cosine[0], name="mild")
    cells, mine = [(entry, c) for c in CONFIGURATIONS], Board({}, [1e-3], 1.0)
    scoreboard.run(mine, cells, {"mild": None}, 4, keep)
    assert [s.configuration for s in mine.scores] == [c.name for c in CONFIGURATIONS]
    assert sorted(len(names) for names in saved) == list(range(1, len(CONFIGURATIONS) + 1))
    scoreboard.run(mine, cells, {"mild": None}, 4, keep)
    assert len(saved) == len(CONFIGURATIONS)


def command(folder, *more):
    """The command that runs SciPy's six configurations on one problem."""
    part = ["--problems", "linear", "--peers", "scipy", "--lanes", "1", "--out", str(folder)]
    return [sys.executable, "-W", "ignore", "-m", "validation.scoreboard", *part, *more]


def test_a_run_that_was_killed_goes_on(tmp_path):
    """Killed after its first cells, a run continues with --resume: what was scored stays, the rest is added."""
    pytest.importorskip("matplotlib")
    file = tmp_path / "scoreboard.json"
    with subprocess.Popen(command(tmp_path), cwd=ROOT, stderr=subprocess.DEVNULL) as first:
        while not file.exists():
            assert first.poll() is None
            time.sleep(0.01)
        first.kill()
    before = load(file).scores
    assert 0 < len(before) < 30
    assert not (tmp_path / "scoreboard.md").exists()
    subprocess.run(command(tmp_path, "--resume"), cwd=ROOT, stderr=subprocess.DEVNULL, check=True)
    after = load(file).scores
    assert len(after) == 30
    assert after[: len(before)] == before
    assert (tmp_path / "scoreboard.md").exists()


def test_a_run_of_other_versions_is_not_continued(tmp_path):
    """Scores of other versions, tolerances or limits are not mixed."""
    save(tmp_path / "s.json", board())
    assert scoreboard.earlier(tmp_path / "s.json", board()) == board().scores
    assert scoreboard.earlier(tmp_path / "none.json", board()) == []
    for other in (replace(board(), limit=5.0), replace(board(), environment={}), replace(board(), tolerances=[1e-3])):
        with pytest.raises(click.ClickException, match="other versions, tolerances or limits"):
            scoreboard.earlier(tmp_path / "s.json", other)


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


def all_digits(name, gradient, tol):
    """Digits of every leaf of a problem, none of which may be missing."""
    (entry,) = entries(name)
    found = score(name, "", tol, entry, rn.reference(entry.problem), gradient(entry.problem, tol), 0.0, 0.0)
    assert (found.outcome, found.missing) == ("returned", [])
    return found.digits


BY_HAND = ["theta_running", "observations", "cosine", "backwards", "fixed_end", "own_T", "galerkin_fourier"]
BY_HAND += ["galerkin_legendre", "galerkin_chebyshev", "galerkin_monomial", "galerkin_rbf", "stacked", "stacked_fixed"]
BY_HAND += ["function_space", "zero_augmented", "input_layer", "input_network", "partial_input", "second_order"]
BY_HAND += ["third_order", "data_control", "adaptive_depth", "adaptive_follows", "everything", "spare"]


@pytest.mark.parametrize("name", BY_HAND)
def test_scipys_adjoint_by_hand_agrees(name):
    """Derivatives that share nothing with refnode's agree with its reference to 9 digits in every leaf."""
    digits = all_digits(name, scipy_adapter.interpolated_dop853, 1e-12)
    assert min(digits.values()) > 9


def own_field():
    """A problem whose field is three functions of NumPy, which no other library can call."""
    zero = lambda *args: np.zeros((2, 1))  # noqa: E731
    field = rn.UserField(zero, zero, lambda t, z, theta, x, g: (np.zeros(2), 0 * z, np.zeros(1), None), {"k": (1,)}, 1)
    loss = rn.Loss(rn.SquaredError([[0.0], [0.0]]))
    return rn.Problem(rn.NeuralODE(field), {"theta.k": [1.0]}, [[1.0], [2.0]], loss)


def test_what_cannot_be_translated_says_why():
    """A field of one's own is NumPy's; an adjoint by hand has no second derivatives; a strange basis is named."""
    with pytest.raises(NotSupported, match="the field is not an MLP or a CosineField"):
        check(own_field())
    with pytest.raises(NotSupported, match="second derivatives"):
        scipy_adapter.interpolated_dop853(rn.catalogue("cnf")[0].problem, 1e-3)
    with pytest.raises(NotSupported, match="TorchdynMultiquadRBF is not translated"):
        functions(rn.TorchdynMultiquadRBF(3), 0)


BASES = [
    rn.Legendre(4),
    rn.Chebyshev(4),
    rn.Monomial(4),
    rn.Fourier(2),
    rn.GaussianRBF(4),
    rn.GaussianRBF(1),
    rn.Hat(4),
]
BASES += [rn.GaussianRBF(3, width=0.2), rn.PiecewiseConstant(3), rn.TorchdynFourier(3), rn.TorchdynChebychev(3)]
BASES += [rn.TorchdynGaussianRBF(3), rn.TorchdynVanillaRBF(3), rn.Legendre(1)]


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_bases_are_translated(basis):
    """The numbers that every library gets of a basis make its functions and slopes, on every cell."""
    u = np.array([0.1, 0.45, 0.9])
    for cell in range(len(basis.kinks) + 1):
        value, slope = numpy_problem.psi(basis, cell, u)
        # polynomials of degree 3 with coefficients up to 20, waves of arguments up to 12: some tens of round-offs
        np.testing.assert_allclose(value, basis.psi(u, cell), rtol=0, atol=100 * EPS)
        np.testing.assert_allclose(slope, basis.slope(u, cell), rtol=0, atol=1000 * EPS)


@pytest.mark.parametrize(
    ("name", "plain", "own_span", "neither"),
    [
        ("mild", False, False, False),
        ("observations", False, False, False),
        ("galerkin_fourier", False, False, False),
        ("own_T", True, False, False),
        ("adaptive_follows", True, False, True),
        ("stacked", True, True, True),
        ("function_space", True, True, True),
        ("fixed_end", True, True, True),
    ],
)
def test_segments_are_rescaled_where_a_library_needs_it(name, plain, own_span, neither):
    """Breaks, observations at an end, and spans of one's own that a library lacks or does not differentiate."""
    problem = rn.catalogue(name)[0].problem
    assert rescaled(problem) == plain
    assert rescaled(problem, own_span=True) == own_span
    assert rescaled(problem, own_span=True, own_times=False) == neither


@pytest.mark.parametrize("name", ["stacked", "stacked_fixed", "function_space", "fixed_end", "adaptive_depth"])
def test_bounds_are_refnodes(name):
    """Segments begin and end where refnode's do, for every sample."""
    problem = rn.catalogue(name)[0].problem
    want = [np.broadcast_to(t, (problem.batch,)) for t in bounds(problem, problem.resolved)]
    np.testing.assert_allclose(numpy_problem.NumpyProblem(problem).bounds, want, rtol=0, atol=4 * EPS)


def test_a_leaf_that_acts_through_the_field_is_given_to_it():
    """t0 and T where theta(t) follows the span, x where it controls or gives T, edges and times where segments move."""
    needed = {name: set(used(rn.catalogue(name)[0].problem, True)) for name in ("stacked", "adaptive_follows")}
    assert needed["stacked"] >= {"edges", "t0", "T", "t_obs"}
    assert needed["adaptive_follows"] >= {"t0", "x", "T.W0", "T.b1"}
    assert set(used(rn.catalogue("reflection")[0].problem, False)) == {"theta.W0", "theta.b0", "x"}
    assert set(used(rn.catalogue("mild")[0].problem, False)) == {f"theta.{name}" for name in ("W0", "b0", "W1", "b1")}


@pytest.mark.parametrize(
    "name", ["stacked", "adaptive_follows", "data_control", "cnf", "cnf_conditional", "everything"]
)
@pytest.mark.parametrize("library", ["torchdiffeq", "diffrax"])
def test_translations_agree(library, name):
    """Where the library is installed: its gradient by backpropagation, of every leaf, to 5 digits at tol 1e-8."""
    pytest.importorskip(library)
    kind = {"torchdiffeq": "torchdiffeq backprop", "diffrax": "diffrax checkpoint, Tsit5"}[library]
    assert min(all_digits(name, chosen([kind])[0].load(), 1e-8).values()) > 5


def test_torchdyns_own_layers_are_refnodes_field():
    """Where torchdyn is installed: its layers give f, and hand back gradients under the leaves they came from."""
    pytest.importorskip("torchdyn")
    (own,) = chosen(["torchdyn autograd, its own layers"])
    for name in ("torchdyn_fourier", "torchdyn_rbf", "partial_input", "cnf"):
        # VanillaRBF's abs(t) is a norm, whose slope at t = t0 = 0 torch takes to be 0: a digit or two of dloss/dt0
        digits = all_digits(name, own.load(), 1e-8)
        assert min(value for leaf, value in digits.items() if (name, leaf) != ("torchdyn_rbf", "t0")) > 5


def test_every_problem_of_the_catalogue_is_run():
    """All of the catalogue can be translated, and so can five more; a field of one's own is left out."""
    names = scoreboard.expressible_problems()
    assert set(names) == {entry.name for entry in rn.catalogue()} | set(OWN)
    assert not expressible(own_field())


def test_a_parameter_without_effect_has_the_gradient_zero():
    """The field of `spare` is a field, and its gradient of the leaf that it does not use is zero."""
    problem = entries("spare")[0].problem
    assert rn.check_field(problem.model.field, 0.5, problem.x, [0.5, -1.0, 1.0, 2.0, 3.0, 4.0]).ok
    g = rn.gradient(problem, "discrete", rn.Solver("dopri5", tol=1e-8)).grads
    assert not g["theta.spare"].any()
    assert g["theta.k"].all()


def test_known_defects_are_cells():
    """Each names a problem, configurations and a reproducer that there are."""
    problems, names = {entry.name for entry in entries()}, {c.name for c in CONFIGURATIONS}
    for defect in KNOWN:
        assert defect.problem in problems
        assert set(defect.configurations) <= names
        assert (PEERS / "findings" / f"{defect.finding}.py").exists()


def test_known_defects_stand_in_the_table():
    """With the digits and the verdict of the cell; a board without the cell has no row."""
    text = table.page(board())
    assert "| dloss/dt0 has the wrong sign and value | mild | torchdyn adjoint: 3.0 7.0; wrong in t0 |" in text
    assert "DataControl detaches" not in text


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
