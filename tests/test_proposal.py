"""Steps that are handed on share the work of those before, and are held to the same tolerance as any others."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import refnode as rn
from refnode.dynamics import dynamics_of, initial_y
from refnode.integrate import error_norm
from refnode.proposal import proposed
from refnode.steps import rk_step, step_factor

ADAPTIVE = tuple(name for name, tableau in rn.TABLEAUX.items() if tableau.adaptive)
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "cpu"])


CONSTANT = rn.Constant()


def problem(shift=0.0, batch=5, theta=CONSTANT, seed=0, **words):
    """A field that depends on t, whose weights another seed's are `shift` away from."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(rn.MLP(2, 6, 2, time="every"), theta=theta, h_y=rn.Linear(2, 1), span=(0.25, 2.0))
    params = {name: 0.5 * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    if len(model.edges):
        params["edges"] = model.edges
    else:
        params = {name: leaf + shift * rng.standard_normal(leaf.shape) for name, leaf in params.items()}
    x, y = rng.standard_normal((batch, 2)), rng.standard_normal((batch, 1))
    return rn.Problem(model, params, x, rn.Loss(rn.SquaredError(y), running=0.1 * rn.SquaredNorm(), **words))


# ---------------------------------------------------------------- the proposal

def work_between(a, b, fractions, errors, q, least):
    """The work of accepted steps between two fractions: each step's is spread evenly along it."""
    ends = np.minimum(b, fractions[1:]) - np.maximum(a, fractions[:-1])
    return (np.maximum(ends, 0) / np.diff(fractions) * np.maximum(errors ** (1 / q), least)).sum()


@settings(max_examples=200)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from(ADAPTIVE), st.floats(0.2, 0.95))
def test_a_proposal_shares_the_work(count, seed, method, safety):
    """Each new step has the same part of the work, `safety` at most; one step fewer, and each would have more."""
    rng = np.random.default_rng(seed)
    solver = rn.Solver(method, tol=1e-3, controller=rn.Controller(safety=safety))
    fractions = np.concatenate([[0.0], np.cumsum(rng.uniform(0.01, 1, count))])
    fractions /= fractions[-1]
    errors, q = rng.uniform(0, 1, count) ** rng.integers(1, 9), solver.tableau.order_err + 1
    new, least = proposed(fractions, errors, solver), safety / solver.controller.max_factor
    assert (new[0], new[-1]) == (0.0, 1.0)
    parts = [work_between(a, b, fractions, errors, q, least) for a, b in pairwise(new)]
    np.testing.assert_allclose(parts, np.mean(parts), rtol=1e-9)
    assert parts[0] <= safety * (1 + 1e-8)
    assume(len(parts) > 1)
    assert sum(parts) / (len(parts) - 1) > safety


def test_a_step_grows_by_max_factor_at_most():
    """Twenty steps without any error become two, not one: as a controller would grow them."""
    new = proposed(np.linspace(0, 1, 21), np.zeros(20), rn.Solver(tol=1e-3))
    np.testing.assert_allclose(new, [0, 0.5, 1], rtol=1e-15)


def test_steps_as_short_as_numbers_are_apart():
    """Between neighbours of float64 there is no room for a step: what is left still increases from 0 to 1."""
    short, solver = np.spacing(0.5), rn.Solver(tol=1e-3, controller=rn.Controller(safety=0.2))
    new = proposed(np.array([0.0, 0.5, 0.5 + short, 0.5 + 2 * short, 1.0]), np.array([1e-9, 1.0, 1.0, 1e-9]), solver)
    assert (new[0], new[-1]) == (0.0, 1.0)
    assert np.all(np.diff(new) > 0)
    assert rn.Solver(proposal=(tuple(new.tolist()),)).proposal is not None


# ---------------------------------------------------------------- proposed steps

