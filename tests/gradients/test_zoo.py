"""The paper's models against closed forms, against each other in other words, and against the Hamiltonian.

    z' = theta(t) z                    z(T) = x exp(int theta dt), theta in any basis, on the span or on an interval
    z' = -theta (z + x), z(0) = x      z(1) = -x + 2 x exp(-theta)                                              (10)
    T_i = g_w(x_i)                     s = t / T_i on [0, 1]
    dloss/ds_i = H(s_i^-) - H(s_i^+),  dT = H(T) - int u q dt,  q = ((df/dtheta)^T a) . dtheta/dt

Numbers are compared at tol 1e-10, where a method promises 8 digits, or on one grid of fixed steps, to round-off.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import refnode as rn
from refnode.bases import constant_coefficients
from refnode.dynamics import dynamics_of
from refnode.segments import bounds
from tests.gradients.problems import (
    TO_TOLERANCE,
    assert_same,
    breaks,
    changed,
    draw_params,
    problems,
    rounding_bound,
    solvers,
)

FIVE = (*TO_TOLERANCE, "discrete")
TIGHT = rn.Solver("dop853", tol=1e-10)
TIGHTER = rn.Solver("dop853", tol=1e-12)
X = np.array([[0.8], [1.3], [-0.6]])
Y = np.array([[0.3], [-0.7], [0.5]])
every_method = pytest.mark.parametrize("method", FIVE)
some = settings(max_examples=20)


def assert_digits(got, truth, promised=8):
    """Every leaf of the truth to so many digits of its largest entry."""
    for name, g in truth.items():
        assert got[name].shape == np.shape(g), name
        assert np.max(np.abs(got[name] - g)) <= 10.0**-promised * np.max(np.abs(g)), name


# ---------------------------------------------------------------- z' = theta(t) z in closed form

EDGES = np.array([0.3, 0.45])
DEPTHS = {
    "Legendre": rn.Legendre(3), "Chebyshev": rn.Chebyshev(3), "monomials": rn.Monomial(3), "Fourier": rn.Fourier(1),
    "bells": rn.GaussianRBF(3), "hats": rn.Hat([0.4, 0.7]), "pieces": rn.PiecewiseConstant(EDGES), "stacked": None,
}  # fmt: skip
COEFFICIENTS = np.array([0.8, -1.3, 0.6, 0.7])
SPANS = {
    "span": ("span", (0.25, 1.75)),
    "span, backwards": ("span", (1.5, -0.25)),
    "span, own t0 and T": ("span", (np.array([-0.3, 0.1, 0.2]), np.array([1.2, 1.9, 1.5]))),
    "interval": ((0.0, 2.0), (0.25, 1.75)),
    "interval, own, backwards": ((-0.5, 1.5), (np.array([1.4, 0.9, 1.2]), np.array([0.0, -0.3, 0.8]))),
    "beyond the interval": ((0.5, 1.0), (0.25, 1.75)),
}


def depth_of(kind, interval):
    return rn.Stacked(EDGES, interval) if kind == "stacked" else rn.Galerkin(DEPTHS[kind], interval)


def linear(kind, where):
    """z' = theta(t) z with |z(T) - y|^2 and int theta^2 dt."""
    interval, span = SPANS[where]
    depth = depth_of(kind, interval)
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False), theta=depth)
    params = {"alpha.W0": COEFFICIENTS[: depth.basis.m, None, None]}
    params |= {"edges": EDGES} if kind == "stacked" else {}
    loss = rn.Loss(rn.SquaredError(Y, reduction="sum"), running=rn.ParameterNorm(reduction="sum", weight=0.2))
    return rn.Problem(model, params, X, loss, span)


