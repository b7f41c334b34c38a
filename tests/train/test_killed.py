"""A process that is killed while it trains loses nothing: the run that goes on is the one that was never killed."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from refnode.train.checkpoint import load_checkpoint
from tests.train.problems import HANDED, same, train

ROOT = Path(__file__).resolve().parent.parent.parent
ENDLESS = 10**6  # steps: no machine comes to their end


@contextlib.contextmanager
def training(folder, steps="each its own"):
    """The process, at the moment at which it begins to train."""
    command = [sys.executable, "-m", "tests.train.killed", str(folder), str(ENDLESS), steps]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "begins\n", process.stderr.read()
        yield process


@pytest.mark.parametrize(("steps", "words"), [("each its own", {}), ("handed on", HANDED)], ids=["plain", "handed on"])
def test_kill_at_random_moments_then_resume(steps, words, tmp_path, rng):
    """kill -9 after a few steps, again and again: every time the checkpoint is whole, and the end is bit for bit that
    of a run without a stop. Checkpoints are written every third step: many a kill falls into the writing of one."""
    done = [0]
    for _ in range(6):
        with training(tmp_path, steps) as process:
            time.sleep(rng.uniform(0.02, 0.2))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        if (tmp_path / "checkpoint.json").exists():
            json.loads((tmp_path / "checkpoint.json").read_text("utf-8"))
            done.append(load_checkpoint(tmp_path / "checkpoint.json").state.step)
    assert done == sorted(done)
    assert done[-1] > 0
    assert same(train(done[-1] + 20, out=tmp_path, every=3, resume=True, **words), train(done[-1] + 20, **words))


def test_ctrl_c_saves_where_it_stands(tmp_path, rng):
    """SIGINT ends the process as an interrupt does, with a checkpoint of the last step done, and the run goes on."""
    with training(tmp_path) as process:
        time.sleep(rng.uniform(0.1, 0.2))
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.stderr.read()
    kept = load_checkpoint(tmp_path / "checkpoint.json")
    done = kept.state.step
    assert done > 0
    whole = train(done + 20)
    assert np.array_equal(kept.history["loss"], whole.history["loss"][:done])
    assert same(train(done + 20, out=tmp_path, every=3, resume=True), whole)
