"""What is the same problem in other words has the same gradient, on a prescribed grid to round-off.

Fixed steps give both wordings one grid. Each comparison uses the discrete adjoint; that every other exact method equals
it is the claim of test_discrete_adjoint. Free-running steps choose other grids for other words, and then the claims
hold to tolerance only: those are at the end.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import refnode as rn
from tests.gradients.problems import (
    EPS,
    METHODS,
    SMOOTH,
    TO_TOLERANCE,
    Wave,
    amplification,
    assert_same,
    assert_same_bits,
    changed,
    draw_params,
    in_step,
    own_leaves,
    problems,
    rounding_bound,
    rows,
    running_losses,
    singles,
    solvers,
    together,
)

SEEDS = st.integers(0, 2**32 - 1)
FIXED = solvers(adaptive=False, most_steps=6)
some = settings(max_examples=25)


def discrete(problem, solver):
    return rn.gradient(problem, "discrete", solver)


def twice(bound):
    """The bound for two wordings that round in different places: each has roundings of its own."""
    return {name: 2 * b for name, b in bound.items()}


# ---------------------------------------------------------------- the batch

@some
@given(problems(), FIXED, SEEDS)
def test_order_of_the_samples_does_not_matter(problem, solver, seed):
    """Permuting the batch permutes the gradients of x and of ends per sample, and leaves the others as they are."""
    order = np.random.default_rng(seed).permutation(problem.batch)
    got, want = (discrete(one, solver).grads for one in (rows(problem, order), problem))
    own = own_leaves(problem)
    want = {name: g[order] if name in own else g for name, g in want.items()}
    assert_same(got, want, rounding_bound(problem, solver))


@some
@given(problems(ends=("shared",)) | problems(most_observed=0), FIXED)
def test_batch_is_the_sum_of_its_samples(problem, solver):
    """Loss and gradient of a batch are the sums over its samples; rows of x and ends per sample are theirs alone.

    Between observations, or breaks that stay where they are, a batch of different spans takes the steps that its most
    demanding sample asks for: another grid than that of a sample alone. So here one has these or spans of its own.
    """
    assume(in_step(problem))
    got, parts = discrete(problem, solver), [discrete(one, solver) for one in singles(problem)]
    want = together(problem, [part.grads for part in parts])
    assert_same(got.grads, want, rounding_bound(problem, solver))
    losses = np.array([part.loss for part in parts])  # their own terms may cancel, by a factor of 1e4 at the utmost
    np.testing.assert_allclose(got.loss_per_sample, losses, rtol=1e-11, atol=1e-11 * np.abs(losses).max())


@some
@given(problems(), FIXED)
def test_mean_is_the_sum_over_the_batch_size(problem, solver):
    """reduction="mean" divides by the batch once: every term averaged has the gradient of every term summed, over b."""

    def reduced(problem, word):
        def term(t):
            return t and replace(t, reduction=word)

        loss = problem.loss
        observed = loss.observations and replace(loss.observations, terms=[term(t) for t in loss.observations.terms])
        terms = {"terminal": term(loss.terminal), "observations": observed, "running": tuple(map(term, loss.running))}
        return changed(problem, loss=replace(loss, **terms))

    got, total = (discrete(reduced(problem, word), solver).grads for word in ("mean", "sum"))
    want = {name: g / problem.batch for name, g in total.items()}
    assert_same(got, want, rounding_bound(reduced(problem, "mean"), solver))


# ---------------------------------------------------------------- other words for the field

def network_problem(seed, model, n, terminal=True, running=(), span=(-0.3, 0.9), batch=3, params=None, scale=1.0):
    """A problem of this model with random numbers; x (batch, n)."""
    rng = np.random.default_rng(seed)
    params = draw_params(model, rng) if params is None else params
    k = model.h_y.width(model.state_width)
    loss = rn.Loss(
        Wave(rng.standard_normal((batch, k))) if terminal else None,
        rn.observe([0.2], rng.standard_normal((1, batch, k))), running, scale,
    )  # fmt: skip
    return rn.Problem(model, params, rng.standard_normal((batch, n)), loss, span)


@some
@given(SEEDS, FIXED, st.sampled_from(SMOOTH))
def test_uncoupled_augmentation_changes_nothing(seed, solver, act):
    """Zero dimensions whose weights in and out are zero leave the gradient of the rest as it was."""
    plain = rn.NeuralODE(rn.MLP(2, 3, 2, act=act, time="every", skip=True))
    problem = network_problem(seed, plain, 2, running=(rn.Kinetic(), rn.SquaredNorm(weight=0.5)))
    wide = rn.NeuralODE(rn.MLP(3, 3, 3, act=act, time="every", skip=True), h_x=rn.ZeroAugment(1), h_y=rn.Linear(3, 2))
    params = {name: np.zeros(shape) for name, shape in wide.shapes.items()}
    old = problem.params
    params["theta.W0"][[0, 1, 3]] = old["theta.W0"]  # the row of the new dimension stays zero; t is last
    params["theta.b0"][...] = old["theta.b0"]
    params["theta.W1"][:, :2], params["theta.b1"][:2] = old["theta.W1"], old["theta.b1"]
    params["theta.A"][:2, :2] = old["theta.A"]
    params["h_y.W0"][:2] = np.eye(2)
    got = discrete(rn.Problem(wide, params, problem.x, problem.loss, problem.span), solver).grads
    seen = {
        "theta.W0": got["theta.W0"][[0, 1, 3]], "theta.b0": got["theta.b0"], "theta.W1": got["theta.W1"][:, :2],
        "theta.b1": got["theta.b1"][:2], "theta.A": got["theta.A"][:2, :2],
    } | {name: got[name] for name in ("x", "t0", "T", "t_obs")}  # fmt: skip
    assert_same(seen, discrete(problem, solver).grads, twice(rounding_bound(problem, solver)))


@some
@given(SEEDS, FIXED, st.sampled_from(["position", "velocity", "full"]), st.sampled_from(SMOOTH))
def test_second_order_is_a_first_order_system(seed, solver, initial, act):
    """q'' = f(t, q, q') is [q, p]' = [p, f], which a field of twice the width and a map h_x say in first order."""
    small = rn.MLP(2, 3, 1, act=act, time="every")
    second = rn.NeuralODE(small, order=2, init=initial)
    n = 2 if initial == "full" else 1
    problem = network_problem(seed, second, n, running=(rn.Kinetic(of="state"), rn.SquaredNorm(weight=-0.5)))

    def forward(t, z, theta, x):
        return np.concatenate([z[:, 1:], small.forward(t, z, theta)], axis=1)

    def jvp(t, z, theta, x, dt, dz, dtheta, dx):
        return np.concatenate([dz[:, 1:], small.jvp(t, z, theta, None, dt, dz, dtheta, None)], axis=1)

    def vjp(t, z, theta, x, g):
        g_t, g_z, g_theta, _ = small.vjp(t, z, theta, None, g[:, 1:])
        return g_t, g_z + np.concatenate([np.zeros((len(z), 1)), g[:, :1]], axis=1), g_theta, None

    first = rn.NeuralODE(rn.UserField(forward, jvp, vjp, small.shapes, 2), h_x=rn.Linear(n, 2, bias=False))
    place = {"position": [[1.0, 0.0]], "velocity": [[0.0, 1.0]], "full": np.eye(2)}[initial]
    params = dict(problem.params) | {"h_x.W0": np.array(place)}
    got = discrete(rn.Problem(first, params, problem.x, problem.loss, problem.span), solver).grads
    want = discrete(problem, solver).grads
    assert_same({name: got[name] for name in want}, want, twice(rounding_bound(problem, solver)))


@some
@given(SEEDS, FIXED)
def test_linear_second_order_is_a_skip_matrix(seed, solver):
    """q'' = q a + p b is z' = z A with the companion matrix A = [[0, a], [1, b]]."""
    second = rn.NeuralODE(rn.MLP(2, 1, bias=False), order=2, init="full")
    problem = network_problem(seed, second, 2)
    a, b = problem.params["theta.W0"][:, 0]
    first = rn.NeuralODE(rn.MLP(2, 2, bias=False, skip=True))
    params = {"theta.W0": np.zeros((2, 2)), "theta.A": np.array([[0.0, a], [1.0, b]])}
    got = discrete(rn.Problem(first, params, problem.x, problem.loss, problem.span), solver).grads
    want = discrete(problem, solver).grads
    np.testing.assert_array_equal(got["theta.W0"], got["theta.A"])  # both multiply z
    seen = {"theta.W0": got["theta.A"][:, 1:]} | {name: got[name] for name in ("x", "t0", "T", "t_obs")}
    assert_same(seen, want, twice(rounding_bound(problem, solver)))


def permuted(leaves, order, signs):
    """The leaves of an MLP(2, 4, 2, time="every") with hidden units in another order and with other signs."""
    flipped = dict(leaves)
    flipped["theta.W0"] = leaves["theta.W0"][:, order] * signs
    flipped["theta.b0"] = leaves["theta.b0"][order] * signs
    W1 = leaves["theta.W1"]  # rows: hidden units, then t
    flipped["theta.W1"] = np.concatenate([W1[:4][order] * signs[:, None], W1[4:]])
    return flipped


@some
@given(SEEDS, FIXED, st.sampled_from(SMOOTH), st.permutations(range(4)), st.integers(0, 15))
def test_hidden_units_have_no_order_and_tanh_no_sign(seed, solver, act, order, signs):
    """Permuting hidden units permutes their gradients; flipping the signs around a tanh or sin flips theirs."""
    signs = np.array([-1.0 if act in ("tanh", "sin", "identity") and signs >> i & 1 else 1.0 for i in range(4)])
    model = rn.NeuralODE(rn.MLP(2, 4, 2, act=act, time="every", skip=True))
    problem = network_problem(seed, model, 2, running=(rn.Kinetic(),))
    other = replace(problem, params=permuted(problem.params, list(order), signs))
    want = permuted(discrete(problem, solver).grads, list(order), signs)
    assert_same(discrete(other, solver).grads, want, rounding_bound(problem, solver))


@some
@given(SEEDS, FIXED, st.sampled_from(SMOOTH))
def test_rotation_of_the_state(seed, solver, act):
    """With z = u Q' the field Q f(z), the map x Q and the readout undone by Q' have the same gradients, rotated.

    The rotation itself is an h_x and an h_y, whose gradients are not asked for; |z|^2 and |z'|^2 do not see it.
    """
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    plain = rn.NeuralODE(rn.MLP(3, 3, 3, act=act, time="first", skip=True))
    problem = network_problem(seed, plain, 3, running=(rn.Kinetic(), rn.SquaredNorm()))
    old = problem.params
    turned = {
        "theta.W0": np.concatenate([Q.T @ old["theta.W0"][:3], old["theta.W0"][3:]]), "theta.b0": old["theta.b0"],
        "theta.W1": old["theta.W1"] @ Q, "theta.b1": old["theta.b1"] @ Q, "theta.A": Q.T @ old["theta.A"] @ Q,
        "h_x.W0": Q, "h_y.W0": Q.T,
    }  # fmt: skip
    h_x, h_y = rn.Linear(3, 3, bias=False), rn.Linear(3, 3, bias=False)
    model = rn.NeuralODE(plain.field, h_x=h_x, h_y=h_y)
    got = discrete(rn.Problem(model, turned, problem.x, problem.loss, problem.span), solver).grads
    back = {
        "theta.W0": np.concatenate([Q @ got["theta.W0"][:3], got["theta.W0"][3:]]), "theta.b0": got["theta.b0"],
        "theta.W1": got["theta.W1"] @ Q.T, "theta.b1": got["theta.b1"] @ Q.T, "theta.A": Q @ got["theta.A"] @ Q.T,
    }  # fmt: skip
    back |= {name: got[name] for name in ("x", "t0", "T", "t_obs")}
    # the rotated weights are rounded themselves: products with Q of three terms each, before and after
    bound = {name: 3 * b for name, b in rounding_bound(problem, solver).items()}
    assert_same(back, discrete(problem, solver).grads, bound)


# ---------------------------------------------------------------- other words for the loss

def with_integral(field, terms, batch):
    """The field [f, sum_r c_r l_r]: a state that gathers the running loss itself."""

    def at(t, z, theta, x, f):
        return rn.RunningArgs(t, z, theta, x, f)

    def forward(t, y, theta, x):
        z = y[:, :-1]
        f = field.forward(t, z, theta)
        q = sum(r.factor(batch) * r.value(at(t, z, theta, x, f)) for r in terms)
        return np.concatenate([f, q[:, None]], axis=1)

    def jvp(t, y, theta, x, dt, dy, dtheta, dx):
        z, dz = y[:, :-1], dy[:, :-1]
        f, df = field.forward(t, z, theta), field.jvp(t, z, theta, None, dt, dz, dtheta, None)
        dq = sum(r.factor(batch) * r.jvp(at(t, z, theta, x, f), at(dt, dz, dtheta, dx, df)) for r in terms)
        return np.concatenate([df, dq[:, None]], axis=1)

    def vjp(t, y, theta, x, g):
        z, g_f = y[:, :-1], g[:, :-1]
        f = field.forward(t, z, theta)
        backs = [r.vjp(at(t, z, theta, x, f), r.factor(batch) * g[:, -1]) for r in terms]
        g_f = g_f + sum(back.rate for back in backs)
        g_t, g_z, g_theta, _ = field.vjp(t, z, theta, None, g_f)
        total = [sum(back[i] for back in backs) for i in range(4)]
        g_y = np.concatenate([g_z + total[1], np.zeros((len(y), 1))], axis=1)
        return g_t + total[0], g_y, g_theta + total[2], total[3]

    return rn.UserField(forward, jvp, vjp, field.shapes, field.width_out + 1)


@some
@given(st.data(), SEEDS, FIXED, st.sampled_from(SMOOTH))
def test_integral_loss_is_one_more_state(data, seed, solver, act):
    """int l dt is the last component of a wider state at T, read by a linear loss; x acts as a control, for l(x)."""
    rng = np.random.default_rng(seed)
    field = rn.MLP(2, 3, 2, act=act, time="every")
    terms = data.draw(running_losses(2, rng)) or (rn.Kinetic(),)
    problem = network_problem(seed, rn.NeuralODE(field), 2, terminal=False, running=terms)
    problem = replace(problem, loss=rn.Loss(running=terms))
    # h_x leaves the new component at zero, and x is the control that the running loss sees
    wide = rn.NeuralODE(with_integral(field, terms, problem.batch), h_x=rn.ZeroAugment(1), control="x")
    last = rn.LinearFunctional(np.array([0.0, 0.0, 1.0]), reduction="sum")
    got = discrete(rn.Problem(wide, problem.params, problem.x, rn.Loss(last), problem.span), solver)
    want = discrete(problem, solver)
    bound = rounding_bound(problem, solver)
    assert_same(got.grads, want.grads, bound)
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-12, atol=1e-12 * np.abs(want.loss_per_sample).max())


