"""Steps of each trajectory's own in wide networks: the story's steps and gradients; whoever waits disturbs nobody."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode import forward
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.continuous import CardPass, backsolve_adjoint
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_costate_solve import TileDown
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
from tests.cuda.test_twins import ROUNDINGS

pytestmark = pytest.mark.slow
OWN = rn.Solver("dopri5", tol=1e-4, steps="own")
HASTY = rn.Solver("dopri5", tol=1e-6, steps="own", first_step=0.35)
WIDTHS = (2, 20, 12, 2)


def ends_of_steps(grid):
    """Each trajectory's fractions, segment by segment, without those at which it waited."""
    return [np.unique(column) for s in grid.fractions for column in s.T]


@settings(max_examples=8)
@given(st.integers(1, 70), st.integers(0, 10**6), st.sampled_from(((OWN, 1.0), (HASTY, 6.0))))
def test_steps_are_the_storys(batch, seed, case):
    """In float64 each trajectory's steps are accepted and rejected as in the story, whatever the others in its tile
    need; where weights are large, many are rejected, and the next would be longer if it might."""
    p, (solver, scale) = wide(batch, *WIDTHS, seed=seed), case
    p = rn.Problem(p.model, {name: scale * leaf for name, leaf in p.params.items()}, p.x, p.loss)
    got, _ = solve_forward(p, solver, OnCpu(), np.float64)
    want = forward.solve_forward(p, p.resolved, solver)
    np.testing.assert_array_equal(got.statistics.accepted, want.statistics.accepted)
    np.testing.assert_array_equal(got.statistics.rejected, want.statistics.rejected)
    for mine, theirs in zip(ends_of_steps(got.grid), ends_of_steps(want.grid), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)         # a step follows a difference
    for mine, theirs in zip(got.at_bounds, want.at_bounds, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * OWN.rtol)      # of a step's error


def discrete(p, solver, device, dtype, limit=None):
    """The discrete adjoint, called as the other."""
    return discrete_adjoint(p, solver, device, dtype)


ADJOINTS = {"discrete": discrete, "backsolve": backsolve_adjoint}


@settings(max_examples=4)
@given(st.integers(1, 70), st.integers(0, 10**6))
def test_gradients_are_the_storys(batch, seed):
    """In float64, by both methods, with running losses; the same bits in another order of threads."""
    p = wide(batch, *WIDTHS, seed=seed)
    assert refusal(p, OWN) == ""
    for method, adjoint in ADJOINTS.items():
        got, again = (adjoint(p, OWN, OnCpu(order=order), np.float64, limit=1.0) for order in (0, 3))
        want = rn.gradient(p, method, OWN, backend="numpy")
        magnitude = rn.gradient(p, "discrete", OWN, backend="numpy").magnitude
        for name, g in want.grads.items():          # grids differ by 1e-6, their gradients by as much of the tolerance
            room = 1e-6 * OWN.rtol * max(1.0, float(np.max(magnitude[name], initial=0.0)))
            assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= room, name
            np.testing.assert_array_equal(again.grads[name], got.grads[name], err_msg=name)


def second_order(batch):
    """With data control, pieces of theta(t), and one hidden layer."""
    return wide(batch, 6, 40, 2, theta=rn.Stacked(2), control="x", order=2, init="position", time="first")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_given_grids(dtype):
    """Each trajectory on the grid that the story chose for it, to rounding; in float32 with order 2, data control and
    pieces of theta(t)."""
    p, solver = wide(35, *WIDTHS), rn.Solver("dopri5", tol=1e-6, steps="own")
    if dtype == "float32":
        p = second_order(20)
    grid, device = forward.solve_forward(p, p.resolved, solver).grid, OnCpu(remember=True)
    assert any((s[-2] == 1).any() and (s[-2] < 1).any() for s in grid.fractions)    # some wait for others
    got = discrete_adjoint(p, solver, device, np.dtype(dtype).type, grid, store="states")
    assert_close(got.grads, rn.gradient(p, "discrete", solver, backend="numpy").grads, p, solver, dtype)
    for build, shape, *_ in device.launches:
        assert_machine_code(build, shape, (9, 0))


def test_own_steps_in_float32():
    """Gradients of the grids that float32 chooses are right to the tolerance."""
    p = second_order(5)
    got, want = discrete_adjoint(p, OWN, OnCpu(), np.float32), rn.gradient(p, "discrete", OWN, backend="numpy")
    for name, g in want.grads.items():
        room = 100 * OWN.rtol * max(1.0, float(np.max(want.magnitude[name], initial=0.0)))
        assert np.max(np.abs(got.grads[name] - g), initial=0.0) <= room, name