def pieces(basis, u0, u1):
    """(cell, u, weight) of Gauss's nodes between u0 and u1, cell by cell; cells at the ends go on outside [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    kinks = [k for k in basis.kinks if min(u0, u1) < k < max(u0, u1)]
    for lo, hi in pairwise([u0, *(kinks if u1 > u0 else kinks[::-1]), u1]):
        cell = int(np.sum(basis.kinks < (lo + hi) / 2))
        for node, weight in zip(nodes, weights, strict=True):
            yield cell, lo + (hi - lo) * (1 + node) / 2, (hi - lo) / 2 * weight


def linear_truth(problem):
    """The gradient of `linear`, written out: J_j = int psi_j dt and G_jk = int psi_j psi_k dt over each sample's span.

        z = x e^(alpha . J),  dL/dz = 2 (z - y),  loss = |z - y|^2 + 0.2 alpha . G alpha

    On the span J and G are proportional to T - t0; on an interval dJ/dT = psi(T), dG/dT = psi(T) psi(T)^T. An edge
    moves its length from one coefficient to the next.
    """
    depth, alpha = problem.model.depth, problem.params["alpha.W0"][:, 0, 0]
    basis, (t0, T) = depth.basis, (np.broadcast_to(end, 3) for end in problem.span)
    g = {name: np.zeros(leaf.shape) for name, leaf in problem.leaves().items()}
    ends = np.zeros((2, 3))
    for i, (start, end) in enumerate(zip(t0, T, strict=True)):
        lo, hi = (start, end) if depth.interval == "span" else depth.interval
        length, u = hi - lo, [(start - lo) / (hi - lo), (end - lo) / (hi - lo)]
        J, G = np.zeros(basis.m), np.zeros((basis.m, basis.m))
        for cell, node, weight in pieces(basis, *u):
            psi = basis.psi(np.asarray(node), cell)
            J, G = J + length * weight * psi, G + length * weight * np.outer(psi, psi)
        growth = np.exp(alpha @ J)
        z = X[i, 0] * growth
        g_z = 2 * (z - Y[i, 0])
        g["alpha.W0"][:, 0, 0] += g_z * z * J + 0.4 * G @ alpha
        g["x"][i] = g_z * growth
        if depth.interval == "span":
            rate = (g_z * z * alpha @ J + 0.2 * alpha @ G @ alpha) / length
            ends[:, i] = -rate, rate
        else:
            for k, (u_k, sign) in enumerate(zip(u, (-1, 1), strict=True)):
                theta = alpha @ basis.psi(np.asarray(u_k), int(np.sum(basis.kinks < u_k)))
                ends[k, i] = sign * (g_z * z * theta + 0.2 * theta**2)
        for j, edge in enumerate(problem.params.get("edges", ())):
            if min(u) < edge < max(u):
                step = np.sign(u[1] - u[0]) * length
                rates = g_z * z * alpha + 0.2 * alpha**2
                g["edges"][j] += step * (rates[j] - rates[j + 1])
    for name, per_sample in zip(("t0", "T"), ends, strict=True):
        g[name] = per_sample if g[name].ndim else per_sample.sum()
    return g


@pytest.mark.parametrize("where", SPANS)
@pytest.mark.parametrize("kind", DEPTHS)
def test_linear_closed_form(kind, where):
    """alpha, edges, x, t0 and T of z' = theta(t) z in every basis, on spans and intervals of every kind."""
    problem = linear(kind, where)
    assert_digits(rn.gradient(problem, "discrete", TIGHT).grads, linear_truth(problem))


@pytest.mark.parametrize("method", TO_TOLERANCE)
@pytest.mark.parametrize("where", ["span, backwards", "interval, own, backwards"])
@pytest.mark.parametrize("kind", ["Chebyshev", "hats", "stacked"])
def test_linear_closed_form_by_every_method(kind, where, method):
    """The same from every continuous method, for a smooth basis, one with kinks, and one with edges."""
    problem = linear(kind, where)
    solver = rn.Solver("dopri5", tol=1e-10, steps="own")
    assert_digits(rn.gradient(problem, method, solver).grads, linear_truth(problem))


@every_method
def test_stacked_closed_form(method):
    """exp(sum_j theta_j length_j), by hand: d/dedge_1 is z (theta_1 - theta_2) (T - t0), dT is z sum_j theta_j l_j."""
    theta, l, span = np.array([0.9, -1.4, 0.5]), np.array([0.3, 0.15, 0.55]), (0.5, 2.5)
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False), theta=rn.Stacked(EDGES), span=span)
    params = {"alpha.W0": theta[:, None, None], "edges": EDGES}
    problem = rn.Problem(model, params, X, rn.Loss(rn.LinearFunctional(np.ones(1), reduction="sum")))
    z = X * np.exp(2 * theta @ l)
    assert_digits(rn.gradient(problem, method, TIGHT).grads, {
        "alpha.W0": (z.sum() * 2 * l)[:, None, None], "edges": 2 * z.sum() * np.array([2.3, -1.9]),
        "x": np.full((3, 1), np.exp(2 * theta @ l)), "T": z.sum() * theta @ l, "t0": -z.sum() * theta @ l,
    })  # fmt: skip