@some
@given(problems(), FIXED, st.sampled_from([-2.5, 1e-3, 7.0]))
def test_gradient_is_linear_in_the_upstream_factor(problem, solver, factor):
    """`scale` multiplies every part of the gradient; 3 and 1/3 are not powers of two, so to round-off."""
    other = changed(problem, loss=replace(problem.loss, scale=factor * problem.loss.scale))
    want = {name: factor * g for name, g in discrete(problem, solver).grads.items()}
    assert_same(discrete(other, solver).grads, want, rounding_bound(other, solver))


@some
@given(problems(), FIXED)
def test_gradient_is_the_sum_over_the_terms(problem, solver):
    """Terminal, observed and running losses add up: each alone, on the same grid, and then the sum."""
    loss = problem.loss
    parts = [rn.Loss(running=(r,), scale=loss.scale) for r in loss.running]
    if loss.terminal is not None:
        parts.append(rn.Loss(loss.terminal, scale=loss.scale))
    if loss.observations is not None:
        parts.append(rn.Loss(observations=loss.observations, scale=loss.scale))
    if loss.observations is not None:  # observation times are part of the grid: a loss of nothing keeps them
        k, times = problem.model.h_y.width(problem.model.state_width), loss.observations.times
        nothing = rn.Observations(times, [rn.LinearFunctional(np.zeros(k))] * len(times))
        parts = [part if part.observations else replace(part, observations=nothing) for part in parts]
    results = [discrete(changed(problem, loss=part), solver) for part in parts]
    bounds = [rounding_bound(changed(problem, loss=part), solver) for part in parts]
    want = {name: sum(result.grads[name] for result in results) for name in results[0].grads}
    assert_same(discrete(problem, solver).grads, want, {name: 2 * sum(b[name] for b in bounds) for name in want})


