"""The machine code of the kernels: nothing spilt, no float64 in float32, shared memory and instructions in bounds."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from refnode.kernels.cuda.backsolve import backsolve
from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.largest import largest
from refnode.kernels.cuda.own import own
from refnode.kernels.cuda.rows import Rows, rows
from refnode.kernels.cuda.shape import MOST_SHARED, Shape
from refnode.kernels.cuda.shared import attempt, rates
from refnode.kernels.cuda.steps import butcher_of
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_backsolve import tile_backsolve
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_gradient import tile_gradient
from refnode.kernels.cuda.tile_largest import tile_largest
from refnode.kernels.cuda.tile_own import tile_own
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_shared import tile_attempt, tile_rates
from refnode.tableau import TABLEAUX
from tests.cuda.cases import BUDGETS
from tests.cuda.proof import assert_machine_code
from validation.ptx import counts
from validation.ptx.assemble import assemble

pytestmark = pytest.mark.slow
BUILD = {"forward": forward, "gradient": gradient}
ARCHITECTURES = [(8, 0), (9, 0)]
OTHERS = [                                          # further shapes that are held to all but the count of instructions
    Shape("float64", 2, 32, 2, keep="states"),
    Shape("float32", 4, 32, 2, "softplus", controls=2, timed=(True, True), running=True, keep="states"),
    Shape("float32", 2, 16, 2, basis=3, timed=(True, False), keep="states"),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=["sm_80", "sm_90"])
@pytest.mark.parametrize(("name", "shape"), BUDGETS, ids=lambda x: x if isinstance(x, str) else x.tableau + x.keep)
def test_instructions_of_an_evaluation(name, shape, architecture):
    """No more than the budget, which is the prototype's count and 10 % where there is one; registers likewise."""
    registers, instructions = BUDGETS[name, shape]
    machine = assemble(ptx(BUILD[name], shape, architecture))
    assert machine.registers <= registers
    assert counts.instructions(BUILD[name], shape, architecture)["all"] <= instructions


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=["sm_80", "sm_90"])
@pytest.mark.parametrize(("name", "shape"), [*BUDGETS, *((name, s) for name in BUILD for s in OTHERS)], ids=str)
def test_nothing_is_spilt(name, shape, architecture):
    """No spills, shared memory of at most 48 KB, no atomics, no calls; no float64 in a float32 kernel."""
    machine = assert_machine_code(BUILD[name], shape, architecture)
    if shape.dtype == "float32":
        assert not [name for name, _, _ in machine.instructions if name.startswith("RET")]      # a subroutine's


THREAD = {"d": 2, "hidden": 16, "out": 2, "timed": (True, False), "running": True, "tableau": "dopri5", "own": True}
TILE = {"d": 2, "widths": (64, 64, 2), "timed": (True,) * 3, "running": True, "tableau": "dopri5", "own": True}
# kernels by what they are compiled for, with budgets for float32: registers and instructions of an evaluation, which
# are those measured and 10 %; where a tile's trajectories have grids of their own, its gradient's are not counted
EVERY = {
    (Shape, "states"): {
        forward: (64, 480), gradient: (104, 2100), own: (128, 480), rates: (32, 490), attempt: (52, 520),
    },
    (Costate, "nothing"): {
        backsolve: (78, 2040), own: (88, 1030), rates: (35, 980), attempt: (66, 1070), largest: (52, 920),
    },
    (TileShape, "states"): {
        tile_forward: (184, 8950), tile_gradient: (216, None), tile_own: (184, 9100), tile_rates: (149, 8890),
        tile_attempt: (184, 9220),
    },
    (TileCostate, "nothing"): {
        tile_backsolve: (218, 32000), tile_own: (255, 16000), tile_rates: (155, 16200), tile_attempt: (203, 16500),
        tile_largest: (159, 16500),
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind[0].__name__)
def test_every_kernel_passes_the_gates(kind, dtype):
    """For both architectures, where everything that a kernel may do is asked of it but theta(t); within budgets."""
    make, keep = kind
    shape = make(dtype=dtype, keep=keep, **(TILE if issubclass(make, TileShape) else THREAD))
    for build, (registers, instructions) in EVERY[kind].items():
        for architecture in ARCHITECTURES:
            machine = assert_machine_code(build, shape, architecture)
            if dtype == "float32":
                assert machine.registers <= registers
                assert instructions is None or counts.instructions(build, shape, architecture)["all"] <= instructions
    assert len(assert_machine_code(rows, Rows(dtype), (9, 0)).instructions) <= 250      # 224 where measured


@pytest.mark.parametrize("shape", [
    TileShape("float64", 28, (64, 64, 28), tableau="dopri5"),
    TileShape("float64", 2, (64, 64, 2), timed=(True,) * 3, basis=5, tableau="dopri5", own=True,
              functions="recurrence"),
], ids=["wide state", "theta(t) of each trajectory's own"])  # fmt: skip
def test_shared_memory_is_counted_in_full(shape):
    """Where activations and weights leave little: tableau, times, psi and the threads' errors find room too."""
    assert shape.fits
    assert_machine_code(tile_attempt, shape, (9, 0))


@settings(max_examples=200)
@given(
    st.sampled_from(["float32", "float64"]), st.integers(1, 60), st.lists(st.integers(1, 128), min_size=1, max_size=3),
    st.integers(0, 12), st.sampled_from(sorted(TABLEAUX)), st.booleans(),
)  # fmt: skip
def test_what_fits_stays_below_the_limit(dtype, d, widths, basis, tableau, timed):
    """Tableau, activations, weights and a number of each thread, with 16 bytes between, are at most 48 KB."""
    functions = "recurrence" if basis else ""
    shape = TileShape(
        dtype, d, (*widths, d), timed=(timed,) * (len(widths) + 1), basis=basis, tableau=tableau, own=True,
        functions=functions,
    )  # fmt: skip
    numbers = butcher_of(shape).size + shape.held_size + shape.chunk_size + shape.threads
    assert not shape.fits or numbers * np.dtype(dtype).itemsize + 3 * 16 <= MOST_SHARED
