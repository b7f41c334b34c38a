"""Steps that trajectories share: the story's grid and its gradients, whatever the norm; the same bits every time."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode.forward import solve_forward
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.continuous import backsolve_adjoint
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.shape import Shape
from refnode.kernels.cuda.shared import attempt, rates
from refnode.kernels.cuda.whole import refusal, solve_forward as solve_on
from tests.cuda.cases import problem
from tests.cuda.launch import OnCpu
from tests.cuda.proof import assert_every_barrier_is_needed, assert_machine_code, assert_ranges
from tests.cuda.test_backsolve import assert_close

pytestmark = pytest.mark.slow
BATCH, WORST = rn.Solver("dopri5", tol=1e-5), rn.Solver("dopri5", tol=1e-5, norm="max")


def apart(batch=5, seed=0):
    """Spans that differ between samples, and data control."""
    p = problem(batch, 5, inputs=4, control="x", seed=seed)
    loss = rn.Loss(p.loss.terminal, None, p.loss.running)
    return rn.Problem(p.model, p.params, p.x, loss, span=(0.25, np.linspace(0.8, 1.4, batch)))


BOTH = {"discrete": discrete_adjoint, "backsolve": backsolve_adjoint}
LOOSE = {"discrete": {}, "backsolve": {"check": False}}     # any weights: z need not come back
CASES = {
    "batch": (lambda b=70, seed=0: problem(b, 8, seed=seed), BATCH, BOTH),
    "worst": (lambda b=70, seed=0: problem(b, 8, seed=seed), WORST, BOTH),
    "theta(t)": (lambda b=5, seed=0: problem(b, 8, rn.Galerkin(rn.Fourier(1)), seed=seed), BATCH, ("backsolve",)),
    "apart": (apart, BATCH, ("discrete",)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_grid_is_the_storys(name):
    """In float64 the same steps are accepted and rejected, forwards and, for the costate, backwards; and gradients are
    the story's on them. Another order of threads gives the same bits.
    """
    make, solver, methods = CASES[name]
    p = make()
    assert refusal(p, solver) == ""
    for method in methods:
        adjoint = BOTH[method]
        got, want = adjoint(p, solver, OnCpu(), np.float64), rn.gradient(p, method, solver, backend="numpy")
        assert (got.stats.nfe, got.stats.accepted, got.stats.rejected) == (
            want.stats.nfe, want.stats.accepted, want.stats.rejected,
        )  # fmt: skip
        np.testing.assert_allclose(got.stats.grid, want.stats.grid, rtol=1e-6)  # a step follows a difference
        assert_close(got.grads, want.grads, p, solver, "float64")
        again = adjoint(p, solver, OnCpu(order=3), np.float64)
        for leaf, g in got.grads.items():
            np.testing.assert_array_equal(again.grads[leaf], g, err_msg=leaf)


@settings(max_examples=15)
@given(st.sampled_from(sorted(CASES)), st.integers(1, 130), st.integers(0, 10**6), st.data())
def test_drawn_batches(name, batch, seed, data):
    """Any number of trajectories and any weights, of widths, controls and depths that are compiled once."""
    make, solver, methods = CASES[name]
    p, method = make(batch, seed), data.draw(st.sampled_from(sorted(methods)))
    got, want = (
        BOTH[method](p, solver, OnCpu(), np.float64, **LOOSE[method]),
        rn.gradient(p, method, solver, backend="numpy", **LOOSE[method]),
    )
    assert (got.stats.accepted, got.stats.rejected) == (want.stats.accepted, want.stats.rejected)
    assert_close(got.grads, want.grads, p, solver, "float64")


def test_float32():
    """The grid is chosen in float32, where errors of steps are rounded; gradients are right to the tolerance."""
    p = problem(70, 8)
    for method, adjoint in BOTH.items():
        got, want = adjoint(p, BATCH, OnCpu(), np.float32), rn.gradient(p, method, BATCH, backend="numpy")
        for name, g in want.grads.items():
            assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= 100 * 1e-5 * max(1.0, np.abs(g).max()), name
        again = adjoint(p, BATCH, OnCpu(order=3), np.float32)
        np.testing.assert_array_equal(again.stats.grid, got.stats.grid)
        np.testing.assert_array_equal(again.adj_t0, got.adj_t0)


def ends_of_steps(forward):
    """Fractions of each segment's way, of all trajectories or of each one, without the steps that one waits."""
    return [np.unique(s) for a in forward.grid.fractions for s in a.reshape(len(a), -1).T]


