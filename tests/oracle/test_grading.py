"""grade passes what is right, fails what is not, and says which number is wrong, whatever a function does."""

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import refnode as rn
from refnode.cli import main
from refnode.forward import Grid, loss_per_sample, replay
from refnode.oracle.grading import assert_gradient, grade
from refnode.oracle.own_solution import COARSE, moved
from refnode.segments import bounds

ROOT = Path(__file__).resolve().parents[2]
TOLS = (1e-4, 1e-6)


def right(problem, tol):
    """The discrete adjoint."""
    return rn.gradient(problem, "discrete", rn.Solver("dopri5", tol=tol)).grads


def off(leaf, index, error):
    """A gradient that is wrong in one entry, by `error` of the leaf's largest."""
    def gradient(problem, tol):
        g = {name: np.array(a) for name, a in right(problem, tol).items()}
        g[leaf][index] += error * np.max(np.abs(g[leaf]))
        return g

    return gradient


def only(report):
    """The single problem of a report."""
    (problem,) = report.problems
    return problem


# ---------------------------------------------------------------- passing and failing

def test_a_right_gradient_passes():
    """Digits rise with the tolerance, the slope is about 1, and the claim at each tolerance is -log10(tol) - 2."""
    report = grade(right, "mild", (1e-3, 1e-5, 1e-7, 1e-9, 1e-11))
    problem = only(report)
    assert report.ok
    assert problem.verdict.startswith("true gradient: right to 1")
    assert problem.verdict.endswith("digits, error follows tol")
    assert 0.7 < problem.slope < 1.3
    assert [trial.asked for trial in problem.trials] == pytest.approx([1, 3, 5, 7, 9])
    assert [trial.worst for trial in problem.trials] == sorted(trial.worst for trial in problem.trials)
    assert problem.own.words == "not assessed (no loss offered)"


def test_digits_are_those_of_the_error():
    """An error of 1e-3 of a leaf's largest entry is 3 digits of that leaf, and the entry is named with both numbers."""
    problem = only(grade(off("theta.W1", (3, 1), 1e-3), "mild", (1e-8,)))
    (trial,) = problem.trials
    assert trial.digits["theta.W1"] == pytest.approx(3, abs=1e-3)
    assert trial.digits["theta.W0"] > 6
    assert re.match(r"theta\.W1\[3, 1\] is \S+, should be \S+$", trial.fault)
    assert not problem.ok


def test_the_claim_is_the_line():
    """At tol 1e-6 four digits are asked for: an error of half of 1e-4 passes, one of twice that does not."""
    assert grade(off("x", (0, 1), 0.5e-4), "mild", (1e-6,)).ok
    assert not grade(off("x", (0, 1), 2e-4), "mild", (1e-6,)).ok


def test_digits_limit_what_is_asked_for():
    """Central differences stop at ten digits: they fail a tolerance of 1e-13 unless no more than 8 are asked for."""
    def central(problem, tol):
        return rn.gradient(problem, "central", rn.Solver("dop853", tol=tol))

    tols = (1e-6, 1e-12, 1e-13)
    problem = only(grade(central, "exp", tols))
    assert re.match(r"plateau at (9|10)\.\d digits", problem.verdict)
    assert not problem.findings
    assert grade(central, "exp", tols, digits=8).ok


def test_digits_beyond_the_truths_radius_are_not_claimed():
    """What agrees with the reference to the last bit has no more digits than the reference."""
    truth = rn.reference(rn.catalogue("relu")[0].problem)
    assert max(truth.digits().values()) < 16
    (trial,) = only(grade(lambda problem, tol: truth.grads, "relu", (1e-4,))).trials
    assert trial.digits == pytest.approx(truth.digits())


def test_a_subset_of_leaves_is_graded():
    """What is not returned, or None, is said and does not fail; what is, is graded."""
    def gradient(problem, tol):
        return {"theta.W0": right(problem, tol)["theta.W0"].tolist(), "x": right(problem, tol)["x"], "T": None}

    problem = only(grade(gradient, "linear", TOLS))
    assert problem.ok
    assert problem.not_returned == ("t0", "T")
    assert "not returned: t0, T" in str(grade(gradient, "linear", TOLS))