# ---------------------------------------------------------------- data control

@every_method
@pytest.mark.parametrize("control", ["x", rn.Columns(0, 1)], ids=str)
def test_reflection(control, method):
    """z(1) = -x + 2 x exp(-theta): the gradient in theta, and in x the total derivative, through start and control."""
    theta = 0.9
    model = rn.NeuralODE(rn.Linear(2, 1, bias=False), control=control)
    loss = rn.Loss(rn.SquaredError(Y, reduction="sum"))
    problem = rn.Problem(model, {"theta.W0": [[-theta], [-theta]]}, X, loss)
    result = rn.gradient(problem, method, TIGHT)
    e = np.exp(-theta)
    g = 2 * (-X + 2 * X * e - Y)
    got = {"theta": -result.grads["theta.W0"].sum(), "x": result.grads["x"], "T": result.grads["T"]}
    want = {"theta": (g * -2 * X * e).sum(), "x": g * (2 * e - 1), "T": (g * -theta * 2 * X * e).sum()}
    assert_digits(got, want)
    if result.adj_t0 is not None:                   # the start alone; the control's part is the rest
        assert_digits({"z(0)": result.adj_t0}, {"z(0)": g * e})


@every_method
def test_columns_for_start_and_control(method):
    """z' = -theta (z + c) from z(0) = b for x = [b, c]: z(1) = (b + c) exp(-theta) - c, and each column has its own."""
    x, theta = np.hstack([X, Y]), 0.9
    words = {"h_x": rn.Columns(0, 1), "control": rn.Columns(1, 2)}
    model = rn.NeuralODE(rn.Linear(2, 1, bias=False), **words)
    loss = rn.Loss(rn.LinearFunctional(np.array([[1.0], [2.0], [-1.0]]), reduction="sum"))
    problem = rn.Problem(model, {"theta.W0": [[-theta], [-theta]]}, x, loss)
    g, e = np.array([[1.0], [2.0], [-1.0]]), np.exp(-theta)
    assert_digits(rn.gradient(problem, method, TIGHT).grads, {"x": np.hstack([g * e, g * (e - 1)])})


# ---------------------------------------------------------------- one thing in other words

ONES = {
    "one piece": rn.Stacked(1), "one polynomial": rn.Galerkin(rn.Legendre(1)), "one hat pair": rn.FunctionSpace(2),
    "on an interval": rn.Galerkin(rn.Chebyshev(1), (-3.0, 3.0)), "harmonics": rn.Galerkin(rn.Fourier(1)),
}  # fmt: skip


def varying(problem, depth):
    """The problem with this depth in place of the constant one, whose theta(t) is theta at every t."""
    leaves = {name.removeprefix("theta."): leaf for name, leaf in problem.params.items() if name[:6] == "theta."}
    params = {name: leaf for name, leaf in problem.params.items() if name[:6] != "theta."} | depth.init(leaves)
    model = replace(problem.model, depth=depth)
    if len(model.edges):
        params["edges"] = model.edges
    return changed(problem, model=model, params=params)


def summed(grads, depth):
    """The gradient in theta from that in coefficients: sum_j c_j dalpha_j where sum_j c_j psi_j = 1."""
    c = constant_coefficients(depth.basis)
    return {
        name.replace("alpha.", "theta."): np.tensordot(c, g, axes=1) if name.startswith("alpha.") else g
        for name, g in grads.items() if name != "edges"
    }  # fmt: skip


def assert_sums_to_plain(problem, depth, solver):
    """The gradient of the varying problem, summed, is the plain one's; m coefficients have the roundings of each."""
    other = varying(problem, depth)
    got, want = (rn.gradient(one, "discrete", solver).grads for one in (other, problem))
    bound, m = rounding_bound(problem, solver), depth.basis.m
    for name, b in rounding_bound(other, solver).items():
        if name != "edges":
            bound[name.replace("alpha.", "theta.")] += m * b
    assert_same(summed(got, depth), want, bound)


