"""The shipped golden files: whole, of this catalogue, known to twenty digits, and what other rungs say is the same."""

import json
from decimal import Decimal, localcontext

import jsonschema
import numpy as np
import pytest

import refnode as rn
from refnode.oracle.closed_forms import closed_form, closed_form_truth
from refnode.oracle.decimals import EXACT, exact
from refnode.oracle.golden.build import contradiction
from refnode.oracle.golden.document import digest, problem_digest
from refnode.oracle.golden.shelf import golden, golden_truth, index, shelf
from refnode.oracle.golden.verify import outside, verify_golden
from refnode.oracle.ladder import reference
from refnode.oracle.problems import CATALOGUE, catalogue
from tests.oracle.golden.test_document import SCHEMA

UNPROVEN = ("relu",)  # kinks: no Taylor series
CLOSED = ("exp", "linear", "cosine", "reflection", "stacked_linear")


def test_there_is_a_file_for_every_problem():
    """The index has the catalogue's names in order, and the folder nothing else."""
    assert list(index()) == list(CATALOGUE)
    assert {path.name for path in shelf().iterdir()} == {f"{name}.json" for name in CATALOGUE} | {"index.json"}


def test_the_package_stays_small():
    """All files together are below two and a half megabytes."""
    assert sum(path.stat().st_size for path in shelf().iterdir()) < 2.5e6


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_file_is_whole_and_of_this_catalogue(name):
    """It fits its schema; its problem has the catalogue's bits; its parts add up; it is proven to twenty digits."""
    document = json.loads((shelf() / f"{name}.json").read_text("utf-8"))
    jsonschema.validate(document["answers"], SCHEMA)
    (entry,), found = catalogue(name), golden(name)
    assert index()[name] == problem_digest(found.problem) == problem_digest(entry.problem)
    assert (found.name, found.about) == (name, entry.about)
    assert found.truth.kind == ("estimated" if name in UNPROVEN else "proven")
    assert contradiction(found) == ""
    if name not in UNPROVEN:
        for truth in (found.truth, found.terminal, found.integral, *found.samples):
            assert truth is None or min(truth.digits(entry.faint).values()) >= 20
        assert found.truth.loss_radius <= 1e-20 * max(1.0, abs(float(found.truth.loss)))


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_are_within_the_proven_balls(name):
    """Two rungs that share nothing: decimal matrix exponentials and balls. Every number, to all twenty digits."""
    (entry,), found = catalogue(name), golden(name)
    exactly = closed_form_truth(entry.problem)
    for leaf in found.truth.grads:
        assert outside(found.truth, exactly, leaf) == ""


@pytest.mark.parametrize("name", ["mild", "theta_running", "observations", "everything", "cnf_hutchinson", "scales"])
def test_another_method_agrees(name):
    """The discrete adjoint of dop853 at 1e-13 is off from the midpoints by no more than that tolerance leaves."""
    (entry,), found = catalogue(name), golden(name)
    got, scale = rn.gradient(entry.problem, "discrete", rn.Solver("dop853", tol=1e-13)), found.truth.scales(entry.faint)
    for leaf, g in got.grads.items():
        assert np.max(found.truth.gap(leaf, g)) <= 1e-11 * scale[leaf], leaf
    assert abs(Decimal(got.loss) - found.truth.loss) <= 1e-11 * float(np.sum(np.abs(got.loss_per_sample)))


def test_a_catalogue_problems_truth_is_its_file(monkeypatch):
    """reference() takes it from the shelf, and computes nothing."""
    monkeypatch.setattr("refnode.oracle.ladder.consensus", None)
    truth = reference(catalogue("mild")[0].problem)
    assert truth is not golden("mild").truth
    assert (truth.kind, truth.how) == ("proven", golden("mild").truth.how)
    assert reference(catalogue("mild")[0].problem, 20).kind == "proven"


def test_one_bit_makes_another_problem():
    """A number moved by one unit in the last place is not in the file any more."""
    problem = catalogue("cosine")[0].problem
    assert golden_truth(problem) is golden("cosine").truth
    moved = problem.with_leaves({"T": np.nextafter(problem["T"], np.inf)})
    assert golden_truth(moved) is None
    assert reference(moved).kind == "closed form"


def test_more_digits_than_the_file_has_come_from_elsewhere():
    """Asked for 40 digits, a closed form is what has them; `passed` says what the file has."""
    truth = reference(catalogue("cosine")[0].problem, 40)
    assert truth.kind == "closed form"
    assert "digits, proven" in truth.passed["golden file"]
    with localcontext(EXACT):
        for leaf, v in closed_form(catalogue("cosine")[0].problem, 120).items():
            assert np.all(np.abs(truth.mid[leaf] - v) <= exact(truth.radius[leaf]))


def test_quick_files_are_proven_again():
    """Two of them here; the slow test proves ten, and `refnode golden verify --all` every one."""
    pytest.importorskip("flint")
    for verdict in verify_golden(["exp", "mild"]):
        assert (verdict.ok, verdict.words) == (True, "proven again: within every radius")


@pytest.mark.slow
def test_the_quick_files_are_all_proven_again():
    """What `refnode golden verify` does."""
    pytest.importorskip("flint")
    verdicts = verify_golden()
    assert [v.name for v in verdicts if not v.ok] == []
    assert sum("proven again" in v.words and "not" not in v.words for v in verdicts) >= 9


def test_the_digests_are_of_the_canonical_form():
    """As the page says: sorted keys, no white space, ASCII."""
    document = json.loads((shelf() / "exp.json").read_text("utf-8"))
    sha256 = document["answers"].pop("sha256")
    assert digest(document) == sha256 == golden("exp").sha256
