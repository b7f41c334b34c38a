"""What the pictures show is what closed forms, plain formulas and the solve itself say, wherever it is drawn."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import expm

import refnode as rn
from refnode import figure_data
from refnode.oracle.entry import normal
from tests.help import EPS

A = np.array([[-0.5, 1.25], [-0.75, 0.25]])
SOLVER = rn.Solver("dop853", tol=1e-10)
NEAR = 1e-6  # 1e4 tol: tens of steps, each off by tol at most, in problems that stretch errors by less than 20


def problem_of(name):
    """A problem of the catalogue."""
    return rn.catalogue(name)[0].problem


def linear(span=(0.25, 1.5), observations=None):
    """z' = z A with a squared error at T."""
    model = rn.NeuralODE(rn.MLP(2, 2, bias=False), span=span)
    loss = rn.Loss(rn.SquaredError(normal((3, 2), 2)), observations)
    return rn.Problem(model, {"theta.W0": A}, normal((3, 2), 1), loss)


def rows(a):
    """The rows without NaN."""
    return a[~np.isnan(a).reshape(len(a), -1).any(axis=1)]


# ---------------------------------------------------------------- theta(t)

def test_theta_of_a_fourier_basis():
    """theta(t) = alpha_0 + sqrt 2 (alpha_1 cos 2 pi u + alpha_2 sin 2 pi u) with u = (t - t0) / (T - t0).

    Three products and two functions of an angle below 8: 20 roundings of terms whose sum is |alpha|.
    """
    problem = problem_of("galerkin_fourier")
    curves = figure_data.theta_curves(problem)
    assert curves.axis == "t"
    assert (curves.at[0], curves.at[-1]) == problem.span
    angle = 2 * np.pi * (curves.at - 0.25)
    psi = np.stack([np.ones_like(angle), np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)])
    assert set(curves.leaves) == {"W0", "b0", "W1", "b1"}
    for name, values in curves.leaves.items():
        alpha = problem[f"alpha.{name}"]
        want = np.einsum("jk,j...->k...", psi, alpha)
        assert np.abs(values - want).max() <= 20 * 8 * EPS * np.abs(alpha).sum()


def test_theta_of_a_stack():
    """theta(t) = alpha_j between the j-th pair of edges, with a row of NaN at every edge, where it jumps."""
    problem = problem_of("stacked")
    curves = figure_data.theta_curves(problem)
    edges = 0.25 + 1.5 * problem["edges"]
    assert np.abs(curves.edges - edges).max() <= 4 * EPS
    assert len(curves.nodes) == 0
    assert np.isnan(curves.at).sum() == 3
    pieces = np.split(curves.at, np.flatnonzero(np.isnan(curves.at)))
    values = np.split(curves.leaves["W0"], np.flatnonzero(np.isnan(curves.at)))
    for j, (t, W0) in enumerate(zip(pieces, values, strict=True)):
        low, high = np.array([0.25, *edges])[j], np.array([*edges, 1.75])[j]
        assert np.nanmin(t) == pytest.approx(low, abs=8 * EPS)
        assert np.nanmax(t) == pytest.approx(high, abs=8 * EPS)
        np.testing.assert_array_equal(rows(W0), np.broadcast_to(problem["alpha.W0"][j], rows(W0).shape))


def test_theta_of_a_function_space():
    """theta(t) interpolates its five nodal values, which stand at the nodes that are marked, ends included."""
    problem = problem_of("function_space")
    curves = figure_data.theta_curves(problem)
    np.testing.assert_allclose(curves.nodes, 1.25 * np.arange(5) / 4, rtol=0, atol=4 * EPS)
    alpha = problem["alpha.b0"]
    want = np.stack([np.interp(curves.at, 1.25 * np.arange(5) / 4, column) for column in alpha.T], axis=1)
    assert np.abs(curves.leaves["b0"] - want).max() <= 100 * EPS * np.abs(alpha).max()


def test_theta_on_an_interval_of_its_own():
    """Monomials in t itself, T < t0: sum_j alpha_j t^j. Leaves that do not vary are left out."""
    curves = figure_data.theta_curves(problem := problem_of("galerkin_monomial"))
    assert {curves.at[0], curves.at[-1]} == {0.0, 1.0}
    want = np.polynomial.polynomial.polyval(curves.at, problem["alpha.b1"]).T
    assert np.abs(curves.leaves["b1"] - want).max() <= 20 * EPS * np.abs(problem["alpha.b1"]).sum()
    assert set(figure_data.theta_curves(problem_of("galerkin_legendre")).leaves) == {"W1", "b1"}


def test_theta_of_own_spans():
    """Where each sample's span stretches theta, it is a function of the fraction u from 0 to 1."""
    curves = figure_data.theta_curves(problem_of("adaptive_follows"))
    assert (curves.axis, curves.at[0], curves.at[-1]) == ("u", 0.0, 1.0)
    fixed = figure_data.theta_curves(problem_of("stacked_fixed"))
    assert (fixed.axis, fixed.at[0], fixed.at[-1]) == ("t", 0.125, 1.875)


