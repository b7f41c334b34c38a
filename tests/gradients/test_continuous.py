"""Continuous methods converge to the ODE's gradient at the rate that tolerance and order promise, or they refuse.

They do not differentiate the computed solution, so they differ from the discrete adjoint and from each other by the
truncation error, and only by that: it goes away with the tolerance, it scales with the loss, and the Hamiltonian knows.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import refnode as rn
from refnode.arrays import column
from tests.gradients.problems import (
    EPS,
    METHODS,
    SMOOTH,
    TO_TOLERANCE,
    amplification,
    assert_same,
    assert_same_bits,
    changed,
    draw_params,
    problems,
    singles,
    solvers,
    together,
)
from tests.gradients.test_closed_forms import cosine
from tests.help import many

BACKWARDS = ("backsolve", "interpolating", "quadrature")  # those with a costate


def mild(seed=0, act="tanh", terminal=True, running=True, times=(0.4,), time="every", scale=1.0, T=1.5):
    """A small network on [-0.5, T] with a loss of every sort; autonomous without time and tracking."""
    rng = np.random.default_rng(seed)
    model = rn.NeuralODE(rn.MLP(2, 3, 2, act=act, time=time), span=(-0.5, T))
    beta = rn.Harmonic(np.array([1.0, 0.5]), np.array([0.3, 0.2]), np.array([0.0, 1.0]))
    terms = (rn.Kinetic(weight=0.3), rn.Tracking(beta=beta, reduction="sum"))[: 2 if time != "none" else 1]
    loss = rn.Loss(
        rn.SquaredError(rng.standard_normal((3, 2))) if terminal else None,
        rn.observe(times, rng.standard_normal((len(times), 3, 2))) if times else None,
        terms if running else (), scale,
    )  # fmt: skip
    return rn.Problem(model, draw_params(model, rng), rng.standard_normal((3, 2)), loss)


def relative_error(got, truth):
    """The largest error of any leaf, relative to the leaf."""
    return max(10.0**-digits for digits in rn.compare(got, truth).values())


# ---------------------------------------------------------------- convergence

@pytest.mark.parametrize("method", TO_TOLERANCE)
@pytest.mark.parametrize(("name", "loosest"), [("bosh3", 2), ("dopri5", 4), ("tsit5", 4), ("dop853", 6)])
def test_error_follows_the_tolerance(name, loosest, method):
    """Over five decades of tol, from where the solve takes 6 to 8 steps, the error in the worst leaf falls like tol.

    The estimate of a step is O(h^q) and is kept at tol, so h ~ tol^(1/q). Every tableau here extrapolates: its order p
    is q, one above the embedded method's (dop853: q = 8 for Hairer's combination). The gradient's error is
    O(h^p) = O(tol). Steps come in whole numbers and pass the estimate by a factor that varies, so error / tol may vary
    by a factor of 3 either way. In a least-squares fit through six points one decade apart that bends the slope by at
    most log10(3) sum |x| / sum x^2 = 0.477 * 9 / 17.5 = 0.25.
    """
    problem, truth = cosine((-1.0, 2.0), (0.5,))
    tols = 10.0 ** -np.arange(loosest, loosest + 6)
    errors = [relative_error(rn.gradient(problem, method, rn.Solver(name, tol=tol)), truth) for tol in tols]
    slope = np.polyfit(np.log10(tols), np.log10(errors), 1)[0]
    assert abs(slope - 1) <= 0.25, (slope, errors)


STEPS = {
    "euler": 24, "midpoint": 16, "heun": 16, "bosh3": 12,
    "rk4": 16, "rk4_38": 16, "dopri5": 16, "tsit5": 16, "dop853": 10,
}  # fmt: skip


def error_on_closed_forms(name, n_steps, method):
    """Root mean square of the relative errors of all leaves of three problems, so that no single sign change decides.

    The observation stands in the middle, so that half the steps fall on either side and twice n_steps halve them all.
    """
    options = {"backsolve": {"check": False}, "quadrature": {"rtol": 1e-13}}.get(method, {})
    errors = []
    for j in range(3):
        problem, truth = cosine((-1.0 - 0.2 * j, 2.0 - 0.1 * j), (0.5 - 0.15 * j,))
        result = rn.gradient(problem, method, rn.Solver(name, n_steps=n_steps), **options)
        errors += [np.max(np.abs(result.grads[leaf] - g)) / np.max(np.abs(g)) for leaf, g in truth.items()]
    return np.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name in STEPS for method in (*TO_TOLERANCE, "discrete")]
    + [(name, method) for name in ("bosh3", "rk4") for method in METHODS if method not in (*TO_TOLERANCE, "discrete")],
)
def test_order_of_convergence_is_the_tableaus(name, method):
    """Halving fixed steps divides the error by 2^p on a non-autonomous closed form.

    The costate's RK steps have order p, and so has the quadrature that rides on them. The interpolant errs by
    O(h^(order_dense + 1)), and order_dense + 1 >= p for every tableau here, so it costs no order. With
    e(h) = c h^p (1 + d h), |d h| <= 1/2 at the coarser grid, the measured order is p - 0.6 at least; and p + 1.6 at
    most, for where c nearly vanishes on linear fields (dopri5, tsit5) it is the order of the next term.
    """
    tableau, n = rn.TABLEAUX[name], STEPS[name]
    assert tableau.order_dense + 1 >= tableau.order
    order = np.log2(error_on_closed_forms(name, n, method) / error_on_closed_forms(name, 2 * n, method))
    assert tableau.order - 0.6 <= order <= tableau.order + 1.6


def tolerance_bound(problem, solver, method):
    """Leaf -> how far a gradient solved to tol may be from the ODE's: C tol max(magnitude).

    Local errors of state and costate are at most tol, and the flow grows them at most exp(L |T - t0|) times on their
    way; `magnitude` is the sum of the absolute contributions that they perturb. Accepted steps stay below tol by a
    safety factor, which pays for their number. The parameter integrals of `backsolve` and `interpolating` are outside
    the error norm, and pass with 100 tol of the largest of all integrals (see `BackwardPass.check_integrals`),
    whichever it is: of theta, and of its slope, which t0 and T get where theta(t) follows the span.
    """
    magnitude = together(problem, [rn.gradient(one, "discrete", solver).magnitude for one in singles(problem)])
    sizes = {name: float(np.max(m, initial=0.0)) for name, m in magnitude.items()}
    largest, beside = max(sizes.values()), 100 if method in ("backsolve", "interpolating") else 0
    integrals = {name: largest if name.startswith(("theta.", "alpha.", "t0", "T")) else sizes[name] for name in sizes}
    return {name: solver.tol * (amplification(problem) * sizes[name] + beside * integrals[name]) for name in sizes}


def check_against_discrete(method, problem, steps):
    solver = rn.Solver("dop853", tol=1e-9, steps=steps)
    want = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-12))
    try:
        got = rn.gradient(problem, method, solver)
    except rn.UnreliableGradient:  # a drawn field contracts, or a drawn loss has no costate to choose the steps by
        assert method in ("backsolve", "interpolating")
        assume(False)  # and hypothesis objects if it is more than a few
    assert_same(got.grads, want.grads, tolerance_bound(problem, solver, method))


@pytest.mark.parametrize("method", TO_TOLERANCE)
@settings(max_examples=6)
@given(problems(acts=SMOOTH), st.sampled_from(["shared", "own"]))
def test_agrees_with_the_discrete_adjoint(method, problem, steps):
    """At a tight tolerance all methods are one, on any smooth problem."""
    check_against_discrete(method, problem, steps)


@pytest.mark.slow
@pytest.mark.parametrize("method", TO_TOLERANCE)
@settings(max_examples=many(100))
@given(problems(acts=SMOOTH), st.sampled_from(["shared", "own"]))
def test_agrees_with_the_discrete_adjoint_on_many_problems(method, problem, steps):
    """The same, on a hundred problems, or the first quarter of them."""
    check_against_discrete(method, problem, steps)


@pytest.mark.parametrize("method", TO_TOLERANCE)
@pytest.mark.parametrize("kinds", ["kinetic", "parameter norm", "tracking", "squared norm", "all"])
def test_running_loss_alone(kinds, method):
    """With no point loss the costate starts from zero, and 8 digits come all the same at tol 1e-10."""
    beta = rn.Harmonic(np.array([1.0, 0.5]), np.array([0.3, 0.2]), np.array([0.0, 1.0]))
    terms = {
        "kinetic": rn.Kinetic(), "parameter norm": rn.ParameterNorm(), "tracking": rn.Tracking(beta=beta),
        "squared norm": rn.SquaredNorm(weight=-0.5),
    }  # fmt: skip
    running = tuple(terms.values()) if kinds == "all" else (terms[kinds],)
    problem = replace(mild(), loss=rn.Loss(running=running))
    truth = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-13))
    got = rn.gradient(problem, method, rn.Solver("dopri5", tol=1e-10))
    assert min(rn.compare(got, truth).values()) >= 8
    if kinds == "parameter norm":  # nothing moves the state
        assert not got.grads["x"].any()


@pytest.mark.parametrize("method", TO_TOLERANCE)
def test_running_loss_that_rests_at_both_ends(method):
    """z' = t v from z = 0 at -1 is 0 again at 1, as is the slope of int |z|^2: the costate has a scale all the same.

    State and costate are polynomials, which Runge-Kutta steps of any length solve; the integral for theta is one of
    higher degree. Where only z and a choose the steps, that is noticed and refused.
    """
    model = rn.NeuralODE(rn.MLP(2, 2, bias=False, time="first"), span=(-1.0, 1.0))
    W = np.array([[0.0, 0.0], [0.0, 0.0], [0.7, -0.4]])
    problem = rn.Problem(model, {"theta.W0": W}, np.zeros((2, 2)), rn.Loss(running=rn.SquaredNorm(reduction="sum")))
    options, solver = {}, rn.Solver("dopri5", tol=1e-10)
    if method in ("backsolve", "interpolating"):
        with pytest.raises(rn.UnreliableGradient, match="parameter integrals"):
            rn.gradient(problem, method, solver)
        options["check"] = False
    got = rn.gradient(problem, method, solver, **options)
    # z = v (t^2 - 1) / 2 and int |z|^2 = |v|^2 4 / 15; x moves z by x
    np.testing.assert_allclose(got.loss, 2 * (W[2] ** 2).sum() * 4 / 15, rtol=1e-8)
    np.testing.assert_allclose(got.grads["x"], np.tile(-4 / 3 * W[2], (2, 1)), rtol=1e-8)
    if not options:
        np.testing.assert_allclose(got.grads["theta.W0"][2], 2 * 2 * W[2] * 4 / 15, rtol=1e-8)


@pytest.mark.parametrize("method", ["backsolve", "interpolating"])
@pytest.mark.parametrize(("name", "tol"), [("bosh3", 1e-7), ("dopri5", 1e-12)])
def test_tight_tolerances_are_not_refused(name, tol, method):
    """The check of the parameter integrals looks at one step's estimate, whose sum over many steps is no error."""
    for seed in (0, 1, 2):
        rn.gradient(mild(seed, running=False), method, rn.Solver(name, tol=tol))


