"""Kernels assume no instruction of one machine: the same code becomes NEON, AVX2 or SSE."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from llvmlite import binding, ir
from numba import types

from refnode.kernels.activations import apply_32, apply_64
from refnode.kernels.compiled import OPTIONS
from refnode.kernels.micro_kernels import block

ROOT = Path(__file__).resolve().parent.parent.parent
ARM, INTEL = "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"
ROWS, VECTORS = 4, 2


def machine_for(triple, cpu=""):
    """A code generator for another machine."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this llvmlite knows no {triple}")
    return target.create_target_machine(cpu=cpu, opt=3)


def micro_kernel(machine, vector, single):
    """The micro-kernel for vectors of so many bytes, as assembly."""
    module = ir.Module()
    block(module, ROWS, VECTORS, vector // (4 if single else 8), single)
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    return machine.emit_assembly(parsed)


@pytest.mark.parametrize("single", [False, True], ids=["float64", "float32"])
@pytest.mark.parametrize(("triple", "cpu", "vector", "fused"), [
    (ARM, "", 16, r"fmla\s+v\d+\.(2d|4s)"),
    (INTEL, "x86-64-v3", 32, r"vfmadd\d+p[sd]\s.*%ymm"),
    (INTEL, "x86-64-v4", 64, r"vfmadd\d+p[sd]\s.*%zmm"),
], ids=["NEON", "AVX2", "AVX-512"])  # fmt: skip
def test_micro_kernel_in_vectors(triple, cpu, vector, fused, single):
    """One fused multiply-add of vectors for each accumulator stands in the loops over blocks of rows, over
    pairs and over single rows, and none of scalars.
    """
    assembly = micro_kernel(machine_for(triple, cpu), vector, single)
    assert len(re.findall(fused, assembly)) == (ROWS + 2 + 1) * VECTORS
    assert not re.search(r"vfmadd\w*s[sd]\s|fmadd\s", assembly)


@pytest.mark.parametrize("single", [False, True], ids=["float64", "float32"])
def test_micro_kernel_without_fused_multiply_add(single):
    """The oldest 64-bit processors of that family multiply, then add, in vectors of 16 bytes."""
    assembly = micro_kernel(machine_for(INTEL, "x86-64"), 16, single)
    assert "vfmadd" not in assembly
    assert "ymm" not in assembly
    kind = "ps" if single else "pd"
    assert all(len(re.findall(rf"{word}{kind}\s", assembly)) >= ROWS * VECTORS for word in ("mul", "add"))


KINDS = [(apply_64, types.float64, "2d"), (apply_32, types.float32, "4s")]


@pytest.mark.parametrize(("kernel", "real", "lanes"), KINDS)
def test_activations_on_another_machine(kernel, real, lanes):
    """They hold no vector instruction of one machine; for ARM they become NEON, and call libm for sine alone."""
    compiled = numba.njit(**OPTIONS)(kernel.py_func)
    compiled.compile(types.void(real[::1], real[::1], types.int64))
    code = compiled.inspect_llvm(compiled.signatures[0])
    of_counters = {name for name in re.findall(r"llvm\.x86\.[\w.]*", code) if ".atomic." in name}
    assert set(re.findall(r"llvm\.x86\.[\w.]*", code)) == of_counters  # Numba's counts of references
    for name in of_counters:
        code = code.replace(name, "released")
    module = binding.parse_assembly(code.replace(" immarg", ""))  # an attribute of such names alone
    machine = machine_for(ARM)
    module.triple, module.data_layout = ARM, str(machine.target_data)
    assembly = machine.emit_assembly(module)
    assert len(re.findall(rf"fmla\s+v\d+\.{lanes}", assembly)) > 50
    called = set(re.findall(r"\bbl\s+(\w+)", assembly))
    assert not called & {"tanh", "tanhf", "exp", "expf", "log", "logf", "log1p", "log1pf", "expm1", "expm1f"}


# ---------------------------------------------------------------- kernels compiled for older processors

OLDER = {  # width of vectors: settings; their code must hold, and must not hold, these words
    "16": ({"NUMBA_CPU_NAME": "generic"}, "%xmm", "ymm|vfmadd"),
    "32": ({"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma"}, "vfmadd.*%ymm", "zmm"),
}
WIDE = {"NUMBA_CPU_NAME": "sapphirerapids", "NUMBA_CPU_FEATURES": ""}  # LLVM prefers half of its vectors
CODE = """
import numba
from refnode.kernels.activations import apply_64
from refnode.kernels.compiled import kernel

compiled = kernel(apply_64.py_func)
compiled._cache = numba.core.caching.NullCache()
compiled.compile("void(float64[::1], float64[::1], int64)")
print(compiled.inspect_asm(compiled.signatures[0]))
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="another family of processors")
@pytest.mark.parametrize(
    ("width", "register", "wider"), [("64", "zmm", "none"), ("32", "ymm", "zmm"), ("16", "xmm", "ymm")]
)
def test_loops_take_the_vectors_that_products_take(width, register, wider):
    """What LLVM makes of loops is as wide as what is written out, on a processor too for which it prefers less."""
    divisions = re.findall(r"vdivpd\s.*", run(width, "-c", CODE, settings=WIDE))
    assert any(register in line for line in divisions)
    assert not any(wider in line for line in divisions)


def run(width, *arguments, settings=None):
    """What python prints where kernels are compiled for an older processor, or with settings; it must end well."""
    environment = os.environ | (settings or OLDER[width][0]) | {"PYTHONPATH": str(ROOT), "REFNODE_VECTOR_BYTES": width}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done.stdout


def can_run(width):
    """Whether this machine has what that one had."""
    return platform.machine().lower() in ("x86_64", "amd64") and (
        width == "16" or binding.get_host_cpu_features().get("avx2", False)
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [pytest.param(w, marks=pytest.mark.skipif(not can_run(w), reason=w)) for w in OLDER])
def test_older_processors(width):
    """With their vectors and instructions alone, activations, products, networks and solves pass their tests."""
    _, has, lacks = OLDER[width]
    code = run(width, "-c", CODE)
    assert re.search(has, code)
    assert not re.search(lacks, code)
    here = Path(__file__).parent
    tests = [here / f"test_{name}.py" for name in ("activations", "slopes", "products", "mlp")]
    run(width, "-m", "pytest", "-q", "-x", *map(str, tests))
    run(width, "-m", "pytest", "-q", "-x", f"{here / 'test_drawn_twins.py'}::test_every_tableau_with_fixed_steps")
