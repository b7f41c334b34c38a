"""The backsolve adjoint of wide networks: the story's gradient, whatever the widths; every barrier is needed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode.forward import solve_forward
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.continuous import CardPass, backsolve_adjoint
from refnode.kernels.cuda.tile_backsolve import tile_backsolve
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_costate_solve import TileDown
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_shared import tile_attempt
from refnode.kernels.cuda.whole import Whole, refusal, solve_forward as solve_on
from tests.cuda.launch import OnCpu
from tests.cuda.proof import assert_every_barrier_is_needed, assert_machine_code, assert_ranges
from tests.cuda.test_backsolve import Replayed, assert_close, assert_twins, sweep_of
from tests.cuda.test_shared import assert_same_grid
from tests.cuda.test_tiles import CASES, RK4, wide

pytestmark = pytest.mark.slow


NAMES = ("ragged widths", "theta(t), order 2", "control, stacked", "sin")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_storys(name):
    """Leaf by leaf; the same bits in another order of threads."""
    make, solver, dtype, _ = CASES[name]
    p = make()
    assert refusal(p, solver) == ""
    assert_twins(p, solver, dtype)


@settings(max_examples=8)
@given(st.sampled_from(NAMES), st.integers(1, 70), st.integers(0, 10**6))
def test_drawn_batches(name, batch, seed):
    """Any number of trajectories and any weights, of widths, depths and time inputs that are compiled once."""
    make, solver, dtype, _ = CASES[name]
    p, kind = make(batch, seed), np.dtype(dtype).type
    got = backsolve_adjoint(p, solver, OnCpu(), kind, limit=1.0)
    assert_close(got.grads, rn.gradient(p, "backsolve", solver, backend="numpy", limit=1.0).grads, p, solver, dtype)


def test_several_tiles():
    """Two tiles in float64, the last one ragged, with theta(t) that follows the span."""
    assert_twins(wide(67, 2, 24, 12, 2, theta=rn.Galerkin(rn.Legendre(2))), RK4, "float64")


@pytest.fixture(scope="module")
def launch():
    """What the kernel of three layers was launched with."""
    device = OnCpu(remember=True)
    backsolve_adjoint(wide(34, 2, 24, 20, 9, 2, theta=rn.Galerkin(rn.Fourier(1))), RK4, device, np.float32, limit=1.0)
    return device.launches[-1]


def test_broken_kernels_are_found(launch):
    """Without a barrier, with threads that take each other for themselves, with arrays too short."""
    assert launch[0] is tile_backsolve
    assert_every_barrier_is_needed(launch)
    assert_ranges(launch, unused=(15, 18, 19, 21))      # what only estimates of errors need


@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize(("shape", "registers"), [
    (TileCostate("float32", 2, (64, 64, 2)), 208), (TileCostate("float32", 2, (128, 128, 2)), 208),
    (TileCostate("float64", 2, (128, 128, 2), tableau="dopri5", estimates=True), 255),
], ids=["64", "128", "float64"])  # fmt: skip
def test_machine_code(shape, registers, architecture):
    """No spills, at most 48 KB of shared memory, no atomics; in float32 no float64; registers for two blocks of 64."""
    assert assert_machine_code(tile_backsolve, shape, architecture).registers <= registers


SHARED = rn.Solver("dopri5", tol=1e-4)


@pytest.mark.parametrize("method", ["discrete", "backsolve"])
def test_shared_steps(method):
    """In float64 the story's grid and gradient, where two tiles choose steps together, on spans that may differ."""
    p = wide(67, 2, 24, 12, 2)
    p = replace(p, span=(0.25, np.linspace(1.1, 1.4, 67))) if method == "discrete" else p
    adjoint = {"discrete": discrete_adjoint, "backsolve": backsolve_adjoint}[method]
    got, want = adjoint(p, SHARED, OnCpu(), np.float64), rn.gradient(p, method, SHARED, backend="numpy")
    np.testing.assert_allclose(got.stats.grid, want.stats.grid, rtol=1e-6)      # a step follows a difference
    assert_close(got.grads, want.grads, p, SHARED, "float64")
    if method == "backsolve":
        again = adjoint(p, SHARED, OnCpu(order=3), np.float64)
        for leaf, g in got.grads.items():
            np.testing.assert_array_equal(again.grads[leaf], g, err_msg=leaf)


