"""The benchmark of a card passes from end to end where the card is the PTX runner."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_dry_run_checks_every_kernel_and_writes_its_page(tmp_path):
    """All five kernels are launched and right, and page and numbers say that times mean nothing."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--into", tmp_path]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    kernels = {name for one in data["times"] for name in one["kernels"]}
    assert kernels == {"forward", "own", "gradient", "tile_forward", "tile_gradient"}
    assert max(data["errors"].values()) < 1e-2
    assert data["dry"]
    assert "times mean nothing" in (tmp_path / "gpu.md").read_text("utf-8")


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