def test_a_function_cannot_change_the_truth():
    """One that overwrites its problem's parameters is graded against the problem as it was."""
    def spoils(problem, tol):
        problem.params["theta.W0"] = np.full((1, 1), 0.5)
        return right(problem, tol)

    assert not grade(spoils, "exp", TOLS).ok
    assert grade(right, "exp", TOLS).ok


def test_other_forms_of_answers():
    """A GradientResult, lists and numbers are read as well as arrays."""
    assert grade(lambda problem, tol: rn.gradient(problem, "discrete", rn.Solver(tol=tol)), "exp", TOLS).ok
    assert grade(lambda problem, tol: {k: g.tolist() for k, g in right(problem, tol).items()}, "exp", TOLS).ok


# ---------------------------------------------------------------- outcomes

def raising(tols):
    """Raises at some tolerances."""
    def gradient(problem, tol):
        if tol in tols:
            raise FloatingPointError("no\nconvergence")
        return right(problem, tol)

    return gradient


def test_raising_is_an_outcome():
    """Everywhere: it refuses. Somewhere: the rest is graded, and it does not pass."""
    problem = only(grade(raising(TOLS), "exp", TOLS))
    assert problem.verdict == "refuses: FloatingPointError: no convergence"
    problem = only(grade(raising(TOLS[1:]), "exp", TOLS))
    assert re.match(r"true gradient where it returns one, to .* at tol 1e-06 FloatingPointError", problem.verdict)
    assert not problem.ok
    assert not problem.findings


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda problem, tol: [1.0], "refuses: TypeError: the function returned list, not a mapping"),
        (lambda problem, tol: {"x": [[1.0], [1.0, 2.0]]}, "refuses: TypeError: leaf 'x' cannot be read as an array"),
        (lambda problem, tol: {}, "nothing to compare: no leaf returned"),
        (lambda problem, tol: {"w": 1.0}, "nothing to compare: unknown leaf 'w'"),
        (lambda problem, tol: {"x": "words"}, "nothing to compare: x has shape ()"),
        (lambda problem, tol: {"x": np.full((3, 1), np.nan)}, "nothing to compare: x has a NaN or infinity"),
        (lambda problem, tol: sys.exit(3), "refuses: SystemExit: 3"),
        (lambda problem: 0, "refuses: TypeError"),
    ],
)
def test_nonsense_is_an_outcome(answer, words):
    """Whatever a function returns or raises becomes a verdict."""
    problem = only(grade(answer, "exp", TOLS))
    assert problem.verdict.startswith(words)
    assert not problem.ok


@pytest.mark.parametrize("change", [lambda g: g.astype(np.float32), lambda g: g + 0j])
def test_a_wrong_dtype_does_not_pass(change):
    """Digits may be right at a loose tolerance; the dtype is not."""
    report = grade(lambda problem, tol: {k: change(g) for k, g in right(problem, tol).items()}, "exp", (1e-4,))
    assert not report.ok
    assert only(report).trials[0].worst > 2
    assert "should be float64" in report.first_fault()


@pytest.mark.parametrize(
    ("tols", "words"),
    [((1e-2, 1e-4), "true gradient, but not at tol 1e-02"), ((1e-4, 1e-6), "falls short: 2.0 of 4.0 digits")],
)
def test_right_at_some_tolerances_only(tols, words):
    """A gradient that misses its claim at one tolerance has a verdict that says where."""
    bad = {1e-2: 0.5, 1e-4: 0.0} if tols[0] == 1e-2 else {1e-4: 0.0, 1e-6: 1e-2}
    problem = only(grade(lambda p, tol: off("x", (0, 0), bad[tol])(p, tol), "exp", tols))
    assert problem.verdict.startswith(words)
    assert not problem.ok


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"problems": "nope"}, "problems: got nope; must be among exp"),
        ({"problems": [3]}, "problems: got 3"),
        ({"problems": []}, "problems: got none"),
        ({"tols": [0.0]}, "tols: got"),
        ({"tols": []}, "tols: got none"),
        ({"digits": -1}, "digits: got"),
        ({"loss": 3}, "loss: got 3"),
    ],
)
def test_bad_arguments_are_named(words, match):
    """What makes no sense raises before anything runs."""
    with pytest.raises(rn.InvalidArgument, match=match):
        grade(**{"function": right, "problems": "exp"} | words)
    with pytest.raises(rn.InvalidArgument, match="function: got 3"):
        grade(3, "exp")