def test_theta_that_does_not_vary():
    """A constant theta has no curve."""
    with pytest.raises(rn.InvalidArgument, match="the same at every depth"):
        figure_data.theta_curves(problem_of("mild"))


# ---------------------------------------------------------------- z(t), a(t), H(t)

@pytest.mark.parametrize("span", [(0.25, 1.5), (1.5, 0.25)], ids=["up", "down"])
def test_paths_of_a_linear_field(span):
    """Every row is z0 exp(A (t - t0)), g_T exp(A (T - t))^T and their constant a . z A."""
    problem, (t0, T) = linear(span), span
    shown = figure_data.paths(rn.costate(problem, SOLVER), 50)
    assert (shown.t[0] == t0).all()
    assert (shown.t[-1] == T).all()
    z_T = problem.x @ expm(A * (T - t0))
    g_T = 2 / 3 * (z_T - problem.loss.terminal.target)
    for k, t in enumerate(shown.t[:, 0]):
        assert np.abs(shown.z[k] - problem.x @ expm(A * (t - t0))).max() < NEAR
        assert np.abs(shown.adj[k] - g_T @ expm(A * (T - t)).T).max() < NEAR
        assert np.abs(shown.H[k] - (g_T * (z_T @ A)).sum(axis=1)).max() < NEAR
    assert len(shown.t_obs) == len(shown.targets) == len(shown.edges) == 0


def test_paths_with_observations():
    """The states at observations are on the curves, targets are the loss's, and a row of NaN stands where a jumps."""
    problem = linear(observations=rn.observe([0.5, 1.0], targets := normal((2, 3, 2), 5)))
    shown = figure_data.paths(rn.costate(problem, SOLVER))
    np.testing.assert_array_equal(shown.t_obs, [0.5, 1.0])
    np.testing.assert_array_equal(shown.targets, targets)
    gaps = np.flatnonzero(np.isnan(shown.t[:, 0]))
    assert len(gaps) == 2
    for k, gap in enumerate(gaps):
        assert (shown.t[gap - 1] == shown.t_obs[k]).all()
        assert (shown.t[gap + 1] == shown.t_obs[k]).all()
        assert np.abs(shown.z_obs[k] - problem.x @ expm(A * (shown.t_obs[k] - 0.25))).max() < NEAR
        jump = 2 / 3 * (shown.z_obs[k] - targets[k])
        assert np.abs(shown.adj[gap - 1] - shown.adj[gap + 1] - jump).max() < NEAR


def test_targets_of_a_readout_are_not_states():
    """Where h_y stands between state and target, there is nothing to draw among the states."""
    shown = figure_data.paths(rn.costate(problem_of("observations")))
    assert (len(shown.t_obs), len(shown.targets)) == (20, 0)


@pytest.mark.parametrize("name", ["own_T", "stacked_fixed", "adaptive_depth", "adaptive_follows", "everything"])
def test_every_sample_goes_to_its_own_end(name):
    """The first and last depths of a sample are its own t0 and T, and no depth is beyond them."""
    problem = problem_of(name)
    values, shown = problem.resolved, figure_data.paths(rn.costate(problem))
    t0, T = (np.broadcast_to(end, (problem.batch,)) for end in (values.t0, values.T))
    np.testing.assert_array_equal(shown.t[0], t0)
    np.testing.assert_array_equal(shown.t[-1], T)
    assert (np.nanmin(shown.t, axis=0) == t0).all()
    assert (np.nanmax(shown.t, axis=0) == T).all()
    assert np.abs(shown.z[-1] - rn.solve(problem).z_T).max() < 1e-12 * np.abs(shown.z[-1]).max()


def test_edges():
    """Edges are those that theta(t) has between t0 and T; where every sample has its own, there are none to share."""
    shown = figure_data.paths(rn.costate(problem := problem_of("stacked")))
    assert np.abs(shown.edges - (0.25 + 1.5 * problem["edges"])).max() <= 4 * EPS
    assert len(figure_data.paths(rn.costate(problem_of("adaptive_follows"))).edges) == 0


@pytest.mark.parametrize(("name", "names"), [
    ("mild", ("1", "2")), ("second_order", ("q,1", "q,2", "p,1", "p,2")),
    ("third_order", ("1,1", "1,2", "2,1", "2,2", "3,1", "3,2")),
])  # fmt: skip
def test_component_names(name, names):
    """Order 1 counts components; order 2 says q and p; higher orders count blocks."""
    assert figure_data.component_names(problem_of(name).model) == names


def test_no_span_has_no_path():
    """T = t0 is one point."""
    found = rn.costate(problem_of("mild").with_leaves({"T": 0.0}))
    with pytest.raises(rn.InvalidArgument, match="span"):
        figure_data.paths(found)


# ---------------------------------------------------------------- the field

def shots_of(problem, **words):
    """Its snapshots."""
    found = rn.costate(problem, SOLVER)
    return figure_data.snapshots(found, figure_data.paths(found), **words)