def test_integrals_on_the_grids_that_were_chosen(monkeypatch):
    """Those of the story, to rounding, and the errors that it estimates: a tile is the batch here."""
    grids, choose = {}, TileDown.choose

    def remember(self, i, u, adj_atol):
        found = choose(self, i, u, adj_atol)
        grids[i] = found[0]
        return found

    monkeypatch.setattr(TileDown, "choose", remember)
    p = wide(35, *WIDTHS)
    back = CardPass(Whole(p, OWN, OnCpu(), np.float64), True)
    grads, adj_t0 = back.run(sweep_of(back))
    assert len({tuple(column) for column in grids[1].T}) == 35      # each its own
    story = Replayed(back, grids)
    want, want_t0 = story.run(story.sweep)
    assert_close(named(grads, p), named(want, p), p, OWN, "float64")
    room = 1e3 * ROUNDINGS["float64"]               # relative to what is summed
    np.testing.assert_allclose(adj_t0, want_t0, rtol=0, atol=room * np.abs(want_t0).max())
    room *= story.integral_size.max()
    np.testing.assert_allclose(back.integral_size, story.integral_size, rtol=0, atol=room)
    assert abs(back.integral_error - story.integral_error) <= room < story.integral_error / 2
    np.testing.assert_allclose(back.adj_atol, story.costate_atol(), rtol=1e-3)      # from other forward steps


def test_one_that_fails_does_not_poison_its_tile():
    """A trajectory whose |z|^2 overflows is named; the others have the gradient that they have without it."""
    p = wide(5, *WIDTHS)
    x = np.array(p.x)
    x[4] = 1e200
    with pytest.raises(rn.NonFiniteState) as caught:
        discrete_adjoint(rn.Problem(p.model, p.params, x, p.loss), OWN, OnCpu(), np.float64)
    assert caught.value.status == (*("done",) * 4, "NonFiniteState")
    whole = discrete_adjoint(p, OWN, OnCpu(), np.float64)
    np.testing.assert_array_equal(caught.value.finished.adj_t0, whole.adj_t0[:4])
    assert all(np.isfinite(g).all() for g in caught.value.finished.grads.values())


def test_a_batch_in_parts():
    """Parts that find room have the states of the whole batch, and its gradient to the rounding of other sums."""
    p = wide(130, *WIDTHS)
    whole, device = discrete_adjoint(p, OWN, OnCpu(), np.float64), OnCpu(memory=150_000, remember=True)
    parts = discrete_adjoint(p, OWN, device, np.float64)
    assert {launch[2] for launch in device.launches} == {1, 2}      # blocks of parts of 64 and 66
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
    ("tile_own", "TileShape"): (3, 5, 9), ("tile_own", "TileCostate"): (14,), ("tile_gradient", "TileShape"): (5, 17),
    ("tile_backsolve", "TileCostate"): (5, 20), ("tile_largest", "TileCostate"): (),
}  # fmt: skip
TAPES = {"tile_own": (14, 15), "tile_gradient": (16,), "tile_largest": (9,)}       # with room to spare


@pytest.mark.parametrize("kernel", UNUSED, ids="-".join)
def test_broken_kernels_are_found(launches, kernel):
    """Without a barrier, with threads that take each other for themselves, with arrays too short, unwritten."""
    assert_every_barrier_is_needed(launches[kernel])
    spare = {k: len(launches[kernel][4][k]) - 1 for k in TAPES.get(kernel[0], ())}
    assert_ranges(launches[kernel], UNUSED[kernel], spare)
    assert assert_machine_code(*launches[kernel][:2], (9, 0)).registers <= 208


WIDE = {"dtype": "float32", "d": 2, "widths": (64, 64, 2), "timed": (True,) * 3, "tableau": "dopri5", "own": True}


@pytest.mark.parametrize(("shape", "registers"), [(TileShape(**WIDE), 168), (TileCostate(**WIDE), 255)],
                         ids=["state", "costate"])  # fmt: skip
def test_machine_code_of_own_steps(shape, registers):
    """No spills, at most 48 KB of shared memory, no atomics, no float64; registers for six blocks, or four."""
    assert assert_machine_code(tile_own, shape, (8, 0)).registers <= registers