@some
@given(problems(vary=False), solvers(adaptive=False, most_steps=6), st.sampled_from(list(ONES)))
def test_constant_is_the_first_of_all_depths(problem, solver, name):
    """One block, a basis that makes 1, or a stack of one is the plain model: every gradient to round-off."""
    assert_sums_to_plain(problem, ONES[name], solver)


@some
@given(
    problems(vary=False, most_observed=0, ends=("shared",), adaptive=False),
    st.sampled_from(sorted(rn.TABLEAUX)), st.integers(1, 3), st.sampled_from([rn.Stacked(2), rn.FunctionSpace(3)]),
)  # fmt: skip
def test_equal_blocks_sum_to_plain(problem, name, n, depth):
    """Two equal blocks, with a break in the middle of 2 n steps, are the plain model; so are three equal hats."""
    assert_sums_to_plain(problem, depth, rn.Solver(name, n_steps=2 * n))


@some
@given(
    st.integers(0, 2**32 - 1), solvers(adaptive=False, most_steps=6),
    st.sampled_from([rn.Galerkin(rn.Fourier(1)), rn.Stacked(2), rn.FunctionSpace(3, (0.0, 1.0), ("W1",))]),
)  # fmt: skip
def test_second_order_is_a_first_order_system(seed, solver, depth):
    """q'' = f(t, q, q') with theta(t) is [q, p]' = [p, f] with the same theta(t), coefficient by coefficient."""
    rng, small = np.random.default_rng(seed), rn.MLP(2, 3, 1, time="every")

    def forward(t, z, theta, x):
        return np.concatenate([z[:, 1:], small.forward(t, z, theta)], axis=1)

    def jvp(t, z, theta, x, dt, dz, dtheta, dx):
        return np.concatenate([dz[:, 1:], small.jvp(t, z, theta, None, dt, dz, dtheta, None)], axis=1)

    def vjp(t, z, theta, x, g):
        g_t, g_z, g_theta, _ = small.vjp(t, z, theta, None, g[:, 1:])
        return g_t, g_z + np.concatenate([np.zeros((len(z), 1)), g[:, :1]], axis=1), g_theta, None

    second = rn.NeuralODE(small, order=2, theta=depth, span=(-0.3, 0.9))
    first = rn.NeuralODE(
        rn.UserField(forward, jvp, vjp, small.shapes, 2), h_x=rn.Linear(1, 2, bias=False), theta=depth, span=(-0.3, 0.9)
    )
    params = draw_params(second, rng)
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((3, 2))), running=(rn.Kinetic(of="state"), rn.ParameterNorm()))
    problem = rn.Problem(second, params, X, loss)
    other = rn.Problem(first, params | {"h_x.W0": np.array([[1.0, 0.0]])}, X, loss)
    got, want = (rn.gradient(one, "discrete", solver).grads for one in (other, problem))
    bound = {name: 2 * b for name, b in rounding_bound(problem, solver).items()}
    assert_same({name: got[name] for name in want}, want, bound)


# ---------------------------------------------------------------- adaptive depth

NETWORK = rn.MLP(2, 3, 1)
FIELD = rn.MLP(2, 1, 2, time="first")


def adaptive(interval, basis):
    """f with theta(t) and T_i = g_w(x_i), a linear loss and int |z|^2."""
    rng = np.random.default_rng(11)
    model = rn.NeuralODE(FIELD, theta=rn.Galerkin(basis, interval), span=(0.0, rn.AdaptiveDepth(NETWORK)))
    loss = rn.Loss(rn.LinearFunctional(np.array([1.0, -2.0]), reduction="sum"), running=rn.SquaredNorm(reduction="sum"))
    return rn.Problem(model, draw_params(model, rng), rng.standard_normal((3, 2)), loss)


def depth_network(w, x):
    """g_w(x) (b,) from its formula."""
    h = np.tanh(x @ w["T.W0"] + w["T.b0"])
    return np.log1p(np.exp(h @ w["T.W1"] + w["T.b1"]))[:, 0]


