"""The backsolve adjoint's PTX gives the story's gradient, on one grid and on grids that trajectories choose."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode.gradients.continuous import BackwardPass
from refnode.integrate import prescribed_steps
from refnode.kernels.cuda.backsolve import backsolve
from refnode.kernels.cuda.continuous import CardPass, backsolve_adjoint
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.costate_solve import Down
from refnode.kernels.cuda.largest import largest
from refnode.kernels.cuda.own import own
from refnode.kernels.cuda.whole import Whole, refusal
from refnode.span import Span
from refnode.steps import stages_of_step
from refnode.values import named
from tests.cuda.cases import CASES, DOPRI5, RK4, problem
from tests.cuda.launch import OnCpu
from tests.cuda.proof import (
    assert_every_barrier_is_needed,
    assert_machine_code,
    assert_ranges,
    assert_unwritten_is_found,
)
from tests.cuda.test_twins import ROUNDINGS
from validation.ptx import counts

OWN = rn.Solver("dopri5", tol=1e-5, steps="own")


def assert_close(got, want, p, solver, dtype):
    """Every leaf within so many roundings of what a gradient sums, as the discrete adjoint knows it."""
    magnitude, roundings = rn.gradient(p, "discrete", solver, backend="numpy").magnitude, ROUNDINGS[dtype]
    largest = max(float(np.max(m, initial=0.0)) for m in magnitude.values())
    for name, g in want.items():
        room = roundings * (float(np.max(magnitude[name], initial=0.0)) + 1e-3 * largest)
        assert np.max(np.abs(got[name] - g), initial=0.0) <= room, name


def assert_twins(p, solver, dtype):
    """The story's gradient, and its bits again in another order of threads."""
    kind = np.dtype(dtype).type
    got, want = (
        backsolve_adjoint(p, solver, OnCpu(), kind, limit=1.0),
        rn.gradient(p, "backsolve", solver, backend="numpy", limit=1.0),
    )
    assert_close(got.grads, want.grads, p, solver, dtype)
    np.testing.assert_allclose(got.adj_t0, want.adj_t0, rtol=0, atol=ROUNDINGS[dtype] * np.abs(want.adj_t0).max() * 100)
    again = backsolve_adjoint(p, solver, OnCpu(order=3), kind, limit=1.0)
    for leaf, g in got.grads.items():
        np.testing.assert_array_equal(again.grads[leaf], g, err_msg=leaf)


FAST = ("constant", "galerkin")
SLOW = ("dopri5", "interval", "stacked", "order 2", "control", "time in every layer", "relu")


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_twins(name):
    """Depth variance, order 2, control, time input, activations, tableaux, precisions, on uniform grids."""
    make, solver, dtype, _ = CASES[name]
    p = make()
    assert refusal(p, solver) == ""
    assert_twins(p, solver, dtype)


@pytest.mark.slow
@settings(max_examples=12)
@given(st.integers(1, 130), st.integers(0, 10**6), st.sampled_from((RK4, DOPRI5, OWN)))
def test_ragged_blocks(batch, seed, solver):
    """Any number of trajectories: blocks that are full, ragged, and of one."""
    p = problem(batch, 8, seed=seed)
    p = replace(p, loss=rn.Loss(p.loss.terminal, p.loss.observations)) if solver is OWN else p
    got = backsolve_adjoint(p, solver, OnCpu(), np.float64, limit=1.0)
    want = rn.gradient(p, "backsolve", solver, backend="numpy", limit=1.0)
    assert_close(got.grads, want.grads, p, solver, "float64")


class Replayed(BackwardPass):
    """The story's backward pass behind another's forward solve, down grids of fractions (N + 1, b) of each segment."""

    def __init__(self, other, grids):
        forward = replace(other.forward, steps=[[] for _ in other.spans])
        super().__init__(other.problem, other.values, forward, other.solver)
        self.grids = grids

    def sweep(self, i, adj):
        """Steps on the grid, where z is the story's beside it."""
        d, tableau, span = self.d, self.solver.tableau, self.spans[i]

        def rhs(t, u):
            return np.concatenate([self.rate(i, t, u[:, :d]), self.costate_rate(i, t, u[:, :d], u[:, d:])], axis=1)

        u = np.concatenate([self.forward.at_bounds[i + 1][:, :d], adj], axis=1)
        for step in prescribed_steps(rhs, Span(span.end, span.start), u, self.grids[i], tableau):
            stages = stages_of_step(step.h, step.y, step.k, tableau)
            self.gather(i, step, [stage[:, :d] for stage in stages], [stage[:, d:] for stage in stages])
            u = step.y_new
        return u[:, d:]


