"""Segments end at t0, observations, breaks of theta(t) and T, in the order in which every sample passes them.

A break stands at a fraction of the depth's interval. Where the interval is the span, it moves with t0 and T; where a
sample ends before a break, it waits at that sample's end.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.errors import InvalidArgument
from refnode.segments import bounds, bounds_jvp, bounds_vjp, segments, segments_jvp
from refnode.values import resolved, resolved_jvp
from tests.gradients.problems import problems
from tests.help import EPS, STEP, normals_like

X = np.array([[0.3, -0.2], [1.0, 0.4], [-0.5, 0.8]])
EDGES = [0.25, 0.5, 0.75]


def problem_with(theta, span=(0.0, 1.0), times=(), network=None):
    """Three samples of z' = W(t) z + b(t) with observations at `times`."""
    end = span[1] if network is None else rn.AdaptiveDepth(network)
    model = rn.NeuralODE(rn.MLP(2, 2), theta=theta, span=(0.0, end if network else 1.0))
    error = rn.SquaredError(np.zeros(2))
    loss = rn.Loss(error, rn.Observations(times, [error] * len(times)) if times else None)
    params = model.init(np.random.default_rng(0))
    return rn.Problem(model, params, X, loss, (span[0], None) if network else span)


def names(problem):
    """The kinds and numbers of the bounds in order: t0, break 0, .."""
    return [f"{b.kind} {b.number}" if b.kind in ("break", "t_obs") else b.kind for b in problem.layout.bounds]


def times_of(problem):
    return bounds(problem, problem.resolved)


# ---------------------------------------------------------------- order and cells

def test_without_breaks():
    """A constant or smooth depth has bounds at t0, the observations and T only, all in cell 0."""
    for theta in (rn.Constant(), rn.Galerkin(rn.Fourier(2)), rn.Stacked(1), rn.FunctionSpace(2)):
        problem = problem_with(theta, times=(0.3, 0.9))
        assert names(problem) == ["t0", "t_obs 0", "t_obs 1", "T"]
        assert problem.layout.cells == (0, 0, 0)
        assert [float(t) for t in times_of(problem)] == [0.0, 0.3, 0.9, 1.0]


@pytest.mark.parametrize("theta", [rn.Stacked(EDGES), rn.FunctionSpace(EDGES)], ids=["stacked", "hats"])
def test_breaks_and_observations_in_order(theta):
    """Going up, breaks and observations are sorted by depth, and each break passed is one cell up."""
    problem = problem_with(theta, times=(0.3, 0.6, 0.7))
    assert names(problem) == ["t0", "break 0", "t_obs 0", "break 1", "t_obs 1", "t_obs 2", "break 2", "T"]
    assert problem.layout.cells == (0, 1, 1, 2, 2, 2, 3)
    assert [float(t) for t in times_of(problem)] == [0, 0.25, 0.3, 0.5, 0.6, 0.7, 0.75, 1]


def test_basis_on_the_span_follows_it_backwards():
    """With T < t0 a span-following basis still runs from u = 0 at t0 to u = 1 at T: cells go up while t falls."""
    problem = problem_with(rn.Stacked(EDGES), (1.0, -1.0), (0.7, -0.4))
    assert names(problem) == ["t0", "t_obs 0", "break 0", "break 1", "t_obs 1", "break 2", "T"]
    assert problem.layout.cells == (0, 0, 1, 2, 2, 3)
    assert [float(t) for t in times_of(problem)] == [1, 0.7, 0.5, 0, -0.4, -0.5, -1]


def test_basis_on_an_interval_is_passed_from_the_other_end():
    """On a fixed interval, T < t0 passes the last edge first, and cells go down."""
    problem = problem_with(rn.Stacked(EDGES, (0.0, 2.0)), (1.8, 0.2), (1.2,))
    assert names(problem) == ["t0", "break 2", "t_obs 0", "break 1", "break 0", "T"]
    assert problem.layout.cells == (3, 2, 2, 1, 0)
    assert [float(t) for t in times_of(problem)] == [1.8, 1.5, 1.2, 1.0, 0.5, 0.2]


