"""A flow's log-density is the change of variables formula, its gradient every method's, its samples its density's."""

from dataclasses import replace
from itertools import product as every

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.linalg import expm
from scipy.stats import multivariate_normal

import refnode as rn
from refnode.errors import InvalidArgument
from refnode.forward import Grid, replay
from tests.gradients.problems import (
    EXACT_FOR_THE_GRID,
    SMOOTH,
    TO_TOLERANCE,
    assert_same,
    depths,
    draw_params,
    rounding_bound,
    solvers,
)
from tests.gradients.test_closed_forms import linear_flow
from tests.help import STEP

TOL = 1e-10
SHARP = rn.Solver("dop853", tol=TOL)
X = np.array([[0.8, -0.5], [1.3, 0.4], [-0.6, 1.1]])
A, B = np.array([[-0.4, 0.9], [-1.1, 0.2]]), np.array([0.3, -0.6])


@st.composite
def flows(draw, acts=SMOOTH):
    """A flow with parameters, data, condition and noise: (flow, params, {"x": .., "noise": .., "condition": ..})."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    order, o, c = draw(st.sampled_from([1, 1, 2])), draw(st.integers(1, 2)), draw(st.sampled_from([0, 0, 1]))
    hidden = draw(st.lists(st.integers(1, 2), max_size=1))
    f = rn.MLP(
        order * o + c, *hidden, o, act=draw(st.sampled_from(acts)), bias=draw(st.booleans()),
        skip=draw(st.booleans()), time=draw(st.sampled_from(["none", "first", "every"])),
    )  # fmt: skip
    theta = draw(st.just(rn.Constant()) | depths(f.shapes))
    t0, length = draw(st.sampled_from([0.0, -0.3])), draw(st.sampled_from([0.7, -0.6]))
    trace = draw(st.sampled_from(["exact", "hutchinson"]))
    flow = rn.CNF(f, span=(t0, t0 + length), trace=trace, theta=theta, order=order, condition=c)
    data = {
        "x": rng.standard_normal((2, order * o)),
        "condition": rng.standard_normal((2, c)) if c else None,
        "noise": flow.draw_noise(rng, 2, draw(st.integers(1, 2))) if trace == "hutchinson" else None,
    }
    return flow, draw_params(flow.model, rng), data


def flow_map_log_det(problem, grid, tableau):
    """log |det dz(T)/dz(t0)| (b,) of the computed solution on a grid, by complex steps in each column of the state."""
    values, d = problem.resolved, problem.model.state_width
    columns = []
    for j in range(d):
        moved = values.x.astype(complex)
        moved[:, j] += 1j * STEP
        at_bounds = replay(problem, replace(values, x=moved), grid, tableau)
        columns.append(at_bounds[-1][:, :d].imag / STEP)
    return np.linalg.slogdet(np.stack(columns, axis=1))[1]


# ---------------------------------------------------------------- a linear flow, by pencil

def affine_flow(span=(0.25, 1.5)):
    """z' = z A + b and its parameters."""
    return rn.CNF(rn.Linear(2, 2), span=span), {"theta.W0": A, "theta.b0": B}


@pytest.mark.parametrize("span", [(0.25, 1.5), (1.5, 0.25)], ids=["forwards", "backwards"])
def test_a_linear_flow_is_a_gaussian(span):
    """z(T) = x E + m ~ N(0, I) makes x ~ N(-m E^-1, (E E^T)^-1), E = exp(tau A): to 100 tol."""
    flow, params = affine_flow(span)
    M = np.zeros((3, 3))
    M[:2, :2], M[2, :2] = A, B
    E = expm((span[1] - span[0]) * M)
    E, m = E[:2, :2], E[2, :2]
    want = multivariate_normal(-m @ np.linalg.inv(E), np.linalg.inv(E @ E.T)).logpdf(X)
    np.testing.assert_allclose(flow.log_density(params, X, SHARP), want, atol=100 * TOL * np.max(np.abs(want)), rtol=0)


