"""a(t) is dloss/dz(t) and H(t) is conserved or balanced on the whole span, for every kind of model."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import expm

import refnode as rn
from refnode.oracle.entry import normal
from refnode.segments import bounds
from tests.help import EPS

TOL = 1e-10
SOLVER = rn.Solver("dop853", tol=TOL)
# A step errs by TOL of the state at most; ten to fifty steps, what the span makes of them (factors up to 20 here), and
# the same again for the costate, stay below 1e4 TOL. A bug of sign, side or jump is of the size of what is compared.
NEAR = 1e4 * TOL

ZOO = ("theta_running", "backwards", "own_T", "galerkin_fourier", "galerkin_monomial", "stacked", "stacked_fixed",
       "function_space", "second_order", "third_order", "data_control", "adaptive_depth", "adaptive_follows",
       "fixed_end", "everything")  # fmt: skip
every_kind = pytest.mark.parametrize("name", ZOO)


def problem_of(name):
    """A problem of the catalogue."""
    return rn.catalogue(name)[0].problem


def assert_near(got, want, size=0.0):
    """|got - want| <= NEAR of the largest of want and size."""
    assert np.shape(got) == np.shape(want)
    assert np.abs(got - want).max() <= NEAR * max(np.abs(want).max(), size)


def places(a, z, count=3):
    """Depths strictly between two bounds, () or (b,)."""
    return [(1 - s) * a + s * z for s in (np.arange(count) + 0.377) / count]


def size_of_H(found):
    """The largest sum of |terms| that H has: what its rounding and its error are measured by."""
    problem, t0 = found.problem, found.problem.resolved.t0
    rate = np.abs(found.z(places(t0, problem.resolved.T)[1]) - found.z(t0)).max() + 1.0
    return np.abs(found.adj_t0).max() * rate + np.abs(found.hamiltonian(t0)).max() + 1e-300


# ---------------------------------------------------------------- a(t)

@pytest.mark.parametrize("steps", ["shared", "own"])
@every_kind
def test_at_t0_it_is_the_gradients(name, steps):
    """a(t0) is adj_t0 of the interpolating adjoint, whose backward solve it keeps: the interpolant rounds, no more."""
    problem, solver = problem_of(name), rn.Solver("dopri5", tol=1e-7, steps=steps)
    found, g = rn.costate(problem, solver), rn.gradient(problem, "interpolating", solver, check=False)
    scale = np.abs(g.adj_t0).max()
    np.testing.assert_array_equal(found.adj_t0, g.adj_t0)
    assert np.abs(found.adj(problem.resolved.t0) - g.adj_t0).max() <= 100 * EPS * scale


def restarted(problem, z, t):
    """The same loss from depth t on, as a problem that starts there with the state z, and theta(t) where it was."""
    values, model = problem.resolved, problem.model
    depth = model.depth
    if depth.interval == "span" and not isinstance(depth, rn.Constant):
        depth = replace(depth, interval=(float(values.t0), float(values.T)))
    kept = {name: leaf for name, leaf in problem.params.items() if not name.startswith(("h_x.", "T."))}
    model = replace(model, depth=depth, h_x=None, initial="full", span=(0.0, 1.0))
    seen = problem.loss.observations
    if seen is not None:
        left = [k for k, time in enumerate(seen.times) if time > t]
        seen = rn.Observations(seen.times[left], tuple(seen.terms[k] for k in left)) if left else None
    loss = rn.Loss(problem.loss.terminal, seen, problem.loss.running, problem.loss.scale)
    return rn.Problem(model, kept, z, loss, (t, values.T))


@pytest.mark.parametrize("name", [n for n in ZOO if n not in ("data_control", "adaptive_follows", "everything")])
def test_inside_it_is_the_gradient_of_what_is_left(name):
    """a(t) is dloss/dz(t): the discrete adjoint of the problem that starts at t from z(t), another method altogether.

    Left out are models whose field sees x, and a basis that a span of each sample's own stretches: what starts at t
    is no problem of the same kind there.
    """
    problem = problem_of(name)
    found, values = rn.costate(problem, SOLVER), problem.resolved
    shortest = values.T if values.T.ndim == 0 else values.T[np.argmin(np.abs(values.T - values.t0))]
    for t in places(values.t0, shortest):
        left = rn.gradient(restarted(problem, found.z(t), t), "discrete", SOLVER)
        assert_near(found.adj(t), left.adj_t0, np.abs(found.adj_t0).max())


A = np.array([[-0.5, 1.25], [-0.75, 0.25]])


@pytest.mark.parametrize("name", ["theta_running", "galerkin_fourier", "everything"])
def test_whichever_backend_solves_it_is_the_same(name, monkeypatch):
    """The forward solve by kernels or by the story, with a running loss and without: the same a(t) and H(t)."""
    problem, found = problem_of(name), []
    for backend in ("numpy", "cpu"):
        monkeypatch.setenv("REFNODE_BACKEND", backend)
        found.append(rn.costate(problem, SOLVER))
    assert found[1].solution.backend == "cpu"
    for t in places(problem.resolved.t0, problem.resolved.T):
        assert_near(found[1].adj(t), found[0].adj(t))
        assert_near(found[1].hamiltonian(t), found[0].hamiltonian(t), size_of_H(found[0]))


@pytest.mark.parametrize("span", [(0.25, 1.5), (1.5, 0.25)], ids=["up", "down"])
def test_linear_field(span):
    """For z' = z A, L = mean |z(T) - y|^2: a(t) = (2/b) (z(T) - y) exp(A (T - t))^T, and H = a . z A is constant."""
    x, y = normal((3, 2), 1), normal((3, 2), 2)
    model = rn.NeuralODE(rn.MLP(2, 2, bias=False), span=span)
    problem = rn.Problem(model, {"theta.W0": A}, x, rn.Loss(rn.SquaredError(y)))
    found, (t0, T) = rn.costate(problem, SOLVER), span
    g_T = 2 / 3 * (x @ expm(A * (T - t0)) - y)
    for t in (t0, *places(t0, T, 7), T):
        assert_near(found.z(t), x @ expm(A * (t - t0)))
        assert_near(found.adj(t), g_T @ expm(A * (T - t)).T)
        assert_near(found.hamiltonian(t), (g_T * (x @ expm(A * (T - t0)) @ A)).sum(axis=1))