@pytest.mark.parametrize(
    ("span", "passed", "cells"),
    [
        ((0.6, 1.2), ["break 1"], (1, 2)),  # edges at 0.5, 1.0, 1.5
        ((1.2, 0.6), ["break 1"], (2, 1)),
        ((1.6, 3.0), [], (3,)),
        ((3.0, 1.6), [], (3,)),
        ((-1.0, 0.4), [], (0,)),
        ((0.4, -1.0), [], (0,)),
        ((-1.0, 3.0), ["break 0", "break 1", "break 2"], (0, 1, 2, 3)),
        ((3.0, -1.0), ["break 2", "break 1", "break 0"], (3, 2, 1, 0)),
        ((0.5, 1.0), [], (1,)),  # edges on the ends are not passed
        ((1.0, 0.5), [], (1,)),
    ],
)
def test_only_breaks_inside_the_span_count(span, passed, cells):
    """Breaks before t0 or behind T make no segment; the first cell is the one that t0 lies in."""
    problem = problem_with(rn.Stacked(EDGES, (0.0, 2.0)), span)
    assert names(problem) == ["t0", *passed, "T"]
    assert problem.layout.cells == cells


def test_theta_is_that_of_the_cell():
    """On every segment the field's parameters are the coefficients of the piece that depth is in."""
    from refnode.dynamics import dynamics_of

    for span, order in (((0.0, 2.0), [0, 1, 2, 3]), ((2.0, 0.0), [3, 2, 1, 0])):
        problem = problem_with(rn.Stacked(EDGES, (0.0, 2.0)), span)
        values = problem.values
        for i, (j, segment) in enumerate(zip(order, segments(problem, values), strict=True)):
            theta = dynamics_of(problem, i).theta(segment.at(np.asarray(0.5)), values)
            np.testing.assert_array_equal(theta[:4].reshape(2, 2), problem.params["alpha.W0"][j])


# ---------------------------------------------------------------- samples that end early

def test_a_break_waits_at_the_end_of_a_short_span():
    """A sample that ends before a break passes it at its T, in no time; one that starts behind a break, at its t0."""
    span = (np.array([0.0, 0.6, 0.0]), np.array([0.4, 2.0, 2.0]))
    problem = problem_with(rn.Stacked([0.25, 0.75], (0.0, 2.0)), span)  # edges at 0.5 and 1.5
    first, second = times_of(problem)[1:3]
    np.testing.assert_array_equal(first, [0.4, 0.6, 0.5])
    np.testing.assert_array_equal(second, [0.4, 1.5, 1.5])
    lengths = np.array([segment.length for segment in segments(problem, problem.values)])
    np.testing.assert_allclose(lengths.sum(axis=0), span[1] - span[0], rtol=4 * EPS)
    assert (lengths >= 0).all()


def test_a_short_span_downwards():
    """The same downwards, where T is below: the break stands at T for the sample that ends above it."""
    problem = problem_with(rn.Stacked([0.5], (0.0, 1.0)), (1.0, np.array([0.7, 0.2, 0.0])))
    np.testing.assert_array_equal(times_of(problem)[1], [0.7, 0.5, 0.5])
    assert problem.layout.cells == (1, 0)


def test_layout_does_not_change_with_the_numbers():
    """A problem's layout is that of its own numbers: at others, the bounds move but keep their order and kind."""
    problem = problem_with(rn.Stacked([0.5], (0.0, 1.0)), (0.0, np.array([0.4, 1.0, 1.0])), (0.3,))
    moved = replace(problem.values, T=np.array([0.7, 0.2, 1.0]), edges=np.array([0.25]))
    at = bounds(problem, moved)
    np.testing.assert_array_equal(at[2], [0.7, 0.25, 0.25])  # the first sample's still waits at its T
    np.testing.assert_array_equal(at[3], [0.7, 0.2, 1.0])


