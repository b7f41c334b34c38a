"""theta(t), its vjp and the coordinate u(t) are those of `refnode.depth`, for every basis and interval."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import refnode as rn
from refnode.depth import Galerkin, coordinate as story_coordinate
from refnode.kernels.pack import BASES, gathered, packed
from refnode.kernels.theta import coordinate, theta_at, theta_vjp

EPS = np.finfo(np.float64).eps
DRAWN = {
    "Legendre": rn.Legendre(7), "Chebyshev": rn.Chebyshev(6), "Monomial": rn.Monomial(5), "Fourier": rn.Fourier(3),
    "GaussianRBF": rn.GaussianRBF(4), "one bell": rn.GaussianRBF(1), "narrow bells": rn.GaussianRBF(3, 0.1),
    "Hat": rn.Hat(4), "uneven hats": rn.Hat([0.2, 0.7]),
    "PiecewiseConstant": rn.PiecewiseConstant([0.2, 0.7]), "one function": rn.Legendre(1),
}  # fmt: skip
LEAVES = rn.MLP(2, 3, 2, time="first").shapes


def test_every_basis_is_drawn():
    """No basis that packs is left out below."""
    assert {type(basis) for basis in DRAWN.values()} == set(BASES)


def variant(basis, interval, layers, seed):
    """A problem of this depth, its plain numbers in float64, and some t in its span with the cell it is in."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(rn.MLP(2, 3, 2, time="first"), span=(0.3, 1.6), theta=Galerkin(basis, interval, layers))
    params = {name: rng.standard_normal(shape) for name, shape in model.shapes.items()}
    problem = rn.Problem(model, params, rng.standard_normal((2, 2)), rn.Loss(rn.SquaredError(np.zeros((2, 2)))))
    V = packed(problem, problem.resolved, rn.Solver("rk4", n_steps=1), np.float64).V
    t = rng.uniform(0.3, 1.6)
    return problem, V, t, int(np.searchsorted(basis.kinks, story_coordinate(model.depth, t, 0.3, 1.6)))


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("interval", ["span", (-0.5, 2.0)])
@settings(max_examples=20)
@given(layers=st.sampled_from([None, ("W0",), ("b0", "W1")]), seed=st.integers(0, 2**32 - 1))
def test_theta_and_its_vjp(name, interval, layers, seed):
    """theta(t), the cotangents of alpha and u within the roundings of m terms of the largest psi and slope."""
    problem, V, t, cell = variant(DRAWN[name], interval, layers, seed)
    depth, alpha, m = problem.model.depth, problem.values.alpha, DRAWN[name].m
    u, p = story_coordinate(depth, t, 0.3, 1.6), sum(int(np.prod(shape)) for shape in LEAVES.values())
    assert coordinate(V, t, 0.3, 1.6) == u
    theta, psi, slope = np.empty(p), np.empty(m), np.empty(m)
    theta_at(V, t, 0.3, 1.6, cell, theta, psi, slope)
    # a recurrence of m steps rounds 6 times a step and grows like the largest slope, as a rounding of its argument
    # does; then a sum of m terms. Cosines of 2 pi k u may be off by eps of their argument
    n = 10 * m + 20
    psi_size, slope_size = 1 + np.abs(DRAWN[name].slope(u, cell)).max() * m, (1 + m * m) ** 2 * 10
    size = np.abs(alpha).sum() * psi_size
    assert np.all(np.abs(theta - depth.forward(u, cell, alpha, LEAVES)) <= n * EPS * size)
    g = np.random.default_rng(seed).standard_normal(p)
    g_still, g_A = np.zeros(p), np.zeros((m, p))
    g_u = theta_vjp(V, g, psi, slope, g_still, g_A)
    want_u, want_alpha = depth.vjp(u, cell, alpha, LEAVES, g)
    got_alpha = gathered(problem, g_still, g_A)
    assert np.all(np.abs(got_alpha - want_alpha) <= n * EPS * np.abs(g).max() * psi_size)
    assert abs(g_u - want_u) <= (n + p) * EPS * np.abs(alpha).sum() * np.abs(g).max() * slope_size


def test_constant_theta_is_itself():
    """Without a basis theta(t) is alpha, bit for bit, and its vjp the identity."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2))
    params = model.init(np.random.default_rng(0))
    problem = rn.Problem(model, params, np.zeros((2, 2)), rn.Loss(rn.SquaredError(np.zeros((2, 2)))))
    V = packed(problem, problem.values, rn.Solver("rk4", n_steps=1), np.float64).V
    np.testing.assert_array_equal(V.still, problem.values.alpha)
    assert V.A.shape == (0, problem.values.alpha.size)
    np.testing.assert_array_equal(gathered(problem, problem.values.alpha, V.A), problem.values.alpha)
