"""The compiled discrete adjoint is the story's on problems that hypothesis draws, on one grid and on grids of its own.

Twins round in different places: a path through a solve has up to some 4000 roundings one after the other, so leaves
agree within ROUNDINGS times the sum of the absolute values of all contributions, the story's `magnitude`. On drawn
problems the flow may grow each of them exp(L |T - t0|) times, and single long steps of many stages do.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import refnode as rn
from refnode.errors import NumericalError
from refnode.forward import solve_forward
from refnode.kernels.cpu import discrete_adjoint
from refnode.kernels.pack import refusal
from refnode.kernels.run import tiles_of
from refnode.kernels.tape import tile_of
from tests.gradients.problems import ADAPTIVE, EPS, SMOOTH, amplification, problems, rows, solvers
from tests.kernels.test_twins import ROUNDINGS, ROUNDINGS_32, network_problem

PRECISIONS = [(np.float64, ROUNDINGS), (np.float32, ROUNDINGS_32)]
FIXED = solvers(adaptive=False, most_steps=5)


def assert_twins(problem, solver, growth=1.0):
    """In both precisions, on the story's grid, every leaf is the story's; the flow grows roundings `growth` times."""
    want = rn.gradient(problem, "discrete", solver)
    grid = solve_forward(problem, problem.resolved, solver).grid
    for dtype, roundings in PRECISIONS:
        got = discrete_adjoint(problem, solver, dtype, grid)
        assert got.grads.keys() == want.grads.keys()
        for name, g in want.grads.items():
            assert got.grads[name].shape == g.shape
            error, size = np.max(np.abs(got.grads[name] - g), initial=0), np.max(want.magnitude[name], initial=0)
            assert error <= growth * roundings * size, f"{name} in {dtype.__name__}: {error:.3g} beside {size:.3g}"
        lost = np.abs(got.loss_per_sample - want.loss_per_sample)
        assert np.max(lost) <= growth * roundings * np.max(np.abs(want.loss_per_sample), initial=1.0)
        if solver.steps == "shared":  # own steps run their stages again
            assert got.stats.nfe_backward == want.stats.nfe_backward


def moved_by_rounding(grid, solver):
    """How far roundings may move an accepted grid (n + 1, b), as a part of the span.

    The error norm is that of a sum of up to 1000 roundings, each eps / tol of it. A step chosen from err moves by
    that rounding over err, and err is small where the next step grows: factor = safety err^(-0.7 / q), with 1 for 0.7
    where the controller is I, gives the least err that a growth within the limits tells of.
    """
    h = np.abs(np.diff(grid, axis=0))
    growth = np.max(h[1:] / np.maximum(h[:-1], 1e-300), initial=1.0)
    growth = min(max(growth, 1.0), solver.controller.max_factor)
    q = (solver.tableau.order_err or solver.tableau.order - 1) + 1
    least_err = min(1.0, (solver.controller.safety / growth) ** (q / (0.7 if solver.controller.kind == "PI" else 1.0)))
    return 1000 * EPS / (min(1.0, solver.tolerance) * least_err)


def assert_same_grid(problem, solver):
    """Both choose the same steps, up to what rounding of the error may move; with own steps sample by sample."""
    got, want = (rn.gradient(problem, "discrete", solver, backend=b).stats for b in ("cpu", "numpy"))
    np.testing.assert_array_equal(got.accepted, want.accepted)
    np.testing.assert_array_equal(got.rejected, want.rejected)
    if solver.steps == "shared":
        assert got.nfe == want.nfe
        assert_near(got.grid, want.grid, solver)
        return
    for i in range(problem.batch):
        assert_near(passed(got.grid[:, i]), passed(want.grid[:, i]), solver)


def passed(t):
    """The depths (n + 1, 1) that one sample passes, each once; it waits while others step."""
    return t[np.concatenate([[True], np.diff(t) != 0])][:, None]


def assert_near(got, want, solver):
    """Two grids are one but for rounding."""
    length = np.max(np.ptp(want, axis=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=moved_by_rounding(want, solver) * length)


# ---------------------------------------------------------------- drawn problems

def check(problem, solver):
    assume(not refusal(problem, solver))
    try:
        rn.gradient(problem, "discrete", solver)
    except NumericalError:  # failures are compared below
        assume(False)
    assert_twins(problem, solver, amplification(problem))
    if solver.adaptive:
        assert_same_grid(problem, solver)


@settings(max_examples=100)
@given(problems(SMOOTH), solvers())
def test_drawn_problems(problem, solver):
    """Orders, maps, controls, depths, losses, spans either way, adaptive ends and solvers in any combination."""
    check(problem, solver)


@pytest.mark.slow
@settings(max_examples=1000)
@given(problems(SMOOTH), solvers())
def test_many_drawn_problems(problem, solver):
    """The same, on a thousand problems."""
    check(problem, solver)


@settings(max_examples=40)
@given(problems(SMOOTH), FIXED, st.integers(1, 300))
def test_drawn_batches(problem, solver, batch):
    """Up to ten tiles, the last one ragged, of which no two hold the same samples in the same places."""
    assume(not refusal(problem, solver))
    assert_twins(rows(problem, np.arange(batch) % problem.batch), solver)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 130), max_size=2), st.sampled_from([1, 31, 33, 64]), st.integers(0, 2**32 - 1))
def test_drawn_widths(hidden, batch, seed):
    """Hidden layers of up to 130 units, odd ones included."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(rn.MLP(3, *hidden, 3, time="every", skip=True), span=(0.25, 1.0))
    params = {name: rng.standard_normal(shape) / np.sqrt(shape[0]) for name, shape in model.shapes.items()}
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((batch, 3))), running=0.1 * rn.Kinetic())
    assert_twins(rn.Problem(model, params, rng.standard_normal((batch, 3)), loss), rn.Solver("rk4", n_steps=3))