@pytest.mark.parametrize("method", ["discrete", "interpolating"])
def test_gradients_of_a_linear_flow(method):
    """d/dA of sum |z(T)|^2 / 2 - tau tr A is the Frechet derivative of expm less tau I; x, b, t0 and T likewise."""
    flow, params = affine_flow()
    tau = flow.span[1] - flow.span[0]
    g = rn.gradient(flow.problem(params, X, reduction="sum"), method, SHARP)
    M = np.zeros((3, 3))
    M[:2, :2], M[2, :2] = A, B
    w0 = np.hstack([X, np.ones((3, 1))])
    g_w0, g_M, g_tau = linear_flow(w0, M, np.full((3, 1), tau), lambda w: w * [1, 1, 0])
    want = {"theta.W0": g_M[:2, :2] - 3 * tau * np.eye(2), "theta.b0": g_M[2, :2], "x": g_w0[:, :2]}
    want |= {"T": g_tau.sum() - 3 * np.trace(A), "t0": -g_tau.sum() + 3 * np.trace(A)}
    assert_same(g.grads, want, {name: 100 * TOL * np.max(np.abs(leaf)) for name, leaf in want.items()})


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
@pytest.mark.parametrize("method", ["discrete", "quadrature"])
def test_a_flow_that_depends_on_t(method, trace, rng):
    """z' = k cos(t) z: log p(x) = log q(x e^(k S)) + S sum k, S = sin T - sin t0, and its gradient, by pencil.

    The Jacobian is diagonal, so that noise of signs estimates its trace without error.
    """
    k, (t0, T) = np.array([0.7, -1.2]), (0.25, 1.75)
    flow = rn.CNF(rn.CosineField(2), span=(t0, T), trace=trace)
    noise = flow.draw_noise(rng, 3) if trace == "hutchinson" else None
    S = np.sin(T) - np.sin(t0)
    z = X * np.exp(k * S)
    log_p = -(z**2).sum(axis=1) / 2 - np.log(2 * np.pi) + S * k.sum()
    got = flow.log_density({"theta.k": k}, X, SHARP, noise)
    np.testing.assert_allclose(got, log_p, atol=100 * TOL * np.max(np.abs(log_p)), rtol=0)
    by_S = (z**2 * k).sum() - 3 * k.sum()
    want = {"theta.k": (z**2 * S).sum(axis=0) - 3 * S, "x": z * np.exp(k * S), "T": by_S * np.cos(T)}
    want["t0"] = -by_S * np.cos(t0)
    g = rn.gradient(flow.problem({"theta.k": k}, X, noise, reduction="sum"), method, SHARP)
    assert_same(g.grads, want, {name: 100 * TOL * np.max(np.abs(leaf)) for name, leaf in want.items()})


# ---------------------------------------------------------------- change of variables

@settings(max_examples=40)
@given(flows())
def test_change_of_variables(drawn):
    """log p(x) = log q(z(T)) + log |det dz(T)/dx| with the determinant of the computed flow map, for orders 1 and 2.

    The trace's integral and the determinant are two numbers of one flow that agree in exact arithmetic only, so to the
    tolerance: 100 tol for every unit of the largest of exp(L tau), which the drawn fields keep below 100.
    """
    flow, params, data = drawn
    flow = replace(flow, trace="exact")
    problem = flow.problem(params, data["x"], condition=data["condition"], reduction="sum")
    solution = rn.solve(problem, SHARP)
    log_det = flow_map_log_det(problem, Grid(solution.forward.grid.fractions), SHARP.tableau)
    log_q = -(solution.z_T**2).sum(axis=1) / 2 - solution.z_T.shape[1] * np.log(2 * np.pi) / 2
    log_p = flow.log_density(params, data["x"], SHARP, condition=data["condition"])
    size = 1 + np.max(np.abs(log_q))
    np.testing.assert_allclose(log_p, log_q + log_det, atol=100 * 100 * TOL * size, rtol=0)


def total_mass(flow, params, h, condition=None, reach=14.0):
    """The trapezoidal sum of a density over a plane grid of width h."""
    line = np.arange(-reach, reach + h / 2, h)
    points = np.array(list(every(line, line)))
    if condition is not None:
        condition = np.broadcast_to(condition, (len(points), 1))
    log_p = flow.log_density(params, points, rn.Solver("dopri5", tol=1e-7), condition=condition)
    return h * h * np.exp(log_p).sum()