@some
@given(SEEDS, FIXED, st.floats(-3, 3).filter(lambda w: abs(w) > 0.1), st.sampled_from(SMOOTH))
def test_gradient_is_linear_in_the_weights(seed, solver, weight, act):
    """Weights of terms come out as factors, and weight * term is the term with that weight."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2, act=act, time="every"))
    problem = network_problem(seed, model, 2, terminal=False)
    terms = (rn.Kinetic(), rn.Tracking(beta=rn.Harmonic(np.ones(2), np.full(2, 0.3), np.zeros(2))))
    problems = [replace(problem, loss=rn.Loss(running=running)) for running in (terms[:1], terms[1:])]
    mixed = replace(problem, loss=rn.Loss(running=(2.0 * terms[0], weight * terms[1])))
    first, second = (discrete(one, solver).grads for one in problems)
    want = {name: 2 * first[name] + weight * second[name] for name in first}
    bounds = [rounding_bound(one, solver) for one in problems]
    bound = {name: 2 * (2 * bounds[0][name] + abs(weight) * bounds[1][name]) for name in want}
    assert_same(discrete(mixed, solver).grads, want, bound)


# ---------------------------------------------------------------- other words for depth

@some
@given(SEEDS, st.sampled_from(sorted(rn.TABLEAUX)), st.integers(1, 3), st.sampled_from(SMOOTH), st.booleans())
def test_interval_additivity(seed, name, n, act, backwards):
    """[t0, T] is [t0, m], then [m, T]: the second leg's adj_t0 is the linear loss of the first."""
    t0, m, T = (0.9, 0.3, -0.3) if backwards else (-0.3, 0.3, 0.9)
    model = rn.NeuralODE(rn.MLP(2, 3, 2, act=act, time="every"))
    problem = network_problem(seed, model, 2, running=(rn.Kinetic(), rn.ParameterNorm(weight=0.2)))
    problem = replace(problem, loss=replace(problem.loss, observations=None), span=(t0, T))
    whole = discrete(problem, rn.Solver(name, n_steps=2 * n)).grads
    solver = rn.Solver(name, n_steps=n)
    way = rn.Problem(model, problem.params, problem.x, rn.Loss(running=problem.loss.running), (t0, m))
    second = discrete(rn.Problem(model, problem.params, rn.solve(way, solver).z_T, problem.loss, (m, T)), solver)
    adj = rn.LinearFunctional(second.adj_t0, reduction="sum")
    first = discrete(rn.Problem(model, problem.params, problem.x, replace(way.loss, terminal=adj), (t0, m)), solver)
    # the fractions of the whole are frozen, so that both ends move all steps; the joint moves halfway
    joint = first.grads["T"] + second.grads["t0"]
    want = {name: first.grads[name] + second.grads[name] for name in problem.params}
    want |= {"x": first.grads["x"], "t0": first.grads["t0"] + joint / 2, "T": second.grads["T"] + joint / 2}
    assert_same(whole, want, twice(rounding_bound(problem, rn.Solver(name, n_steps=2 * n))))