def rescaled(problem):
    """The same on s in [0, 1]: [z, q]' = g [f(g s, z, theta), |z|^2], with [x, g] for input, g a column of control.

    psi is taken at g s or at s; only the forward is written, and the complex step differentiates it.
    """
    depth, n = problem.model.depth, problem.x.shape[1]
    shapes = depth.shapes(FIELD.shapes)
    leaf_shapes = {name.replace(".", "_"): shape for name, shape in shapes.items()}

    def forward(s, y, alpha, control):
        g = control[:, 0]
        t = g * s
        u = s + 0 * g if depth.interval == "span" else (t - depth.interval[0]) / 2
        theta = depth.forward(u, 0, alpha, FIELD.shapes)
        z = y[:, :2]
        return g[:, None] * np.concatenate([FIELD.forward(t, z, theta), (z**2).sum(axis=1)[:, None]], axis=1)

    def no_jvp(s, y, alpha, control, *d):
        return np.zeros(y.shape)

    def no_vjp(s, y, alpha, control, g):
        return np.zeros(len(y)), np.zeros(y.shape), np.zeros(alpha.shape), np.zeros(control.shape)

    field = rn.UserField(forward, no_jvp, no_vjp, leaf_shapes, 3)
    start = rn.Linear(n + 1, 3, bias=False)
    model = rn.NeuralODE(field, h_x=start, control=rn.Columns(n, n + 1))
    params = {f"theta.{name.replace('.', '_')}": problem.params[name] for name in shapes}
    params["h_x.W0"] = np.eye(3) * np.array([1.0, 1.0, 0.0])
    loss = rn.Loss(rn.LinearFunctional(np.array([1.0, -2.0, 1.0]), reduction="sum"))
    g = depth_network(problem.params, problem.x)
    return rn.Problem(model, params, np.hstack([problem.x, g[:, None]]), loss)


@pytest.mark.parametrize(
    ("interval", "basis"), [("span", rn.Fourier(1)), ((0.0, 2.0), rn.Legendre(2))], ids=["psi at t / T", "psi at t"]
)
def test_adaptive_depth_is_a_rescaled_field(interval, basis):
    """dloss/dw = sum_i dloss/dg_i dg_i/dw with dloss/dg_i from s = t / g on [0, 1], for both ways to take psi.

    x acts as the start of z and through g: dloss/dx_i = dloss/dz_i(0) + dloss/dg_i dg_i/dx_i.
    """
    problem = adaptive(interval, basis)
    got = {method: rn.gradient(problem, method, TIGHT) for method in FIVE}
    other = rescaled(problem)
    plain = rn.gradient(other, "complex_step", TIGHTER)
    np.testing.assert_allclose(got["discrete"].loss, plain.loss, rtol=1e-9)
    truth = {name: plain.grads[f"theta.{name.replace('.', '_')}"] for name in problem.params if name[:5] == "alpha"}
    truth |= through_network(problem, plain.grads["x"][:, 2])
    truth["x"] = truth["x"] + plain.grads["x"][:, :2]
    for result in got.values():
        assert_digits(result.grads, truth)


def test_the_last_hamiltonian_is_not_the_depths_gradient():
    """With psi at t / T, sum_i H_i(T_i) dg_i/dw is off dloss/dw by more than a tenth; with psi at t they are one."""
    for interval in ("span", (0.0, 2.0)):
        problem = adaptive(interval, rn.Fourier(1))
        naive = through_network(problem, last_hamiltonian(problem))["T.W1"]
        g = rn.gradient(problem, "discrete", TIGHT).grads["T.W1"]
        off = np.max(np.abs(naive - g)) / np.max(np.abs(g))
        assert off > 0.1 if interval == "span" else off <= 1e-8


def through_network(problem, g_length):
    """The network's gradient and the input's part of it for dloss/dg (b,), by complex steps of the formula."""
    step, grads = 2.0**-100, {}
    for name in ("T.W0", "T.b0", "T.W1", "T.b1"):
        grads[name] = np.zeros(problem.params[name].shape)
        for index in np.ndindex(grads[name].shape):
            w = {n: leaf + 0j for n, leaf in problem.params.items()}
            w[name][index] += 1j * step
            grads[name][index] = g_length @ depth_network(w, problem.x).imag / step
    moved = [depth_network(problem.params, problem.x + 1j * step * unit).imag / step for unit in np.eye(2)]
    return grads | {"x": g_length[:, None] * np.stack(moved, axis=1)}