def sweep_of(back):
    """How a backward pass takes the costate down a segment, with the forward solve's z beside it."""
    def sweep(i, adj):
        return back.down(i, np.concatenate([back.forward.at_bounds[i + 1][:, : back.d], adj], axis=1))[:, back.d :]

    return sweep


@pytest.fixture
def grids(monkeypatch):
    """The fractions down every segment that trajectories chose, by segment."""
    chosen, choose = {}, Down.choose

    def remember(self, i, u, adj_atol):
        found = choose(self, i, u, adj_atol)
        chosen[i] = found[0]
        return found

    monkeypatch.setattr(Down, "choose", remember)
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_of_their_own(grids, dtype):
    """On the grids that trajectories chose, the story's integrals, and the errors that it estimates: a warp is the
    batch here. In float64 the story chooses the same grids.
    """
    p, kind = problem(32, 8), np.dtype(dtype).type
    assert refusal(p, OWN) == ""
    back = CardPass(Whole(p, OWN, OnCpu(), kind), True)
    grads, adj_t0 = back.run(sweep_of(back))
    assert len({tuple(column) for column in grids[1].T}) == 32      # each its own
    story = Replayed(back, grids)
    want, want_t0 = story.run(story.sweep)
    assert_close(named(grads, p), named(want, p), p, OWN, dtype)
    roundings = 1e3 * ROUNDINGS[dtype]              # relative to what is summed; t of float32 is rounded, too
    np.testing.assert_allclose(adj_t0, want_t0, rtol=0, atol=roundings * np.abs(want_t0).max())
    room = roundings * story.integral_size.max()
    np.testing.assert_allclose(back.integral_size, story.integral_size, rtol=0, atol=room)
    assert abs(back.integral_error - story.integral_error) <= room
    assert story.integral_error > 2 * room or dtype == "float32"
    np.testing.assert_allclose(back.adj_atol, story.costate_atol(), rtol=1e-3)     # from other forward steps
    if dtype == "float64":
        again = rn.gradient(p, "backsolve", OWN, backend="numpy")
        assert_close(named(grads, p), again.grads, p, OWN, dtype)


@pytest.mark.slow
def test_errors_of_several_warps_add_up(grids):
    """The estimated error of three warps is no less than the batch's, nor are the absolute terms; and not much more."""
    p = problem(70, 8)
    back = CardPass(Whole(p, OWN, OnCpu(), np.float64), True)
    back.run(sweep_of(back))
    story = Replayed(back, grids)
    story.run(story.sweep)
    assert story.integral_error * (1 - 1e-9) <= back.integral_error <= 70 * story.integral_error
    assert np.all(story.integral_size <= back.integral_size + 1e-12)
    assert np.max(back.integral_size) <= 2 * np.max(story.integral_size)


@pytest.mark.slow
def test_a_batch_in_parts():
    """Parts that find room have the states of the whole batch, and its gradient to the rounding of other sums."""
    p = problem(140, 8)
    for solver, memory in ((RK4, 20_000), (OWN, 90_000)):
        whole = backsolve_adjoint(p, solver, OnCpu(), np.float64, limit=1.0)
        device = OnCpu(memory=memory, remember=True)
        parts = backsolve_adjoint(p, solver, device, np.float64, limit=1.0)
        assert len(device.launches) >= 2 * 2 * 2    # parts, segments, there and back
        np.testing.assert_array_equal(parts.adj_t0, whole.adj_t0)
        for name, g in whole.grads.items():
            np.testing.assert_allclose(parts.grads[name], g, rtol=0, atol=1e-13 * max(1.0, np.abs(g).max()))


def contracting(batch=3):
    """z' = -20 z by a field that is linear, whose state grows by exp(20) on its way back."""
    model = rn.NeuralODE(rn.MLP(1, 1, 1, act="identity", bias=False))
    loss = rn.Loss(rn.SquaredError(np.zeros((batch, 1))))
    params = {"theta.W0": np.array([[-20.0]]), "theta.W1": np.array([[1.0]])}
    return rn.Problem(model, params, np.linspace(0.5, 1.0, batch)[:, None], loss)


@pytest.mark.slow
def test_what_is_unreliable_is_refused():
    """z that does not come back, integrals too coarse, a way back that overflows: as the story does, with samples."""
    p = contracting()
    for solver in (rn.Solver("rk4", n_steps=20), rn.Solver("dopri5", tol=1e-3, steps="own")):
        with pytest.raises(rn.UnreliableGradient, match="z solved backwards missed") as caught:
            backsolve_adjoint(p, solver, OnCpu(), np.float64)
        assert caught.value.samples == (0, 1, 2)
    free = backsolve_adjoint(p, rn.Solver("rk4", n_steps=20), OnCpu(), np.float64, check=False)
    want = rn.gradient(p, "backsolve", rn.Solver("rk4", n_steps=20), backend="numpy", check=False)
    np.testing.assert_allclose(free.grads["theta.W0"], want.grads["theta.W0"], rtol=1e-9)
    steep = rn.Problem(p.model, p.params | {"theta.W1": np.array([[6.75]])}, p.x, p.loss)     # h lambda = 2.7
    with pytest.raises(rn.UnreliableGradient, match="the backward solve of state and costate failed") as caught:
        backsolve_adjoint(steep, rn.Solver("rk4", n_steps=50), OnCpu(), np.float32)
    assert caught.value.samples == (0, 1, 2)


