"""The compiled continuous adjoints are the story's: with fixed steps to rounding, with chosen ones step for step.

Twins round in different places, on the way up and on the way down. `rounding_bound` is derived for two such paths;
where z is solved backwards beside the costate its roundings grow with the flow once more. In 400 drawn problems with
fixed steps the farthest were apart by 0.003 of that.
"""

from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import refnode as rn
from refnode.dynamics import dynamics_of
from refnode.errors import NumericalError
from refnode.kernels.continuous import backsolve_adjoint, interpolating_adjoint
from refnode.kernels.evaluations import Evaluations
from refnode.kernels.pack import refusal
from refnode.kernels.quadrature import quadrature_adjoint
from refnode.kernels.workspace import WORK
from refnode.segments import segments
from tests.gradients.problems import ADAPTIVE, EPS, SMOOTH, amplification, problems, rounding_bound, rows, solvers
from tests.gradients.test_reliability import zero_initialised
from tests.kernels.test_drawn_twins import SETTINGS, scalar_problem
from tests.kernels.test_twins import network_problem

KERNELS = {
    "backsolve": backsolve_adjoint, "interpolating": interpolating_adjoint, "quadrature": quadrature_adjoint,
}  # fmt: skip
METHODS = pytest.mark.parametrize("method", KERNELS)
UNCHECKED = {"backsolve": {"check": False}, "interpolating": {"check": False}, "quadrature": {}}
SINGLE = 2.0**29  # float32 has 29 bits less


def both(problem, method, solver, dtype=np.float64, **options):
    """Kernels and story."""
    words = UNCHECKED[method] | options
    got = rn.gradient(problem, method, solver, backend="cpu", dtype=np.dtype(dtype).name, **words)
    return got, rn.gradient(problem, method, solver, **words)


def bounds(problem, method, solver):
    """Leaf -> how far twins may be apart in float64: once more amplified where z is solved backwards."""
    again = amplification(problem) if method == "backsolve" else 1.0
    return {name: again * bound for name, bound in rounding_bound(problem, solver).items()}


def moved_steps(problem, solver, bound):
    """How much further steps that the controller chooses may move a gradient; see `moved_by_rounding`.

    A step's place moves by at most 1000 eps / (tol err) of the span, with err no less than what the largest growth of a
    step tells of; its local error, tol of the costate, moves by q + 1 times that. In units of the bound, whose C counts
    at least N roundings of the same sizes, the N errors of the steps come to 1000 (q + 1) / err.
    """
    if not solver.adaptive:
        return bound
    q = (solver.tableau.order_err or solver.tableau.order - 1) + 1
    controller = solver.controller
    least = (controller.safety / controller.max_factor) ** (q / (0.7 if controller.kind == "PI" else 1.0))
    return bound * 1000 * (q + 1) / max(least, 1e-10)


def assert_twins(problem, method, solver, dtype=np.float64, counted=True):
    """Leaves and loss within their bounds, and in float64, if they are `counted`, as many evaluations."""
    got, want = both(problem, method, solver, dtype)
    single = SINGLE if dtype == np.float32 else 1.0
    limits = bounds(problem, method, solver)
    assert got.grads.keys() == want.grads.keys()
    for name, g in want.grads.items():
        assert got.grads[name].shape == g.shape
        room = moved_steps(problem, solver, single * limits[name])
        error = np.max(np.abs(got.grads[name] - g), initial=0.0)
        assert error <= room, f"{name}: off by {error:.3g} where {room:.3g} is allowed"
    assert abs(got.loss - want.loss) <= single * 4000 * EPS * np.sum(np.abs(want.loss_per_sample))
    if dtype == np.float64 and counted:
        assert got.stats.nfe_backward == want.stats.nfe_backward
        assert (got.stats.accepted, got.stats.rejected, got.stats.nfe) == (
            want.stats.accepted, want.stats.rejected, want.stats.nfe,
        )  # fmt: skip
    return got, want


# ---------------------------------------------------------------- drawn problems