def test_adaptive_depth_moves_its_breaks():
    """With T_i = t0 + g(x_i) breaks on the span stand at fractions of every sample's own."""
    problem = problem_with(rn.Stacked(EDGES), network=rn.MLP(2, 3, 1))
    T = problem.span[1]
    assert T.shape == (3,)
    for fraction, t in zip(EDGES, times_of(problem)[1:4], strict=True):
        np.testing.assert_allclose(t, fraction * T, rtol=4 * EPS)


# ---------------------------------------------------------------- derivatives

def along(problem, seed):
    """A random perturbation of the resolved values."""
    rng, values = np.random.default_rng(seed), problem.values
    raw = type(values)(*normals_like(rng, [a for _, a in values.items()]))
    return raw, resolved_jvp(problem.resolved, raw, problem)


@given(problems(), st.integers(0, 2**32 - 1))
def test_bounds_jvp_is_the_complex_step(problem, seed):
    """Bounds move with t0, T, t_obs and edges as their complex step says, an adaptive T among them.

    Sums of three products of numbers below 3; t of a break is one of fractions below 1 and lengths below 3.
    """
    raw, moved = along(problem, seed)
    there = bounds(problem, resolved(problem.values.shifted(1j * STEP, raw), problem))
    size = max(1.0, *(float(np.max(np.abs(a), initial=0.0)) for a in (moved.t0, moved.T, moved.t_obs, moved.edges)))
    for got, want in zip(bounds_jvp(problem, problem.resolved, moved), there, strict=True):
        assert np.abs(got - np.imag(want) / STEP).max() <= 64 * EPS * size
    for span, change in zip(pairwise(there), segments_jvp(problem, problem.resolved, moved), strict=True):
        length = np.imag(span[1] - span[0]) / STEP
        assert np.abs(change.length - length).max() <= 128 * EPS * size


@given(problems(), st.integers(0, 2**32 - 1))
def test_bounds_vjp_is_adjoint_to_jvp(problem, seed):
    """<g, dt> over all bounds and samples is <vjp(g), d> over t0, T, t_obs and edges."""
    rng, values = np.random.default_rng(seed), problem.resolved
    _, moved = along(problem, seed)
    dt = bounds_jvp(problem, values, moved)
    g = [rng.standard_normal(problem.batch) for _ in dt]
    back = bounds_vjp(problem, values, g)
    left = [(g_i * dt_i) for g_i, dt_i in zip(g, dt, strict=True)]
    right = [(cotangent * d).sum() for (_, cotangent), (_, d) in zip(back.items(), moved.items(), strict=True)]
    # every part is a sum of at most 8 bounds times 3 samples; clipping aside, t0 and T hold all of them
    size = sum(np.abs(g_i).sum() for g_i in g) * max(
        1.0, *(np.abs(a).max(initial=0.0) for a in (moved.t0, moved.T, moved.t_obs, moved.edges))
    )
    assert abs(np.sum(left) - np.sum(right)) <= 64 * EPS * 4 * size


@given(problems(), st.integers(0, 2**32 - 1))
def test_magnitude_bounds_the_vjp(problem, seed):
    """For g >= 0 the magnitude holds the same terms without their signs: |vjp(g)| <= magnitude(g)."""
    rng, values = np.random.default_rng(seed), problem.resolved
    g = [np.abs(rng.standard_normal(problem.batch)) for _ in problem.layout.bounds]
    plain, magnitude = bounds_vjp(problem, values, g), bounds_vjp(problem, values, g, magnitude=True)
    for (_, a), (_, m) in zip(plain.items(), magnitude.items(), strict=True):
        assert (np.abs(a) <= m * (1 + 32 * EPS)).all()


@pytest.mark.parametrize("down", [False, True])
def test_what_waits_moves_with_its_end(down):
    """A break that a sample passes at its T moves with that T alone, one it passes at its t0 with that t0."""
    span = (np.array([0.0, 0.6, 0.0]), np.array([0.4, 2.0, 2.0]))
    problem = problem_with(rn.Stacked([0.25, 0.75], (0.0, 2.0)), span[::-1] if down else span)
    one = problem.layout.bounds.index(next(b for b in problem.layout.bounds if (b.kind, b.number) == ("break", 0)))
    g = [np.zeros(3) for _ in problem.layout.bounds]
    g[one] = np.array([1.0, 10.0, 100.0])
    back = bounds_vjp(problem, problem.values, g)
    near, far = (back.T, back.t0) if down else (back.t0, back.T)
    np.testing.assert_array_equal(near, [0, 10, 0])
    np.testing.assert_array_equal(far, [1, 0, 0])
    np.testing.assert_array_equal(back.edges, [200, 0])