@some
@given(SEEDS, st.sampled_from(sorted(rn.TABLEAUX)), st.integers(1, 5), st.integers(-6, 6))
def test_faster_fields_over_shorter_spans(seed, name, n, power):
    """f -> c f, l -> c l, t -> t / c changes no bit of loss and theta for a power of two; times scale by c."""
    c, solver = 2.0**power, rn.Solver(name, n_steps=n)
    W = np.random.default_rng(seed).standard_normal((3, 2)) / 2
    model = rn.NeuralODE(rn.MLP(2, 2, bias=False, time="first"))
    results = []
    for f in (1.0, c):
        # W z + w t has to be c W z + c^2 w t, so that t / c gives c f
        params = {"theta.W0": W * np.array([[f], [f], [f * f]])}
        problem = network_problem(seed, model, 2, params=params, running=(rn.SquaredNorm(weight=f),))
        observed = rn.Observations(problem.loss.observations.times / f, problem.loss.observations.terms)
        loss = replace(problem.loss, observations=observed, terminal=rn.LinearFunctional(np.array([1.0, -2.0])))
        results.append(discrete(replace(problem, loss=loss, span=(-0.25 / f, 0.875 / f)), solver))
    plain, fast = results
    assert fast.loss == plain.loss
    want = {name: plain.grads[name] * c for name in ("t0", "T", "t_obs")} | {"x": plain.grads["x"]}
    want["theta.W0"] = plain.grads["theta.W0"] / np.array([[c], [c], [c * c]])
    assert_same_bits(fast.grads, want)