SHARED = solvers().filter(lambda solver: solver.steps == "shared")
FIXED = solvers(adaptive=False, most_steps=5)
OWN = solvers(fixed=False).map(lambda solver: replace(solver, steps="own", norm="batch"))


@METHODS
@settings(max_examples=60)
@given(problem=problems(SMOOTH), solver=SHARED)
def test_drawn_problems(method, problem, solver):
    """Orders, maps, controls, depths, losses, spans either way, adaptive ends and solvers in any combination."""
    assume(not refusal(problem, solver))
    try:
        rn.gradient(problem, method, solver, **UNCHECKED[method])
    except NumericalError:  # failures are compared below
        assume(False)
    assert_twins(problem, method, solver)


@METHODS
@settings(max_examples=30)
@given(problem=problems(SMOOTH), solver=FIXED, batch=st.integers(1, 150))
def test_drawn_batches(method, problem, solver, batch):
    """Up to five tiles, the last one ragged, in two groups."""
    assume(not refusal(problem, solver))
    assert_twins(rows(problem, np.arange(batch) % problem.batch), method, solver)


@METHODS
@settings(max_examples=30)
@given(problem=problems(SMOOTH), solver=FIXED)
def test_drawn_problems_in_single_precision(method, problem, solver):
    """float32 is within 2^29 times the bounds of float64."""
    assume(not refusal(problem, solver))
    assert_twins(problem, method, solver, np.float32)


# ---------------------------------------------------------------- solvers

def own_spans(problem):
    """The problem with another T for every sample."""
    T = problem.span[1] + np.linspace(0.0, 0.2, problem.batch)
    return rn.Problem(problem.model, problem.params, problem.x, problem.loss, (problem.span[0], T))


DEPTHS = {"1": rn.Constant(), "psi": rn.Galerkin(rn.Fourier(1)), "cells": rn.Stacked(2)}


@METHODS
@pytest.mark.parametrize("tableau", rn.TABLEAUX)
def test_every_tableau(method, tableau):
    """With FSAL and without, with extra stages of the interpolant and without; steps that outgrow the first tape."""
    assert_twins(network_problem(3), method, rn.Solver(tableau, n_steps=4))
    assert_twins(network_problem(3), method, rn.Solver(tableau, n_steps=70))


@METHODS
@pytest.mark.parametrize("tableau", ADAPTIVE)
@pytest.mark.parametrize("words", SETTINGS.values(), ids=SETTINGS)
def test_every_way_to_choose_steps(method, tableau, words):
    """Controllers, norms, tolerances and first steps, on the way down too: evaluations tell of every attempt."""
    problem = network_problem(3, theta=rn.Galerkin(rn.Hat(3)))
    assert_twins(problem, method, rn.Solver(tableau, **{"tol": 1e-4} | words))


@METHODS
@pytest.mark.parametrize("theta", DEPTHS.values(), ids=DEPTHS)
@pytest.mark.parametrize("solver", [rn.Solver("rk4", n_steps=5), rn.Solver("dopri5", tol=1e-5)], ids=["rk4", "dopri5"])
def test_samples_with_spans_of_their_own(method, theta, solver):
    """In two tiles, the last one ragged; where theta follows the span each row has its own."""
    assert_twins(own_spans(network_problem(35, theta=theta)), method, solver)


@METHODS
@pytest.mark.parametrize("steps", ["shared", "own"])
@pytest.mark.parametrize("theta", DEPTHS.values(), ids=DEPTHS)
def test_values_along_chosen_steps(method, theta, steps):
    """At tol 1e-9, in two tiles, on spans of each sample's own: the digits that a continuous method claims, 9 - 2.

    Where roundings may move a step, the bounds that hold for all problems say little; these twins take the same steps.
    """
    got, want = both(own_spans(network_problem(35, theta=theta)), method, rn.Solver("dopri5", tol=1e-9, steps=steps))
    assert min(rn.compare(got, want).values()) >= 7
    assert np.max(np.abs(got.adj_t0 - want.adj_t0)) <= 1e-7 * np.max(np.abs(want.adj_t0))