def test_edges_by_hand():
    """d t / d edge is the interval's length, signed; d t / d T is the fraction where the interval is the span."""
    for interval, span, length, share in (("span", (0.5, -1.5), -2.0, 0.25), ((0.0, 4.0), (0.0, 3.0), 4.0, 0.0)):
        problem = problem_with(rn.Stacked([0.25], interval), span)
        g = [np.zeros(3), np.array([1.0, 10.0, 100.0]), np.zeros(3)]
        back = bounds_vjp(problem, problem.values, g)
        np.testing.assert_allclose(back.edges, [111 * length], rtol=4 * EPS)
        np.testing.assert_allclose(back.T, 111 * share, rtol=4 * EPS)
        np.testing.assert_allclose(back.t0, 111 * (0.75 if share else 0.0), rtol=4 * EPS)


# ---------------------------------------------------------------- what makes no sense

def refused(message):
    return pytest.raises(InvalidArgument, match=message)


def test_no_span_to_follow():
    """T = t0, for all or for one sample, leaves a span-following basis without a coordinate; a fixed interval not."""
    for theta in (rn.Galerkin(rn.Fourier(1)), rn.Stacked(2), rn.FunctionSpace(3)):
        for T in (0.5, np.array([1.0, 0.5, 2.0])):
            with refused(r"^T: got .*; must be other than t0: the basis of theta\(t\) follows the span$"):
                problem_with(theta, (0.5, T))
            problem_with(replace(theta, interval=(0.0, 1.0)), (0.5, T))


def test_opposite_directions():
    """Samples that run opposite ways cannot share the order of breaks; a smooth basis does not mind."""
    span = (0.5, np.array([1.0, 0.0, 2.0]))
    for interval in ("span", (0.0, 1.5)):
        with refused(r"^span: got T > t0 for some samples and T < t0 for others; must be the same direction for all"):
            problem_with(rn.Stacked(3, interval), span)
        problem_with(rn.Galerkin(rn.Legendre(2), interval), span)
    waiting = problem_with(rn.Stacked(3, (0.0, 1.5)), (0.0, np.array([1.5, 0.0, 1.5])))  # T = t0 is no direction
    assert names(waiting) == ["t0", "break 0", "break 1", "T"]


def test_different_orders():
    """An observation before a break for one sample and behind it for another is refused, naming both."""
    T = np.array([1.0, 2.0, 3.0])
    with refused(r"^observations\.times: got .*(t_obs 0 and break 0|break 0 and t_obs 0) in one order for some"):
        problem_with(rn.Stacked(2), (0.0, T), (0.9,))
    assert names(problem_with(rn.Stacked(2), (0.0, T), (0.4,))) == ["t0", "t_obs 0", "break 0", "T"]
    assert names(problem_with(rn.Stacked(2, (0.0, 2.0)), (0.0, T), (0.9,)))[1:3] == ["t_obs 0", "break 0"]


def test_observation_on_an_edge():
    """Where theta(t) jumps, the gradient in t_obs has two values: refused. On a kink of hats it has one."""
    for interval in ("span", (-1.0, 1.0)):
        edge = 0.5 if interval == "span" else 0.0
        with refused(r"^observations\.times: got an observation at .*, where theta\(t\) jumps; must be off the edges"):
            problem_with(rn.Stacked(2, interval), (-0.5, 1.5), (edge,))
        assert len(names(problem_with(rn.FunctionSpace(3, interval), (-0.5, 1.5), (edge,)))) == 4