@BACKENDS
@pytest.mark.parametrize("theta", [rn.Constant(), rn.Galerkin(rn.Fourier(1)), rn.Stacked(3)], ids=["1", "psi", "cells"])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_proposal_that_is_good_is_followed(method, theta, backend):
    """On the problem that it comes from: its steps and no others, no first step's evaluations, errors of at most 1."""
    first = rn.solve(problem(theta=theta), rn.Solver(method, tol=1e-6), backend=backend)
    solver = rn.hand_on(first)
    got = rn.solve(problem(theta=theta), solver, backend=backend)
    assert got.stats.rejected == 0
    assert got.stats.accepted <= first.stats.accepted
    for taken, proposal, errors in zip(got.stats.fractions, solver.proposal, got.stats.errors, strict=True):
        np.testing.assert_array_equal(taken, proposal)
        assert len(errors) == len(taken) - 1
        assert np.all(errors <= 1)
    tableau, segments = solver.tableau, len(solver.proposal)
    each = got.stats.accepted * (tableau.stages - tableau.fsal)  # and k_0 of every segment
    assert got.stats.nfe == each + segments * tableau.fsal
    exact = rn.solve(problem(theta=theta), rn.Solver("dop853", tol=1e-12))
    np.testing.assert_allclose(got.z_T, exact.z_T, atol=1e-4)


def error_of_step(of, s, s_new, solver):
    """The norm of the estimated error of one step from the initial state, by the story's own functions."""
    values, y = of.resolved, initial_y(of, of.resolved)
    t, t_new = (values.t0 + f * (values.T - values.t0) for f in (s, s_new))
    dynamics = dynamics_of(of, 0)

    def rhs(t, y):
        return dynamics.forward(t, y, values)

    y_new, k = rk_step(rhs, t, t_new, t_new - t, y, rhs(t, y), solver.tableau)
    return error_norm(solver).of_step(t_new - t, y, y_new, k, solver.tableau)


@BACKENDS
def test_a_rejected_step_hands_over_to_the_controller(backend):
    """Of (0, 0.9, 1) at tol 1e-9 the first is far too long: what follows is the controller's step, and so on to T."""
    solver = rn.Solver("dopri5", tol=1e-9, proposal=((0.0, 0.9, 1.0),))
    err = error_of_step(problem(), 0.0, 0.9, solver)
    assert err > 1
    factor = step_factor(solver.controller, err, np.ones(()), solver.tableau.order_err)
    got = rn.solve(problem(), solver, backend=backend).stats
    tried = 0.9 * float(factor)
    while error_of_step(problem(), 0.0, tried, solver) > 1:
        again = error_of_step(problem(), 0.0, tried, solver)
        tried *= float(step_factor(solver.controller, again, np.ones(()), solver.tableau.order_err))
    np.testing.assert_allclose(got.fractions[0][1], tried, rtol=1e-9)
    assert got.rejected >= 1
    assert 0.9 not in got.fractions[0]
    assert all(np.all(errors <= 1) for errors in got.errors)


@BACKENDS
def test_errors_are_those_of_the_steps(backend):
    """stats.errors has the norm of every accepted step: the first by hand, and one for each."""
    solver = rn.Solver("dopri5", tol=1e-6)
    stats = rn.gradient(problem(), "discrete", solver, backend=backend).stats
    (fractions,), (errors,) = stats.fractions, stats.errors
    assert len(errors) == stats.accepted == len(fractions) - 1
    np.testing.assert_allclose(errors[0], error_of_step(problem(), 0.0, fractions[1], solver), rtol=1e-6)
    t0, T = problem().span
    np.testing.assert_allclose(stats.grid, t0 + fractions * (T - t0), rtol=1e-14)


@BACKENDS
@pytest.mark.parametrize("proposal", ["handed on", "rejected"])
@pytest.mark.parametrize("theta", [rn.Constant(), rn.Galerkin(rn.Legendre(2))], ids=["1", "psi"])
def test_gradients_along_a_proposal(proposal, theta, backend):
    """The discrete adjoint is the complex step's of the same frozen steps, whether all were accepted or not."""
    of, solver = problem(theta=theta), rn.Solver("dopri5", tol=1e-6)
    good = proposal == "handed on"
    handed = rn.hand_on(rn.solve(of, solver)) if good else replace(solver, proposal=((0.0, 0.8, 1.0),))
    got, want = rn.gradient(of, "discrete", handed, backend=backend), rn.gradient(of, "complex_step", handed)
    assert (got.stats.rejected == 0) == good
    np.testing.assert_allclose(got.stats.grid, want.stats.grid, rtol=1e-12)
    assert min(rn.compare(got, want).values()) > 11  # chosen steps move by rounding of err, some 1e-13 of the span