# ---------------------------------------------------------------- the scale of the loss

def tiny(scale=1.0):
    """The smallest problem with everything: z' = k cos(t) z with terminal, observed and running losses."""
    problem, _ = cosine((0.25, 1.25), (0.7,), "mean", scale)
    return replace(problem, loss=replace(problem.loss, running=(rn.Kinetic(weight=0.5), rn.ParameterNorm())))


FIXED, SHARED = rn.Solver("rk4", n_steps=4), rn.Solver("dopri5", tol=1e-5)
OWN = rn.Solver("tsit5", tol=1e-5, steps="own")
every_kind_of_step = pytest.mark.parametrize("solver", [FIXED, SHARED, OWN], ids=["fixed", "shared", "own"])


def check_scaling(problem, method, solver, power):
    options = {"check": False} if method in ("backsolve", "interpolating") else {}
    factor, results = 2.0**power, []
    for scale in (problem.loss.scale, factor * problem.loss.scale):
        one = changed(problem, loss=replace(problem.loss, scale=scale))
        try:
            results.append(rn.gradient(one, method, solver, **options))
        except rn.NumericalError as error:  # what cannot be solved backwards cannot be solved for another scale either
            results.append(error)
    plain, got = results
    if isinstance(plain, rn.NumericalError):
        assert (type(got), got.t, got.h, got.samples) == (type(plain), plain.t, plain.h, plain.samples)
        return
    assert got.loss == factor * plain.loss
    assert_same_bits(got.grads, {name: factor * g for name, g in plain.grads.items()})
    assert_same_bits(got.magnitude, {name: factor * m for name, m in plain.magnitude.items()})
    assert_same_bits(got.estimate, {name: factor * e for name, e in plain.estimate.items()})
    assert (got.stats.nfe, got.stats.nfe_backward) == (plain.stats.nfe, plain.stats.nfe_backward)