# ---------------------------------------------------------------- the gradient of its own discrete solution

def heun_states(problem, leaf, grid):
    """z at T of Heun's method on a grid of a linear problem, and the stages."""
    z, A = leaf["x"], leaf["theta.W0"]
    states = [z]
    for h in np.diff(grid):
        z = z + h * (z @ A) + h**2 / 2 * (z @ A @ A)
        states.append(z)
    return states


def heun_loss(problem, grid):
    """Squared error after Heun's method."""
    z = heun_states(problem, problem.leaves(), grid)[-1]
    return float(((z - problem.loss.terminal.target) ** 2).sum() / len(z))


def heun_gradient(exact):
    """Its exact gradient, by the complex step; or, on a grid, the ODE's own."""
    def gradient(problem, tol):
        if not isinstance(tol, np.ndarray) or not exact:
            return right(problem, 1e-8 if isinstance(tol, np.ndarray) else tol)
        leaves, s = problem.leaves(), (tol - tol[0]) / (tol[-1] - tol[0])
        grads = {}
        for name, a in leaves.items():
            grads[name] = np.zeros(a.shape)
            for index in np.ndindex(a.shape):
                leaf = {k: v.astype(complex) for k, v in leaves.items()}
                leaf[name][index] += 1e-30j
                grid = leaf["t0"] + (leaf["T"] - leaf["t0"]) * s
                z = heun_states(problem, leaf, grid)[-1]
                loss = ((z - problem.loss.terminal.target) ** 2).sum() / len(z)
                grads[name][index] = loss.imag / 1e-30
        return grads

    return gradient


def test_the_gradient_of_the_own_solution_is_told_from_the_odes():
    """On the adapter's own coarse steps its exact gradient passes to nine digits, the ODE's gradient fails."""
    own = only(grade(heun_gradient(exact=True), "linear", TOLS, loss=heun_loss)).own
    assert re.match(r"the gradient of its own discrete solution, to (9|1\d)\.\d digits", own.words)
    assert set(own.digits) == {"theta.W0", "x", "t0", "T"}
    report = grade(heun_gradient(exact=False), "linear", TOLS, loss=heun_loss)
    assert only(report).right
    assert not report.ok
    assert only(report).own.words.startswith("not the gradient of its own discrete solution: theta.W0 has ")
    assert report.first_fault().startswith("linear: not the gradient of its own")


def test_what_cannot_be_assessed_is_said():
    """Spans per sample have no common grid; a loss that raises, or is not finite, is told."""
    def raises(problem, grid):
        raise ValueError("odd grid")

    own = only(grade(right, "own_T", (1e-4,), loss=heun_loss)).own
    assert own.ok
    assert own.words.startswith("not assessed: samples have spans of their own")
    gradient = heun_gradient(exact=True)
    own = only(grade(gradient, "linear", (1e-4,), loss=raises)).own
    assert (own.ok, own.words) == (False, "fails on a grid of steps: ValueError: odd grid")
    own = only(grade(gradient, "linear", (1e-4,), loss=lambda problem, grid: np.nan)).own
    assert (own.ok, own.words) == (True, "not assessed: the loss on a coarse grid is not finite")