@settings(max_examples=10)
@given(st.sampled_from(((24, 12), (33, 7, 5))), st.integers(1, 70), st.integers(0, 10**6))
def test_drawn_grids(widths, batch, seed):
    """In float64 the story's grid, of any number of trajectories and any weights."""
    p = wide(batch, 2, *widths, 2, seed=seed)
    assert_same_grid(solve_on(p, SHARED, OnCpu(), np.float64)[0], solve_forward(p, p.resolved, SHARED))


def test_errors_of_the_integrals():
    """The estimated error of one tile is the batch's: that of the story on the grid that was chosen."""
    p = wide(9, 2, 24, 12, 2)
    back = CardPass(Whole(p, SHARED, OnCpu(), np.float64).settled(), True)
    grids, gather = {}, TileDown.gather

    def remember(self, i, u, fractions):
        grids[i] = fractions
        return gather(self, i, u, fractions)

    TileDown.gather = remember
    try:
        back.run(sweep_of(back))
    finally:
        TileDown.gather = gather
    story = Replayed(back, grids)
    story.run(story.sweep)
    room = 1e-9 * story.integral_size.max()
    np.testing.assert_allclose(back.integral_size, story.integral_size, rtol=0, atol=room)
    assert abs(back.integral_error - story.integral_error) <= room < story.integral_error / 2


def test_a_batch_in_parts():
    """Where a solve keeps nothing a part must find room for the sums of its way down all the same."""
    p = wide(140, 2, 24, 12, 2)
    run = Whole(p, RK4, OnCpu(), np.float64).run(slice(0, 140), "nothing")
    assert run.bytes_held < 0.5 * run.bytes_of_sums
    device = OnCpu(memory=round(0.6 * run.bytes_of_sums), remember=True)
    parts, whole = (backsolve_adjoint(p, RK4, d, np.float64, check=False) for d in (device, OnCpu()))
    assert [launch[0] for launch in device.launches].count(tile_backsolve) == 3 * 2         # parts, segments
    np.testing.assert_array_equal(parts.adj_t0, whole.adj_t0)
    for name, g in whole.grads.items():
        np.testing.assert_allclose(parts.grads[name], g, rtol=0, atol=1e-13 * max(1.0, np.abs(g).max()))


def test_broken_attempts_are_found():
    """A step of all tiles, of y and of state and costate, and rates: without a barrier, with arrays too short."""
    device = OnCpu(remember=True)
    backsolve_adjoint(wide(34, 2, 24, 20, 2, theta=rn.Galerkin(rn.Fourier(1))), SHARED, device, np.float32, limit=1.0)
    found = {(launch[0].__name__, type(launch[1]).__name__): launch for launch in device.launches}
    assert_every_barrier_is_needed(found["tile_attempt", "TileCostate"])
    assert_ranges(found["tile_attempt", "TileCostate"])
    assert_every_barrier_is_needed(found["tile_attempt", "TileShape"])
    assert_every_barrier_is_needed(found["tile_rates", "TileShape"])
    assert_every_barrier_is_needed(found["tile_rates", "TileCostate"])
    assert_ranges(found["tile_forward", "TileShape"], unused=(11, 12))      # tapes that are not kept


@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize("shape", [
    TileShape("float32", 2, (64, 64, 2), tableau="dopri5"), TileCostate("float32", 2, (64, 64, 2), tableau="dopri5"),
], ids=["state", "costate"])  # fmt: skip
def test_machine_code_of_attempts(shape, architecture):
    """No spills, at most 48 KB of shared memory, no atomics, no float64; registers for two blocks of 64."""
    assert assert_machine_code(tile_attempt, shape, architecture).registers <= 208