@pytest.mark.parametrize("power", [-27, 27])
@pytest.mark.parametrize("method", METHODS)
@every_kind_of_step
def test_scaling_the_loss_scales_the_gradient(solver, method, power):
    """A loss 2^27 (1.3e8) times as large or as small has that gradient to the last bit, at the same cost.

    Tolerances of costate and quadrature are relative to the loss's own cotangents; a power of two rounds nothing.
    """
    check_scaling(tiny(), method, solver, power)


@pytest.mark.parametrize("method", [*BACKWARDS, "discrete"])
@settings(max_examples=10)
@given(problems(acts=SMOOTH, most_observed=2), solvers(most_steps=4), st.sampled_from([-27, 27]))
def test_scaling_any_loss(method, problem, solver, power):
    """The same for any problem and solver."""
    check_scaling(problem, method, solver, power)


@pytest.mark.parametrize("method", METHODS)
@every_kind_of_step
def test_loss_that_does_not_care(solver, method):
    """A loss with slope zero has a gradient of exactly zero in every leaf, and no NaN on the way."""
    flat = rn.LinearFunctional(np.zeros((3, 2)))
    problem = replace(tiny(), loss=rn.Loss(flat, rn.Observations(np.array([0.7]), (flat,))))
    for one in (problem, tiny(scale=0.0)):
        result = rn.gradient(one, method, solver)
        assert result.loss == 0
        for name, g in result.grads.items():
            assert not g.any(), name


