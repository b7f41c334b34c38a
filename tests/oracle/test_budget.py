"""The error budget: each part is measured where it is known otherwise, and orders are those of the tableau."""

import json
import math
from decimal import localcontext

import numpy as np
import pytest
from click.testing import CliRunner

import refnode as rn
from refnode import cli, figures
from refnode.oracle import budget as module
from refnode.oracle.budget import Budget, Row, error_budget, in_long_doubles
from refnode.oracle.closed_forms import closed_form_truth
from refnode.oracle.decimals import EXACT, exact
from refnode.oracle.truth import Truth

COSINE = rn.catalogue("cosine")[0].problem  # depends on t: a wrong stage time would show in the order
LONGER = np.finfo(np.longdouble).eps < np.finfo(float).eps
needs_long_doubles = pytest.mark.skipif(not LONGER, reason="this machine's long doubles are float64")


def test_truncation_is_the_error_of_the_discrete_gradient():
    """At few steps truncation is all there is: the plain error of rn.gradient against the closed form, to 3 digits."""
    found = error_budget(COSINE, "rk4", [8])
    got, truth = rn.gradient(COSINE, "discrete", rn.Solver("rk4", n_steps=8)).grads, closed_form_truth(COSINE)
    scale = truth.scales()
    want = max(float(np.max(truth.gap(leaf, g))) / scale[leaf] for leaf, g in got.items())
    assert found.rows[0].truncation == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize(("tableau", "order"), [("midpoint", 2), ("bosh3", 3), ("rk4", 4)])
@pytest.mark.parametrize("adjoint", ["backsolve", "interpolating"])
def test_measured_orders_are_the_tableaus(tableau, order, adjoint):
    """Truncation and inconsistency fall like N^-p: to 0.15 over doublings that reach the asymptotic range."""
    steps = {2: (128, 256), 3: (64, 128), 4: (32, 64)}[order]
    found = error_budget(COSINE, tableau, steps, adjoint)
    assert found.order == order
    assert found.slope("truncation") == pytest.approx(order, abs=0.15)
    assert found.slope("inconsistency") == pytest.approx(order, abs=0.15)
    assert found.slope("roundoff") is None


@needs_long_doubles
def test_the_long_doubles_are_longer():
    """z' = w z by one Euler step, where G is known in closed form: the long doubles have its digits beyond float64.

    z = x (1 + w h), dL/dw = 2 sum (z - y) x h: a dozen roundings of 2^-64 each, in float64 of 2^-53.
    """
    problem = rn.catalogue("exp")[0].problem
    solver = rn.Solver("euler", n_steps=1)
    got = in_long_doubles(problem, solver)["theta.W0"][0, 0]
    L = np.longdouble
    x, y = (np.asarray(a, dtype=L)[:, 0] for a in (problem["x"], problem.loss.terminal.target))
    h, w = L(problem["T"]) - L(problem["t0"]), L(problem["theta.W0"][0, 0])
    want = 2 * np.sum((x * (1 + w * h) - y) * x * h) * L(1 / 3)  # the mean's weight is float64's
    size = 2 * np.sum(np.abs((x * (1 + w * h) - y) * x * h)) * L(1 / 3)
    assert abs(got - want) <= 30 * np.finfo(L).eps * size
    computed = L(rn.gradient(problem, "discrete", solver).grads["theta.W0"][0, 0])
    assert abs(computed - want) > 30 * np.finfo(L).eps * size


@needs_long_doubles
def test_round_off_grows_when_digits_are_taken(monkeypatch):
    """A float64 gradient with 2^-30 of noise shows as round-off, and in nothing else."""
    honest = module.gradient

    def noisy(problem, method, solver, **options):
        result = honest(problem, method, solver, **options)
        if method == "discrete":
            result.grads["T"] = result.grads["T"] * (1 + 2.0**-30)
        return result

    clean = error_budget(COSINE, "rk4", [16]).rows[0]
    monkeypatch.setattr(module, "gradient", noisy)
    found = error_budget(COSINE, "rk4", [16]).rows[0]
    assert clean.roundoff < 1e-14
    assert found.roundoff == pytest.approx(2.0**-30, rel=1e-3)
    assert found.truncation == clean.truncation


def test_the_continuous_adjoint_is_not_the_discrete_one():
    """Its distance is that of two calls of rn.gradient on the same steps."""
    (entry,) = rn.catalogue("theta_running")
    solver, row = rn.Solver("rk4", n_steps=8), error_budget(entry.problem, "rk4", [8], "interpolating").rows[0]
    one, other = (rn.gradient(entry.problem, method, solver).grads for method in ("discrete", "interpolating"))
    scale = rn.reference(entry.problem).scales()
    want = max(float(np.max(np.abs(one[leaf] - other[leaf]))) / scale[leaf] for leaf in one)
    assert row.inconsistency == pytest.approx(want, rel=1e-12)


