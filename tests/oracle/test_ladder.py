"""The ladder says which rung it stands on, contains the truth where that is known, and claims no more than it has."""

import numpy as np
import pytest

import refnode as rn
from refnode.oracle.ladder import consensus, reference
from refnode.oracle.problems import CATALOGUE, catalogue


@pytest.mark.parametrize("name", ["exp", "linear", "cosine"])
def test_consensus_contains_the_closed_form(name):
    """Where the truth is known, the float64 consensus has it within its radius, leaf by leaf."""
    (entry,) = catalogue(name)
    truth, guess = reference(entry.problem), consensus(entry.problem)
    assert (truth.kind, guess.kind) == ("closed form", "estimated")
    for leaf, mid in truth.grads.items():
        assert np.all(np.abs(guess.grads[leaf] - mid) <= guess.radius[leaf] + truth.radius[leaf]), leaf


def test_consensus_contains_a_gradient_of_another_kind():
    """Forward sensitivity at 1e-12 shares no adjoint with the consensus and lies within its radius plus 1e-11."""
    (entry,) = catalogue("concat_time")
    truth = reference(entry.problem)
    other = rn.gradient(entry.problem, "forward_continuous", rn.Solver("dop853", tol=1e-12))
    for leaf, mid in truth.grads.items():
        size = np.max(np.abs(mid))
        assert np.all(np.abs(other.grads[leaf] - mid) <= truth.radius[leaf] + 1e-11 * size), leaf


def test_closed_form_radius_is_half_a_unit_in_the_last_place():
    """The radius is spacing / 2, and the digits it leaves are those of float64."""
    (entry,) = catalogue("cosine")
    truth = reference(entry.problem)
    for leaf, mid in truth.grads.items():
        assert np.array_equal(truth.radius[leaf], np.spacing(np.abs(mid)) / 2)
    assert min(truth.digits().values()) > 15


def test_digits_that_are_not_there_are_refused():
    """Asking a consensus for 20 digits raises, and says which leaf has how many by which rung."""
    (entry,) = catalogue("mild")
    with pytest.raises(rn.NotEnoughDigits, match=r"20 digits were asked for; theta\.\w+ has 1\d\.\d by estimated"):
        reference(entry.problem, digits=20)
    assert reference(entry.problem, digits=10).kind == "estimated"


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
