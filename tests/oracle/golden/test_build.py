"""Building is deterministic, goes on where it stopped, and refuses what contradicts itself."""

from dataclasses import replace

import numpy as np
import pytest

import refnode as rn
from refnode.oracle.golden import build as module
from refnode.oracle.golden.build import build, compute, contradiction
from refnode.oracle.golden.shelf import load_golden
from refnode.oracle.problems import catalogue
from tests.oracle.golden import stand_in

NAMES = ("exp", "linear", "cosine")


@pytest.fixture
def by_closed_form(monkeypatch):
    """Files by closed form; the names of what was computed."""
    asked = []

    def compute(entry, digits):
        asked.append(entry.name)
        return stand_in.compute(entry, digits)

    monkeypatch.setattr(module, "compute", compute)
    return asked


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_numbers_give_the_same_bytes(by_closed_form, tmp_path):
    """Two builds into two folders, the second file by file: equal to the last byte, index included."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    build(NAMES, first)
    for name in reversed(NAMES):
        build((name,), second)
    assert bytes_of(first) == bytes_of(second)
    assert list(bytes_of(first)) == ["cosine.json", "exp.json", "index.json", "linear.json"]


def test_building_goes_on_where_it_stopped(by_closed_form, tmp_path):
    """Whole files are kept; a file cut short, or of other digits, is written anew, and so is all if asked."""
    assert build(NAMES, tmp_path) == list(NAMES)
    before = bytes_of(tmp_path)
    assert build(NAMES, tmp_path) == []
    (tmp_path / "linear.json").write_bytes(before["linear.json"][:-20])
    assert build(NAMES, tmp_path) == ["linear"]
    assert bytes_of(tmp_path) == before
    assert build(("exp",), tmp_path, digits=12) == ["exp"]
    assert build(("exp",), tmp_path, digits=12, again=True) == ["exp"]
    assert by_closed_form == [*NAMES, "linear", "exp", "exp"]


def test_the_folder_must_be_there(tmp_path):
    """It is not made by mistake."""
    with pytest.raises(rn.InvalidArgument, match=r"folder: got .*none.*; must be a folder that exists"):
        build(("exp",), tmp_path / "none")


@pytest.mark.parametrize("leaf", ["theta.W0", "T"])
def test_parts_that_do_not_add_up_are_refused(leaf):
    """A sample that is off by ten radii contradicts the whole, and the number is named."""
    golden = stand_in.compute(catalogue("linear")[0])
    assert contradiction(golden) == ""
    first = golden.samples[0]
    moved = {**first.mid, leaf: first.mid[leaf] + 10 * np.vectorize(type(first.mid["t0"][()]))(first.radius[leaf])}
    wrong = replace(golden, samples=(replace(first, mid=moved), *golden.samples[1:]))
    assert contradiction(wrong) == f"the samples do not add up to {leaf}{'[0, 0]' if leaf != 'T' else ''}"


@pytest.mark.slow
def test_what_cannot_be_proven_says_why():
    """ReLU has no proof: the file is an estimate, with the reasons for it, and its parts add up within the radii."""
    golden = compute(catalogue("relu")[0])
    assert golden.truth.kind == "estimated"
    assert set(golden.truth.passed) == {"proof", "double-double"}
    assert golden.integral is None
    assert contradiction(golden) == ""
    assert golden.proof["engine"] == "float64 consensus"


def test_a_file_holds_what_was_computed(by_closed_form, tmp_path):
    """The digits asked for, and 20 of them in every leaf of whole and parts."""
    build(("linear",), tmp_path)
    golden = load_golden(tmp_path / "linear.json")
    assert golden.proof == {"engine": "closed form", "digits": "22"}
    for truth in (golden.truth, golden.terminal, *golden.samples):
        assert min(truth.digits().values()) > 20


def test_every_sample_is_proven_to_the_digits_of_the_whole():
    """Samples are added up in the proof's precision, not in float64's."""
    pytest.importorskip("flint")
    golden = compute(catalogue("exp")[0])
    assert golden.truth.kind == "proven"
    assert min(digits for sample in golden.samples for digits in sample.digits().values()) > 20