def test_an_order_needs_points_above_the_floor():
    """Errors near round-off or the truth's radius, or above 1e-2, are left out; NaN rows too."""
    rows = (Row(2, 0.5, 1e-16, 0.5), Row(4, 1e-3, 1e-16, 1e-3), Row(8, 1e-4, 1e-16, 1e-4), Row(16, 2e-12, 1e-16, 1e-16))
    found = Budget("rk4", 4, "backsolve", "estimated", 1e-12, 1e-19, (*rows, Row(32, raised="raises")))
    assert found.slope("truncation") == pytest.approx(math.log2(10))
    assert found.slope("inconsistency") == pytest.approx(math.log2(10))


def test_a_solve_that_raises_is_a_row():
    """z' = 40 z^.. blows up on few Euler steps: the row says so, and the others are there."""
    model = rn.NeuralODE(rn.UserField(
        lambda t, z, theta, x: theta[..., :1] * z**3,
        lambda t, z, theta, x, dt, dz, dtheta, dx: 3 * theta * z**2 * dz + dtheta * z**3,
        lambda t, z, theta, x, g: (np.zeros(len(z)), 3 * theta * z**2 * g, np.sum(z**3 * g, axis=0), None),
        {"w": (1,)}, 1,
    ), span=(0.0, 1.0))  # fmt: skip
    problem = rn.Problem(model, {"theta.w": [-1e3]}, np.full((2, 1), 3.0), rn.Loss(rn.SquaredError(np.zeros(1))))
    solver = rn.Solver("euler", n_steps=8)
    with pytest.raises(rn.NonFiniteState):
        rn.gradient(problem, "discrete", solver)
    row = module._row(problem, solver, 8, "backsolve", None, None)
    assert (row.steps, row.raised[:14]) == (8, "NonFiniteState")


# ---------------------------------------------------------------- the command


def run(*arguments):
    return CliRunner().invoke(cli.main, ["budget", *map(str, arguments)], env={"COLUMNS": "100"})


def test_the_command_prints_and_writes(tmp_path):
    """Table, JSON file and picture say the same; 4..16 is doubled."""
    done = run("cosine", "--steps", "8..32", "--json", tmp_path / "b.json", "--out", tmp_path / "b.svg")
    assert done.exit_code == 0, done.output
    want = error_budget(COSINE, "rk4", [8, 16, 32])
    written = json.loads((tmp_path / "b.json").read_text("utf-8"))
    assert [row["steps"] for row in written["rows"]] == [8, 16, 32]
    assert written["rows"][1]["truncation"] == want.rows[1].truncation
    assert written["measured_orders"]["truncation"] == want.slope("truncation")
    assert f"{want.rows[2].truncation:.1e}" in done.stdout
    assert f"{want.slope('truncation'):.2f}" in done.stdout
    assert (tmp_path / "b.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("words", [("--steps", "0..8"), ("--steps", "a"), ("--steps", "3,x"), ("--out", "b.bmp")])
def test_the_command_refuses(words):
    """Usage errors: status 2."""
    assert run("cosine", *words).exit_code == 2


def test_the_picture_has_what_it_says():
    """A curve for each part, logarithmic axes, and the orders in the legend."""
    found = error_budget(COSINE, "rk4", [8, 16, 32])
    (ax,) = figures.draw_budget(found).axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [
        [getattr(row, kind) for row in found.rows] for kind in ("truncation", "roundoff", "inconsistency")
    ]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0] == f"truncation, order {found.slope('truncation'):.2f}"


@needs_long_doubles
def test_truncation_is_seen_below_the_digits_of_float64(monkeypatch):
    """If the truth is the computed solution's own gradient, no truncation is left, to the digits of long doubles."""
    solver = rn.Solver("rk4", n_steps=16)
    precise = in_long_doubles(COSINE, solver)
    high = {leaf: g.astype(np.float64) for leaf, g in precise.items()}
    with localcontext(EXACT):
        mid = {leaf: exact(high[leaf]) + exact((g - high[leaf]).astype(np.float64)) for leaf, g in precise.items()}
    truth = Truth(high, {leaf: np.zeros(g.shape) for leaf, g in high.items()}, "proven", "", mid)
    monkeypatch.setattr(module, "reference", lambda problem: truth)
    row = error_budget(COSINE, "rk4", [16]).rows[0]
    assert row.truncation == 0
    assert row.roundoff > 0