@pytest.mark.parametrize("method", [*BACKWARDS, "discrete"])
def test_loss_at_its_minimum(method):
    """A squared error that is met exactly has a gradient of exactly zero: the costate starts and stays there."""
    solver = rn.Solver("dopri5", tol=1e-8)
    problem = mild(terminal=True, running=False, times=())
    problem = replace(problem, loss=rn.Loss(rn.SquaredError(rn.solve(problem, solver).z_T)))
    result = rn.gradient(problem, method, solver)
    assert result.loss == 0
    for name, g in result.grads.items():
        assert not g.any(), name


# ---------------------------------------------------------------- backsolve refuses

def contracting(rate=-20.0):
    """z' = rate / 2 tanh(2 z + w t), whose flow forgets where it came from like exp(rate t) near its resting point.

    Solved backwards, an error of the state grows as fast until tanh saturates; there the costate stops to change.
    """
    rng = np.random.default_rng(3)
    params = {
        "theta.W0": np.array([[2.0, 0.0], [0.0, 2.0], [0.3, -0.5]]), "theta.b0": np.zeros(2),
        "theta.W1": rate / 2 * np.eye(2), "theta.b1": np.zeros(2),
    }  # fmt: skip
    loss = rn.Loss(rn.SquaredError(rng.standard_normal((3, 2)), reduction="sum"))
    return rn.Problem(rn.NeuralODE(rn.MLP(2, 2, 2, time="first")), params, rng.standard_normal((3, 2)), loss)


@pytest.mark.parametrize("steps", ["shared", "own"])
@pytest.mark.parametrize("tol", [1e-3, 1e-5, 1e-7])
def test_backsolve_refuses_a_contracting_field(tol, steps):
    """At rate -20 a local error of tol comes back as exp(20) tol = 5e8 tol: it raises, saying where and for whom."""
    with pytest.raises(rn.UnreliableGradient) as refusal:
        rn.gradient(contracting(), "backsolve", rn.Solver("dopri5", tol=tol, steps=steps))
    assert refusal.value.t is not None
    assert 0 <= refusal.value.t <= 1
    assert refusal.value.samples
    assert set(refusal.value.samples) <= {0, 1, 2}
    assert "t = " in str(refusal.value)
    assert "samples" in str(refusal.value)


@pytest.mark.parametrize("method", ["interpolating", "quadrature", "forward_continuous", "discrete"])
def test_the_others_do_not_mind_a_contracting_field(method):
    """On the field that backsolve refuses, every other method has the digits of its tolerance."""
    truth = rn.gradient(contracting(), "discrete", rn.Solver("dop853", tol=1e-13))
    got = rn.gradient(contracting(), method, rn.Solver("dopri5", tol=1e-8))
    scale = max(float(np.max(np.abs(g))) for g in truth.grads.values())
    for name, g in truth.grads.items():  # x and t0 are forgotten like exp(-20): absolute accuracy is what is left
        assert np.max(np.abs(got.grads[name] - g)) <= 1e-6 * scale, name


def test_unchecked_backsolve_is_wrong():
    """check=False hands out what was refused: at rate -30 and tol 1e-3 more than 1000 times the input's gradient."""
    problem = contracting(-30.0)
    truth = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-12))
    got = rn.gradient(problem, "backsolve", rn.Solver("dopri5", tol=1e-3), check=False)
    assert np.max(np.abs(got.grads["x"])) > 1000 * np.max(np.abs(truth.grads["x"]))