@METHODS
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("theta", ["1", "psi"])
def test_large_tiles_and_several_blocks_of_weights(method, theta, dtype):
    """257 samples are five tiles of 64, of which the last holds one; 746 weights are three blocks of parameter
    integrals.
    """
    rng = np.random.default_rng(3)
    model = rn.NeuralODE(rn.MLP(2, 24, 24, 2, time="first"), span=(0.25, 1.0), theta=DEPTHS[theta])
    params = {name: 0.3 * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((257, 2))), running=0.1 * rn.Kinetic())
    problem = rn.Problem(model, params, rng.standard_normal((257, 2)), loss)
    got, want = assert_twins(problem, method, rn.Solver("rk4", n_steps=3), dtype)
    np.testing.assert_array_equal(got.adj_t0, got.grads["x"])       # the state begins as x
    assert np.max(np.abs(want.adj_t0)) > 1e-5


@METHODS
def test_chosen_steps_in_single_precision(method):
    """Three tiles in float32 at tol 1e-4: the digits that a continuous method claims, -log10(tol) - 2."""
    got, want = both(network_problem(70), method, rn.Solver("dopri5", tol=1e-4), np.float32)
    assert min(rn.compare(got, want).values()) >= 2


@METHODS
@pytest.mark.parametrize("solver", [rn.Solver("rk4", n_steps=3), rn.Solver("dopri5", tol=1e-6)], ids=["rk4", "dopri5"])
def test_span_of_length_zero(method, solver):
    """T = t0: the loss is that of the initial state, and dloss/dT the field along its gradient."""
    rng = np.random.default_rng(0)
    model = rn.NeuralODE(rn.MLP(2, 3, 2), span=(0.5, 0.5))
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((3, 2))), running=rn.SquaredNorm())
    got, _ = assert_twins(rn.Problem(model, model.init(rng), rng.standard_normal((3, 2)), loss), method, solver)
    assert got.grads["T"] != 0


@METHODS
def test_same_bits_again(method):
    """Two runs give the same bits, another solve in between: groups are fixed, and sums over them run in one order."""
    problem, solver = network_problem(200, theta=rn.Stacked(2)), rn.Solver("dopri5", tol=1e-5)
    first = rn.gradient(problem, method, solver, backend="cpu")
    rn.gradient(network_problem(3), method, rn.Solver("dop853", n_steps=50), backend="cpu")
    again = rn.gradient(problem, method, solver, backend="cpu")
    for name, g in first.grads.items():
        np.testing.assert_array_equal(again.grads[name], g)


def test_memory():
    """Backsolve's is that of one step, however many there are; the interpolating adjoint's grows with them."""
    held = {
        method: [
            rn.gradient(network_problem(40), method, rn.Solver("rk4", n_steps=n), backend="cpu").stats.peak_bytes
            for n in (10, 300)
        ]
        for method in ("backsolve", "interpolating")
    }
    assert held["backsolve"][0] == held["backsolve"][1]
    assert held["interpolating"][1] > 3 * held["interpolating"][0]


# ---------------------------------------------------------------- failures and options