@pytest.mark.parametrize("method", [
    "backsolve", "interpolating", "quadrature", "forward_discrete", "forward_continuous",
])  # fmt: skip
@BACKENDS
def test_every_method_tries_a_proposal(method, backend):
    """Each method's forward solve follows it, and hands a solver on in turn; gradients stay right to the tolerance."""
    of = problem()
    solver = rn.hand_on(rn.gradient(of, method, rn.Solver("dopri5", tol=1e-7), backend=backend))
    got = rn.gradient(of, method, solver, backend=backend)
    assert got.stats.rejected == 0
    np.testing.assert_array_equal(got.stats.fractions[0], solver.proposal[0])
    want = rn.gradient(of, "discrete", rn.Solver("dop853", tol=1e-12))
    assert min(rn.compare(got, want).values()) > 4
    assert rn.hand_on(got).proposal is not None


def test_a_path_of_problems_takes_fewer_evaluations():
    """Along a family of problems that changes by a little each time, nothing is rejected and evaluations are fewer."""
    plain = solver = rn.Solver("dopri5", tol=1e-6, controller=rn.Controller(kind="I"))
    handed = anew = rejected = 0
    for n in range(20):
        result = rn.solve(problem(shift=0.005 * n), solver)
        solver, again = rn.hand_on(result), rn.solve(problem(shift=0.005 * n), plain)
        if n:
            handed, anew = handed + result.stats.nfe, anew + again.stats.nfe
            rejected += result.stats.rejected
        np.testing.assert_allclose(result.z_T, again.z_T, atol=1e-4)
    assert rejected == 0
    assert handed < 0.85 * anew


# ---------------------------------------------------------------- what is refused

@pytest.mark.parametrize("solver", [rn.Solver("rk4", n_steps=3), rn.Solver(tol=1e-4, steps="own")])
@BACKENDS
def test_other_steps_hand_nothing_on(solver, backend):
    """Fixed steps have no errors, and a sample's own are not the batch's."""
    result = rn.solve(problem(), solver, backend=backend)
    assert result.stats.errors == ()
    with pytest.raises(rn.InvalidArgument, match=r"^result: got one of .*; must be one of adaptive steps"):
        rn.hand_on(result)


@pytest.mark.parametrize("words", [{"n_steps": 4}, {"tol": 1e-3, "steps": "own"}])
def test_other_steps_take_no_proposal(words):
    """A proposal beside steps that are not chosen for the batch is refused."""
    with pytest.raises(rn.InvalidArgument, match=r"^proposal: got one for fixed or own steps"):
        rn.Solver(proposal=((0.0, 1.0),), **words)


@pytest.mark.parametrize("proposal", [
    [], (), ((),), ((0.0,),), ((0.0, 0.5),), ((0.1, 1.0),), ((0.0, 0.5, 0.5, 1.0),), ((0.0, 0.7, 0.3, 1.0),),
    ((0, 1),), (0.0, 1.0), ([0.0, 1.0],), ((0.0, float("nan"), 1.0),), np.array([[0.0, 1.0]]), "01",
], ids=str)  # fmt: skip
def test_what_is_no_proposal(proposal):
    """A tuple of tuples of increasing floats from 0 to 1, and nothing else."""
    with pytest.raises(rn.InvalidArgument, match=r"^proposal: got .*; must be a tuple with a tuple of increasing"):
        rn.Solver(proposal=proposal)


@BACKENDS
def test_a_proposal_for_other_segments(backend):
    """One for a single segment is refused where break-points make three."""
    with pytest.raises(rn.InvalidArgument, match=r"^proposal: got 1 segments; must be of 3, those of the problem"):
        rn.solve(problem(theta=rn.Stacked(3)), rn.Solver(proposal=((0.0, 1.0),)), backend=backend)


def test_what_hands_nothing_on():
    """Only results do."""
    with pytest.raises(rn.InvalidArgument, match=r"^result: got .*; must be what"):
        rn.hand_on(rn.Solver())


def test_a_card_takes_no_proposal():
    """The card's kernels have none of this: they say so before a card is looked for."""
    with pytest.raises(rn.BackendUnavailable, match="proposed steps are not compiled for a card"):
        rn.gradient(problem(), solver=rn.Solver(proposal=((0.0, 1.0),)), backend="cuda")


def test_equal_solvers_have_equal_proposals():
    """A proposal is part of a solver's value, though not of its repr."""
    solver = rn.Solver(tol=1e-5)
    assert replace(solver, proposal=((0.0, 1.0),)) != solver
    assert replace(solver, proposal=((0.0, 1.0),)) == replace(solver, proposal=((0.0, 1.0),))
    assert repr(replace(solver, proposal=((0.0, 1.0),))) == repr(solver)