def last_hamiltonian(problem):
    """H(T) = a . f + l (b,) for a linear loss of z and running terms, from z(T) alone."""
    values, c = problem.resolved, problem.loss.terminal.c
    z = rn.solve(problem, TIGHTER).z_T
    dynamics = dynamics_of(problem, len(problem.layout.cells) - 1)
    F = dynamics.forward(values.T, np.hstack([z, np.zeros((len(z), dynamics.width - dynamics.d))]), values)
    return (F[:, : z.shape[1]] * c).sum(axis=1) + F[:, z.shape[1] :].sum(axis=1)


# ---------------------------------------------------------------- the Hamiltonian, edges and ends

NODES, WEIGHTS = np.polynomial.legendre.leggauss(28)
LINEAR = rn.LinearFunctional(np.array([1.0, -2.0]), reduction="sum")


def network(theta, time="first", times=(), running=True, span=(0.25, 1.5)):
    """A small network with theta(t), a linear loss at T, another at observations, and int 0.4 |z|^2 + 0.2 |f|^2 dt.

    Its weights are small enough for 28 Gauss nodes a segment to integrate anything along its depth to 1e-9.
    """
    rng = np.random.default_rng(2)
    model = rn.NeuralODE(rn.MLP(2, 3, 2, time=time), theta=theta, span=span)
    terms = (rn.SquaredNorm(reduction="sum", weight=0.4), rn.Kinetic(reduction="sum", weight=0.2)) if running else ()
    observed = rn.Observations(times, [LINEAR] * len(times)) if times else None
    params = {name: leaf if name == "edges" else 0.6 * leaf for name, leaf in draw_params(model, rng).items()}
    return rn.Problem(model, params, rng.standard_normal((3, 2)), rn.Loss(LINEAR, observed, terms))


def pinned(problem):
    """The same theta(t), which no longer moves with the span."""
    depth = problem.model.depth
    t0, T = (float(end) for end in problem.span)
    interval = (t0, T) if depth.interval == "span" else depth.interval
    if interval[0] > interval[1]:                   # the mirror image: the first piece is the one at T
        return mirrored(problem, depth)
    return replace(problem, model=replace(problem.model, depth=replace(depth, interval=interval)))


def mirrored(problem, depth):
    """The same theta(t) of pieces on a span that goes down, on an interval that goes up."""
    t0, T = (float(end) for end in problem.span)
    edges = 1 - problem.params["edges"][::-1]
    params = {name: leaf[::-1] if name.startswith("alpha.") else leaf for name, leaf in problem.params.items()}
    model = replace(problem.model, depth=rn.Stacked(edges, (T, t0)))
    return replace(problem, model=model, params=params | {"edges": edges})


def rest_of(problem, t):
    """The pinned problem that starts at t from where the solution is."""
    problem = pinned(problem)
    nothing = rn.Loss(running=rn.SquaredNorm())
    t0, T = problem.span
    z = rn.solve(replace(problem, span=(t0, t), loss=nothing), TIGHTER).z_T
    observed = problem.loss.observations
    later = [k for k, t_k in enumerate(observed.times) if t_k > t] if observed else []
    observed = rn.Observations(observed.times[later], [observed.terms[k] for k in later]) if later else None
    return replace(problem, x=z, loss=replace(problem.loss, observations=observed), span=(t, T))


def segments_of(problem):
    """(lo, hi) between t0, observations, breaks and T."""
    return list(pairwise(float(t) for t in bounds(problem, problem.resolved)))


def along_depth(problem, integrand):
    """int integrand(t, rest, a) dt by Gauss's rule on every segment; a (b, d) is the costate, rest starts at t."""
    total = 0.0
    for lo, hi in segments_of(problem):
        for node, weight in zip(NODES, WEIGHTS, strict=True):
            t = lo + (hi - lo) * (1 + node) / 2
            rest = rest_of(problem, t)
            a = rn.gradient(rest, "discrete", TIGHTER).adj_t0
            total += (hi - lo) / 2 * weight * integrand(np.asarray(t), rest, a)
    return total