def test_oscillator_of_order_2():
    """For q'' = -w^2 q with L = sum q(T): a_q = cos w (T - t) and a_p = sin(w (T - t)) / w."""
    w, T = 1.5, 2.0
    model = rn.NeuralODE(rn.MLP(2, 1, bias=False), order=2, span=(0.0, T))
    loss = rn.Loss(rn.LinearFunctional([1.0, 0.0], reduction="sum"))
    problem = rn.Problem(model, {"theta.W0": [[-(w**2)], [0.0]]}, normal((2, 1), 3), loss)
    found = rn.costate(problem, SOLVER)
    for t in (0.0, *places(0.0, T, 5), T):
        want = np.array([np.cos(w * (T - t)), np.sin(w * (T - t)) / w])
        assert_near(found.adj(t), np.tile(want, (2, 1)), 1.0)


# ---------------------------------------------------------------- sides

def test_jumps_at_observations():
    """a(t_k^-) - a(t_k^+) = dL_k/dz, which is 2 (z - y_k) / b; H jumps there by dloss/dt_k, for L_k does not name t."""
    problem = problem_of("stacked")
    found, seen, g = rn.costate(problem, SOLVER), problem.loss.observations, rn.gradient(problem, "discrete", SOLVER)
    for k, (t, term) in enumerate(zip(seen.times, seen.terms, strict=True)):
        jump = 2 * (found.z(t) - term.target) / problem.batch
        assert np.abs(jump).max() > 0.1
        assert_near(found.adj(t, "before") - found.adj(t, "after"), jump, np.abs(found.adj(t)).max())
        fall = found.hamiltonian(t, "before") - found.hamiltonian(t, "after")
        assert_near(fall.sum(), g.grads["t_obs"][k], size_of_H(found))


def test_jumps_at_edges():
    """At a learned edge a is continuous, and H jumps by dloss/ds_i / (T - t0): the edge stands at t0 + s_i (T - t0)."""
    problem = problem_of("stacked")
    found, g = rn.costate(problem, SOLVER), rn.gradient(problem, "discrete", SOLVER)
    t0, T, scale = *problem.span, np.abs(found.adj_t0).max()
    for i, s in enumerate(problem["edges"]):
        t = bounds(problem, problem.resolved)[[b[:2] for b in problem.layout.bounds].index(("break", i))]
        assert abs(t - (t0 + s * (T - t0))) <= 4 * EPS * T
        assert np.abs(found.adj(t, "before") - found.adj(t, "after")).max() <= 100 * EPS * scale
        fall = (found.hamiltonian(t, "before") - found.hamiltonian(t, "after")).sum()
        assert_near(fall * (T - t0), g.grads["edges"][i], size_of_H(found))


def test_ends():
    """At T both sides are a(T) = dL/dz(T); at t0 both are a(t0). Of samples that end earlier likewise."""
    problem = problem_of("stacked_fixed")
    found, T = rn.costate(problem, SOLVER), problem["T"]
    want = 2 * (found.solution.z_T - problem.loss.terminal.target) / problem.batch
    for side in ("before", "after"):
        assert_near(found.adj(T, side), want)
        assert_near(found.adj(problem["t0"], side), found.adj_t0)