@pytest.mark.parametrize(
    ("flow", "condition"),
    [
        (rn.CNF(rn.MLP(2, 4, 2, time="first")), None),
        (rn.CNF(rn.MLP(2, 4, 1), order=2), None),
        (rn.CNF(rn.MLP(3, 4, 2), condition=1), [1.7]),
    ],
    ids=["first order", "second order", "conditional"],
)
def test_the_density_integrates_to_one(flow, condition, rng):
    """Over the plane, and over phase space for order 2, and for any c given.

    The fields are below 0.7 (4 + 1) in every component, so a point that starts beyond 14 has |z(T)|^2 > 38 (for order
    2; more for order 1), and less than e^-19 of the mass lies there. The trapezoidal rule's error falls faster than any
    power of h for a smooth density: halving h changes the sum by nearly all of the error that it had before, and the
    sum of the finer grid is better than that change, besides 100 tol.
    """
    params = {name: rng.uniform(-0.7, 0.7, leaf.shape) for name, leaf in flow.init(rng).items()}
    coarse, fine = (total_mass(flow, params, h, condition) for h in (0.6, 0.3))
    assert abs(fine - coarse) < 1e-2  # the density is resolved
    assert abs(fine - 1) <= abs(fine - coarse) + 100 * 1e-7


# ---------------------------------------------------------------- the condition

def test_a_conditional_density():
    """z' = a z + k c makes x given c normal, of deviation e^-a and mean -k c (1 - e^-a) / a."""
    a, k = 0.6, -1.3
    flow = rn.CNF(rn.Linear(2, 1, bias=False), condition=1)
    x, c = np.array([[0.3], [-0.8], [0.3]]), np.array([[1.0], [0.5], [-2.0]])
    got = flow.log_density({"theta.W0": [[a], [k]]}, x, SHARP, condition=c)
    mean, deviation = -k * c * (1 - np.exp(-a)) / a, np.exp(-a)
    want = (-(((x - mean) / deviation) ** 2) / 2 - np.log(deviation) - np.log(2 * np.pi) / 2)[:, 0]
    np.testing.assert_allclose(got, want, atol=100 * TOL * np.max(np.abs(want)), rtol=0)


def test_control_by_the_sample_itself_is_refused():
    """z' = -0.9 (z + x): the flow x -> -x + 2 x e^-0.9 has log |det| = log(1 - 2 e^-0.9) = -1.677, not int tr = -0.9.

    A flow with such a control is refused with the reason, whether by word or by a field that is too wide.
    """
    f, params = rn.Linear(2, 1, bias=False), {"theta.W0": [[-0.9], [-0.9]]}
    loss = rn.Loss(running=rn.Divergence(f, "x", reduction="sum"))
    problem = rn.Problem(rn.NeuralODE(f, control="x"), params, X[:, :1], loss)
    solution = rn.solve(problem, SHARP)
    log_det = flow_map_log_det(problem, solution.forward.grid, SHARP.tableau)
    np.testing.assert_allclose(log_det, np.log(1 - 2 * np.exp(-0.9)), atol=100 * TOL, rtol=0)
    np.testing.assert_allclose(solution.loss_per_sample, -0.9, atol=100 * TOL, rtol=0)
    assert abs(log_det[0] + 1.677) < 5e-4
    why = r"the field may not see the sample that it moves: .* log \|det\(dz\(T\)/dz\(t0\) \+ dz\(T\)/dcontrol\)\|"
    with pytest.raises(InvalidArgument, match=rf"^control: got 'x'; must be 'none': {why}"):
        rn.CNF(f, control="x")
    with pytest.raises(InvalidArgument, match=rf"^field: got of input width 2; must be of input width 1, .*; {why}"):
        rn.CNF(f)


# ---------------------------------------------------------------- gradients

@settings(max_examples=25)
@given(flows(), solvers(most_steps=4))
def test_gradients_of_the_computed_likelihood(drawn, solver):
    """Discrete adjoint, tangents and complex step are one, in every leaf, for flows of every kind.

    Within twice the bound of the plain fields: a stage of the trace passes through the network twice.
    """
    flow, params, data = drawn
    problem = flow.problem(params, **data)
    want = rn.gradient(problem, "discrete", solver)
    bound = {name: 2 * b for name, b in rounding_bound(problem, solver).items()}
    for method in EXACT_FOR_THE_GRID[1:]:
        assert_same(rn.gradient(problem, method, solver).grads, want.grads, bound)