def test_break_points_move_their_segments():
    """With observations, differences in t_obs move the steps of both segments: refnode's discrete adjoint agrees."""
    problem = rn.catalogue("observations")[0].problem
    seen = problem.loss.observations
    loss = rn.Loss(problem.loss.terminal, rn.Observations(seen.times[5:14:8], seen.terms[5:14:8]))
    problem = rn.Problem(problem.model, problem.params, problem.x, loss, problem.span)

    def on_steps(problem, grid):
        values = problem.values
        times = [float(t) for t in bounds(problem, values)]
        parts = [grid[(a <= grid) & (grid <= b)] for a, b in pairwise(times)]
        fractions = tuple((t - t[0]) / (t[-1] - t[0]) for t in parts)
        return loss_per_sample(problem, values, replay(problem, values, Grid(fractions), COARSE.tableau)).sum()

    def gradient(problem, tol):
        return rn.gradient(problem, "discrete", COARSE if isinstance(tol, np.ndarray) else rn.Solver(tol=tol))

    own = only(grade(gradient, problem, (1e-6,), loss=on_steps)).own
    assert own.ok, own
    assert min(own.digits.values()) > 8
    assert "t_obs" in own.digits


def test_a_grid_moves_in_proportion():
    """Fractions of the segments stay, forwards and backwards."""
    grid, ends = np.array([0.0, 0.5, 1.0, 1.5, 2.0]), np.array([0.0, 1.0, 2.0])
    assert np.allclose(moved(grid, ends, np.array([0.0, 1.2, 2.0])), [0, 0.6, 1.2, 1.6, 2.0], rtol=0, atol=1e-15)
    back = moved(grid[::-1], ends[::-1], np.array([2.0, 1.2, 0.0]))
    assert np.allclose(back, [2.0, 1.6, 1.2, 0.6, 0], rtol=0, atol=1e-15)


# ---------------------------------------------------------------- what is printed, written and asserted

def test_the_table_reads_at_100_columns():
    """Every line of a report with many tolerances, all leaves and long findings is at most 100 columns wide."""
    def gradient(problem, tol):
        g = dict(right(problem, tol))
        return {k: -v for k, v in g.items()} | {"long_name" * 30: 1.0, "x": g["x"][None]}

    report = grade(gradient, ("mild", "linear"), 10.0 ** -np.arange(2, 6, 0.25))
    assert max(map(len, str(report).splitlines())) <= 100
    assert str(report).count("correct digits") == 4
    assert "0 of 2 problems pass" in str(report)


def test_the_json_is_plain_data():
    """It survives strict JSON, and has verdict, digits, findings and exit status."""
    def gradient(problem, tol):
        return {leaf: np.nan * g if leaf == "T" else g for leaf, g in right(problem, tol).items()}

    data = json.loads(json.dumps(grade(gradient, "exp", TOLS).to_json(), allow_nan=False))
    assert (data["format"], data["version"], data["ok"], data["tols"]) == ("refnode.grade", 1, False, list(TOLS))
    (problem,) = data["problems"]
    assert problem["findings"][0]["word"] == "NaN or infinity"
    assert problem["trials"][0]["digits"]["theta.W0"] > 2
    assert {"verdict", "slope", "own", "not_returned", "ok", "truth"} <= set(problem)


def test_assert_gradient_shows_the_table():
    """It passes silently, and fails with the wrong number, the table and the diagnosis."""
    assert_gradient(right, rn.catalogue("exp", "linear"), digits=5)
    assert_gradient(right, "linear", digits=3, tol=1e-4)
    with pytest.raises(AssertionError) as failed:
        assert_gradient(lambda problem, tol: {k: -g for k, g in right(problem, tol).items()}, "linear")
    text = str(failed.value)
    assert re.match(r"linear, tol 1e-08: \S+ is \S+, should be \S+\n", text)
    assert "correct digits" in text
    assert "diagnosis: sign of the whole gradient" in text


def test_a_problem_gives_its_leaves_by_name():
    """problem[leaf] is leaves()[leaf]; an unknown name is told what there is; a problem is not iterable."""
    problem = rn.catalogue("exp")[0].problem
    assert all(np.array_equal(problem[name], leaf) for name, leaf in problem.leaves().items())
    with pytest.raises(rn.InvalidArgument, match=r"leaf: got w; must be among \['theta.W0', 'x', 't0', 'T'\]"):
        problem["w"]
    with pytest.raises(TypeError):
        list(problem)


# ---------------------------------------------------------------- the page's example and the command line