@some
@given(SEEDS, FIXED, st.floats(-2, 2), st.sampled_from(SMOOTH))
def test_shift_of_depth(seed, solver, shift, act):
    """Without t in field and loss, nothing but t0, T and t_k knows where the span lies."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2, act=act, skip=True))
    problem = network_problem(seed, model, 2, terminal=False, running=(rn.Kinetic(),))
    times = problem.loss.observations.times
    observed = replace(problem.loss.observations, times=times + shift)
    other = replace(problem, loss=replace(problem.loss, observations=observed), span=(-0.3 + shift, 0.9 + shift))
    # adding the shift rounds the ends of segments that are 0.5 long at least: eps |shift| / 0.5 of a step
    bound = {name: (2 + 4 * abs(shift)) * b for name, b in rounding_bound(problem, solver).items()}
    assert_same(discrete(other, solver).grads, discrete(problem, solver).grads, bound)


# ---------------------------------------------------------------- the same twice

@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=3)
@given(problems(most_observed=1, acts=SMOOTH), solvers(most_steps=4))
def test_same_bits_twice(method, problem, solver):
    """A gradient is a function of problem and solver: the second run has the bits of the first, and writes no array.

    A run of another problem in between leaves no trace.
    """
    options = {"check": False} if method in ("backsolve", "interpolating") else {}
    before = {name: leaf.copy() for name, leaf in problem.leaves().items()}
    first = rn.gradient(problem, method, solver, **options)
    rn.gradient(rows(problem, np.array([1, 0])), "discrete", solver)
    second = rn.gradient(problem, method, solver, **options)
    assert (first.loss, first.stats.nfe, first.stats.nfe_backward) == (
        second.loss, second.stats.nfe, second.stats.nfe_backward
    )  # fmt: skip
    assert_same_bits(second.grads, first.grads)
    assert_same_bits(problem.leaves(), before)


# ---------------------------------------------------------------- to tolerance

@pytest.mark.parametrize("method", [*TO_TOLERANCE, "discrete"])
@pytest.mark.parametrize("act", SMOOTH)
def test_there_and_back(act, method):
    """Solved to T and back to t0 the state is x again, so the gradient of L(back(there(x))) in x is dL/dx itself.

    The way back starts at what the way there reached; its gradient in x is the loss of the way there. To 2 digits less
    than the tolerance, and the fields do not stiffen: L |T - t0| is about 1.
    """
    tol = 1e-10
    solver = rn.Solver("dop853", tol=tol)
    rng = np.random.default_rng(7)
    model = rn.NeuralODE(rn.MLP(2, 3, 2, act=act, time="every"), span=(-0.3, 0.9))
    params, x, c = draw_params(model, rng), rng.standard_normal((3, 2)), rng.standard_normal((3, 2))
    nothing = rn.Loss(rn.LinearFunctional(np.zeros(2)))
    z = rn.solve(rn.Problem(model, params, x, nothing), solver).z_T
    back = rn.Problem(model, params, z, rn.Loss(rn.LinearFunctional(c, reduction="sum")), (0.9, -0.3))
    returned = rn.gradient(back, method, solver)
    np.testing.assert_allclose(returned.z_T, x, rtol=0, atol=100 * tol * np.max(np.abs(x)))
    adj = rn.LinearFunctional(returned.grads["x"], reduction="sum")
    there = rn.gradient(rn.Problem(model, params, x, rn.Loss(adj)), method, solver)
    size = amplification(back)
    assert np.max(np.abs(there.grads["x"] - c)) <= 100 * tol * size * np.max(np.abs(c))
    # parameters and ends move both ways alike, and leave x where it was
    for name in (*params, "t0", "T"):
        other = {"t0": "T", "T": "t0"}.get(name, name)
        scale = max(np.max(np.abs(there.grads[name])), np.max(np.abs(returned.grads[other])))
        assert np.max(np.abs(there.grads[name] + returned.grads[other])) <= 100 * tol * size * scale, name


@pytest.mark.parametrize("name", ["midpoint", "bosh3", "rk4"])
def test_richardson_in_the_step(name):
    """(2^p g(h/2) - g(h)) / (2^p - 1) is nearer the ODE's gradient than g(h/2): the discrete error is c h^p + ..

    With error c h^p (1 + d h) what is left is at most |d| h of the finer error, and half of it where |d| h <= 1/2.
    """
    p = rn.TABLEAUX[name].order
    problem = network_problem(3, rn.NeuralODE(rn.MLP(2, 3, 2, time="every")), 2, running=(rn.Kinetic(),))
    problem = replace(problem, loss=replace(problem.loss, observations=None), span=(-1.0, 1.5))
    truth = discrete(problem, rn.Solver("dop853", tol=1e-14)).grads
    coarse, fine = (discrete(problem, rn.Solver(name, n_steps=n)).grads for n in (32, 64))
    for leaf, g in truth.items():
        better = (2**p * fine[leaf] - coarse[leaf]) / (2**p - 1)
        assert np.max(np.abs(better - g)) <= np.max(np.abs(fine[leaf] - g)) / 2 + 1e3 * EPS * np.max(np.abs(g)), leaf
