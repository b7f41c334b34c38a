"""The number of threads never shows in the bits, and Python threads that call kernels at once leave each other alone.

Each script runs in a process of its own, because Numba reads its settings once, at import.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

PROBLEMS = """
import numpy as np, refnode as rn
from tests.kernels.test_twins import network_problem

SOLVERS = rn.Solver("dopri5", tol=1e-5), rn.Solver("dopri5", n_steps=6), rn.Solver("dopri5", tol=1e-5, steps="own")
DEPTHS = rn.Constant(), rn.Galerkin(rn.Fourier(1)), rn.Stacked(2)
METHODS = {
    "backsolve": {"check": False}, "interpolating": {"check": False}, "quadrature": {}, "forward_discrete": {},
    "forward_continuous": {},
}
CASES = [
    (network_problem(batch, theta=depth), "discrete", solver, dtype)
    for batch in (3, 130, 270) for depth in DEPTHS for solver in SOLVERS for dtype in ("float64", "float32")
]
OTHERS = [
    (network_problem(batch, theta=depth), method, rn.Solver("rk4", n_steps=2), dtype)
    for method in METHODS for batch, depth, dtype in ((70, DEPTHS[0], "float32"), (270, DEPTHS[1], "float64"))
] + [
    (network_problem(40), method, rn.Solver("bosh3", tol=1e-1, steps="own"), "float64")
    for method in ("backsolve", "interpolating", "quadrature")
]

def bits(case):
    problem, method, solver, dtype = case
    result = rn.gradient(problem, method, solver, backend="cpu", dtype=dtype, **METHODS.get(method, {}))
    return [g.tobytes() for g in (*result.grads.values(), result.adj_t0, result.z_T) if g is not None]

"""

THREADS = PROBLEMS + """
import numba
found = []
for threads in (1, 2, 3, 4, 1):
    numba.set_num_threads(threads)
    found.append([bits(case) for case in CASES + OTHERS])
assert all(other == found[0] for other in found)
"""

COMPANY = PROBLEMS + """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    for cases, rounds in ((CASES, 10), (OTHERS, 2)):
        alone = [bits(case) for case in cases]
        for _ in range(rounds):
            order = np.random.default_rng(0).permutation(len(cases))
            together = list(pool.map(bits, [cases[i] for i in order]))
            assert together == [alone[i] for i in order]
"""

FORKS = PROBLEMS + """
import multiprocessing
from refnode.kernels.threads import _Process
case = CASES[-1]                                    # of several tiles
want = bits(case)
with _Process.launch, multiprocessing.get_context("fork").Pool(2) as pool:  # as another thread may hold it
    assert pool.map_async(bits, [case] * 4).get(timeout=60) == [want] * 4
assert bits(case) == want
"""


def run(script, **settings):
    """Run a script with other settings; it must end well."""
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | settings
    done = subprocess.run([sys.executable, "-c", script], env=settings, cwd=ROOT, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_same_bits_for_any_number_of_threads():
    """1, 2, 3 and 4 threads give the same bits by every method, for one tile, five small ones and five large, in either
    precision."""
    run(THREADS, NUMBA_NUM_THREADS="4")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_forked_children(layer):
    """A pool of processes forked from one that has used its threads gets the same bits, and does not wait for ever."""
    run(FORKS, NUMBA_NUM_THREADS="2", NUMBA_THREADING_LAYER=layer)


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_concurrent_callers(layer):
    """Four Python threads at once get the bits that one gets alone, also with Numba's layer that is not thread-safe."""
    run(COMPANY, NUMBA_NUM_THREADS="2", NUMBA_THREADING_LAYER=layer)
