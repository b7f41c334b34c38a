"""The Taylor rung is compiled once for all processes, also where two compile at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
from numba.core import event
from refnode.oracle.problems import catalogue
from refnode.oracle.taylor import verify

with event.install_recorder("numba:compile") as compiled:
    truth = verify(catalogue("mild")[0].problem)
print(len(compiled.buffer), truth.mid["T"])
"""


def start(**settings):
    """A process that verifies a gradient."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | {name: str(value) for name, value in settings.items()}
    command, pipe = [sys.executable, "-c", SCRIPT], subprocess.PIPE
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def said(process):
    """What it printed; it must end well."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.split()


def test_second_process_compiles_nothing():
    """Once a process has verified a gradient, the next one loads all it needs, and finds the same bits."""
    first = said(start())
    count, T = said(start())
    assert count == "0"
    assert first[1] == T


@pytest.mark.slow
def test_processes_that_compile_at_once(tmp_path):
    """Two processes fill one empty cache: both are right, and so is whoever comes later, without compiling."""
    both = [start(REFNODE_CACHE_DIR=tmp_path) for _ in range(2)]
    found = [said(process) for process in both]
    later = said(start(REFNODE_CACHE_DIR=tmp_path))
    assert later[0] == "0"
    assert len({T for _, T in [*found, later]}) == 1
