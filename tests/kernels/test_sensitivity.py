"""Compiled forward sensitivities are the story's, leaf by leaf: along computed steps, and of the tangent ODE."""

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import refnode as rn
from refnode.errors import NumericalError
from refnode.kernels.pack import refusal
from tests.gradients.problems import SMOOTH, problems, rounding_bound, rows, solvers
from tests.kernels.test_continuous_twins import SINGLE, moved_steps
from tests.kernels.test_twins import network_problem

METHODS = pytest.mark.parametrize("method", ["forward_discrete", "forward_continuous"])


def assert_twins(problem, method, solver, dtype="float64"):
    """Every leaf within what roundings on two paths, and a grid that they move, may do; the loss likewise.

    A tangent is made of the terms of which a cotangent is: `rounding_bound`'s count holds for it.
    """
    try:
        want = rn.gradient(problem, method, solver, backend="numpy")
    except NumericalError:
        assume(False)
    got = rn.gradient(problem, method, solver, backend="cpu", dtype=dtype)
    assert got.backend == "cpu"
    single = SINGLE if dtype == "float32" else 1.0
    assert got.grads.keys() == want.grads.keys()
    for name, bound in rounding_bound(problem, solver).items():
        assert got.grads[name].shape == want.grads[name].shape
        error = np.max(np.abs(got.grads[name] - want.grads[name]), initial=0.0)
        assert error <= moved_steps(problem, solver, single * bound), name
    np.testing.assert_array_equal(got.stats.accepted, want.stats.accepted)


@METHODS
@settings(max_examples=12)
@given(problem=problems(SMOOTH), solver=solvers(most_steps=3))
def test_drawn_problems(method, problem, solver):
    """Orders, maps, controls, depths, losses, adaptive ends and solvers, own steps included, in any combination."""
    assume(not refusal(problem, solver))
    assert_twins(problem, method, solver)


@METHODS
@settings(max_examples=5)
@given(problem=problems(SMOOTH), solver=solvers(adaptive=False, most_steps=2), batch=st.integers(30, 80))
def test_drawn_batches(method, problem, solver, batch):
    """Several tiles, the last one ragged, each with its blocks of perturbations."""
    assume(not refusal(problem, solver))
    assert_twins(rows(problem, np.arange(batch) % problem.batch), method, solver)


@METHODS
@settings(max_examples=5)
@given(problem=problems(SMOOTH), solver=solvers(adaptive=False, most_steps=2))
def test_single_precision(method, problem, solver):
    """float32 with 2^29 times the room."""
    assume(not refusal(problem, solver))
    assert_twins(problem, method, solver, "float32")


@METHODS
def test_large_tiles(method):
    """257 samples are five tiles of 64, of which the last holds one."""
    assert_twins(network_problem(257), method, rn.Solver("rk4", n_steps=2))


@METHODS
@pytest.mark.parametrize("steps", ["shared", "own"])
def test_values_along_chosen_steps(method, steps):
    """At tol 1e-6, in two tiles, where steps are chosen and roundings may move them: 6 - 2 digits, as is claimed."""
    problem, solver = network_problem(35), rn.Solver("dopri5", tol=1e-6, steps=steps)
    got, want = (rn.gradient(problem, method, solver, backend=backend) for backend in ("cpu", "numpy"))
    assert min(rn.compare(got, want).values()) >= 4
