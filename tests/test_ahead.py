"""Kernels compiled ahead: all that a later process needs, by two processes, the second one only where it helps."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from numba.core import event

from refnode import ahead
from refnode.ahead import Job, compile_ahead, jobs
from refnode.backend import compiled
from refnode.cli import main
from refnode.gradients import METHODS

# a certificate of some problems by kernels, and how many functions it compiled
CERTIFIED = """
import json
from numba.core import event
from refnode.oracle.certificate import certify
with event.install_recorder("numba:compile") as recorder:
    certificate = certify(["mild", "own_T", "stacked"], backend="cpu")
print(json.dumps([len(recorder.buffer), len(certificate.cells)]))
"""


class Spawned:
    """Stands for a process, and remembers its command and its end."""

    def __init__(self, command, **words):
        self.command, self.ends, self.words = command, [], words
        SPAWNED.append(self)

    def kill(self):
        self.ends.append("killed")

    def wait(self):
        self.ends.append("waited for")


SPAWNED = []


@pytest.fixture
def spawned(monkeypatch):
    """Processes that were asked for, on two cores."""
    SPAWNED.clear()
    monkeypatch.setattr(ahead.subprocess, "Popen", Spawned)
    monkeypatch.setattr(ahead, "_cores", lambda: 2)
    return SPAWNED


def test_jobs():
    """Every method with kernels, and no other; in every combination that is asked for."""
    assert [job.method for job in jobs()] == [name for name in METHODS if compiled(name)] == list(ahead.METHODS)
    assert jobs(["richardson", "quadrature"], ["own"], ["float32", "float64"]) == [
        Job("quadrature", "own", "float32"), Job("quadrature", "own", "float64"),
    ]  # fmt: skip


def test_no_second_process_where_nothing_is_compiled(spawned):
    """Once its kernels are there, a job takes no help."""
    work = jobs(["discrete"])
    compile_ahead(work)
    spawned.clear()
    compile_ahead(work)
    assert spawned == []


def test_the_second_process_begins_with_the_last_job(spawned, monkeypatch):
    """It is started by the first compilation, once, with the jobs in the other order, and ends with the first one."""
    def compile_twice(work):
        for _ in range(2):
            event.broadcast(event.Event("numba:compile", event.EventStatus.START))
        assert all(one.ends == [] for one in spawned[-1:] if one not in before)

    before = []
    monkeypatch.setattr(ahead, "_run", compile_twice)
    compile_ahead(jobs(["discrete", "backsolve"]))
    (one,) = spawned
    assert one.command[3:] == ["-m", "refnode.ahead", "backsolve:shared:float64", "discrete:shared:float64"]
    assert one.ends == ["killed", "waited for"]
    before.append(one)
    monkeypatch.setattr(ahead, "_cores", lambda: 1)
    compile_ahead(jobs())
    assert len(spawned) == 1


def test_the_second_process_runs():
    """The module is a command: it takes its jobs, and refuses what is none."""
    command = [sys.executable, "-m", "refnode.ahead"]
    assert subprocess.run([*command, "discrete:shared:float64"], check=False).returncode == 0
    assert subprocess.run([*command, "none:shared:float64"], check=False, stderr=subprocess.DEVNULL).returncode


def test_command(spawned):
    """refnode compile: what it has compiled and where; words that it does not know are usage errors."""
    done = CliRunner().invoke(main, ["compile", "--method", "discrete", "--dtype", "float64"])
    assert done.exit_code == 0
    assert done.stdout.startswith("1 gradients' kernels are in ")
    assert CliRunner().invoke(main, ["compile", "--method", "richardson"]).exit_code == 2


@pytest.mark.slow
def test_nothing_is_left_to_compile(tmp_path):
    """After it a certificate compiles nothing, in a process of its own."""
    environment = os.environ | {"REFNODE_CACHE_DIR": str(tmp_path)}
    for command in (["-m", "refnode", "compile"], ["-c", CERTIFIED]):
        whole = [sys.executable, *command]
        done = subprocess.run(whole, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    compiled_then, cells = json.loads(done.stdout)
    assert cells == 3 * len(ahead.METHODS)
    assert compiled_then == 0
