"""The benchmark of a card passes from end to end where the card is the PTX runner."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from benchmarks import gpu, gpu_bound
from refnode.kernels.cuda.driver import Driver
from refnode.kernels.cuda.tile_gradient import tile_gradient
from refnode.kernels.cuda.tile_shape import TileShape
from validation.ptx import estimate, roofline
from validation.ptx.driver import PtxDriver

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_dry_run_checks_every_kernel_and_writes_its_page(tmp_path):
    """All kernels are launched and right, and page and numbers say that times mean nothing."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--into", tmp_path]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    kernels = {name for one in data["times"] for name in one["kernels"]}
    assert kernels == {
        design + name for design in ("", "tile_")
        for name in ("forward", "gradient", "backsolve", "rates", "attempt", "own", "largest")
    }  # fmt: skip
    assert all(one["bounds"].keys() == one["kernels"].keys() for one in data["times"])
    assert min(ms for one in data["times"] for ms in one["bounds"].values()) > 0
    assert max(data["errors"].values()) < 1e-2
    assert data["dry"]
    page = (tmp_path / "gpu.md").read_text("utf-8")
    assert "times mean nothing" in page
    assert "`python -m benchmarks.gpu`" in page


def test_the_table_of_bounds_is_the_kernels():
    """validation/results/gpu_estimate.md is what their machine code gives."""
    assert estimate.PAGE.read_text("utf-8") == estimate.page()


def test_bounds_are_those_of_the_estimate():
    """On an H100, 10^6 trajectories of 100 RK4 steps: the numbers of validation/results/gpu_estimate.md, in which the
    tape's bytes hide; where only products count, less; every case of the benchmark has one.
    """
    driver = Driver(PtxDriver())
    H = roofline.H100
    assert (gpu_bound.ceiling(driver).peak, driver.bandwidth) == (H.peak, pytest.approx(3352.3, abs=0.1))
    rows = [row.split(" | ") for row in estimate.PAGE.read_text("utf-8").splitlines() if "| H100 |" in row]
    table = {row[0][2:]: float(row[-1].split()[0]) for row in rows}
    for name, (build, shape) in (estimate.SHAPES | estimate.TILES).items():
        found = gpu_bound.counts(build, shape, (9, 0))
        assert round(1e3 * roofline.seconds(found, H, 1e6, 400)) == table[name], name
    for build, shape in (next(iter(estimate.SHAPES.values())), next(iter(estimate.TILES.values()))):
        found, loose = (gpu_bound.counts(build, replace(shape, dtype=d), (9, 0)) for d in ("float32", "float64"))
        assert 0 < loose["all"] < found["all"]
    wide = [case for case in gpu.cases(False) if case.dtype == "float32" and len(case.widths) > 1]
    for widths, store in {(case.widths, case.store) for case in wide}:     # stages run again; three layers
        found = gpu_bound.counts(tile_gradient, TileShape("float32", 2, (*widths, 2), keep=store), (9, 0))
        again = store == "states"
        useful = sum(i * o for i, o, *_ in TileShape("float32", 2, (*widths, 2)).layers)
        assert found["FFMA"] >= (3 + again) * useful


def test_without_a_card_it_says_what_is_missing():
    """The plain command on a machine without a driver ends with one clear line, unless there is one."""
    code = (
        "import benchmarks.gpu as gpu, sys; from refnode.errors import BackendUnavailable\n"
        "def none(name): raise OSError(name)\n"
        "import ctypes; ctypes.CDLL = none; sys.argv[1:] = []\n"
        "sys.exit(gpu.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no NVIDIA driver (libcuda) on this machine; pip install 'refnode[cuda]'" in done.stderr