def test_field_that_depends_on_t():
    """z' = k cos(t) z at every place and every t, of which there are four, evenly from t0 to T."""
    shots = shots_of(problem_of("cosine"))
    np.testing.assert_allclose(shots.t, [0.25, 1.0, 1.75, 2.5], rtol=4 * EPS)
    want = np.cos(shots.t)[:, None, None] * shots.grid * [0.75, -1.25]
    assert np.abs(shots.rate - want).max() <= 20 * EPS * np.abs(shots.grid).max()


def test_field_of_a_stack():
    """Each snapshot sees the piece of theta(t) that its t is on."""
    problem = problem_of("stacked")
    shots = shots_of(problem, frames=6)
    edges = 0.25 + 1.5 * problem["edges"]
    assert len(set(np.searchsorted(edges, shots.t))) == 4
    for t, rate in zip(shots.t, shots.rate, strict=True):
        W0, b0, W1, b1 = (problem[f"alpha.{leaf}"][np.searchsorted(edges, t)] for leaf in ("W0", "b0", "W1", "b1"))
        want = np.tanh(shots.grid @ W0 + b0) @ W1 + b1
        assert np.abs(rate - want).max() <= 100 * EPS * (np.abs(shots.grid).max() * np.abs(W0).sum() + 1)


def test_states_on_the_field():
    """The states are z(t), and the grid is a square that holds every path."""
    problem = linear()
    shots = shots_of(problem)
    for t, states in zip(shots.t, shots.states, strict=True):
        assert np.abs(states - problem.x @ expm(A * (t - 0.25))).max() < NEAR
    low, high = shots.grid.min(axis=0), shots.grid.max(axis=0)
    assert (low < rows(shots.path).min(axis=(0, 1))).all()
    assert (high > rows(shots.path).max(axis=(0, 1))).all()
    assert np.ptp(high - low) <= 8 * EPS * np.abs(shots.grid).max()
    assert shots.sample is None


def test_field_of_one_sample():
    """With control z' = z A + x B + b is another field for every sample: one sample's is shown, and no other's path."""
    problem = problem_of("reflection")
    shots = shots_of(problem)
    W0, b0 = problem["theta.W0"], problem["theta.b0"]
    want = shots.grid @ W0[:2] + problem.x[shots.sample] @ W0[2:] + b0
    assert np.abs(shots.rate - want).max() <= 20 * EPS * np.abs(want).max()
    assert shots.states.shape == (4, 1, 2)
    assert np.abs(shots.states[0, 0] - problem.x[shots.sample]).max() <= 4 * EPS


def test_field_of_own_spans():
    """Where each sample's span stretches theta, the longest span's is shown; its first and last t are its own."""
    problem = problem_of("adaptive_follows")
    shots, T = shots_of(problem), problem.resolved.T
    assert shots.sample == np.argmax(T)
    assert (shots.t[0], shots.t[-1]) == (0.0, T.max())


def test_field_of_other_widths():
    """A state of another width than 2 is no plane."""
    with pytest.raises(rn.InvalidArgument, match="z: got of width 4; must be of width 2"):
        shots_of(problem_of("second_order"))


# ---------------------------------------------------------------- errors

def test_errors_are_10_to_the_minus_digits():
    """Of each method at each tolerance the worst leaf's |g - g*| / |g*|, against the truth."""
    problem, truth = problem_of("linear"), rn.reference(problem_of("linear"))
    shown = figure_data.method_errors(problem, (1e-4, 1e-8), ("discrete", "backsolve"))
    assert truth.kind == "proven"
    for method, errors in shown.errors.items():
        for tol, error in zip(shown.tols, errors, strict=True):
            g = rn.gradient(problem, method, rn.Solver(tol=tol)).grads
            want = max(np.abs(g[n] - mid).max() / np.abs(mid).max() for n, mid in truth.grads.items())
            assert error == pytest.approx(want, rel=1e-10)
        assert errors[0] > 100 * errors[1]
    assert shown.radius <= EPS / 2


def test_a_refusal_is_no_number():
    """Where a method raises, there is NaN: backsolve on a contracting field, where interpolating has its 5 digits."""
    shown = figure_data.method_errors(problem_of("contracting"), (1e-8,), ("backsolve", "interpolating"))
    assert np.isnan(shown.errors["backsolve"]).all()
    assert (shown.errors["interpolating"] < 1e-5).all()


def test_a_faint_leaf_is_measured_by_the_largest():
    """Measured by the largest leaf, an error in x counts less than by x itself, where x is the worst leaf and small."""
    own, faint = (figure_data.method_errors(problem_of("contracting"), (1e-8,), ("discrete",), leaves)
                  for leaves in ((), ("x",)))  # fmt: skip
    assert own.errors["discrete"][0] > 2 * faint.errors["discrete"][0]


def test_curves_are_fine_enough():
    """No two neighbouring depths are further apart than an eighth of their segment, or a fiftieth of the span."""
    for name in ("galerkin_fourier", "stacked", "observations"):
        t = figure_data.paths(rn.costate(problem_of(name))).t[:, 0]
        gaps = np.array([b - a for a, b in pairwise(t)])
        assert np.nanmax(gaps) <= np.nanmax(t) / 50
