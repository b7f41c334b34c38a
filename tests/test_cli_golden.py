"""refnode golden prints what the files say; exit statuses are for scripts."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import refnode as rn
from refnode import cli, cli_golden
from refnode.oracle.golden.shelf import index, shelf
from refnode.oracle.golden.verify import Verdict


def refnode(*words):
    return CliRunner().invoke(cli.main, ["golden", *map(str, words)], env={"COLUMNS": "100"})


def rows(done):
    return [line.split() for line in done.stdout.splitlines()]


def test_list_has_every_file():
    """Kind, digits, numbers, bytes of each; the sum; the folder."""
    done = refnode("list")
    assert done.exit_code == 0
    printed = {words[0]: words for words in rows(done) if len(words) >= 5}  # not what is broken into the next line
    for name in index():
        found, size = rn.golden(name), (shelf() / f"{name}.json").stat().st_size
        assert printed[name][1] == found.truth.kind
        assert str(size) in printed[name]
    assert f"{len(index())} files" in done.stdout
    assert str(shelf()) in done.stdout


def test_show_prints_midpoints_as_they_stand_in_the_file():
    """Of each leaf the largest entry; with --leaf all, no digit more or less; parts and samples too."""
    document = json.loads((shelf() / "theta_running.json").read_text("utf-8"))["answers"]
    done = refnode("show", "theta_running")
    assert done.exit_code == 0
    assert document["sha256"] in done.stdout
    for leaf in document["gradient"]:
        assert any(words and words[0].startswith(leaf) for words in rows(done))
    for words, part in (([], document["gradient"]), (["--part", "integral"], document["integral"]),
                        (["--sample", "1"], document["samples"][1])):  # fmt: skip
        shown = refnode("show", "theta_running", "--leaf", "theta.b0", *words).stdout
        assert all(mid in shown for mid in part["theta.b0"]["mid"] if mid != "0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "name: got none; must be a path that ends in .json, or among exp"),
        (["mild", "--leaf", "W0"], "leaf: got W0; must be among theta.W0"),
        (["mild", "--part", "integral"], "part: got 'integral'; must be a part of the loss of mild"),
        (["mild", "--sample", "3"], "sample: got 3; must be from 0 to 2"),
    ],
)
def test_show_refuses(words, said):
    """One line, status 2."""
    done = refnode("show", *words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_build_writes_and_goes_on(monkeypatch, tmp_path):
    """Names of what was written; nothing the second time."""
    from tests.oracle.golden import stand_in

    monkeypatch.setattr("refnode.oracle.golden.build.compute", stand_in.compute)
    assert "wrote exp, linear" in refnode("build", "exp", "linear", "--out", tmp_path).stdout
    assert "every file is there" in refnode("build", "exp", "linear", "--out", tmp_path).stdout
    assert np.isclose(rn.golden(tmp_path / "exp.json").truth.grads["T"], rn.golden("exp").truth.grads["T"], rtol=1e-15)
    assert refnode("build", "--out", tmp_path / "none").exit_code == 2


@pytest.mark.parametrize("holds", [True, False])
def test_verify_has_the_verdicts_exit_status(monkeypatch, holds):
    """1 if one file does not hold; names and --all are handed on."""
    asked = []

    def verify(names, everything, progress):
        asked.append((names, everything))
        return [Verdict("exp", "proven", "so so", True, 1.0), Verdict("mild", "proven", "T is not ..", holds, 2.0)]

    monkeypatch.setattr(cli_golden, "verify_golden", verify)
    done = refnode("verify", "exp", "mild")
    assert (done.exit_code, asked) == (0 if holds else 1, [(("exp", "mild"), False)])
    assert "T is not .." in done.stdout
    assert f"{1 + holds} of 2 files hold" in done.stdout
    refnode("verify", "--all")
    assert asked[-1] == ((), True)