@pytest.mark.slow
def test_integrals_too_coarse_are_refused():
    """z' = t v, a polynomial, is solved by steps of any length, along which the integral for theta is not."""
    model = rn.NeuralODE(rn.MLP(2, 1, 2, act="identity", bias=False, time="first"), span=(-1.0, 1.0))
    params = {"theta.W0": np.array([[0.0], [0.0], [1.0]]), "theta.W1": np.array([[0.7, -0.4]])}
    p = rn.Problem(model, params, np.zeros((2, 2)), rn.Loss(running=rn.SquaredNorm(reduction="sum")))
    solver = rn.Solver("dopri5", tol=1e-10, steps="own")
    with pytest.raises(rn.UnreliableGradient, match="parameter integrals"):
        backsolve_adjoint(p, solver, OnCpu(), np.float64)
    got = backsolve_adjoint(p, solver, OnCpu(), np.float64, check=False)
    np.testing.assert_allclose(got.loss, 2 * 0.65 * 4 / 15, rtol=1e-8)
    np.testing.assert_allclose(got.grads["x"], np.tile([-4 / 3 * 0.7, 4 / 3 * 0.4], (2, 1)), rtol=1e-8)


@pytest.fixture(scope="module")
def launches():
    """What the kernels were launched with, by name: steps of their own, and theta(t) on a shared grid."""
    found = {}
    for name, p, solver in (("own", problem(70, 8), OWN), ("galerkin", CASES["galerkin"][0](), RK4)):
        device = OnCpu(remember=True)
        backsolve_adjoint(p, solver, device, np.float32, limit=1.0)
        down = [launch for launch in device.launches if isinstance(launch[1], Costate)]
        found |= {(name, launch[0].__name__): launch for launch in down}
    return found


KERNELS = [("own", "backsolve"), ("own", "own"), ("own", "largest"), ("galerkin", "backsolve")]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids="-".join)
def test_broken_kernels_are_found(launches, kernel):
    """Without a barrier, with threads that take each other for themselves, with arrays too short, unwritten."""
    launch, (_, name) = launches[kernel], kernel
    assert_every_barrier_is_needed(launch)
    unused = {"own": (12,)}.get(name, ())           # no states are kept on the way down
    if kernel == ("galerkin", "backsolve"):
        unused = (12, 14, 15)                       # what only estimates of errors need
    rows = len(launch[4][13 if name == "own" else 7])
    assert_ranges(launch, unused, {"own": {13: rows - 1}, "largest": {7: rows - 2}}.get(name))     # room to spare
    if name == "largest":
        assert_unwritten_is_found(launch, 7)


PLAIN, EMBEDDED = Costate("float32", 2, 32, 2), Costate("float32", 2, 32, 2, tableau="dopri5", own=True, estimates=True)
BUDGETS = {PLAIN: (64, 2050), EMBEDDED: (88, 2250)}     # registers, instructions of f, its vjp and the integrals
OTHERS = (
    Costate("float64", 2, 32, 2, tableau="dopri5", own=True, estimates=True),
    Costate("float32", 4, 32, 2, "softplus", controls=2, timed=(True, True), running=True),
    Costate("float32", 2, 16, 2, basis=3, timed=(True, False), tableau="dopri5", estimates=True),
)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize(("build", "shape"), [
    *((backsolve, shape) for shape in (*BUDGETS, *OTHERS)), (own, EMBEDDED), (own, OTHERS[0]),
    (largest, OTHERS[1]),
], ids=lambda x: x.__name__ if callable(x) else f"{x.dtype} {x.tableau} {x.basis}")  # fmt: skip
def test_machine_code(build, shape, architecture):
    """No spills, at most 48 KB of shared memory, no atomics; no float64 in float32; instructions within budgets."""
    machine = assert_machine_code(build, shape, architecture)
    if build is backsolve and shape in BUDGETS:
        registers, instructions = BUDGETS[shape]
        assert machine.registers <= registers
        assert counts.instructions(build, shape, architecture)["all"] <= instructions
    if build is own:
        assert machine.registers <= 128             # 8 warps of each scheduler's 16
