"""The ladder says which rung it stands on, contains the truth where that is known, and claims no more than it has."""

from decimal import Decimal

import numpy as np
import pytest

import refnode as rn
from refnode.oracle import ladder
from refnode.oracle.closed_forms import closed_form, closed_form_truth
from refnode.oracle.consensus import consensus
from refnode.oracle.decimals import exact
from refnode.oracle.ladder import reference
from refnode.oracle.problems import CATALOGUE, catalogue
from refnode.oracle.truth import Truth


@pytest.mark.parametrize("name", ["exp", "linear", "cosine"])
def test_consensus_contains_the_closed_form(name):
    """Where the truth is known, the float64 consensus has it within its radius, leaf by leaf."""
    (entry,) = catalogue(name)
    truth, guess = closed_form_truth(entry.problem), consensus(entry.problem)
    assert (truth.kind, guess.kind) == ("closed form", "estimated")
    for leaf, g in guess.grads.items():
        assert np.all(truth.gap(leaf, g) <= guess.radius[leaf] + truth.radius[leaf]), leaf


def test_consensus_contains_a_gradient_of_another_kind():
    """Forward sensitivity at 1e-12 shares no adjoint with the consensus and lies within its radius plus 1e-11."""
    (entry,) = catalogue("concat_time")
    truth = consensus(entry.problem)
    other = rn.gradient(entry.problem, "forward_continuous", rn.Solver("dop853", tol=1e-12))
    for leaf, mid in truth.grads.items():
        size = np.max(np.abs(mid))
        assert np.all(np.abs(other.grads[leaf] - mid) <= truth.radius[leaf] + 1e-11 * size), leaf


def test_a_closed_forms_radius_is_what_more_digits_change():
    """Evaluated with 40 digits more it stays within the radius, which leaves 55 digits; the midpoint is kept whole."""
    for entry in catalogue("exp", "cosine", "reflection", "stacked_linear"):
        truth, more = closed_form_truth(entry.problem), closed_form(entry.problem, 120)
        assert min(truth.digits().values()) > 55
        for leaf, exactly in more.items():
            off = np.abs(truth.mid[leaf] - exactly)
            assert np.all(off <= exact(truth.radius[leaf])), leaf
            assert np.array_equal(truth.grads[leaf], exactly.astype(np.float64))


# ---------------------------------------------------------------- which rung

def on_rungs(monkeypatch, **answers):
    """The ladder with rungs that answer, or refuse, as told; the others have no answer."""

    def rung(name):
        def climb(problem, digits):
            found = answers.get(name.replace(" ", "_").replace("-", "_"), "not here")
            if isinstance(found, str):
                raise rn.NotProvable(found)
            return found

        return climb

    monkeypatch.setattr(ladder, "RUNGS", {name: rung(name) for name in ladder.RUNGS})


def known(digits, kind):
    """A truth of so many digits."""
    return Truth({"x": np.ones((2, 1))}, {"x": np.full((2, 1), 10.0**-digits)}, kind, f"a {kind} gradient")


def test_the_best_rung_is_taken_and_the_better_ones_are_explained(monkeypatch):
    """The first rung that answers is the truth's; `passed` says of each better one why not."""
    on_rungs(monkeypatch, closed_form="none", double_double=known(28, "verified"), consensus=known(12, "estimated"))
    truth = reference(catalogue("mild")[0].problem)
    assert truth.kind == "verified"
    assert truth.passed == {"golden file": "not here", "closed form": "none", "proof": "not here"}


def test_digits_choose_the_rung(monkeypatch):
    """A rung with fewer digits than asked for is passed, with what it has; if none has them, all are named."""
    on_rungs(monkeypatch, golden_file=known(20, "proven"), double_double=known(28, "verified"))
    problem = catalogue("mild")[0].problem
    assert reference(problem, 20).kind == "proven"
    truth = reference(problem, 25)
    assert (truth.kind, truth.passed["golden file"]) == ("verified", "x has 20.0 digits, proven")
    with pytest.raises(rn.NotEnoughDigits, match=r"30 digits were asked for\. golden file: x has 20\.0 .* x has 28\.0"):
        reference(problem, 30)