# ---------------------------------------------------------------- solvers

@pytest.mark.parametrize("method", rn.TABLEAUX)
def test_every_tableau_with_fixed_steps(method):
    """No tableau is left to chance."""
    assert_twins(network_problem(40), rn.Solver(method, n_steps=4))


SETTINGS = {
    "PI": {}, "I": {"controller": rn.Controller(kind="I")}, "max": {"norm": "max"}, "first step": {"first_step": 0.07},
    "cautious": {"controller": rn.Controller(safety=0.5, min_factor=0.5, max_factor=2.0)},
    "tolerances": {"tol": None, "rtol": 1e-3, "atol": 1e-6}, "first step too large": {"first_step": 50.0},
}  # fmt: skip


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("words", SETTINGS.values(), ids=SETTINGS)
def test_every_way_to_choose_steps(method, words):
    """Controllers, norms, tolerances and first steps give the story's grid, rejections included."""
    solver = rn.Solver(method, **{"tol": 1e-4} | words)
    problem = network_problem(40, theta=rn.Galerkin(rn.Hat(3)))
    assert_same_grid(problem, solver)
    assert_twins(problem, solver)


@pytest.mark.parametrize("steps", [31, 32, 33, 70])
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_tapes_of_any_length(steps, method):
    """Solves that fill the first tape of 32 steps, just outgrow it, and outgrow it twice; in several segments."""
    assert_twins(network_problem(3), rn.Solver(method, n_steps=steps))


def test_small_solves_after_large_ones():
    """A workspace that a long solve left behind holds any shorter one, of any shape, with the bits of a fresh one."""
    small = network_problem(40), rn.Solver("dopri5", n_steps=9)
    first = rn.gradient(*small[:1], "discrete", small[1], backend="cpu")
    rn.gradient(network_problem(3, theta=rn.Stacked(2)), "discrete", rn.Solver("rk4", n_steps=500), backend="cpu")
    again = rn.gradient(*small[:1], "discrete", small[1], backend="cpu")
    for name, g in first.grads.items():
        np.testing.assert_array_equal(again.grads[name], g)