def test_limit_of_the_check():
    """`limit` replaces 100 tol: a wide one lets the refused gradient pass, a narrow one refuses a good one."""
    solver = rn.Solver("dopri5", tol=1e-6)
    unchecked = rn.gradient(contracting(), "backsolve", solver, check=False)
    with pytest.raises(rn.UnreliableGradient, match=r"more than the limit 1\.0e-04"):
        rn.gradient(contracting(), "backsolve", solver)
    assert_same_bits(rn.gradient(contracting(), "backsolve", solver, limit=1e9).grads, unchecked.grads)
    with pytest.raises(rn.UnreliableGradient, match=r"more than the limit 1\.0e-12"):
        rn.gradient(mild(), "backsolve", solver, limit=1e-12)
    for limit in (0, -1.0, np.inf, np.nan, "1"):
        with pytest.raises(rn.InvalidArgument, match="limit"):
            rn.gradient(mild(), "backsolve", solver, limit=limit)


def test_refusal_names_the_samples_concerned():
    """Of three samples two follow a contracting field, the control decides which; their numbers are in the error."""
    def forward(t, z, theta, x):
        return -theta[0] * column(x[:, 0]) * (z - np.cos(column(t)))

    def jvp(t, z, theta, x, dt, dz, dtheta, dx):
        r = z - np.cos(column(t))
        dr = dz + np.sin(column(t)) * column(dt)
        return -(dtheta[0] * column(x[:, 0]) * r + theta[0] * column(dx[:, 0]) * r + theta[0] * column(x[:, 0]) * dr)

    def vjp(t, z, theta, x, g):
        r, rate = z - np.cos(column(t)), -theta[0] * column(x[:, 0])
        g_x = np.zeros(x.shape)
        g_x[:, 0] = -theta[0] * (g * r).sum(axis=1)
        g_theta = -(g * column(x[:, 0]) * r).sum()
        return (rate * np.sin(column(t)) * g).sum(axis=1), rate * g, np.array([g_theta]), g_x

    field = rn.UserField(forward, jvp, vjp, {"k": (1,)}, 1)
    x = np.array([[1.0], [0.02], [1.1]])  # rates -20, -0.4, -22
    problem = rn.Problem(
        rn.NeuralODE(field, control="x"), {"theta.k": np.array([20.0])}, x, rn.Loss(rn.SquaredError(np.zeros(1)))
    )
    for steps in ("own", "shared"):
        with pytest.raises(rn.UnreliableGradient) as refusal:
            rn.gradient(problem, "backsolve", rn.Solver("dopri5", tol=1e-6, steps=steps))
        assert refusal.value.samples == (0, 2)
        assert refusal.value.t == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tol", [1e-4, 1e-8, 1e-11])
def test_backsolve_does_not_refuse_mild_fields(seed, tol):
    """Where the flow grows by a few units at most, the state comes back within 100 tol, and so do the digits."""
    problem = mild(seed)
    truth = rn.gradient(problem, "discrete", rn.Solver("dop853", tol=1e-13))
    got = rn.gradient(problem, "backsolve", rn.Solver("dop853", tol=tol))
    assert min(rn.compare(got, truth).values()) >= -np.log10(tol) - 2


def test_quadrature_gives_up_on_too_few_panels():
    """Over the kinks of ReLU, 20 panels do not reach 1e-13: it raises, naming t, rather than return fewer digits."""
    with pytest.raises(rn.UnreliableGradient, match="20 panels") as refusal:
        rn.gradient(mild(act="relu"), "quadrature", rn.Solver("dopri5", n_steps=3), rtol=1e-13, max_panels=20)
    assert -0.5 <= refusal.value.t <= 1.5


def test_quadrature_estimates_its_own_error():
    """`estimate` bounds the quadrature's part of the error: against the same costate integrated to 1e-14."""
    problem, solver = mild(), rn.Solver("dopri5", tol=1e-6)
    fine = rn.gradient(problem, "quadrature", solver, rtol=1e-14)
    for rtol in (1e-2, 1e-4, 1e-6):
        coarse = rn.gradient(problem, "quadrature", solver, rtol=rtol)
        for name in ("theta.W0", "theta.b0", "theta.W1", "theta.b1", "x"):
            error = np.max(np.abs(coarse.grads[name] - fine.grads[name]))
            # round-off of some hundred terms beside it; |K15 - G7| overestimates K15's error by far
            assert error <= np.max(coarse.estimate[name]) + 1e3 * EPS * np.max(np.abs(fine.grads[name]))