def assert_same_grid(got, want):
    """As many steps are accepted and rejected in two forward solves, and they are the same ones."""
    np.testing.assert_array_equal(got.statistics.accepted, want.statistics.accepted)
    np.testing.assert_array_equal(got.statistics.rejected, want.statistics.rejected)
    for s, s_want in zip(ends_of_steps(got), ends_of_steps(want), strict=True):
        np.testing.assert_allclose(s, s_want, rtol=0, atol=1e-6)        # a step follows a difference


def test_rejected_steps():
    """A first step far too long is rejected, and counted, as in the story."""
    p, solver = problem(70, 8), rn.Solver("dopri5", tol=1e-7, first_step=0.35)
    got, want = discrete_adjoint(p, solver, OnCpu(), np.float64), rn.gradient(p, "discrete", solver, backend="numpy")
    assert got.stats.rejected == want.stats.rejected > 0
    np.testing.assert_allclose(got.stats.grid, want.stats.grid, rtol=1e-6)


def with_a_front():
    """A field that is nearly constant in t until all its neurons turn over at t = 0.8: a step that reaches the front is
    rejected, and what is left of it short of the front has so small an error that the next one would grow.
    """
    p = problem(5, 8)
    W, b = np.array(p.params["theta.W0"]), np.array(p.params["theta.b0"])
    W[-1] *= 40
    return rn.Problem(p.model, p.params | {"theta.W0": W, "theta.b0": b - 0.8 * W[-1]}, p.x, p.loss)


@pytest.mark.parametrize("steps", ["shared", "own"])
def test_no_step_grows_after_a_rejection(steps):
    """Where the error alone would make it grow, the step after the accepted one is as long as that one, as in the
    story."""
    p, solver = with_a_front(), rn.Solver("dopri5", tol=1e-5, steps=steps)
    (got, _), want = solve_on(p, solver, OnCpu(), np.float64), solve_forward(p, p.resolved, solver)
    assert_same_grid(got, want)
    assert np.max(want.statistics.rejected) > 0
    assert any(np.any(np.abs(np.diff(s, 2)) < 1e-12) for s in ends_of_steps(want))


@pytest.mark.parametrize(("solver", "x", "error"), [
    (rn.Solver("dopri5", tol=1e-9, max_steps=3), 0.5, rn.TooManySteps),
    (rn.Solver("dopri5", tol=1e-5, first_step=0.1), 3e38, rn.NonFiniteState),
    (rn.Solver("dopri5", rtol=1e-17, atol=1e-17), 0.5, rn.StepUnderflow),
])  # fmt: skip
def test_faults(solver, x, error):
    """Too many steps, a state that overflows, a tolerance below float32: no step is taken for granted."""
    p = problem(5, 8)
    other = np.array(p.x)
    other[3] = x
    with pytest.raises(error):
        discrete_adjoint(rn.Problem(p.model, p.params, other, p.loss), solver, OnCpu(), np.float32)


@pytest.fixture(scope="module")
def launches():
    """What the kernels were launched with, by name and shape."""
    p, device = problem(70, 8), OnCpu(remember=True)
    backsolve_adjoint(p, BATCH, device, np.float32, limit=1.0)
    return {(launch[0].__name__, type(launch[1]).__name__): launch for launch in device.launches}


BROKEN = [(name, shape) for name in ("attempt", "rates") for shape in ("Shape", "Costate")]


@pytest.mark.parametrize("kernel", BROKEN, ids="-".join)
def test_broken_kernels_are_found(launches, kernel):
    """Without a barrier, with threads that take each other for themselves, with arrays too short."""
    assert_every_barrier_is_needed(launches[kernel])
    unused = (9,) if kernel == ("attempt", "Shape") else ()     # adj_atol alone
    assert_ranges(launches[kernel], unused, {0: 2} if kernel == ("rates", "Shape") else {})     # F does not read q


@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize(("build", "shape", "registers"), [
    (attempt, Shape("float32", 2, 32, 2, tableau="dopri5"), 80), (rates, Shape("float32", 2, 32, 2), 48),
    (attempt, Costate("float32", 2, 32, 2, tableau="dopri5"), 96),
    (attempt, Costate("float64", 2, 16, 2, basis=3, tableau="dopri5"), 168),
], ids=lambda x: str(x) if isinstance(x, int) else "")  # fmt: skip
def test_machine_code(build, shape, registers, architecture):
    """No spills, at most 48 KB of shared memory, no atomics; no float64 in float32; registers for enough warps."""
    assert assert_machine_code(build, shape, architecture).registers <= registers