@pytest.mark.parametrize("solver", [rn.Solver("rk4", n_steps=3), rn.Solver("dopri5", tol=1e-6)], ids=["rk4", "dopri5"])
def test_span_of_length_zero(solver):
    """T = t0: the loss is that of the initial state, and dloss/dT the field along its gradient."""
    rng = np.random.default_rng(0)
    model = rn.NeuralODE(rn.MLP(2, 3, 2), span=(0.5, 0.5))
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((40, 2))), running=rn.SquaredNorm())
    problem = rn.Problem(model, model.init(rng), rng.standard_normal((40, 2)), loss)
    assert_twins(problem, solver)
    got = rn.gradient(problem, "discrete", solver, backend="cpu")
    assert got.grads["T"] != 0


# ---------------------------------------------------------------- own steps, and what a tape keeps

OWN = rn.Solver("dopri5", tol=1e-6, steps="own")


@pytest.mark.parametrize("theta", [rn.Constant(), rn.Galerkin(rn.Fourier(1)), rn.Stacked(2)], ids=["1", "psi", "cells"])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_own_steps(method, theta):
    """Each of 70 samples takes the steps that the story gives it, in rows that change hands."""
    problem, solver = network_problem(70, theta=theta), rn.Solver(method, tol=1e-4, steps="own")
    assert_same_grid(problem, solver)
    assert_twins(problem, solver)


def test_own_steps_do_not_see_their_company():
    """A sample's z(T), gradient and steps have the same bits alone, in another order and among 600 in several pools."""
    problem = network_problem(600)
    among = rn.gradient(problem, "discrete", OWN, backend="cpu")
    for index in ([5], [599, 5, 40], np.arange(100)):
        index = np.asarray(index)
        alone = rn.gradient(rows(problem, index), "discrete", OWN, backend="cpu")
        np.testing.assert_array_equal(alone.stats.accepted, among.stats.accepted[index])
        np.testing.assert_array_equal(alone.z_T, among.z_T[index])
        np.testing.assert_array_equal(alone.grads["x"], among.grads["x"][index])


def test_own_steps_outgrow_their_tapes():
    """Solves of hundreds of own steps, some of which outgrow the first tape and some of which do not."""
    (entry,) = rn.catalogue("cycle")
    solver = rn.Solver("dopri5", tol=1e-7, steps="own")
    got = rn.gradient(entry.problem, "discrete", solver, backend="cpu")
    assert got.stats.accepted.max() > 64
    assert_twins(entry.problem, solver)


@pytest.mark.parametrize("solver", [rn.Solver("rk4", n_steps=23), rn.Solver("dop853", tol=1e-6)], ids=["rk4", "dop853"])
@pytest.mark.parametrize("batch", [3, 70])
@pytest.mark.parametrize("theta", [rn.Constant(), rn.Galerkin(rn.Fourier(1))], ids=["1", "psi"])
def test_what_a_tape_keeps(solver, batch, theta):
    """States alone, or any number of snapshots, give the bits of all stages in x; sums over steps are cut anew."""
    problem = network_problem(batch, theta=theta)
    stages = rn.gradient(problem, "discrete", solver, backend="cpu")
    state = 8 * tile_of(batch) * tiles_of(batch) * 3  # bytes of whole tiles of y = [z, q]
    words = [{"store": "states"}] + [{"store": "binomial", "memory_bytes": n * state} for n in (2, 3, 7, 1000)]
    for kept in words:
        got = rn.gradient(problem, "discrete", solver, backend="cpu", **kept)
        for name, g in stages.grads.items():
            if name == "x":
                np.testing.assert_array_equal(got.grads[name], g)
            else:
                np.testing.assert_allclose(got.grads[name], g, rtol=0, atol=1e-12 * np.max(np.abs(g), initial=0.0))
        assert got.stats.peak_bytes < stages.stats.peak_bytes


