"""Closed forms are right to the last bit: against scipy's matrix functions and against solves at tight tolerance."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy.linalg import expm, expm_frechet

import refnode as rn
from refnode.oracle.closed_forms import PRECISION, closed_form, exact, exp_matrix, sine_cosine
from refnode.oracle.problems import catalogue

EPS = np.finfo(np.float64).eps


def floats(M):
    """Decimals rounded to float64."""
    return np.asarray(M).astype(np.float64)


@pytest.mark.parametrize("norm", [1e-3, 1.0, 30.0])
def test_matrix_exponential_is_scipys(norm):
    """exp M agrees with scipy's expm to scipy's own accuracy: some eps times exp(|M|), a bound of |exp M|."""
    M = np.random.default_rng(0).standard_normal((3, 3))
    M *= norm / np.linalg.norm(M, 2)
    with localcontext() as context:
        context.prec = PRECISION
        mine = floats(exp_matrix(exact(M)))
    assert np.max(np.abs(mine - expm(M))) <= 100 * EPS * np.exp(norm)


def test_block_exponential_is_the_frechet_derivative():
    """The corner of exp [[M, E], [0, M]] is scipy's expm_frechet."""
    rng = np.random.default_rng(1)
    M, E = rng.standard_normal((2, 2, 2))
    with localcontext() as context:
        context.prec = PRECISION
        corner = floats(exp_matrix(exact(np.block([[M, E], [np.zeros((2, 2)), M]])))[:2, 2:])
    theirs = expm_frechet(M, E, compute_expm=False)
    assert np.max(np.abs(corner - theirs)) <= 100 * EPS * np.exp(2 * np.linalg.norm(M, 2))


@pytest.mark.parametrize("t", [0.0, 0.25, -2.5, 40.0])
def test_sine_and_cosine_round_to_those_of_the_c_library(t):
    """sin and cos from the rotation's exponential agree with libm to one unit in the last place of 1."""
    with localcontext() as context:
        context.prec = PRECISION
        s, c = sine_cosine(Decimal(t))
    assert abs(float(s) - math.sin(t)) <= EPS
    assert abs(float(c) - math.cos(t)) <= EPS


@pytest.mark.parametrize("name", ["exp", "linear", "cosine", "reflection", "stacked_linear"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_closed_form_is_the_limit_of_tight_solves(name, reduction):
    """Every leaf agrees with the discrete adjoint of dop853 at 1e-13 to 11 digits, what that tolerance leaves."""
    (entry,) = catalogue(name)
    problem = entry.problem
    term = rn.SquaredError(problem.loss.terminal.target, reduction=reduction, weight=0.5)
    problem = rn.Problem(problem.model, problem.params, problem.x, rn.Loss(term, scale=-1.5), problem.span)
    got = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-13))
    truth = {leaf: floats(exactly) for leaf, exactly in closed_form(problem).items()}
    assert set(truth) == set(got.grads)
    assert min(rn.compare(got, truth).values()) > 11


def test_other_problems_have_no_closed_form():
    """A time input, another loss, a readout, a running loss, columns or a T per sample: no closed form is claimed."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 3, 2))
    loss = rn.Loss(rn.SquaredError(y))
    cases = [
        (rn.NeuralODE(rn.MLP(3, 2), control=rn.Columns(0, 1)), loss, None),
        (rn.NeuralODE(rn.MLP(2, 2), theta=rn.Galerkin(rn.Legendre(2))), loss, None),
        (rn.NeuralODE(rn.MLP(2, 2), theta=rn.Stacked(2, interval=(0.0, 1.0))), loss, None),
        (rn.NeuralODE(rn.MLP(2, 2, bias=False, time="first")), loss, None),
        (rn.NeuralODE(rn.MLP(2, 2, bias=False, skip=True)), loss, None),
        (rn.NeuralODE(rn.MLP(2, 4, 2, bias=False)), loss, None),
        (rn.NeuralODE(rn.MLP(2, 2, bias=False), h_y=rn.Linear(2, 2)), loss, None),
        (rn.NeuralODE(rn.MLP(4, 2, bias=False), order=2), rn.Loss(rn.SquaredError(rng.standard_normal((3, 4)))), None),
        (rn.NeuralODE(rn.MLP(2, 2, bias=False)), rn.Loss(rn.LinearFunctional(y)), None),
        (rn.NeuralODE(rn.MLP(2, 2, bias=False)), rn.Loss(rn.SquaredError(y), running=rn.SquaredNorm()), None),
        (rn.NeuralODE(rn.MLP(2, 2, bias=False)), loss, (0.0, np.array([1.0, 2.0, 3.0]))),
    ]
    for model, a_loss, span in cases:
        assert closed_form(rn.Problem(model, model.init(rng), x, a_loss, span)) is None