CONTRACTING = scalar_problem(-30.0)
STEPS_UP = rn.solve(CONTRACTING, rn.Solver("dopri5", tol=1e-9)).stats
JUST_UP = rn.Solver("dopri5", tol=1e-9, max_steps=STEPS_UP.accepted + STEPS_UP.rejected)
FAILURES = {  # error, message, method, problem, solver, options
    "z does not return": (rn.UnreliableGradient, "missed the forward", "backsolve", CONTRACTING, rn.Solver(), {}),
    "z does not return, fixed steps": (
        rn.UnreliableGradient, "missed the forward", "backsolve", CONTRACTING, rn.Solver("rk4", n_steps=9), {},
    ),
    "z does not return, own steps": (
        rn.UnreliableGradient, "missed the forward", "backsolve", CONTRACTING,
        rn.Solver("dopri5", tol=1e-4, steps="own"), {},
    ),
    "integrals, own steps": (
        rn.UnreliableGradient, "use method 'quadrature'", "interpolating", zero_initialised(1.0),
        rn.Solver(steps="own"), {},
    ),
    "a limit": (
        rn.UnreliableGradient, "more than the limit 1.0e-30", "backsolve", network_problem(40),
        rn.Solver("rk4", n_steps=9), {"limit": 1e-30},
    ),
    "integrals, backsolve": (
        rn.UnreliableGradient, "use method 'quadrature'", "backsolve", zero_initialised(1.0), rn.Solver(), {},
    ),
    "integrals, interpolating": (
        rn.UnreliableGradient, "use method 'quadrature'", "interpolating", zero_initialised(1.0), rn.Solver(), {},
    ),
    "too many steps down": (
        rn.UnreliableGradient, "costate failed: more than max_steps", "backsolve", CONTRACTING, JUST_UP,
        {"check": False},
    ),
    "too many steps up": (
        rn.TooManySteps, "more than max_steps = 3", "backsolve", CONTRACTING, rn.Solver(max_steps=3), {},
    ),
    "too many panels": (
        rn.UnreliableGradient, "with 1 panels", "quadrature",
        network_problem(3, theta=rn.Galerkin(rn.Fourier(6))), rn.Solver("rk4", n_steps=1), {"max_panels": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name):
    """Errors are of the story's class, with its message, t, h and samples: t and h to 1e-9 of themselves."""
    error, message, method, problem, solver, options = FAILURES[name]
    raised = []
    for backend in ("cpu", "numpy"):
        with pytest.raises(error, match=message) as caught:
            rn.gradient(problem, method, solver, backend=backend, **options)
        raised.append(caught.value)
    got, want = raised
    assert (type(got), got.args[0], got.samples) == (type(want), want.args[0], want.samples)
    assert got.t == (want.t if want.t is None else pytest.approx(want.t, rel=1e-9))
    assert got.h == (want.h if want.h is None else pytest.approx(want.h, rel=1e-9))


@pytest.mark.parametrize("method", ["backsolve", "interpolating"])
def test_unchecked(method):
    """check=False returns what check=True refuses."""
    got, want = both(zero_initialised(1.0), method, rn.Solver(), check=False)
    assert got.stats.nfe_backward == want.stats.nfe_backward
    with pytest.raises(rn.UnreliableGradient):
        rn.gradient(zero_initialised(1.0), method, backend="cpu")


def test_tolerance_of_the_quadrature():
    """rtol asks for as many panels as in the story, and for more where it is smaller; the estimate is the story's."""
    problem, solver = network_problem(3, theta=rn.Galerkin(rn.Fourier(6))), rn.Solver("rk4", n_steps=2)
    evaluations = []
    for rtol in (1e-3, 1e-12):
        got, want = both(problem, "quadrature", solver, rtol=rtol)
        assert got.stats.nfe_backward == want.stats.nfe_backward
        for name, error in want.estimate.items():  # 15 rounded terms of a panel, of which estimates are differences
            room = 1e-3 * np.abs(error) + 1000 * EPS * np.max(np.abs(want.grads[name]), initial=0.0)
            assert np.all(np.abs(got.estimate[name] - error) <= room)
        evaluations.append(got.stats.nfe_backward)
    assert evaluations[0] < evaluations[1]


# ---------------------------------------------------------------- steps of each sample's own

@settings(max_examples=60)
@given(problem=problems(SMOOTH), seed=st.integers(0, 99), dtype=st.sampled_from([np.float64, np.float32]))
def test_drawn_evaluations(problem, seed, dtype):
    """F and its vjp on every segment at depths of each sample's own.

    Some hundred roundings of numbers near 1 come to 1e-12 of the largest entry, 2^29 times that in float32; of alpha,
    of the sum of what the samples give without their signs.
    """
    solver, rng = rn.Solver(steps="own"), np.random.default_rng(seed)
    assume(not refusal(problem, solver))
    problem = rows(problem, np.arange(35) % problem.batch)
    values, room = problem.resolved, 1e-12 if dtype == np.float64 else 1e-12 * SINGLE
    compiled = Evaluations(problem, values, solver, dtype)
    for i, span in enumerate(segments(problem, values)):
        story = dynamics_of(problem, i)
        t = np.array(np.broadcast_to(span.at(rng.uniform(0.1, 0.9, 35)), 35))
        y, g = rng.standard_normal((2, 35, story.width))
        k, want = compiled.forward(i, t, y), story.forward(t, y, values)
        assert np.max(np.abs(k - want)) <= room * np.max(np.abs(want))
        back, of_all = compiled.vjp(i, t, y, g), story.vjp(t, y, values, g)
        alone = [story.vjp(t, y, values, np.where(np.arange(35)[:, None] == n, g, 0)).alpha for n in range(35)]
        sizes = of_all._replace(alpha=np.sum(np.abs(alone), axis=0))
        for name, got in back._asdict().items():
            error, size = np.abs(got - getattr(of_all, name)), np.max(np.abs(getattr(sizes, name)), initial=0.0)
            assert np.all(error <= room * size), f"{name}: off by {np.max(error):.3g} of {size:.3g}"


@METHODS
@settings(max_examples=20)
@given(problem=problems(SMOOTH), solver=OWN)
def test_drawn_own_steps(method, problem, solver):
    """The story's steps between compiled evaluations."""
    assume(not refusal(problem, solver))
    try:
        rn.gradient(problem, method, solver, **UNCHECKED[method])
    except NumericalError:
        assume(False)
    assert_twins(problem, method, solver, counted=False)


@METHODS
@pytest.mark.parametrize(("tableau", "theta"), [("dopri5", "1"), ("dopri5", "psi"), ("dop853", "cells")])
def test_own_steps_of_samples_with_spans_of_their_own(method, theta, tableau):
    """In two tiles, the last one ragged; with the interpolant's extra stages and without."""
    solver = rn.Solver(tableau, tol=1e-3, steps="own")
    assert_twins(own_spans(network_problem(35, theta=DEPTHS[theta])), method, solver, counted=False)


@METHODS
def test_own_steps_in_single_precision(method):
    """Three tiles in float32 at tol 1e-4: the digits that a continuous method claims, -log10(tol) - 2."""
    got, want = both(network_problem(70), method, rn.Solver("dopri5", tol=1e-4, steps="own"), np.float32)
    assert min(rn.compare(got, want).values()) >= 2


@METHODS
def test_whatever_the_workspace_holds(method):
    """Samples take different numbers of steps: behind a sample's last state is what others left, signalling NaN here,
    which no gradient sees and of which no warning speaks."""
    problem, solver = network_problem(70), rn.Solver("dopri5", tol=1e-4, steps="own")
    first = rn.gradient(problem, method, solver, backend="cpu", dtype="float32")
    poisoned = [held for (_, dtype), held in WORK.arrays.items() if dtype is np.float32]
    assert len(poisoned) > 5
    for held in poisoned:
        held.view(np.uint32).fill(0x7FA00000)
    again = rn.gradient(problem, method, solver, backend="cpu", dtype="float32")
    for name, g in first.grads.items():
        np.testing.assert_array_equal(again.grads[name], g)


@METHODS
def test_own_steps_have_the_same_bits_for_any_number_of_threads(method):
    """Sums over tiles run in one order."""
    problem, solver = network_problem(100), rn.Solver("dopri5", tol=1e-5, steps="own")
    first = rn.gradient(problem, method, solver, backend="cpu")
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        again = rn.gradient(problem, method, solver, backend="cpu")
    finally:
        numba.set_num_threads(threads)
    for name, g in first.grads.items():
        np.testing.assert_array_equal(again.grads[name], g)
