"""Memory is asked for once and used again; what a method holds goes with the steps as its docstring says."""

import gc
import tracemalloc

import numpy as np
import pytest

import refnode as rn
from refnode.kernels.workspace import WORK

BATCH = 64
CONSTANT = 3 * 2**20  # bytes that do not depend on the steps: parameters, scratch, cotangents of a group of stages
STEP = 200  # bytes a step in records of the grid: fractions, depths, numbers of the stages


def network():
    """A problem whose field depends on t."""
    rng = np.random.default_rng(0)
    model = rn.NeuralODE(rn.MLP(2, 64, 64, 2, time="first"))
    params = {name: 0.3 * rng.standard_normal(shape) for name, shape in model.shapes.items()}
    return rn.Problem(model, params, rng.standard_normal((BATCH, 2)), rn.Loss(rn.SquaredError(np.zeros((BATCH, 2)))))


def asked(method, solver, **options):
    """Bytes at the peak of a gradient over what there was before, and the result."""
    problem = network()
    problem.resolved  # noqa: B018  kept by the problem
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = rn.gradient(problem, method, solver, backend="cpu", **options)
        return tracemalloc.get_traced_memory()[1] - before, result
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    """Every kernel has run once."""
    for method in ("discrete", "backsolve", "interpolating", "quadrature"):
        rn.gradient(network(), method, rn.Solver("rk4", n_steps=40), backend="cpu")
    rn.gradient(network(), "discrete", rn.Solver("dopri5", tol=1e-3, steps="own"), backend="cpu")


@pytest.fixture(autouse=True)
def _cleared():
    """The thread holds no workspace."""
    WORK.clear()


def test_a_tape_of_fixed_steps_is_asked_for_once():
    """All stages of 300 steps take what they hold, and not the double that growing tapes have."""
    bytes_asked, result = asked("discrete", rn.Solver("rk4", n_steps=300))
    assert result.stats.peak_bytes > 10 * CONSTANT
    assert result.stats.peak_bytes <= bytes_asked <= 1.02 * result.stats.peak_bytes + CONSTANT


def test_a_growing_tape_is_copied_once():
    """Adaptive steps: a full tape, the next, which is twice as large, and the first, at most half of the full one. One
    step past half of the next uses 2 of these 7 parts, and six of the seven stages for which there is room.
    """
    bytes_asked, result = asked("discrete", rn.Solver("dopri5", tol=1e-11))
    assert result.stats.accepted > 2 * 32  # the first tape is outgrown
    assert bytes_asked <= 7 / 2 * 7 / 6 * result.stats.peak_bytes + CONSTANT


def test_outgrown_tapes_are_given_back():
    """After solves of more and more steps a thread holds the arrays of its workspace, and no tape that it outgrew."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in (50, 100, 200):
            rn.gradient(network(), "discrete", rn.Solver("rk4", n_steps=n), backend="cpu")
        gc.collect()
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert left <= sum(array.nbytes for array in WORK.arrays.values()) + CONSTANT


@pytest.mark.parametrize("steps", ["shared", "own"])
def test_the_workspace_is_used_again(steps):
    """A second gradient finds its tape: it asks for no more than what does not depend on the steps."""
    solver = rn.Solver("dopri5", tol=1e-10, steps=steps)
    first, result = asked("discrete", solver)
    again, same = asked("discrete", solver)
    assert again <= CONSTANT + STEP * BATCH * int(np.max(result.stats.accepted))
    assert steps == "own" or first > 4 * again
    for name, g in result.grads.items():
        np.testing.assert_array_equal(same.grads[name], g)


def test_backsolve_is_flat():
    """Twenty times the steps take no more memory, but for the record of the grid."""
    few, many = (asked("backsolve", rn.Solver("rk4", n_steps=n))[0] for n in (40, 800))
    assert many - few <= STEP * 760
    assert many <= CONSTANT


@pytest.mark.parametrize("method", ["interpolating", "quadrature"])
def test_dense_output_is_linear(method):
    """What 1200 more steps take is 6 times what 200 more take, to a tenth."""
    by = {}
    for n in (200, 400, 1600):
        WORK.clear()
        by[n] = asked(method, rn.Solver("rk4", n_steps=n))[0]
    assert by[1600] - by[400] == pytest.approx(6 * (by[400] - by[200]), rel=0.1)


def test_checkpoints_take_what_they_are_given():
    """With room for five states, 400 steps ask for no more than a tape of one step."""
    five, solver = 5 * BATCH * 16, rn.Solver("rk4", n_steps=400)
    bytes_asked, result = asked("discrete", solver, store="binomial", memory_bytes=five)
    assert result.stats.peak_bytes <= five
    assert bytes_asked <= CONSTANT