def test_a_failed_proof_is_no_failed_problem(monkeypatch):
    """What an engine's arithmetic raises is a reason to step down."""

    def explodes(problem, digits):
        raise rn.NonFiniteState("the balls blew up")

    monkeypatch.setattr("refnode.oracle.taylor.verify", explodes)
    problem = user_problem()
    with pytest.raises(rn.NotEnoughDigits, match="double-double: NonFiniteState: the balls blew up"):
        reference(problem, 25)
    assert reference(problem).kind == "estimated"


def user_problem():
    """A field that is code: no file holds it, no proof takes it."""
    k = catalogue("cosine")[0].problem
    cosine = k.model.field
    field = rn.UserField(cosine.forward, cosine.jvp, cosine.vjp, cosine.shapes, cosine.width)
    return rn.Problem(rn.NeuralODE(field, span=k.model.span), k.params, k.x, k.loss)


def test_a_field_of_ones_own_is_estimated():
    """Golden files and closed forms do not know it, and the truth says so."""
    truth = reference(user_problem())
    assert truth.kind == "estimated"
    assert truth.passed["golden file"] == "no golden file of this problem"
    assert set(truth.passed) == {"golden file", "closed form", "proof", "double-double"}


def test_large_problems_are_proven_only_if_digits_are_asked_for():
    """Seconds must not become hours unasked: the work is estimated from a quick solve."""
    rng = np.random.default_rng(0)
    model = rn.NeuralODE(rn.MLP(8, 64, 64, 8))
    problem = rn.Problem(model, model.init(rng), rng.standard_normal((16, 8)), rn.Loss(rn.SquaredError(np.zeros(8))))
    with pytest.raises(rn.NotProvable, match="only where digits are asked for"):
        ladder.RUNGS["double-double"](problem, None)


# ---------------------------------------------------------------- |g - mid|

def test_the_gap_is_subtracted_before_it_is_rounded():
    """A float64 is off from a midpoint between two float64 by what decimal arithmetic says, NaN by infinity."""
    third = Decimal(1) / Decimal(3)
    truth = Truth({"x": np.array([1 / 3, 1.0])}, {"x": np.zeros(2)}, "proven", "", {"x": np.array([third, Decimal(1)])})
    gap = truth.gap("x", np.array([1 / 3, np.nan]))
    assert gap[0] == float(third - Decimal(1 / 3)) != 0
    assert gap[1] == np.inf
    assert Truth({"x": np.ones(1)}, {}, "estimated", "").gap("x", np.array([np.nan])) == np.inf


# ---------------------------------------------------------------- what may be asked

def test_digits_that_are_not_there_are_refused():
    """Asking more than any rung has raises, and says what each lacks."""
    said = r"40 digits were asked for.*consensus: \S+ has 1\d\.\d digits, estimated"
    with pytest.raises(rn.NotEnoughDigits, match=said):
        reference(user_problem(), digits=40)
    assert reference(user_problem(), digits=10).kind == "estimated"


@pytest.mark.parametrize("digits", [0, -1, True, "ten", float("nan")])
def test_digits_must_be_a_positive_number(digits):
    """A wrong digits argument is named."""
    (entry,) = catalogue("exp")
    with pytest.raises(rn.InvalidArgument, match="digits: got"):
        reference(entry.problem, digits=digits)


@pytest.mark.slow
def test_relu_is_left_to_continuous_methods():
    """Across kinks the discrete gradients of two tight tolerances differ by far more than the consensus radius."""
    (entry,) = catalogue("relu")
    truth = reference(entry.problem)
    discrete = rn.gradient(entry.problem, "discrete", rn.Solver("dopri5", tol=1e-10))
    error = np.max(np.abs(discrete.grads["theta.W0"] - truth.grads["theta.W0"]))
    assert error > 100 * np.max(truth.radius["theta.W0"])
    assert "interpolating" in truth.how


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_catalogue_is_built_from_fixed_seeds(name):
    """Two builds have the same bits, at least two samples, and claims for methods that exist."""
    (first,), (second,) = catalogue(name), catalogue(name)
    assert first.name == name
    assert first.problem.batch >= 2
    assert set(first.claims) <= set(rn.METHODS)
    for leaf, a in first.problem.leaves().items():
        assert a.tobytes() == second.problem.leaves()[leaf].tobytes()
    assert all(claim.because for claim in first.claims.values())
