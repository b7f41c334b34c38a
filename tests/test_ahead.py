"""Kernels compiled ahead: all that a later process needs, by two processes, the second one only where it helps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from numba.core import event

from refnode import ahead
from refnode.ahead import Job, compile_ahead, jobs
from refnode.backend import compiled
from refnode.cli import main
from refnode.gradients import METHODS

ROOT = Path(__file__).resolve().parent.parent
# a certificate of some problems by kernels, and how many functions it compiled
CERTIFIED = """
import json
from numba.core import event
from refnode.oracle.certificate import certify
with event.install_recorder("numba:compile") as recorder:
    certificate = certify(["mild", "own_T", "stacked"], backend="cpu")
print(json.dumps([len(recorder.buffer), len(certificate.cells)]))
"""


SOME = """
import json, refnode as rn
from numba.core import event
from tests.kernels.test_known_steps import problem as problem_of_one_segment
from tests.kernels.test_twins import network_problem
problem = network_problem(40, theta=rn.Galerkin(rn.Fourier(1)))
with event.install_recorder("numba:compile") as recorder:
    for solver in (rn.Solver("heun", n_steps=3), rn.Solver("tsit5", tol=1e-3), rn.Solver("dop853", tol=1e-3)):
        for method in ("discrete", "backsolve", "interpolating", "quadrature", "forward_discrete"):
            unchecked = {"check": False} if method in ("backsolve", "interpolating") else {}
            rn.gradient(problem, method, solver, backend="cpu", **unchecked)
    for solver in (rn.Solver("heun", n_steps=3), rn.Solver("tsit5", tol=1e-9, proposal=((0.0, 1.0),))):
        rn.gradient(problem_of_one_segment(40), "discrete", solver, backend="cpu")
print(json.dumps([len(recorder.buffer), 15]))
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
    """Every method with kernels, and no other; in every combination that is asked for and exists."""
    every = [job.method for job in jobs(tableaux=["dopri5"])]
    assert every == [name for name in METHODS if compiled(name)] == list(ahead.METHODS)
    assert jobs(["richardson", "quadrature"], ["rk4", "dopri5"], ["own"], ["float32", "float64"]) == [
        Job("quadrature", "dopri5", "own", "float32"), Job("quadrature", "dopri5", "own", "float64"),
    ]  # fmt: skip


def test_no_second_process_where_nothing_is_compiled(spawned, monkeypatch):
    """Once its kernels are there, a job takes no help; nor does one alone, nor does it matter where there is none."""
    work = jobs(["discrete"])
    compile_ahead(work)
    spawned.clear()
    compile_ahead(work)
    assert spawned == []
    compiling = event.Event("numba:compile", event.EventStatus.START)
    monkeypatch.setattr(ahead, "_run", lambda work: event.broadcast(compiling))
    compile_ahead(work[:1])
    assert spawned == []

    def none(*words, **settings):
        raise OSError("no such program")

    monkeypatch.setattr(ahead.subprocess, "Popen", none)
    compile_ahead(work)


def test_the_second_process_begins_with_the_last_job(spawned, monkeypatch):
    """It is started by the first compilation, once, with the jobs in the other order, and waited for."""
    def compile_twice(work):
        for _ in range(2):
            event.broadcast(event.Event("numba:compile", event.EventStatus.START))
        assert all(one.ends == [] for one in spawned[-1:] if one not in before)

    before = []
    monkeypatch.setattr(ahead, "_run", compile_twice)
    work = jobs(["discrete", "backsolve"], ["dopri5"])
    compile_ahead(work)
    (one,) = spawned
    words = ["backsolve:dopri5:shared:float64", "discrete:dopri5:shared:float64"]
    assert one.command[3:] == ["-m", "refnode.ahead", *words]
    assert one.ends == ["waited for"]
    before.append(one)

    def interrupted(work):
        compile_twice(work)
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compile_ahead(work)
    assert spawned[1].ends == ["killed", "waited for"]
    monkeypatch.setattr(ahead, "_run", compile_twice)
    monkeypatch.setattr(ahead, "_cores", lambda: 1)
    before.append(spawned[1])
    compile_ahead(work)
    assert len(spawned) == 2


def test_the_second_process_runs():
    """The module is a command: it takes its jobs, and refuses what is none."""
    command = [sys.executable, "-m", "refnode.ahead"]
    assert subprocess.run([*command, "discrete:rk4:shared:float64"], check=False).returncode == 0
    assert subprocess.run([*command, "none:rk4:shared:float64"], check=False, stderr=subprocess.DEVNULL).returncode


def test_command(spawned, monkeypatch, tmp_path):
    """refnode compile: what it has compiled and where; words that it does not know, and a folder that is none, are
    refused."""
    done = CliRunner().invoke(main, ["compile", "--method", "discrete", "--dtype", "float64"])
    assert done.exit_code == 0
    assert done.stdout.startswith("kernels of 3 gradients are in ")
    assert CliRunner().invoke(main, ["compile", "--method", "richardson"]).exit_code == 2
    (tmp_path / "file").touch()
    monkeypatch.setenv("REFNODE_CACHE_DIR", str(tmp_path / "file"))
    assert CliRunner().invoke(main, ["compile"]).exit_code == 2


@pytest.mark.slow
def test_nothing_is_left_to_compile(tmp_path):
    """After it a certificate compiles nothing, nor do gradients by other tableaux, in processes of their own."""
    environment = os.environ | {"REFNODE_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    commands = (["-m", "refnode", "compile"], 0), (["-c", CERTIFIED], 3 * len(ahead.METHODS)), (["-c", SOME], 15)
    for command, count in commands:
        whole = [sys.executable, *command]
        done = subprocess.run(whole, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        if count:
            assert json.loads(done.stdout) == [0, count]
