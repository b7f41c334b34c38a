"""Samples that fail are named, each with its fault; the others have the results of a run without them, bit for bit.

Weights' gradients are summed over a warp's trajectories in their order, to which one that fails adds zero: within a
warp, the same bits; tiles sum in several turns, so that the others must keep their places for that. A batch is never
returned as if it were whole.
"""

import pickle
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.whole import solve_forward
from tests.cuda.cases import RK4
from tests.cuda.launch import OnCpu

pytestmark = pytest.mark.slow
OWN = rn.Solver("dopri5", tol=1e-4, steps="own", max_steps=100)
STIFF, STUCK, FAR = (20.0, 0.0), (-9.9, 0.0), (1e200, 0.0)        # too many steps, an underflow, an overflow of |z|^2


def problem(rows, targets, widths=(2, 6, 2), steep=1e26):
    """A ReLU field which attracts to z_0 = 11 from above 10 at rate 1000, falls below -9, and throws back from -10 at
    the rate `steep`; each sample has a T of its own, and is observed on its way."""
    rng = np.random.default_rng(3)
    model = rn.NeuralODE(rn.MLP(*widths, act="relu", time="first"), h_y=rn.Linear(2, 2))
    params = {name: 0.3 * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    if len(widths) == 3:
        W0, b0, W1 = (params[f"theta.{name}"] for name in ("W0", "b0", "W1"))
        W0[:, :4], b0[:4] = [[1, 1, -1, -1], [0] * 4, [0] * 4], [-9, -10, -9, -10]
        W1[:4], W1[6:] = [[1000, 0], [-2000, 0], [-5, 0], [steep, 0]], 0
    terms = {"reduction": "sum"}
    seen = rn.Observations([0.6], [rn.SquaredError(targets, **terms)])
    running = (0.1 * rn.Kinetic(**terms), 0.3 * rn.SquaredNorm(**terms))
    loss = rn.Loss(rn.SquaredError(targets, **terms), seen, running, scale=1.5)
    return rn.Problem(model, params, rows, loss, (0.25, np.linspace(1.1, 1.4, 10)[: len(rows)]))


def mixed(places, *how):
    """A batch with some samples that fail, {number: row}, and the batch without them."""
    rng = np.random.default_rng(1)
    rows, targets = 0.5 * rng.standard_normal((7, 2)), rng.standard_normal((7, 2))
    others = np.delete(np.arange(7), list(places))
    alone = problem(rows[others], targets[others], *how)
    for i, row in places.items():
        rows[i] = row
    whole = problem(rows, targets, *how)
    return whole, replace(alone, span=(0.25, whole.span[1][others])), others


def failure(p, solver, dtype, device=None):
    """The error that the gradient raises."""
    with pytest.raises(rn.NumericalError) as caught:
        discrete_adjoint(p, solver, device or OnCpu(), dtype, store="states")
    return caught.value


def assert_same(finished, alone, others):
    """Every number is that of the run without those that failed."""
    np.testing.assert_array_equal(finished.samples, others)
    np.testing.assert_array_equal(finished.z_T, alone.z_T)
    np.testing.assert_array_equal(finished.loss_per_sample, alone.loss_per_sample)
    np.testing.assert_array_equal(finished.adj_t0, alone.adj_t0)
    assert set(finished.grads) == set(alone.grads)
    for name, g in alone.grads.items():
        np.testing.assert_array_equal(finished.grads[name], g, err_msg=name)


@pytest.mark.parametrize(("dtype", "steep"), [(np.float64, 1e26), (np.float32, 1e12)])
def test_every_kind_of_failure_among_others(dtype, steep):
    """Underflow, too many steps and infinity, each at its sample; the gravest is raised."""
    far = FAR if dtype is np.float64 else (3e38, 0.0)
    p, rest, others = mixed({1: STIFF, 4: STUCK, 6: far}, (2, 6, 2), steep)
    error = failure(p, OWN, dtype)
    assert isinstance(error, rn.StepUnderflow)
    assert error.samples == (4,)
    want = {1: "TooManySteps", 4: "StepUnderflow", 6: "NonFiniteState"}
    assert error.status == tuple(want.get(i, "done") for i in range(7))
    assert "4 others are done" in str(error)
    assert_same(error.finished, discrete_adjoint(rest, OWN, OnCpu(), dtype), others)


def test_every_kind_of_failure_in_a_tile():
    """The same where a block takes steps for all: each fault at its sample, and the others undisturbed."""
    p, rest, others = mixed({1: STIFF, 4: STUCK, 6: FAR}, (2, 40, 2))
    with pytest.raises(rn.StepUnderflow) as caught:
        solve_forward(p, OWN, OnCpu(), np.float64)
    error, want = caught.value, {1: "TooManySteps", 4: "StepUnderflow", 6: "NonFiniteState"}
    assert error.status == tuple(want.get(i, "done") for i in range(7))
    alone, _ = solve_forward(rest, OWN, OnCpu(), np.float64)
    np.testing.assert_array_equal(error.finished.samples, others)
    np.testing.assert_array_equal(error.finished.z_T, alone.at_bounds[-1][:, :2])


@pytest.mark.parametrize(("widths", "bad"), [((2, 6, 2), (0, 3)), ((2, 24, 6, 2), (5, 6))], ids=["threads", "tiles"])
def test_a_state_that_overflows_on_a_grid(widths, bad):
    """Fixed steps, by threads and by tiles; depth and step are those at which the story fails."""
    p, rest, others = mixed(dict.fromkeys(bad, FAR), widths)
    error = failure(p, RK4, np.float64)
    with pytest.raises(rn.NonFiniteState) as story:
        rn.gradient(p, "discrete", RK4, backend="numpy")
    assert error.samples == story.value.samples == bad
    assert (error.t, error.h) == pytest.approx((story.value.t, story.value.h), rel=1e-15)
    alone = discrete_adjoint(rest, RK4, OnCpu(), np.float64, store="states")
    assert_same(error.finished, alone, others)


@pytest.mark.parametrize("row", [STIFF, STUCK, FAR])
def test_where_a_trajectory_stopped(row):
    """Depth and step of own steps are those of the CPU's kernels, to what a step that follows a difference is worth."""
    p, _, _ = mixed({5: row})
    mine = failure(p, OWN, np.float64)
    with pytest.raises(rn.NumericalError) as cpu:
        rn.gradient(p, "discrete", OWN, backend="cpu")
    assert type(mine) is type(cpu.value)
    assert mine.samples == cpu.value.samples == (5,)
    assert mine.t == pytest.approx(cpu.value.t, rel=1e-5)
    assert cpu.value.h is None or mine.h == pytest.approx(cpu.value.h, rel=1e-5)     # None: before the first step


def test_max_steps_are_those_of_the_whole_solve():
    """Attempts count from t0 to T, over the observation: one fewer than a sample needs is too few for it alone."""
    p, _, _ = mixed({})
    stats = discrete_adjoint(p, OWN, OnCpu(), np.float64).stats
    attempts = stats.accepted + stats.rejected
    few = replace(OWN, max_steps=int(attempts.max()) - 1)
    error = failure(p, few, np.float64)
    assert isinstance(error, rn.TooManySteps)
    np.testing.assert_array_equal(error.samples, np.flatnonzero(attempts == attempts.max()))
    discrete_adjoint(p, replace(OWN, max_steps=int(attempts.max())), OnCpu(), np.float64)


def test_a_costate_that_overflows():
    """A solution that is finite, and whose cotangent is not, fails on the way back, and alone."""
    p, rest, others = mixed({2: (0.0, 0.5)})
    targets = np.array(p.loss.terminal.target)
    targets[2] = -1e39
    far = replace(p.loss, terminal=rn.SquaredError(targets, reduction="sum"))
    error = failure(replace(p, loss=far), RK4, np.float32)
    assert isinstance(error, rn.NonFiniteState)
    assert str(error).startswith("the costate a(t) is NaN or infinite (at samples 2)")
    assert error.status == tuple("NonFiniteState" if i == 2 else "done" for i in range(7))
    assert_same(error.finished, discrete_adjoint(rest, RK4, OnCpu(), np.float32, store="states"), others)


def test_a_solve_says_the_same():
    """rn.solve's error has states and losses of those that are done, and no gradient; none of them: nothing."""
    p, rest, others = mixed({2: FAR, 6: STIFF})
    with pytest.raises(rn.NonFiniteState) as caught:
        solve_forward(p, OWN, OnCpu(), np.float64)
    alone = discrete_adjoint(rest, OWN, OnCpu(), np.float64)
    finished = caught.value.finished
    np.testing.assert_array_equal(finished.samples, others)
    np.testing.assert_array_equal(finished.z_T, alone.z_T)
    np.testing.assert_array_equal(finished.loss_per_sample, alone.loss_per_sample)
    assert (finished.grads, finished.adj_t0) == ({}, None)
    error = failure(problem(np.array([FAR, FAR]), np.zeros((2, 2))), RK4, np.float64)
    assert (error.samples, error.finished) == ((0, 1), None)


def test_the_error_travels():
    """Status and results survive a trip to another process."""
    p, _, _ = mixed({2: FAR})
    error = failure(p, RK4, np.float64)
    other = pickle.loads(pickle.dumps(error))
    assert (str(other), other.status) == (str(error), error.status)
    np.testing.assert_array_equal(other.finished.grads["x"], error.finished.grads["x"])
