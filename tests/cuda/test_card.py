"""The launch, down to the driver's functions, on a card that is the PTX runner: results, parts, memory, errors."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode.kernels.cuda.adjoint import discrete_adjoint
from refnode.kernels.cuda.driver import Driver, Stopwatch, library, ptx_needs
from tests.cuda.cases import CASES, RK4, problem
from tests.cuda.launch import OnCpu, card
from validation.ptx.driver import PtxDriver
from validation.ptx.run import Fault

pytestmark = pytest.mark.slow


def assert_same(got, want):
    """The same bits in every leaf."""
    assert got.loss == want.loss
    for name, g in want.grads.items():
        np.testing.assert_array_equal(got.grads[name], g, err_msg=name)


@pytest.mark.parametrize("name", ["constant", "galerkin"])
def test_a_card_computes_what_the_kernels_do(name):
    """Parameters, copies and launches pass the driver's functions unharmed, and all memory is given back."""
    make, solver, dtype, keep = CASES[name]
    p, device = make(), card()
    got = discrete_adjoint(p, solver, device, np.dtype(dtype).type, store=keep)
    assert_same(got, discrete_adjoint(p, solver, OnCpu(), np.dtype(dtype).type, store=keep))
    library = device.driver._library
    assert library.launches == 4                    # two segments, there and back
    assert library.used == 0


def test_a_batch_in_parts():
    """Where memory holds a block's tapes at a time, states are those of the whole batch, and so are gradients to the
    rounding of sums in another order; own steps likewise."""
    p = problem(140, 8)
    for solver, memory in ((RK4, 30_000), (rn.Solver("dopri5", tol=1e-3, steps="own"), 160_000)):
        whole = discrete_adjoint(p, solver, OnCpu(), np.float64, store="states")
        small = card(memory=memory)
        parts = discrete_adjoint(p, solver, small, np.float64, store="states")
        assert small.driver._library.launches >= 2 * 2 * 3      # parts, segments; there, there again and back
        np.testing.assert_array_equal(parts.z_T, whole.z_T)
        np.testing.assert_array_equal(parts.adj_t0, whole.adj_t0)
        np.testing.assert_array_equal(parts.stats.grid, whole.stats.grid)
        for name, g in whole.grads.items():
            np.testing.assert_allclose(parts.grads[name], g, rtol=0, atol=1e-13 * max(1.0, np.abs(g).max()))
    with pytest.raises(MemoryError, match=r"do not fit into|out of memory"):
        discrete_adjoint(p, RK4, card(memory=100), np.float64)


def test_copies():
    """There and back; what nobody wrote cannot be read; empty arrays have room; too large ones do not."""
    device = card(memory=1000)
    for a in (np.arange(6.0).reshape(2, 3), np.zeros((0, 4), np.float32), np.array([-1, 2], np.int32)):
        back = device.host(device.array(a))
        np.testing.assert_array_equal(back, a)
        assert back.dtype == a.dtype
    with pytest.raises(Fault, match="nobody wrote"):
        device.host(device.empty((3,), np.float64))
    with pytest.raises(MemoryError, match=r"cuMemAlloc_v2 failed: error 2 \(out of memory\)"):
        device.empty((1000,), np.float64)
    with Stopwatch(device.driver) as watch:
        pass
    assert watch.milliseconds == 0.0


def test_what_must_be_there_first():
    """A machine without a driver, a card too old, and a driver older than the kernels' PTX say so."""
    with pytest.raises(rn.BackendUnavailable, match=r"compute capability 7\.5; kernels need 8\.0 or newer"):
        card(capability=(7, 5))
    with pytest.raises(rn.BackendUnavailable, match=r"the driver speaks CUDA 12\.8, the kernels 13\.0; pip install"):
        discrete_adjoint(problem(3, 8), RK4, card(version=12080), np.float32)
    with pytest.raises(rn.BackendUnavailable, match="no device 1 among the driver's 1"):
        Driver(PtxDriver(), 1)
    assert [Driver(PtxDriver(capability=c)).architecture for c in ((8, 0), (8, 9), (9, 0), (10, 0))] == [
        (8, 0), (8, 0), (9, 0), (9, 0),
    ]  # fmt: skip
    assert (ptx_needs(".version 8.7\n"), ptx_needs(".version 9.0\n")) == ((12, 7), (13, 0))
    try:
        library()
    except rn.BackendUnavailable as error:
        assert "no NVIDIA driver" in str(error)     # noqa: PT017  on a machine with a card there is none to raise


def test_backend_cuda(runner):
    """rn.gradient and rn.solve run on the card and say so; dense output follows the accepted steps."""
    p, solver = problem(70, 8), rn.Solver("rk4", n_steps=3)
    got, want = rn.gradient(p, solver=solver, backend="cuda"), rn.gradient(p, solver=solver, backend="numpy")
    assert (got.backend, got.reason) == ("cuda", "asked for, in float64, on PTX runner")
    for name, g in want.grads.items():
        np.testing.assert_allclose(got.grads[name], g, rtol=0, atol=1e-12 * max(1.0, np.abs(g).max()), err_msg=name)
    mine, story = rn.solve(p, solver, backend="cuda"), rn.solve(p, solver, backend="numpy")
    assert mine.backend == "cuda"
    for t in (0.25, 0.5, 1.35):
        np.testing.assert_allclose(mine.z(t), story.z(t), rtol=0, atol=1e-12)
    np.testing.assert_allclose(mine.loss_per_sample, story.loss_per_sample, rtol=1e-12)


def test_backsolve(runner):
    """State and costate go back on the card, by a given grid and by steps of their own; all memory is given back."""
    p = problem(70, 8)
    for solver in (RK4, rn.Solver("dopri5", tol=1e-5, steps="own")):
        got, want = (rn.gradient(p, "backsolve", solver, backend=name, limit=0.1) for name in ("cuda", "numpy"))
        assert (got.backend, got.method) == ("cuda", "backsolve")
        for name, g in want.grads.items():
            np.testing.assert_allclose(got.grads[name], g, rtol=0, atol=1e-11 * max(1.0, np.abs(g).max()), err_msg=name)
        assert runner.driver._library.used == 0


@pytest.mark.parametrize(("words", "why"), [
    ({"method": "quadrature"}, "method 'quadrature' is not compiled for a card"),
    ({"store": "binomial"}, "store='binomial' is not compiled for a card"),
    ({"solver": rn.Solver("dop853", tol=1e-3)}, "adaptive steps of a tableau without FSAL"),
])  # fmt: skip
def test_what_a_card_does_not_compute_is_refused(runner, words, why):
    """With the reason, before anything is launched."""
    with pytest.raises(rn.BackendUnavailable, match=f"^backend='cuda': {why}"):
        rn.gradient(problem(3, 8), **({"solver": RK4} | words), backend="cuda")
    assert runner.driver._library.launches == 0