def test_an_edge_that_rounds_to_an_end():
    """An edge within rounding of t0 or T is inside the span all the same, with the gradient of one a little further."""
    u, solver = np.nextafter(1.0, 0.0), rn.Solver("rk4", n_steps=8)
    assert 0.7 + 1e-17 * (1.0 - 0.7) == 0.7
    assert 0.7 + u * (1.0 - 0.7) == 1.0
    near, inside = [1e-17, u], [1e-9, 1 - 1e-9]
    problem = problem_with(rn.Stacked(3), (0.7, 1.0))
    leaves = {name: leaf + np.arange(3.0).reshape(-1, *[1] * (leaf.ndim - 1)) for name, leaf in problem.params.items()
              if name != "edges"}  # fmt: skip
    problem = problem.with_leaves(leaves)
    for method in ("discrete", "complex_step", "backsolve"):
        got, want = (rn.gradient(problem.with_leaves({"edges": e}), method, solver).grads for e in (near, inside))
        assert np.all(np.abs(want["edges"]) > 0.1)
        # moving an edge by 1e-9 of the span changes its gradient by about as much
        np.testing.assert_allclose(got["edges"], want["edges"], rtol=1e-7)


def test_edges_of_one_depth_are_passed_in_their_order():
    """Two edges that differ, but round to one t, are passed in their order, on the way down from the higher one."""
    edges = [0.4, 0.4 + 1e-15]
    problem = problem_with(rn.Stacked(edges, (100.0, 101.0)), (101.0, 100.0))
    assert times_of(problem)[1] == times_of(problem)[2]
    assert names(problem) == ["t0", "break 1", "break 0", "T"]
    assert names(problem_with(rn.Stacked(edges, (100.0, 101.0)), (100.0, 101.0))) == ["t0", "break 0", "break 1", "T"]


def test_who_waits():
    """A sample waits on the segments before its t0 and behind its T, not on those between, however short."""
    spans = np.array([0.3, 0.0, 0.0]), np.array([1.0, 0.2, 1.0])
    problem = problem_with(rn.FunctionSpace(EDGES, (0.0, 1.0)), spans, ())
    assert names(problem) == ["t0", "break 0", "break 1", "break 2", "T"]
    waiting = np.array([np.broadcast_to(w, 3) for w in problem.layout.waiting])
    assert waiting.tolist() == [[True, False, False], [False, True, False], [False, True, False], [False, True, False]]
    assert not np.any(problem_with(rn.Stacked(EDGES), times=(0.3, 0.4)).layout.waiting)


@pytest.mark.parametrize("method", ["discrete", "backsolve", "forward_continuous"])
def test_what_a_sample_never_sees_leaves_no_trace(method):
    """A sample that ends before a hat of width 1e-9 has the dT of its own solve, though theta continues to 1e9 there.

    What would cancel is 1e9 times as large as dT: with its round-off not a digit beyond the seventh would be left.
    """
    theta, T = rn.FunctionSpace([0.4, 0.8, 0.8 + 1e-9], (0.0, 1.0)), np.array([0.3, 0.35, 1.0])
    problem = problem_with(theta, (0.0, T))
    problem = problem.with_leaves({"alpha.W0": np.random.default_rng(1).standard_normal((5, 2, 2))})
    solver = rn.Solver("dopri5", tol=1e-10)
    got = rn.gradient(problem, method, solver).grads["T"]
    for k in (0, 1):
        alone = replace(problem, x=X[k : k + 1], span=(0.0, T[k]))
        want = rn.gradient(alone, method, solver).grads["T"]  # of the mean over one sample, not over three
        assert abs(3 * got[k] - want) <= 1e-8 * abs(want)  # two solves of tolerance 1e-10, on grids of their own


def test_an_adaptive_span_is_no_argument():
    """With adaptive depth T is None: another is refused, and so are observations that some sample does not reach."""
    problem = problem_with(rn.Constant(), network=rn.MLP(2, 3, 1))
    with refused(r"^T: got 1\.0; must be None: the model computes it from x"):
        rn.Problem(problem.model, problem.params, X, problem.loss, (0.0, 1.0))
    with refused(r"^observations\.times: "):
        problem_with(rn.Constant(), times=(float(np.min(problem.span[1])) + 0.01,), network=rn.MLP(2, 3, 1))
