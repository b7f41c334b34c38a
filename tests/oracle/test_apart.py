"""A gradient taken apart adds up again: terms of the loss, and samples, each the gradient of a problem of its own."""

from dataclasses import replace
from decimal import localcontext

import numpy as np
import pytest

import refnode as rn
from refnode.oracle.apart import integral_part, sample_parts, terminal_part
from refnode.oracle.closed_forms import closed_form_truth
from refnode.oracle.decimals import EXACT, exact
from refnode.oracle.entry import draw_params, normal
from refnode.oracle.truth import Truth


def discrete(problem):
    """A gradient at tol 1e-12 with the radius that such a tolerance claims: 10 digits of the sum of all contributions.

    (Steps land on observations, so that parts have other grids than the whole.)
    """
    result = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-12))
    radius = {leaf: np.full(g.shape, 1e-10 * np.max(result.magnitude[leaf])) for leaf, g in result.grads.items()}
    return Truth(result.grads, radius, "estimated", "dop853")


def mixed(own_T=False):
    """Averaged and summed terms, at T, at observation times and along the way; three samples."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2, time="first"), h_y=rn.Linear(2, 2), span=(0.25, 1.25))
    points = rn.SquaredError(normal((3, 2), 1), weight=0.5), rn.LinearFunctional(normal((3, 2), 2), reduction="sum")
    seen = rn.Observations([0.5, 1.0], points)
    running = (0.5 * rn.SquaredNorm(), rn.ParameterNorm(weight=0.01, reduction="sum"), rn.Kinetic())
    loss = rn.Loss(rn.SquaredError(normal((3, 2), 3)), seen, running, scale=-1.5)
    span = (0.25, np.array([1.25, 1.5, 2.0])) if own_T else None
    return rn.Problem(model, draw_params(model, 4), normal((3, 2), 5), loss, span)


def flow():
    """A flow whose noise and condition are rows of the samples."""
    return rn.catalogue("cnf_hutchinson")[0].problem


def adds_up(whole, parts):
    """Leaf by leaf, the sum of the parts is the whole within all radii."""
    with localcontext(EXACT):
        for leaf in whole.grads:
            off = abs(whole.midpoints(leaf).ravel() - sum(part.midpoints(leaf).ravel() for part in parts))
            room = sum((exact(part.radius[leaf]).ravel() for part in parts), exact(whole.radius[leaf]).ravel())
            assert all(gap <= most for gap, most in zip(off, room, strict=True)), leaf
    return True


@pytest.mark.parametrize("problem", [mixed(), mixed(own_T=True), flow(), rn.catalogue("adaptive_follows")[0].problem])
def test_terms_and_samples_add_up(problem):
    """Terminal and integral parts sum to the gradient, and so do the samples'."""
    whole = discrete(problem)
    parts = [terminal_part(problem, discrete), integral_part(problem, discrete)]
    assert adds_up(whole, parts)
    assert adds_up(whole, sample_parts(problem, discrete))


def test_a_sample_moves_its_own_rows_only():
    """In x and in a T per sample the other rows are exactly zero, and known to be."""
    problem = mixed(own_T=True)
    for i, part in enumerate(sample_parts(problem, discrete)):
        others = [k for k in range(3) if k != i]
        for leaf in ("x", "T"):
            assert np.all(part.grads[leaf][others] == 0)
            assert np.all(part.radius[leaf][others] == 0)
            assert np.all(part.grads[leaf][i] != 0)


def test_what_is_not_there_is_none():
    """A loss without running terms has no integral part; one without point losses no terminal part."""
    problem = mixed()
    assert integral_part(replace(problem, loss=replace(problem.loss, running=())), discrete) is None
    assert terminal_part(replace(problem, loss=rn.Loss(running=rn.Kinetic())), discrete) is None


def test_observation_times_without_observations_do_not_move_the_loss():
    """The integral's part of t_obs is an exact zero."""
    part = integral_part(mixed(), discrete)
    assert np.all(part.grads["t_obs"] == 0)
    assert np.all(part.radius["t_obs"] == 0)


@pytest.mark.parametrize("name", ["exp", "linear", "stacked_linear"])
def test_closed_forms_add_up_to_fifty_digits(name):
    """No weight is rounded on the way: a third of a mean is a third to all digits."""
    (entry,) = rn.catalogue(name)
    whole, parts = closed_form_truth(entry.problem), sample_parts(entry.problem, closed_form_truth)
    assert min(digits for part in parts for digits in part.digits().values()) > 50
    assert adds_up(whole, parts)
