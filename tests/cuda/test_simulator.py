"""Numba's simulator, in a process of its own, agrees with the kernels: a second opinion, though a slow one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent
CODE = """
import sys
import numpy as np
from numba import cuda
from numba.cuda.np import numpy_support
from numba.cuda.simulator import kernelapi
import refnode as rn
from refnode.kernels.cuda.adjoint import discrete_adjoint
from tests.cuda.cases import problem

def array(self, shape, dtype, alignment=None):          # the simulator's own knows no alignment
    line = sys._getframe(1)
    place = line.f_code.co_filename, line.f_lineno
    return self._allocations.setdefault(place, np.empty(shape, numpy_support.as_dtype(dtype)))

kernelapi.FakeCUDAShared.array = array

class Simulator:
    name = "the simulator"
    empty, array, host, free = map(staticmethod, (np.empty, np.array, np.copy, lambda: 2**40))
    def launch(self, build, shape, blocks, threads, arguments):
        kernel, _ = build(shape)
        cuda.jit(kernel)[blocks, threads](*arguments)

p, solver = problem(3, 3), rn.Solver("rk4", n_steps=1)
got, want = discrete_adjoint(p, solver, Simulator(), np.float64, store="stages"), rn.gradient(p, "discrete", solver)
for name, g in want.grads.items():
    np.testing.assert_allclose(got.grads[name], g, rtol=0, atol=1e-11 * max(1.0, np.abs(g).max()), err_msg=name)
print("same")
"""


def test_the_simulator_agrees():
    """Forward and gradient of three trajectories in float64; it sees no races, so this proves no barrier."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "same"
