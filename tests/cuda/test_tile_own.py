"""Steps of each trajectory's own in wide networks: the story's steps and gradients; whoever waits disturbs nobody."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode import forward
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.continuous import CardPass, backsolve_adjoint
from refnode.kernels.cuda.tile_backsolve import tile_backsolve
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_costate_solve import TileDown
from refnode.kernels.cuda.tile_gradient import tile_gradient
from refnode.kernels.cuda.tile_own import tile_own
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.whole import Whole, refusal, solve_forward
from refnode.values import named
from tests.cuda.launch import OnCpu
from tests.cuda.proof import (
    assert_every_barrier_is_needed,
    assert_machine_code,
    assert_ranges,
)
from tests.cuda.test_backsolve import Replayed, assert_close, sweep_of
from tests.cuda.test_tiles import wide
from tests.cuda.test_twins import ROUNDINGS, assert_twins

pytestmark = pytest.mark.slow
OWN = rn.Solver("dopri5", tol=1e-4, steps="own")
WIDTHS = (2, 20, 12, 2)


@settings(max_examples=5)
@given(st.integers(1, 70), st.integers(0, 10**6), st.sampled_from((0.0, 0.3)))
def test_steps_are_the_storys(batch, seed, first_step):
    """In float64 each trajectory's steps are accepted and rejected as in the story, whatever the others in its tile
    need; a first step that is far too long is rejected."""
    p, solver = wide(batch, *WIDTHS, seed=seed), replace(OWN, first_step=first_step or None)
    got, _ = solve_forward(p, solver, OnCpu(), np.float64)
    want = forward.solve_forward(p, p.resolved, solver)
    np.testing.assert_array_equal(got.statistics.accepted, want.statistics.accepted)
    np.testing.assert_array_equal(got.statistics.rejected, want.statistics.rejected)
    for mine, theirs in zip(got.grid.fractions, want.grid.fractions, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)         # a step follows a difference
    for mine, theirs in zip(got.at_bounds, want.at_bounds, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * OWN.rtol)      # of a step's error


def assert_same_bits(adjoint, p, dtype):
    """Two orders of threads give the same gradient, which is returned."""
    first, again = (adjoint(p, OWN, OnCpu(order=order), dtype, limit=1.0) for order in (0, 3))
    np.testing.assert_array_equal(again.adj_t0, first.adj_t0)
    for leaf, g in first.grads.items():
        np.testing.assert_array_equal(again.grads[leaf], g, err_msg=leaf)
    return first


@settings(max_examples=4)
@given(st.integers(1, 40), st.integers(0, 10**6))
def test_gradients_are_the_storys(batch, seed):
    """In float64, by both methods, with running losses; t enters every layer."""
    p = wide(batch, *WIDTHS, seed=seed)
    assert refusal(p, OWN) == ""
    for method, adjoint in (("discrete", discrete), ("backsolve", backsolve_adjoint)):
        got, want = assert_same_bits(adjoint, p, np.float64), rn.gradient(p, method, OWN, backend="numpy")
        assert (got.stats.accepted == want.stats.accepted).all()
        magnitude = rn.gradient(p, "discrete", OWN, backend="numpy").magnitude
        for name, g in want.grads.items():          # grids differ by 1e-6, their gradients by as much of the tolerance
            room = 1e-6 * OWN.rtol * max(1.0, float(np.max(magnitude[name], initial=0.0)))
            assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= room, name


def discrete(p, solver, device, dtype, limit):
    """The discrete adjoint, called as the other."""
    return discrete_adjoint(p, solver, device, dtype)


def mixed(batch=5):
    """Order 2, data control and pieces of theta(t), one hidden layer."""
    return wide(batch, 6, 40, 2, theta=rn.Stacked(2), control="x", order=2, init="position", time="first")


def test_given_grids():
    """Each trajectory on the grid that the story chose for it, in float32, to rounding."""
    p, solver = mixed(), rn.Solver("bosh3", tol=1e-3, steps="own")
    grid = forward.solve_forward(p, p.resolved, solver).grid
    assert len({len(np.unique(column)) for column in grid.fractions[0].T}) > 1      # some wait for others
    assert_twins(p, solver, "float32", "stages", grid)


def test_integrals_on_the_grids_that_were_chosen(monkeypatch):
    """In float32 those of the story, to rounding, and the errors that it estimates: a tile is the batch here."""
    grids, choose = {}, TileDown.choose

    def remember(self, i, u, adj_atol):
        found = choose(self, i, u, adj_atol)
        grids[i] = found[0]
        return found

    monkeypatch.setattr(TileDown, "choose", remember)
    p = mixed()
    back = CardPass(Whole(p, OWN, OnCpu(), np.float32), True)
    grads, adj_t0 = back.run(sweep_of(back))
    story = Replayed(back, grids)
    want, want_t0 = story.run(story.sweep)
    assert_close(named(grads, p), named(want, p), p, OWN, "float32")
    room = 1e3 * ROUNDINGS["float32"]               # relative to what is summed; t of float32 is rounded, too
    np.testing.assert_allclose(adj_t0, want_t0, rtol=0, atol=room * np.abs(want_t0).max())
    np.testing.assert_allclose(back.integral_size, story.integral_size, rtol=0, atol=room * story.integral_size.max())
    assert abs(back.integral_error - story.integral_error) <= room * story.integral_size.max()
    np.testing.assert_allclose(back.adj_atol, story.costate_atol(), rtol=1e-3)      # from other forward steps


def test_a_batch_in_parts():
    """Parts that find room have the states of the whole batch, and its gradient to the rounding of other sums."""
    p = wide(66, *WIDTHS)
    whole, device = discrete_adjoint(p, OWN, OnCpu(), np.float64), OnCpu(memory=80_000, remember=True)
    parts = discrete_adjoint(p, OWN, device, np.float64)
    assert [launch[2] for launch in device.launches].count(2) <= 1
    np.testing.assert_array_equal(parts.adj_t0, whole.adj_t0)
    for name, g in whole.grads.items():
        np.testing.assert_allclose(parts.grads[name], g, rtol=0, atol=1e-13 * max(1.0, np.abs(g).max()))


@pytest.fixture(scope="module")
def launches():
    """What the kernels were launched with, by name and shape."""
    found = {}
    for adjoint in (discrete, backsolve_adjoint):
        device = OnCpu(remember=True)
        adjoint(wide(5, *WIDTHS), OWN, device, np.float64, limit=1.0)
        found |= {(launch[0].__name__, type(launch[1]).__name__): launch for launch in device.launches}
    return found


UNUSED = {                                          # of theta(t), of a costate, of stages that are not kept
    ("tile_own", "TileShape"): (3, 5), ("tile_own", "TileCostate"): (13,), ("tile_gradient", "TileShape"): (5, 13, 17),
    ("tile_backsolve", "TileCostate"): (5, 13), ("tile_largest", "TileCostate"): (),
}  # fmt: skip


@pytest.mark.parametrize("kernel", UNUSED, ids="-".join)
def test_broken_kernels_are_found(launches, kernel):
    """Without a barrier, with threads that take each other for themselves, with arrays too short, unwritten."""
    assert_every_barrier_is_needed(launches[kernel])
    assert_ranges(launches[kernel], UNUSED[kernel])
    machine = assert_machine_code(*launches[kernel][:2], (9, 0))
    assert machine.registers <= 208


WIDE = {"dtype": "float32", "d": 2, "widths": (64, 64, 2), "timed": (True,) * 3, "tableau": "dopri5", "own": True}


@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize(("shape", "registers"), [(TileShape(**WIDE), 168), (TileCostate(**WIDE), 208)],
                         ids=["state", "costate"])  # fmt: skip
def test_machine_code_of_own_steps(shape, registers, architecture):
    """No spills, at most 48 KB of shared memory, no atomics, no float64; registers for two blocks of 64."""
    assert assert_machine_code(tile_own, shape, architecture).registers <= registers


@pytest.mark.parametrize(("build", "shape"), [
    (tile_gradient, TileShape(**WIDE, keep="states")), (tile_backsolve, TileCostate(**WIDE, estimates=True)),
], ids=["gradient", "backsolve"])  # fmt: skip
def test_machine_code_on_own_grids(build, shape):
    """The same going back."""
    assert_machine_code(build, shape, (9, 0))
