"""Verifying proves again: what is not within its radius any more is named."""

import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from refnode.oracle.golden.document import golden_document
from refnode.oracle.golden.verify import outside, verify_golden
from refnode.oracle.problems import catalogue
from refnode.oracle.truth import Truth
from tests.oracle.golden.stand_in import compute


@pytest.fixture
def folder(tmp_path):
    """The golden file of one closed form."""
    (tmp_path / "linear.json").write_text(json.dumps(golden_document(compute(catalogue("linear")[0]))), "utf-8")
    return tmp_path


def verdict(folder, compute=compute):
    (found,) = verify_golden(["linear"], folder=folder, compute=compute)
    return found


def test_a_right_file_holds(folder):
    """Every number proven again is within its radius."""
    found = verdict(folder)
    assert (found.ok, found.words, found.kind) == (True, "proven again: within every radius", "closed form")


@pytest.mark.parametrize("part", ["truth", "terminal", "samples"])
def test_a_file_that_is_off_by_little_does_not(folder, part):
    """One number of the file moved by two radii, in the whole, a part or a sample: it fails and is named."""
    golden = compute(catalogue("linear")[0])
    old = golden.samples[2] if part == "samples" else getattr(golden, part)
    mid = old.mid["theta.W0"].copy()
    mid[1, 0] += Decimal("2e-23")
    new = replace(old, mid={**old.mid, "theta.W0": mid}, radius={**old.radius, "theta.W0": np.full((2, 2), 1e-23)})
    wrong = replace(golden, **{part: (*golden.samples[:2], new) if part == "samples" else new})
    (folder / "linear.json").write_text(json.dumps(golden_document(wrong)), "utf-8")
    found = verdict(folder)
    what = {"truth": "gradient", "terminal": "terminal", "samples": "sample 2"}[part]
    assert (found.ok, found.words) == (False, f"{what}: theta.W0[1, 0] is not what the file says")


def test_more_digits_are_asked_for_than_the_file_has(folder):
    """Else a new ball as large as the old one would hardly lie within it."""
    asked = []

    def computes(entry, digits):
        asked.append(digits)
        return compute(entry, digits)

    verdict(folder, computes)
    assert asked == [25.0]


def test_missing_corrupt_and_foreign_files_fail(folder):
    """A verdict each, and no exception."""
    (foreign,) = verify_golden(["exp"], folder=folder, compute=compute)
    assert not foreign.ok
    assert "exp.json: the file: got No such file" in foreign.words
    text = (folder / "linear.json").read_text("utf-8")
    (folder / "exp.json").write_text(text, "utf-8")
    (foreign,) = verify_golden(["exp"], folder=folder, compute=compute)
    assert (foreign.ok, foreign.words) == (False, "the problem of the catalogue has other numbers")
    (folder / "linear.json").write_text(text[:-40], "utf-8")
    assert "no JSON here" in verdict(folder).words


def test_a_proof_does_not_become_an_estimate(folder):
    """If the proof cannot be had again, the file does not hold."""

    def estimates(entry, digits):
        golden = compute(entry, digits)
        return replace(golden, truth=replace(golden.truth, kind="estimated"))

    found = verdict(folder, estimates)
    assert (found.ok, found.words) == (False, "the file is closed form, now it is estimated")


def test_within_and_touching():
    """A ball within another; two that overlap; two that touch; and two that do not."""

    def ball(mid, radius):
        return Truth({"t": np.array(mid)}, {"t": np.array(radius)}, "proven", "")

    assert outside(ball(1.0, 0.5), ball(1.25, 0.25), "t") == ""
    assert outside(ball(1.0, 0.5), ball(1.25, 0.375), "t") == "t"
    assert outside(ball(1.0, 0.5), ball(2.0, 0.5), "t", touching=True) == ""
    assert outside(ball(1.0, 0.5), ball(2.25, 0.5), "t", touching=True) == "t"