def full_costate(rest, a):
    """[a, 1]: with the cotangent of the gathered running loss."""
    return np.hstack([a, np.ones((len(a), dynamics_of(rest).width - a.shape[1]))])


def vjp_at(t, rest, a):
    """Cotangents of F at t."""
    g = full_costate(rest, a)
    y = np.hstack([rest.x, np.zeros((len(rest.x), g.shape[1] - rest.x.shape[1]))])
    return dynamics_of(rest).vjp(t, y, rest.resolved, g)


@pytest.mark.parametrize("depth", [rn.Galerkin(rn.Fourier(1)), rn.FunctionSpace([0.4])], ids=["Fourier", "hats"])
def test_ends_of_a_basis_that_follows_the_span(depth):
    """dT = H(T) - int u q dt and dt0 = -H(t0) - int (1 - u) q dt, where q dt is what theta'(t) does.

    H(T) and -H(t0) are the gradients of the pinned problem. Without the integral dT
    is wrong by 4 % (hats), or in sign and size (Fourier).
    """
    problem = network(depth)
    t0, T = (float(end) for end in problem.span)
    still = rn.gradient(pinned(problem), "discrete", TIGHTER).grads
    np.testing.assert_allclose(still["T"], last_hamiltonian(problem).sum(), rtol=1e-9)

    def q(t, rest, a):  # what t does through theta alone: all of dF/dt less the field's own
        field = rest.model.field
        total = vjp_at(t, rest, a).t.sum()
        theta = dynamics_of(rest).theta(t, rest.resolved)
        f = field.forward(t, rest.x, theta)
        return total - field.vjp(t, rest.x, theta, None, a + 0.4 * f)[0].sum()  # 0.2 |f|^2 sees t through f

    shares = along_depth(problem, lambda t, rest, a: np.array([T - t, t - t0]) / (T - t0) * q(t, rest, a))
    want = {"t0": still["t0"] - shares[0], "T": still["T"] - shares[1]}
    assert abs(want["T"] - still["T"]) > 0.01 * abs(want["T"])
    for method in FIVE:
        assert_digits(rn.gradient(problem, method, TIGHT).grads, want, 7)
    assert_digits(rn.gradient(problem, "complex_step", TIGHT).grads, want, 7)


@pytest.mark.parametrize("span", [(0.25, 1.5), (1.5, 0.25)], ids=["up", "down"])
@pytest.mark.parametrize("interval", ["span", (0.0, 2.0)], ids=str)
def test_edges_move_the_hamiltonian(interval, span):
    """dloss/ds = H(s^-) - H(s^+) for the depth s of an edge, times the interval's length; and differences agree.

    H on either side has one costate and two thetas. Solves at 1e-13 differ by 2e-4 of the edge: 1e-9 from round-off
    and 1e-8 times a third derivative from truncation.
    """
    problem = network(rn.Stacked([0.4, 0.55], interval), span=span)
    grads = {method: rn.gradient(problem, method, TIGHT).grads["edges"] for method in FIVE}
    length = span[1] - span[0] if interval == "span" else 2.0
    values, passed = problem.values, [b.number for b in problem.layout.bounds if b.kind == "break"]
    for i, j in enumerate(passed):
        t = np.asarray(segments_of(problem)[i][1])
        rest = rest_of(problem, float(t))
        a = full_costate(rest, rn.gradient(rest, "discrete", TIGHTER).adj_t0)
        y = np.hstack([rest.x, np.zeros((3, 1))])
        before, behind = ((a * dynamics_of(problem, k).forward(t, y, values)).sum() for k in (i, i + 1))
        assert abs(before - behind) > 1e-3
        h, losses = 2e-4, []
        for sign in (1, -1):
            edges = problem.params["edges"] + sign * h * np.eye(2)[j]
            losses.append(rn.solve(problem.with_leaves({"edges": edges}), TIGHTER).loss)
        for g in grads.values():
            np.testing.assert_allclose(g[j], length * (before - behind), rtol=1e-7)
            np.testing.assert_allclose(g[j], (losses[0] - losses[1]) / (2 * h), rtol=1e-5)


