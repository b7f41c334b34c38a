"""The backsolve adjoint of wide networks: the story's gradient, whatever the widths; every barrier is needed."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

import refnode as rn
from refnode.kernels.cuda.continuous import backsolve_adjoint
from refnode.kernels.cuda.tile_backsolve import tile_backsolve
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.whole import refusal
from tests.cuda.launch import OnCpu
from tests.cuda.proof import assert_every_barrier_is_needed, assert_machine_code, assert_ranges
from tests.cuda.test_backsolve import assert_twins
from tests.cuda.test_tiles import CASES, RK4, wide

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["ragged widths", "theta(t), order 2", "control, stacked", "sin"])
def test_gradients_are_the_storys(name):
    """Leaf by leaf; the same bits in another order of threads."""
    make, solver, dtype, _ = CASES[name]
    p = make()
    assert refusal(p, solver) == ""
    assert_twins(p, solver, dtype)


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
    assert_ranges(launch, unused=(14, 17, 18, 20))      # what only estimates of errors need


@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize(("shape", "registers"), [
    (TileCostate("float32", 2, (64, 64, 2)), 208), (TileCostate("float32", 2, (128, 128, 2)), 208),
    (TileCostate("float64", 2, (128, 128, 2), tableau="dopri5", estimates=True), 255),
], ids=["64", "128", "float64"])  # fmt: skip
def test_machine_code(shape, registers, architecture):
    """No spills, at most 48 KB of shared memory, no atomics; in float32 no float64; registers for two blocks of 64."""
    assert assert_machine_code(tile_backsolve, shape, architecture).registers <= registers