def example():
    """The SciPy adapter of docs/grading.md."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "grading.md").read_text("utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "solve_ivp" in block]
    return code


def test_the_example_of_the_page_passes():
    """The SciPy adapter is right at every tolerance, and nothing is said of it."""
    space = {}
    exec(example(), space)
    report = grade(space["gradient"], "mild")
    assert report.ok, str(report)
    assert not only(report).findings


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command line in an empty folder that holds the modules given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments, **modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text, "utf-8")
            monkeypatch.delitem(sys.modules, name, raising=False)
        return CliRunner().invoke(main, ["grade", *arguments])

    return run


RIGHT = """
import refnode as rn
def gradient(problem, tol): return rn.gradient(problem, "discrete", rn.Solver(tol=tol))
def wrong(problem, tol): return {leaf: 2 * g for leaf, g in gradient(problem, tol).grads.items()}
number = 3
"""


def test_the_command_line_grades_a_function(run, tmp_path):
    """Exit status 0 for a right gradient, 1 for a wrong one, with table and JSON; the working folder is importable."""
    done = run("adapter_a:gradient", "--problems", "exp,linear", "--tols", "1e-4,1e-6", adapter_a=RIGHT)
    assert done.exit_code == 0, done.output
    assert "2 of 2 problems pass" in done.output
    done = run("adapter_a:wrong", "--problems", "linear", "--tols", "1e-6", "--json", "r.json", adapter_a=RIGHT)
    assert done.exit_code == 1
    assert "diagnosis: doubled gradient" in done.output
    (problem,) = json.loads((tmp_path / "r.json").read_text("utf-8"))["problems"]
    assert [finding["word"] for finding in problem["findings"]] == ["doubled gradient"]


def test_the_command_line_grades_on_problem_files(run, tmp_path):
    """A name that ends in .json is a problem file."""
    rn.catalogue("linear")[0].problem.save(tmp_path / "mine.json")
    done = run("adapter_b:gradient", "--problems", "mine.json", "--tols", "1e-4", adapter_b=RIGHT)
    assert done.exit_code == 0, done.output
    assert "mine.json" in done.output


def test_the_command_line_finds_the_loss_beside_the_function(run):
    """A module that offers loss(problem, grid) is asked for the second verdict."""
    text = RIGHT + "def loss(problem, grid): raise ValueError('not today')\n"
    done = run("adapter_c:gradient", "--problems", "exp", "--tols", "1e-4", adapter_c=text)
    assert done.exit_code == 1
    assert "its own discrete solution: fails on a grid of steps" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give either PACKAGE.MODULE:FUNCTION or --exec"),
        (["adapter_d:gradient", "--exec", "x {problem} {out}"], "give either"),
        (["adapter_d"], "package.module:function"),
        (["no_such_module:gradient"], "No module named 'no_such_module'"),
        (["broken:gradient"], "ZeroDivisionError"),
        (["quits:gradient"], "SystemExit"),
        (["adapter_d:nothing"], "has no function nothing"),
        (["adapter_d:number"], "has no function number"),
        (["adapter_d:gradient", "--problems", "nope"], "problems: got nope"),
        (["adapter_d:gradient", "--problems", "nope.json"], "nope.json: the file"),
        (["adapter_d:gradient", "--problems", " , "], "give at least one"),
        (["adapter_d:gradient", "--tols", "small"], "could not convert"),
        (["adapter_d:gradient", "--tols", "-1"], "tols: got"),
        (["adapter_d:gradient", "--digits", "0"], "digits: got"),
        (["adapter_d:gradient", "--json", "no/such/folder/f.json"], "a folder that exists"),
        (["--exec", "no_such_program {problem} {tol} {out}"], "a program that exists"),
    ],
)
def test_questions_without_sense_have_exit_status_2(run, arguments, words):
    """Exit status 2 and a line that says what is wrong; no traceback."""
    modules = {"adapter_d": RIGHT, "broken": "1 / 0\n", "quits": "raise SystemExit(0)\n"}
    done = run(*arguments, **modules)
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert "Traceback" not in done.output