def test_hamiltonian_is_constant_between_edges():
    """For f and l without t, and theta constant on pieces, H is one number on each piece and jumps as the edges say."""
    problem = network(rn.Stacked([0.4, 0.7]), time="none")
    for method in ("interpolating", "quadrature"):
        result = rn.gradient(pinned(problem), method, TIGHT).grads
        H, jumps = float(result["T"]), result["edges"] / 1.25
        wanted = [H + jumps.sum(), H + jumps[1], H]
        assert min(abs(jumps)) > 1e-3
        for (lo, hi), want in zip(segments_of(problem), wanted, strict=True):
            for fraction in (0.1, 0.6, 0.9):
                rest = rest_of(problem, lo + fraction * (hi - lo))
                H_t = -float(rn.gradient(rest, method, TIGHT).grads["t0"])
                assert abs(H_t - want) <= 100 * 1e-10 * max(map(abs, wanted))


@pytest.mark.parametrize(
    "depth",
    [rn.Stacked([0.4]), rn.Stacked([0.4], (0.0, 2.0)), rn.Galerkin(rn.Fourier(1)), rn.FunctionSpace([0.5], (0.0, 2.0))],
    ids=["stacked", "stacked on an interval", "Fourier", "hats on an interval"],
)
def test_times_balance(depth):
    """d_t0 + d_T + sum d_t_k, and the edges that stay, is int (a . f_t + l_t) dt: what a shift of all times does.

    A basis on the span shifts with it, and so do pieces on an interval with their edges; of any other fixed basis
    theta'(t) counts in f_t. The explicit t is in the first layer of the field.
    """
    problem = network(depth, times=(0.6,))
    follows = depth.interval == "span" or depth.learns_edges

    def slope(t, rest, a):
        if not follows:
            return vjp_at(t, rest, a).t.sum()
        field, theta = rest.model.field, dynamics_of(rest).theta(t, rest.resolved)
        f = field.forward(t, rest.x, theta)
        return field.vjp(t, rest.x, theta, None, a + 0.4 * f)[0].sum()

    want = along_depth(problem, slope)
    for method in FIVE:
        g = rn.gradient(problem, method, TIGHT).grads
        times = [g["t0"], g["T"], *g["t_obs"]]
        times += [*g["edges"] / 2.0] if depth.learns_edges and depth.interval != "span" else []
        assert abs(want) > 0.01 * np.abs(times).sum()
        assert abs(np.sum(times) - want) <= 100 * 1e-10 * (np.abs(times).sum() + abs(want)), method


# ---------------------------------------------------------------- the end of the span

@every_method
@pytest.mark.parametrize("running", [False, True])
def test_fixed_end_point_and_tied_end_point(running, method):
    """At T a loss is tied to T (terminal) or fixed there (observed): x and theta agree, dT is H(T) or l(T) alone.

    z = x exp(w (T - t0)), loss sum |z - y|^2 and, running, int |z|^2 dt.
    """
    w, t0, T = -0.8, 0.25, 1.5
    model = rn.NeuralODE(rn.MLP(1, 1, bias=False), span=(t0, T))
    error, terms = rn.SquaredError(Y, reduction="sum"), rn.SquaredNorm(reduction="sum") if running else ()
    tied = rn.Problem(model, {"theta.W0": [[w]]}, X, rn.Loss(error, running=terms))
    fixed = replace(tied, loss=rn.Loss(observations=rn.Observations([T], [error]), running=terms))
    tied, fixed = (rn.gradient(problem, method, TIGHT) for problem in (tied, fixed))
    np.testing.assert_allclose(fixed.loss, tied.loss, rtol=1e-12)
    for name in ("x", "theta.W0", "t0"):
        np.testing.assert_allclose(fixed.grads[name], tied.grads[name], rtol=1e-8)
    z = X * np.exp(w * (T - t0))
    own, moved = (z**2).sum() if running else 0.0, (2 * (z - Y) * w * z).sum()
    np.testing.assert_allclose(tied.grads["T"], moved + own, rtol=1e-8)
    np.testing.assert_allclose(fixed.grads["T"], own, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(fixed.grads["t_obs"], [moved], rtol=1e-8)


def test_breaks_counted():
    """The problems above have the breaks that they are there for."""
    assert [breaks(linear("stacked", where)) for where in SPANS] == [2, 2, 2, 2, 2, 2]
    assert breaks(network(rn.Stacked([0.4, 0.55], (0.0, 2.0)))) == 2