GALERKIN = rn.CNF(rn.MLP(2, 3, 2, time="first"), theta=rn.Galerkin(rn.Legendre(2)))


@pytest.mark.parametrize("method", [*EXACT_FOR_THE_GRID, *TO_TOLERANCE])
def test_every_method_on_a_galerkin_flow(method):
    """All methods give one gradient in theta, x and the ends of the span, to the 7 digits that tol 1e-9 promises."""
    rng = np.random.default_rng(3)
    problem = GALERKIN.problem(draw_params(GALERKIN.model, rng), X)
    truth = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-12))
    got = rn.gradient(problem, method, rn.Solver("dop853", tol=1e-9))
    assert {"alpha.W0", "alpha.b1", "x", "T"} <= set(got.grads)
    assert min(rn.compare(got, truth).values()) >= 7


# ---------------------------------------------------------------- Hutchinson

def test_the_estimate_is_unbiased(rng):
    """The mean log-density over all signs is the exact one: z(t) does not see the noise, so on one grid all is linear.

    Rounding: 8 sums of 16 steps of 4 stages, each of two passes through the network of some 60 roundings.
    """
    flow = rn.CNF(rn.MLP(3, 4, 3), trace="hutchinson")
    params, solver = draw_params(flow.model, rng), rn.Solver("rk4", n_steps=16)
    x = rng.standard_normal((2, 3))
    each = [
        flow.log_density(params, x, solver, noise=np.broadcast_to(signs, (1, 2, 3)))
        for signs in every([-1.0, 1.0], repeat=3)
    ]
    exact = replace(flow, trace="exact").log_density(params, x, solver)
    assert np.max(np.abs(np.mean(each, axis=0) - exact)) <= 64 * 120 * np.finfo(float).eps * np.max(np.abs(each))
    assert np.std(each, axis=0).min() > 1e-3  # one noise alone would not do


def test_drawn_noise_has_covariance_one(rng):
    """Signs, of the shape asked for; 4,000 of them are balanced within five deviations."""
    noise = rn.CNF(rn.MLP(4, 3, 2), order=2).draw_noise(rng, 1000, draws=2)
    assert noise.shape == (2, 1000, 2)
    np.testing.assert_array_equal(np.abs(noise), 1)
    assert abs(noise.sum()) < 5 * np.sqrt(4000)


# ---------------------------------------------------------------- samples

@settings(max_examples=25)
@given(flows())
def test_a_sample_is_carried_to_its_base(drawn):
    """sample, then solve: z(T) is the base point that it came from, also where theta(t) follows the span or jumps.

    Two solves of local error tol, whose errors the flow carries on: 100 tol for every unit of exp(L tau) < 100.
    """
    flow, params, data = drawn
    x = flow.sample(params, data["x"], SHARP, condition=data["condition"])
    problem = flow.problem(params, x, data["noise"], data["condition"])
    size = 1 + np.max(np.abs(x)) + np.max(np.abs(data["x"]))
    np.testing.assert_allclose(rn.solve(problem, SHARP).z_T, data["x"], atol=100 * 100 * TOL * size, rtol=0)


def test_samples_have_the_flows_mean_and_covariance(rng):
    """20,000 samples of the linear flow have its Gaussian's moments within five deviations."""
    flow, params = affine_flow()
    x = flow.sample(params, 20_000, rn.Solver("dopri5", tol=1e-5), rng)
    M = np.zeros((3, 3))
    M[:2, :2], M[2, :2] = A, B
    E = expm(1.25 * M)
    inverse = np.linalg.inv(E[:2, :2])
    mean, cov = -E[2, :2] @ inverse, inverse.T @ inverse
    deviation = np.sqrt(np.diag(cov))
    assert (np.abs(x.mean(axis=0) - mean) < 5 * deviation / np.sqrt(20_000)).all()
    # the variance of a product of two normals is at most 2 s_i^2 s_j^2
    assert (np.abs(np.cov(x.T) - cov) < 5 * np.sqrt(2 / 20_000) * np.outer(deviation, deviation)).all()


# ---------------------------------------------------------------- structure and refusals