# ---------------------------------------------------------------- H(t)

@pytest.mark.parametrize("name", ["theta_running", "backwards", "own_T", "galerkin_legendre", "galerkin_monomial",
                                  "stacked_fixed", "second_order", "data_control"])  # fmt: skip
def test_at_the_ends_it_is_the_gradient_of_the_span(name):
    """Where theta(t) does not follow the span, dloss/dT = H(T) and dloss/dt0 = -H(t0), by the discrete adjoint."""
    problem = problem_of(name)
    found, g = rn.costate(problem, SOLVER), rn.gradient(problem, "discrete", SOLVER)
    H_T, H_0 = found.hamiltonian(problem["T"]), found.hamiltonian(problem["t0"])
    assert_near(H_T if problem["T"].ndim else H_T.sum(), g.grads["T"], size_of_H(found))
    assert_near(-H_0.sum(), g.grads["t0"], size_of_H(found))


def test_adaptive_depth_descends_along_it():
    """dloss/dw of T_i = t0 + g_w(x_i) is the network's vjp for H_i(T_i)."""
    problem = problem_of("adaptive_depth")
    found, g = rn.costate(problem, SOLVER), rn.gradient(problem, "discrete", SOLVER)
    w = problem.values.w_T
    g_w, _ = problem.model.adaptive.vjp(w, problem.x, found.hamiltonian(problem.resolved.T))
    want = np.concatenate([g.grads[name].ravel() for name in problem.model.shapes if name.startswith("T.")])
    assert_near(g_w, want, size_of_H(found))


def test_the_span_moves_theta():
    """Where theta(t) follows the span H(T) is not dloss/dT: the gap is int s q dt, far above the bound used here."""
    problem = problem_of("galerkin_fourier")
    found, g = rn.costate(problem, SOLVER), rn.gradient(problem, "discrete", SOLVER)
    assert abs(found.hamiltonian(problem["T"]).sum() - g.grads["T"]) > 1e3 * NEAR * size_of_H(found)


@pytest.mark.parametrize("name", ["mild", "expanding", "data_control", "stacked", "fixed_end"])
def test_constant_without_t(name):
    """H is constant between observations and edges where f and l do not name t, and it varies where they do."""
    problem = problem_of(name)
    found, autonomous = rn.costate(problem, SOLVER), name != "fixed_end"
    spread = []
    for a, z in pairwise(bounds(problem, problem.resolved)):
        if np.all(a != z):
            H = np.array([found.hamiltonian(t) for t in places(a, z, 5)])
            spread.append(np.abs(H - H[0]).max())
    assert (max(spread) <= NEAR * size_of_H(found)) == autonomous


# ---------------------------------------------------------------- per sample, refusals

@pytest.mark.parametrize("steps", ["shared", "own"])
@pytest.mark.parametrize("name", ["stacked_fixed", "adaptive_follows", "own_T"])
def test_a_depth_for_each_sample(name, steps):
    """t (b,) gives for each row what that row's depth gives alone; a sample's end is its own."""
    problem = problem_of(name)
    found, values = rn.costate(problem, rn.Solver(tol=1e-8, steps=steps)), problem.resolved
    t = values.t0 + 0.9 * (values.T - values.t0)
    for at in (found.z, found.adj, lambda t: found.hamiltonian(t)[:, None]):
        rows = at(t)
        for b in np.flatnonzero(t <= values.T.min()):
            assert np.abs(at(t[b])[b] - rows[b]).max() <= 1e3 * EPS * np.abs(rows).max()


@pytest.mark.parametrize("t", [-0.1, 1.6, [0.5, 0.5], np.nan, [0.3, 0.5, 5.0]])
def test_refused_depths(t):
    """Outside a sample's span, or neither one depth nor one for each sample."""
    with pytest.raises(rn.InvalidArgument, match="t: got"):
        rn.costate(problem_of("own_T"), rn.Solver(tol=1e-4)).adj(t)


def test_refused_arguments():
    """What is no problem, no solver or no side is named."""
    with pytest.raises(rn.InvalidArgument, match="problem"):
        rn.costate("mild")
    with pytest.raises(rn.InvalidArgument, match="solver"):
        rn.costate(problem_of("mild"), "dopri5")
    with pytest.raises(rn.InvalidArgument, match="side"):
        rn.costate(problem_of("mild")).adj(0.5, "left")


def test_no_span():
    """T = t0: one depth, where a is dL/dz and H is a . f."""
    problem = problem_of("mild").with_leaves({"T": 0.0})
    found = rn.costate(problem)
    np.testing.assert_allclose(found.adj(0.0), 2 * (problem.x - problem.loss.terminal.target) / 3, rtol=10 * EPS)
