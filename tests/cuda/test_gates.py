"""The machine code of the kernels: nothing spilt, no float64 in float32, shared memory and instructions in bounds."""

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.shape import Shape
from tests.cuda.cases import BUDGETS
from validation.ptx import estimate
from validation.ptx.assemble import assemble
from validation.ptx.parse import parse
from validation.ptx.roofline import evaluation

pytestmark = pytest.mark.slow
BUILD = {"forward": forward, "gradient": gradient}
ARCHITECTURES = [(8, 0), (9, 0)]
OTHERS = [                                          # further shapes that are held to all but the count of instructions
    Shape("float64", 2, 32, 2, keep="states"),
    Shape("float32", 4, 32, 2, "softplus", controls=2, timed=(True, True), running=True, keep="states"),
    Shape("float32", 2, 16, 2, basis=3, timed=(True, False), keep="states"),
]


def test_the_table_of_bounds_is_theirs():
    """validation/results/gpu_estimate.md is what the kernels' machine code gives."""
    assert estimate.PAGE.read_text("utf-8") == estimate.page()


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=["sm_80", "sm_90"])
@pytest.mark.parametrize(("name", "shape"), BUDGETS, ids=lambda x: x if isinstance(x, str) else x.tableau + x.keep)
def test_instructions_of_an_evaluation(name, shape, architecture):
    """No more than the budget, which is the prototype's count and 10 % where there is one; registers likewise."""
    registers, instructions = BUDGETS[name, shape]
    machine = assemble(ptx(BUILD[name], shape, architecture))
    assert machine.registers <= registers
    assert evaluation(machine, shape, name == "gradient")["all"] <= instructions


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=["sm_80", "sm_90"])
@pytest.mark.parametrize("shape", [s for _, s in BUDGETS] + OTHERS, ids=str)
@pytest.mark.parametrize("name", BUILD)
def test_nothing_is_spilt(name, shape, architecture):
    """No spills, shared memory of at most 48 KB, no atomics, no calls; no float64 in a float32 kernel."""
    text = ptx(BUILD[name], shape, architecture)
    machine = assemble(text)
    mix = machine.mix()
    assert machine.spills == 0
    assert machine.shared <= 48 * 1024
    assert mix["atomic"] == parse(text).count("atom", "red") == 0
    if shape.dtype == "float32":
        assert mix["FP64"] == 0
        assert not [name for name, _, _ in machine.instructions if name.startswith("RET")]      # a subroutine's