def test_the_pieces_of_a_flow(rng):
    """The model starts in x, or in its part of [x, c]; the loss is -log q and -tr; the leaf x is [x, c]."""
    flow = rn.CNF(rn.MLP(5, 3, 2), order=2, condition=1, span=(0.5, 2.0), theta=rn.Stacked(2))
    model = flow.model
    assert (model.h_x, model.control) == (rn.Columns(0, 4), rn.Columns(4, 5))
    assert (model.order, model.initial, model.span, model.depth) == (2, "full", (0.5, 2.0), rn.Stacked(2))
    c = np.array([[1.0], [2.0], [3.0]])
    problem = flow.problem(flow.init(rng), np.ones((3, 4)), condition=c)
    np.testing.assert_array_equal(problem.x, np.hstack([np.ones((3, 4)), c]))
    (running,) = problem.loss.running
    assert (running.weight, running.field, running.control) == (-1.0, flow.field, rn.Columns(4, 5))
    assert type(problem.loss.terminal) is rn.StandardNormal
    solver = rn.Solver("rk4", n_steps=4)
    nll = -flow.log_density(problem.params, np.ones((3, 4)), solver, condition=c).mean()
    # 4 steps of 4 stages add up the running loss, divided by the batch there or here
    assert abs(rn.solve(problem, solver).loss - nll) <= 32 * np.finfo(float).eps * (abs(nll) + 4 * np.log(2 * np.pi))
    assert rn.CNF(rn.MLP(2, 3, 2)).model.h_x == rn.Identity()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"trace": "approximate"}, r"^trace: got 'approximate'"),
        ({"condition": -1}, r"^condition: got -1; must be an integer >= 0"),
        ({"condition": "x"}, r"^condition: got 'x'"),
        ({"order": 0}, r"^order: got 0"),
        ({"order": 2}, r"^field: got of input width 2; must be of input width 4"),
        ({"span": (0.0, rn.AdaptiveDepth(rn.MLP(2, 1)))}, r"^span: got an adaptive depth; must be two numbers: "),
        ({"span": (0.0, np.inf)}, r"^span: got .* infinity"),
    ],
)
def test_words_are_checked(words, message):
    """What is no flow is refused where it is written down."""
    with pytest.raises(InvalidArgument, match=message):
        rn.CNF(rn.MLP(2, 3, 2), **words)


def test_a_field_without_a_trace_is_refused():
    """A field of one's own is told what it lacks."""
    with pytest.raises(InvalidArgument, match="it lacks trace, trace_jvp, trace_vjp"):
        rn.CNF(rn.UserField(len, len, len, {"k": (2,)}, 2))


def test_data_is_checked(rng):
    """Data, condition, noise, base points and generator are checked where they are given, by name."""
    plain, given_c = rn.CNF(rn.MLP(2, 3, 2)), rn.CNF(rn.MLP(3, 3, 2), condition=1)
    p, q = plain.init(rng), given_c.init(rng)
    for call, message in [
        (lambda: plain.problem(p, np.ones((3, 3))), r"^x: got shape \(3, 3\); must be of shape \(any, 2\)"),
        (lambda: plain.problem(p, X, condition=X), r"^condition: got an array .*; must be None: the flow has"),
        (lambda: given_c.problem(q, X), r"^condition: got None; must be an array \(3, 1\)"),
        (lambda: given_c.problem(q, X, condition=X), r"^condition: got shape \(3, 2\); must be of shape \(3, 1\)"),
        (lambda: plain.problem(p, X, noise=np.ones((1, 3, 2))), r"^noise: got an array with trace='exact'"),
        (lambda: replace(plain, trace="hutchinson").log_density(p, X), r"^noise: got None with trace='hutchinson'"),
        (lambda: plain.sample(p, 4), r"^rng: got None; must be a np.random.Generator"),
        (lambda: plain.sample(p, 0, rng=rng), r"^base: got 0; must be an integer >= 1"),
        (lambda: plain.sample(p, X[:, :1]), r"^base: got shape \(3, 1\)"),
        (lambda: plain.sample(p, X, "dopri5"), r"^solver: got dopri5"),
        (lambda: plain.draw_noise(rng, 0), r"^batch: got 0"),
        (lambda: plain.draw_noise(3, 2), r"^rng: got 3"),
    ]:
        with pytest.raises(InvalidArgument, match=message):
            call()
