"""A compiled solve is the story's: z(t) between the steps, the loss, statistics, and the words of its failures."""

import numpy as np
import pytest

import refnode as rn
from tests.kernels.test_drawn_twins import moved_by_rounding
from tests.kernels.test_twins import ROUNDINGS, ROUNDINGS_32, network_problem

SOLVERS = {
    "rk4": rn.Solver("rk4", n_steps=7), "dopri5": rn.Solver("dopri5", tol=1e-6),
    "dop853": rn.Solver("dop853", tol=1e-6), "own": rn.Solver("dopri5", tol=1e-6, steps="own"),
    "own without FSAL": rn.Solver("dop853", tol=1e-6, steps="own"),
}  # fmt: skip
DEPTHS = {"1": rn.Constant(), "psi": rn.Galerkin(rn.Fourier(1)), "cells": rn.Stacked(2)}
TIMES = np.array([0.25, 0.26, 0.4, 0.5, 0.71, 1.2, 1.25])


def room(solution, roundings):
    """How far twins may be apart: roundings of the states, and what a grid that they move does to the interpolant.

    Steps whose ends move by a part m of themselves change their error, tol, by (q + 1) m tol.
    """
    size = np.max(np.abs(solution.z(TIMES)))
    if not solution.solver.adaptive:
        return roundings * size
    order, tol = solution.solver.tableau.order, solution.solver.tolerance
    grid = np.atleast_2d(solution.stats.grid.T).T
    return size * (roundings + (order + 1) * tol * moved_by_rounding(grid, solution.solver))


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("theta", DEPTHS.values(), ids=DEPTHS)
@pytest.mark.parametrize("batch", [3, 40])
def test_solutions(batch, theta, solver):
    """z(t) and yhat(t) at bounds, knots and between them; loss, z(T), evaluations and steps."""
    problem = network_problem(batch, theta=theta)
    got, want = (rn.solve(problem, solver, backend=backend) for backend in ("cpu", "numpy"))
    assert (got.backend, want.backend) == ("cpu", "numpy")
    near = room(want, ROUNDINGS)
    assert np.max(np.abs(got.z_T - want.z_T)) <= near
    assert np.max(np.abs(got.z(TIMES) - want.z(TIMES))) <= near
    assert np.max(np.abs(got.y(TIMES) - want.y(TIMES))) <= near
    assert abs(got.loss - want.loss) <= 1e3 * near * max(1.0, abs(want.loss))  # a few squares of states and rates
    np.testing.assert_array_equal(got.stats.accepted, want.stats.accepted)


@pytest.mark.parametrize("solver", [SOLVERS["rk4"], rn.Solver("dopri5", n_steps=9)], ids=["rk4", "dopri5"])
def test_single_precision(solver):
    """float32 with 2^29 times the room."""
    problem = network_problem(40)
    got, want = rn.solve(problem, solver, backend="cpu", dtype="float32"), rn.solve(problem, solver, backend="numpy")
    assert got.reason.endswith("float32")
    assert np.max(np.abs(got.z(TIMES) - want.z(TIMES))) <= room(want, ROUNDINGS_32)


def test_solutions_outlive_the_next_solve():
    """A solution holds its own numbers: the tape on the thread's workspace is the next solve's."""
    problem = network_problem(40)
    first = rn.solve(problem, SOLVERS["dopri5"], backend="cpu")
    own = rn.solve(problem, SOLVERS["own"], backend="cpu")
    rn.solve(network_problem(40, seed=1), SOLVERS["dopri5"], backend="cpu")
    rn.solve(network_problem(40, seed=1), SOLVERS["own"], backend="cpu")
    for solution in (first, own):
        np.testing.assert_allclose(solution.z(1.25), solution.z_T, rtol=1e-13)


def test_failures_are_the_storys():
    """Too many steps raise as they do in the story."""
    (entry,) = rn.catalogue("cycle")
    with pytest.raises(rn.TooManySteps, match="max_steps = 20"):
        rn.solve(entry.problem, rn.Solver("dopri5", tol=1e-6, max_steps=20), backend="cpu")