# ---------------------------------------------------------------- failures

def scalar_problem(w, span=(0.0, 1.0), x=1.0, batch=40):
    """z' = w z for a batch whose first sample starts at x, the others at 1."""
    start = np.ones((batch, 1))
    start[0] = x
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False), span=span)
    return rn.Problem(model, {"theta.W0": np.array([[w]])}, start, rn.Loss(rn.SquaredError(np.zeros((batch, 1)))))


DOPRI5, RK4 = rn.Solver("dopri5", tol=1e-9), rn.Solver("rk4", n_steps=5)
FAILURES = {  # error, problem, solver
    "too many steps": (rn.TooManySteps, scalar_problem(-1e3), replace(DOPRI5, max_steps=7)),
    "no digits of t left": (rn.StepUnderflow, scalar_problem(-50.0, (1e15, 1e15 + 4)), DOPRI5),
    "F overflows": (rn.NonFiniteState, scalar_problem(1e10, x=1e300), DOPRI5),
    "F overflows, worst sample": (rn.NonFiniteState, scalar_problem(1e10, x=1e300), replace(DOPRI5, norm="max")),
    "F overflows after the first step": (rn.NonFiniteState, scalar_problem(1e200), DOPRI5),
    "F overflows, first step given": (rn.NonFiniteState, scalar_problem(1e200), replace(DOPRI5, first_step=0.1)),
    "fixed steps overflow": (rn.NonFiniteState, scalar_problem(1e200), RK4),
    "one sample overflows": (rn.NonFiniteState, scalar_problem(10.0, x=1e305), RK4),
    "the initial state overflows": (rn.NonFiniteState, None, RK4),
    "own steps: too many": (rn.TooManySteps, scalar_problem(-1e3), replace(DOPRI5, steps="own", max_steps=7)),
    "own steps: underflow": (rn.StepUnderflow, scalar_problem(-50.0, (1e15, 1e15 + 4)), replace(DOPRI5, steps="own")),
    "own steps: one overflows": (rn.NonFiniteState, scalar_problem(1e10, x=1e300), replace(DOPRI5, steps="own")),
}


def overflowing_map():
    """A problem whose h_x overflows."""
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False), h_x=rn.Linear(1, 1))
    params = {"theta.W0": np.ones((1, 1)), "h_x.W0": np.array([[1e308]]), "h_x.b0": np.zeros(1)}
    return rn.Problem(model, params, np.full((3, 1), 10.0), rn.Loss(rn.SquaredError(np.zeros((3, 1)))))


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name):
    """Errors are of the story's class, with its message, t, h and samples: t and h to 1e-9 of themselves."""
    error, problem, solver = FAILURES[name]
    problem, raised = problem or overflowing_map(), []
    for backend in ("cpu", "numpy"):
        with np.errstate(over="ignore"), pytest.raises(error) as caught:
            rn.gradient(problem, "discrete", solver, backend=backend)
        raised.append(caught.value)
    got, want = raised
    assert type(got) is type(want)
    assert (got.args[0], got.samples) == (want.args[0], want.samples)
    assert got.t == pytest.approx(want.t, rel=1e-9)
    assert (got.h is None) == (want.h is None)
    assert want.h is None or got.h == pytest.approx(want.h, rel=1e-9)


def test_float32_overflows_where_float32_does():
    """A state beyond 3e38 is an error in float32 and none in float64."""
    problem = scalar_problem(100.0, x=1.0, batch=2)
    rn.gradient(problem, "discrete", rn.Solver("rk4", n_steps=200), backend="cpu")
    with pytest.raises(rn.NonFiniteState):
        rn.gradient(problem, "discrete", rn.Solver("rk4", n_steps=200), backend="cpu", dtype="float32")
