"""certify passes what keeps its claim and fails what does not, in either direction."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

import refnode as rn
from refnode.oracle import certificate as module
from refnode.oracle.certificate import SOLVER, beyond, certify, certify_cell, usual_digits
from refnode.oracle.ladder import reference
from refnode.oracle.problems import Claim, catalogue
from refnode.oracle.truth import Truth


@pytest.fixture
def mild():
    """The mild problem and its truth."""
    (entry,) = catalogue("mild")
    return entry, reference(entry.problem)


def spoiled(monkeypatch, change):
    """Let the discrete method return gradients changed by `change`."""
    honest = rn.METHODS["discrete"]

    def wrong(problem, solver, **options):
        result = honest.function(problem, solver, **options)
        return replace(result, grads={leaf: change(leaf, g) for leaf, g in result.grads.items()})

    monkeypatch.setitem(rn.METHODS, "discrete", replace(honest, function=wrong))


def test_every_method_keeps_its_claims_on_two_problems():
    """All nine methods on a closed form that depends on t and on a mild network."""
    seen = []
    certificate = certify(["cosine", "mild"], progress=lambda what, done, total: seen.append((done, total)))
    assert certificate.ok, [cell for cell in certificate.cells if not cell.ok]
    assert len(certificate.cells) == 2 * len(rn.METHODS)
    assert seen[-1] == (17, 18)


def test_a_contracting_field_is_refused_by_backsolve_alone():
    """What contracts cannot be solved backwards: one cell refuses, as claimed, and the others deliver."""
    certificate = certify(["contracting"], ["discrete", "backsolve", "interpolating"])
    assert certificate.ok, [cell for cell in certificate.cells if not cell.ok]
    assert [cell.digits is None for cell in certificate.cells] == [False, True, False]


def test_compiled_methods_keep_their_claims():
    """The kernels, held to the same truths: six methods on networks of either depth, and spans of each sample's own."""
    certificate = certify(["linear", "mild", "theta_running", "backwards", "own_T"], backend="cpu")
    assert certificate.ok, [cell for cell in certificate.cells if not cell.ok]
    methods = {"discrete", "backsolve", "interpolating", "quadrature", "forward_discrete", "forward_continuous"}
    assert {cell.method for cell in certificate.cells} == methods


@pytest.mark.slow
def test_every_method_keeps_its_claims_on_the_whole_catalogue():
    """The main job."""
    certificate = certify()
    assert certificate.ok, [cell for cell in certificate.cells if not cell.ok]


def test_one_wrong_entry_is_named(monkeypatch, mild):
    """A gradient that is off by 1e-5 in one entry fails, naming leaf, index and both numbers."""

    def change(leaf, g):
        g = g.copy()
        if leaf == "theta.W1":
            g[3, 1] += 1e-5 * np.max(np.abs(g))
        return g

    spoiled(monkeypatch, change)
    cell = certify_cell(mild[0], "discrete", mild[1], SOLVER)
    assert not cell.ok
    assert cell.worst_leaf == "theta.W1"
    assert "theta.W1[3, 1] is " in cell.outcome
    assert 4.9 < cell.digits < 5.1


def test_an_error_below_the_promise_passes(monkeypatch, mild):
    """A gradient that is off by 1e-7 keeps the promise of 6 digits."""
    spoiled(monkeypatch, lambda leaf, g: g * (1 + 1e-7))
    assert certify_cell(mild[0], "discrete", mild[1], SOLVER).ok


def test_returning_where_it_should_refuse_fails(mild):
    """A right gradient does not keep the claim to refuse."""
    entry = replace(mild[0], claims={"discrete": Claim("refuses", because="test")})
    cell = certify_cell(entry, "discrete", mild[1], SOLVER)
    assert (cell.ok, "should refuse" in cell.outcome) == (False, True)


def test_raising_where_it_should_deliver_fails():
    """An exception is an outcome, and not the one that was promised."""
    (entry,) = catalogue("contracting")
    truth = Truth({}, {}, "estimated", "not needed")
    cell = certify_cell(replace(entry, claims={}), "backsolve", truth, SOLVER)
    assert (cell.ok, cell.digits) == (False, None)
    assert "raises UnreliableGradient" in cell.outcome


def test_being_better_than_known_bad_fails(mild):
    """A stale known-bad claim shows."""
    entry = replace(mild[0], claims={"discrete": Claim("known-bad", 2.0, "test")})
    cell = certify_cell(entry, "discrete", mild[1], SOLVER)
    assert (cell.ok, "better than known-bad" in cell.outcome) == (False, True)


def test_known_bad_has_a_floor(monkeypatch, mild):
    """A known-bad method still has to return the digits it says."""
    entry = replace(mild[0], claims={"discrete": Claim("known-bad", 2.0, "test")})
    spoiled(monkeypatch, lambda leaf, g: g * (1 + 1e-3))
    assert certify_cell(entry, "discrete", mild[1], SOLVER).ok
    spoiled(monkeypatch, lambda leaf, g: g * 1.1)
    assert not certify_cell(entry, "discrete", mild[1], SOLVER).ok


def test_a_blunt_truth_proves_nothing(mild):
    """If the radius is as wide as the promise, the cell fails rather than pass unseen."""
    wide = {leaf: np.full(np.shape(g), 1e-6 * np.max(np.abs(g))) for leaf, g in mild[1].grads.items()}
    cell = certify_cell(mild[0], "discrete", replace(mild[1], radius=wide), SOLVER)
    assert (cell.ok, "not sharp enough" in cell.outcome) == (False, True)


def test_the_usual_promise_follows_the_tolerance():
    """-log10(tol) - 2 digits."""
    assert usual_digits(rn.Solver("dopri5", tol=1e-8)) == pytest.approx(6.0, abs=1e-12)


def test_unknown_names_are_listed():
    """Unknown problems and methods raise and say what there is."""
    with pytest.raises(rn.InvalidArgument, match=r"problems: got nope; must be among exp, linear"):
        certify(["nope"])
    with pytest.raises(rn.InvalidArgument, match=r"methods: got adjoint; must be among discrete, backsolve"):
        certify(["exp"], ["adjoint"])


def test_quick_leaves_out_the_slow_ones():
    """quick runs fewer problems and methods, and names that are given still count."""
    certificate = certify(["exp"], None, quick=True)
    assert [c.method for c in certificate.cells] == [m for m in rn.METHODS if m not in module.SLOW_METHODS]
    data = certificate.to_json()
    assert (data["format"], data["ok"], len(data["cells"])) == ("refnode.certificate", True, len(certificate.cells))


# ---------------------------------------------------------------- midpoints beyond float64

def test_a_gradient_is_held_to_the_midpoint_not_to_its_rounding():
    """The float64 nearest to 1/3 is off from 1/3 by 1.85e-17: 17 digits promised fail, 16 pass, and it is named."""
    third = np.array([[Decimal(1) / 3], [Decimal(1)]])
    truth = Truth({"x": third.astype(float)}, {"x": np.full((2, 1), 1e-28)}, "proven", "", {"x": third})
    grads, scale = {"x": third.astype(float)}, {"x": 1.0}
    assert beyond(grads, truth, scale, 16.0) == ""
    assert beyond(grads, truth, scale, 17.0) == "x[0, 0] is 0.33333333333333331, should be 0.33333333333333333"


def test_a_shipped_proof_is_what_certify_holds_methods_to():
    """Catalogue problems have proven truths, at once: no reference is solved for."""
    certificate = certify(["mild"], ["discrete"])
    assert [cell.truth for cell in certificate.cells] == ["proven"]
    assert certificate.ok