# ---------------------------------------------------------------- the Hamiltonian

def rest_of(problem, t, solver):
    """The problem that starts at t from where the solution is."""
    t0, T = problem.span
    z = rn.solve(replace(problem, span=(t0, t), loss=rn.Loss(running=rn.SquaredNorm())), solver).z_T
    observed = problem.loss.observations
    later = [k for k, t_k in enumerate(observed.times) if t_k > t]
    observed = rn.Observations(observed.times[later], [observed.terms[k] for k in later]) if later else None
    return rn.Problem(problem.model, problem.params, z, replace(problem.loss, observations=observed), (t, T))


@pytest.mark.parametrize("method", BACKWARDS)
def test_hamiltonian_is_constant_without_t(method):
    """For f and l without t, H is one number between observations, and jumps where dt_k says."""
    problem, tol = mild(time="none", act="softplus", times=(0.3, 0.9)), 1e-10
    solver = rn.Solver("dop853", tol=tol)
    result = rn.gradient(problem, method, solver).grads
    H_end, jumps = float(result["T"]), result["t_obs"]
    pieces = [(-0.5, 0.3, H_end + jumps.sum()), (0.3, 0.9, H_end + jumps[1]), (0.9, 1.5, H_end)]
    size = max(abs(H) for _, _, H in pieces)
    for low, high, H in pieces:
        for fraction in (0.1, 0.5, 0.9):
            t = low + fraction * (high - low)
            H_t = -float(rn.gradient(rest_of(problem, t, solver), method, solver).grads["t0"])
            # H is made of the costate and the state, each good to tol over the span: 2 digits in hand
            assert abs(H_t - H) <= 100 * tol * size


@pytest.mark.parametrize("method", [*TO_TOLERANCE, "discrete"])
def test_times_balance_without_t(method):
    """For f and l without t nothing depends on where t = 0 is: d_t0 + d_T + sum d_t_k = 0."""
    problem, tol = mild(time="none", act="sin", times=(0.3, 0.9)), 1e-10
    g = rn.gradient(problem, method, rn.Solver("dopri5", tol=tol)).grads
    size = abs(g["t0"]) + abs(g["T"]) + np.abs(g["t_obs"]).sum()
    # the discrete gradient is that of a map which shifts with t, so only round-off of some thousand terms is left
    assert abs(g["t0"] + g["T"] + g["t_obs"].sum()) <= (1e4 * EPS if method == "discrete" else 100 * tol) * size


@cache
def balance():
    """int (a . f_t + l_t) dt of the mild problem, and the integral of the absolute value.

    The costate at a node is adj_t0 of the problem that starts there; 10 Gauss nodes a segment integrate the analytic
    integrand far below 1e-10.
    """
    problem, tight = mild(), rn.Solver("dop853", tol=1e-12)
    field, theta, beta = problem.model.field, problem.values.alpha, problem.loss.running[1].beta
    total, size = 0.0, 0.0
    for low, high in ((-0.5, 0.4), (0.4, 1.5)):
        for node, weight in zip(*np.polynomial.legendre.leggauss(10), strict=True):
            t = np.asarray(low + (high - low) * (1 + node) / 2)
            rest = rest_of(problem, t, tight)
            f = field.forward(t, rest.x, theta)
            a = rn.gradient(rest, "discrete", tight).adj_t0 + 2 * 0.3 / 3 * f  # 0.3 |f|^2, averaged, sees t through f
            slope = field.vjp(t, rest.x, theta, None, a)[0].sum() - 2 * ((rest.x - beta(t)) * beta.slope(t)).sum()
            total += (high - low) / 2 * weight * slope
            size += (high - low) / 2 * weight * abs(slope)
    return total, size


@pytest.mark.parametrize("method", [*TO_TOLERANCE, "discrete"])
def test_times_balance_with_t(method):
    """In general d_t0 + d_T + sum d_t_k = int (a . f_t + l_t) dt, the integral by Gauss with costates of its own."""
    tol, (total, size) = 1e-10, balance()
    g = rn.gradient(mild(), method, rn.Solver("dopri5", tol=tol)).grads
    size += abs(g["t0"]) + abs(g["T"]) + np.abs(g["t_obs"]).sum()
    assert abs(total) > 0.01 * size  # it is not the zero of the autonomous case
    assert abs(g["t0"] + g["T"] + g["t_obs"].sum() - total) <= 100 * tol * size
