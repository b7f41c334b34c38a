"""The divergence of a field is the trace of its Jacobian, estimated or exact, and its jvp and vjp are derivatives."""

from dataclasses import replace
from itertools import product as every

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.arrays import size, unflatten
from refnode.control import control_of
from refnode.divergence import NetworkTrace
from refnode.dynamics import dynamics_of
from refnode.errors import InvalidArgument
from refnode.layers import ACTIVATIONS
from tests.help import (
    LIBRARY,
    STEP,
    absolute,
    assert_adjoint,
    assert_close,
    assert_jvp,
    assert_vjp,
    complex_step,
    mlp_roundings,
    normals_like,
    product,
    takes_time,
    with_time,
    zeros_like,
)

SMOOTH = [act for act in ACTIVATIONS if ACTIVATIONS[act].smooth]
BATCH, INPUTS = 3, 2


# ---------------------------------------------------------------- what is compared with what

def jacobian(f, args):
    """df/dz_n (b, o, o) of a field at args = (t, z, theta, x), by complex steps in the last o columns of z."""
    z, columns = args[1], []
    for j in range(z.shape[1] - f.width_out, z.shape[1]):
        d = zeros_like(args)
        d[1][:, j] = 1.0
        columns.append(complex_step(f.forward, args, d))
    return np.stack(columns, axis=2)


def trace_sizes(f, args, v, d=None):
    """Sums (b,) of the absolute values of all terms of sum_k v_k . J v_k at args, and of its jvp along d.

    As `mlp_sizes`: a slope counts as 1 + U, U the sum of |terms| of its argument. |act''| <= 1 and |act'''| <= 2, so a
    curvature and what a rounding of its argument makes of it count as 2 (1 + U).
    """
    (t, z, theta, x), v = absolute(args), np.abs(v)
    dt, dz, dtheta, dx = absolute(zeros_like(args) if d is None else d)
    leaf, dleaf = unflatten(theta, f.shapes), unflatten(dtheta, f.shapes)
    H, D = (z, dz) if x is None else (np.hstack([z, x]), np.hstack([dz, dx]))
    S = np.zeros((*v.shape[:2], H.shape[1]))
    S[:, :, z.shape[1] - f.width_out : z.shape[1]] = v
    dS, first = np.zeros(S.shape), S
    U, dU, I, dI = H, D, S, dS
    for k in range(f.depth):
        if k:
            H, D, S, dS = 1 + U, (1 + U) * dU, (1 + U) * I, 2 * (1 + U) * dU * I + (1 + U) * dI
        W, dW, rows = leaf[f"W{k}"], dleaf[f"W{k}"], S.shape[2]
        I = stacked(S, W[..., :rows, :])
        dI = stacked(dS, W[..., :rows, :]) + stacked(S, dW[..., :rows, :])
        H, D = (with_time(H, t), with_time(D, dt)) if takes_time(f, k) else (H, D)
        U, dU = product(H, W), product(D, W) + product(H, dW)
        U, dU = (U + leaf[f"b{k}"], dU + dleaf[f"b{k}"]) if f.bias else (U, dU)
    if f.skip:
        I, dI = I + stacked(first, leaf["A"]), dI + stacked(first, dleaf["A"])
    return (v * I).sum(axis=(0, 2)), (v * dI).sum(axis=(0, 2))


def stacked(S, W):
    """S (K, b, i) times W (i, o) or (b, i, o)."""
    return np.array([product(rows, W) for rows in S])


def roundings(f, v):
    """n: forward pass, tangent pass and both backwards, complex products rounding twice; sums over v, z and batch."""
    return 2 * mlp_roundings(f) + 4 * (v.shape[0] + v.shape[1] + v.shape[2])


@st.composite
def fields(draw, acts=SMOOTH, orders=(1, 1, 2, 3)):
    """A network with or without everything it may have, its order, control, and a generator for numbers."""
    order, o = draw(st.sampled_from(orders)), draw(st.integers(1, 3))
    control = draw(st.sampled_from(["none", "x", rn.Columns(1, 2)]))
    hidden = draw(st.lists(st.integers(1, 4), max_size=2))
    f = rn.MLP(
        order * o + {"none": 0, "x": INPUTS}.get(control, 1), *hidden, o,
        act=draw(st.sampled_from(acts)), bias=draw(st.booleans()), skip=draw(st.booleans()),
        time=draw(st.sampled_from(["none", "first", "every"])),
    )  # fmt: skip
    return f, order, control, np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


@st.composite
def divergences(draw):
    """A divergence, exact or estimated, and a point: t and theta shared or a sample's own."""
    f, order, control, rng = draw(fields())
    noises, own_t, own_theta = draw(st.integers(0, 3)), draw(st.booleans()), draw(st.booleans())
    noise = rng.standard_normal((noises, BATCH, f.width_out)) if noises else None
    at = rn.RunningArgs(
        np.array(rng.standard_normal((BATCH,) if own_t else ())),
        rng.standard_normal((BATCH, order * f.width_out)),
        rng.standard_normal((BATCH, size(f.shapes)) if own_theta else size(f.shapes)),
        rng.standard_normal((BATCH, INPUTS)),
        rng.standard_normal((BATCH, f.width_out)),
    )
    return rn.Divergence(f, control, "hutchinson" if noises else "exact", noise), at, rng


def directions(term):
    """v (K, b, o) and the weight of their sum."""
    if term.noise is not None:
        return term.noise, 1 / len(term.noise)
    o = term.field.width_out
    return np.repeat(np.eye(o)[:, None], BATCH, axis=1), 1.0


def field_args(term, a):
    """What the field sees of a running loss's arguments."""
    return a.t, a.z, a.theta, control_of(term.control, a.x)


# ---------------------------------------------------------------- values

@given(divergences())
def test_value_is_the_trace_of_the_jacobian(drawn):
    """tr(df/dz_n), or the mean of eps . (df/dz_n) eps, of the Jacobian that complex steps of forward give."""
    term, at, _ = drawn
    f, args, (v, c) = term.field, field_args(term, at), directions(term)
    want = c * np.einsum("kbi,bij,kbj->b", v, jacobian(f, args), v)
    assert_close(term.value(at), want, c * trace_sizes(f, args, v)[0], roundings(f, v))


@given(fields(acts=["relu"]))
def test_trace_of_a_relu_network(drawn):
    """Where no unit switches, the trace of a ReLU network is that of its Jacobian, and it does not change with z."""
    f, order, control, rng = drawn
    z, theta = rng.standard_normal((BATCH, order * f.width_out)), rng.standard_normal(size(f.shapes))
    args = (np.array(0.5), z, theta, control_of(control, rng.standard_normal((BATCH, INPUTS))))
    v = rng.standard_normal((2, BATCH, f.width_out))
    want = np.einsum("kbi,bij,kbj->b", v, jacobian(f, args), v)
    assert_close(NetworkTrace(f).trace(*args, v), want, trace_sizes(f, args, v)[0], roundings(f, v))
    _, g_z, _, _ = NetworkTrace(f).trace_vjp(*args, v, np.ones(BATCH))
    np.testing.assert_array_equal(g_z, np.zeros(z.shape))


def test_by_hand():
    """f = 3 tanh(2 z + 1) - z/4 has df/dz = 6 / cosh^2(2 z + 1) - 1/4, and an affine field the trace of its matrix."""
    f = rn.MLP(1, 1, 1, skip=True)
    z = np.array([[0.0], [-0.5], [1.0]])
    at = rn.RunningArgs(np.array(0.0), z, np.array([2.0, 1.0, 3.0, 0.0, -0.25]), z, z)
    want = 6 / np.cosh(2 * z[:, 0] + 1) ** 2 - 0.25
    assert_close(rn.Divergence(f).value(at), want, 6.25 * (1 + np.abs(2 * z[:, 0] + 1)), mlp_roundings(f))
    affine = rn.Linear(2, 2)
    one, theta = np.ones((1, 2)), np.array([1.0, 2, 3, 4, 5, 6])
    at = rn.RunningArgs(np.array(0.0), one, theta, one, one)
    np.testing.assert_array_equal(rn.Divergence(affine).value(at), [5.0])


@given(fields(orders=(1, 2, 3)))
def test_it_is_the_divergence_of_the_whole_state(drawn):
    """The trace of the whole Jacobian of z' is that of df/dz_n: z_i' = z_{i+1} adds nothing to the diagonal."""
    f, order, control, rng = drawn
    model = rn.NeuralODE(f, order=order, init="full", control=control, h_x=rn.Linear(INPUTS, order * f.width_out))
    params = {name: rng.standard_normal(shape) for name, shape in model.shapes.items()}
    x, term = rng.standard_normal((BATCH, INPUTS)), rn.Divergence(f, control)
    values = rn.Problem(model, params, x, rn.Loss(running=rn.SquaredNorm())).values
    whole = dynamics_of(rn.Problem(model, params, x, rn.Loss(terminal=rn.StandardNormal())))
    z, t, trace = rng.standard_normal((BATCH, model.state_width)), np.array(0.4), np.zeros(BATCH)
    for j in range(model.state_width):
        unit = np.zeros(z.shape)
        unit[:, j] = STEP
        trace += whole.forward(t, z + 1j * unit, values).imag[:, j] / STEP
    at = rn.RunningArgs(t, z, values.alpha, x, np.zeros((BATCH, f.width_out)))
    v, _ = directions(term)
    assert_close(term.value(at), trace, trace_sizes(f, field_args(term, at), v)[0], roundings(f, v))


# ---------------------------------------------------------------- derivatives

@given(divergences())
def test_derivatives(drawn):
    """jvp is the complex step of value in t, z, theta and x, vjp in every number of them, and the two are adjoint."""
    term, at, rng = drawn
    f, args, (v, c) = term.field, field_args(term, at), directions(term)
    d, g, n = rn.RunningArgs(*normals_like(rng, at)), rng.standard_normal(BATCH), roundings(f, v)

    def value(*arguments):
        return term.value(rn.RunningArgs(*arguments))

    def jvp(d):
        return term.jvp(at, rn.RunningArgs(*d))

    def sizes(d):
        d = field_args(term, rn.RunningArgs(*d))
        return c * trace_sizes(f, args, v, d)[1]

    assert_jvp(value, jvp, at, d, sizes, n)
    back = term.vjp(at, g)
    assert isinstance(back, rn.RunningArgs)
    assert_vjp(value, back, at, g, sizes, n)
    assert_adjoint(back, jvp, d, g, sizes, n + sum(part.size for part in d))


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own t and theta"])
def test_derivatives_of_the_cosine_fields_trace(own, rng):
    """tr = sum_j theta_j cos t, or its estimate: jvp and vjp are its complex steps; cos and sin are below 1."""
    f, v = rn.CosineField(2), rng.standard_normal((2, BATCH, 2))
    lead = (BATCH,) if own else ()
    args = (np.array(rng.standard_normal(lead)), *(rng.standard_normal(s) for s in ((BATCH, 2), (*lead, 2))))
    d, g, n = normals_like(rng, args), rng.standard_normal(BATCH), 4 * LIBRARY + 40

    def trace(*args):
        return f.trace(*args, None, v)

    def jvp(d):
        return f.trace_jvp(*args, None, v, *d, None)

    def sizes(d):
        dt, _, dtheta = absolute(d)
        by_t = np.abs(args[2]) * dt[..., None]
        return ((v**2).sum(axis=0) * (1 + np.abs(args[0])[..., None]) * (dtheta + by_t)).sum(axis=1)

    back = f.trace_vjp(*args, None, v, g)
    assert back[3] is None
    assert_jvp(trace, jvp, args, d, sizes, n)
    assert_vjp(trace, back[:3], args, g, sizes, n)
    assert_adjoint(back[:3], jvp, d, g, sizes, n)
    want = np.einsum("kbi,bij,kbj->b", v, jacobian(f, (*args, None)), v)
    assert_close(trace(*args), want, sizes((np.zeros(lead), None, np.abs(args[2]))), n)


# ---------------------------------------------------------------- Hutchinson

def affine_point(A):
    """f = z A + 1 for three samples, at z = 1."""
    d = len(A)
    theta = np.concatenate([np.ravel(A), np.ones(d)])
    one = np.ones((BATCH, d))
    return rn.Linear(d, d), rn.RunningArgs(np.array(0.0), one, theta, one, one)


def test_signs_see_a_diagonal_exactly(rng):
    """With entries +-1 every single noise gives the trace of a diagonal Jacobian, bit by bit: eps_i^2 = 1."""
    f, at = affine_point(np.diag([3.0, -5.0, 7.0]))
    noise = rng.choice([-1.0, 1.0], (1, BATCH, 3))
    np.testing.assert_array_equal(rn.Divergence(f, "none", "hutchinson", noise).value(at), np.full(BATCH, 5.0))


def test_the_mean_over_all_signs_is_the_trace():
    """Over all 2^d vectors of signs the estimate's mean is the trace, exactly: entries off the diagonal cancel.

    The entries are integers and 2^d a power of two, so that no sum rounds.
    """
    A = [[3.0, 8, -1], [2, -5, 4], [9, 6, 7]]
    f, at = affine_point(A)
    signs = np.array(list(every([-1.0, 1.0], repeat=3)))  # (8, 3)
    noise = np.repeat(signs[:, None], BATCH, axis=1)
    np.testing.assert_array_equal(rn.Divergence(f, "none", "hutchinson", noise).value(at), np.full(BATCH, 5.0))
    one = rn.Divergence(f, "none", "hutchinson", noise[:1]).value(at)
    assert (one != 5.0).all()  # one noise alone does not see it


@given(fields())
def test_the_mean_over_all_signs_is_the_trace_of_every_field(drawn):
    """In value and in every cotangent, to the rounding of the sum."""
    f, order, control, rng = drawn
    o = f.width_out
    at = rn.RunningArgs(
        np.array(0.3), rng.standard_normal((BATCH, order * o)), rng.standard_normal(size(f.shapes)),
        rng.standard_normal((BATCH, INPUTS)), np.zeros((BATCH, o)),
    )  # fmt: skip
    noise = np.repeat(np.array(list(every([-1.0, 1.0], repeat=o)))[:, None], BATCH, axis=1)
    exact, estimate = rn.Divergence(f, control), rn.Divergence(f, control, "hutchinson", noise)
    args, n = field_args(exact, at), roundings(f, noise)
    size_of_value = trace_sizes(f, args, noise)[0] / len(noise)  # larger than the exact trace's
    assert_close(estimate.value(at), exact.value(at), size_of_value, n)
    d = rn.RunningArgs(*normals_like(rng, at))
    size_of_jvp = trace_sizes(f, args, noise, field_args(exact, d))[1] / len(noise)
    assert_close(estimate.jvp(at, d), exact.jvp(at, d), size_of_jvp, n)


# ---------------------------------------------------------------- fields of one's own

class Squares(rn.UserField):
    """f = theta z^2, elementwise, with the trace it knows: sum_ki v_ki^2 2 theta_i z_i."""

    def trace(self, t, z, theta, x, v):
        return (v**2 * 2 * theta * z).sum(axis=(0, 2))

    def trace_jvp(self, t, z, theta, x, v, dt, dz, dtheta, dx):
        return (v**2 * 2 * (dtheta * z + theta * dz)).sum(axis=(0, 2))

    def trace_vjp(self, t, z, theta, x, v, g):
        w = 2 * g[:, None] * (v**2).sum(axis=0)
        return np.zeros(len(z)), w * theta, (w * z).sum(axis=0), None


def squares():
    return Squares(
        forward=lambda t, z, theta, x: theta * z**2,
        jvp=lambda t, z, theta, x, dt, dz, dtheta, dx: dtheta * z**2 + 2 * theta * z * dz,
        vjp=lambda t, z, theta, x, g: (np.zeros(len(z)), 2 * theta * z * g, (g * z**2).sum(axis=0), None),
        shapes={"k": (2,)},
        width=2,
    )


def test_a_field_of_ones_own():
    """z' = k z^2 has z(T) = x / (1 - k T x) and int 2 k z dt = -2 log(1 - k T x): by pencil in x too.

    z^(5) = 120 k^5 z^6 and its like for the integral and for derivatives in k and x are below 1 where |k z| < 0.3;
    so RK4's error is below 64 h^5 / 120 of that, 5e-10 for h = 1/64, and 20 times that is allowed.
    """
    x, k = np.array([[0.4, -0.8], [-0.3, 0.6]]), np.array([0.5, -0.2])
    f = squares()
    problem = rn.Problem(
        rn.NeuralODE(f), {"theta.k": k}, x, rn.Loss(running=rn.Divergence(f, reduction="sum")), (0.0, 1.0)
    )
    g = rn.gradient(problem, "discrete", rn.Solver("rk4", n_steps=64))
    assert abs(g.loss - (-2 * np.log(1 - k * x)).sum()) < 1e-8
    np.testing.assert_allclose(g.grads["x"], 2 * k / (1 - k * x), atol=1e-8, rtol=0)
    np.testing.assert_allclose(g.grads["theta.k"], (2 * x / (1 - k * x)).sum(axis=0), atol=1e-8, rtol=0)


# ---------------------------------------------------------------- refusals

def test_a_field_without_a_trace_is_refused():
    """A field of one's own that does not know its trace is told what it lacks; so is a class."""
    plain = rn.UserField(len, len, len, {"k": (2,)}, 2)
    with pytest.raises(InvalidArgument, match=r"^field: got UserField.* it lacks trace, trace_jvp, trace_vjp \(see"):
        rn.Divergence(plain)
    with pytest.raises(InvalidArgument, match=r"^field: got .*; must be an MLP, or a field that knows its trace"):
        rn.Divergence(Squares)


def test_relu_is_refused():
    """The trace of a ReLU network jumps along the path; without a hidden layer there is nothing to jump."""
    with pytest.raises(InvalidArgument, match="must be of a smooth activation: a slope that jumps"):
        rn.Divergence(rn.MLP(2, 3, 2, act="relu"))
    rn.Divergence(rn.MLP(2, 2, act="relu"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"trace": "stochastic"}, r"^trace: got 'stochastic'; must be one of 'exact', 'hutchinson'"),
        ({"trace": "hutchinson"}, r"^noise: got None with trace='hutchinson'"),
        ({"noise": np.ones((1, 3, 2))}, r"^noise: got an array with trace='exact'"),
        ({"trace": "hutchinson", "noise": np.ones((1, 3, 3))}, r"^noise: got shape \(1, 3, 3\); .*\(any, any, 2\)"),
        ({"trace": "hutchinson", "noise": np.ones((3, 2))}, r"^noise: got shape \(3, 2\)"),
        ({"trace": "hutchinson", "noise": [[[np.nan, 0.0]]]}, r"^noise: got .*NaN"),
        ({"control": "z"}, r"^control: got 'z'"),
        ({"reduction": "max"}, r"^reduction: got 'max'"),
    ],
)
def test_words_are_checked(words, message):
    """Words, noise and control are checked where they are given."""
    with pytest.raises(InvalidArgument, match=message):
        rn.Divergence(rn.Linear(2, 2), **words)


@pytest.mark.parametrize("shape", [(1, 2, 2), (0, 3, 2)])
def test_noise_must_fit_the_batch(shape):
    """Every sample has its own noise, and there is one at least."""
    term = rn.Divergence(rn.Linear(2, 2), "none", "hutchinson", np.ones(shape))
    with pytest.raises(InvalidArgument, match=r"^running\[0\]\.noise: got shape .*; must be of shape \(K, 3, 2\)"):
        rn.Problem(rn.NeuralODE(rn.Linear(2, 2)), {"theta.W0": np.eye(2), "theta.b0": [0, 0]}, np.ones((3, 2)),
                   rn.Loss(running=term))  # fmt: skip


def test_another_network_than_the_models_is_refused(rng):
    """The divergence of another network, or with another control than the model's, is a mistake with a name."""
    f, x = rn.MLP(4, 3, 2), np.ones((3, 2))
    model = rn.NeuralODE(f, control="x")
    params = model.init(rng)
    rn.Problem(model, params, x, rn.Loss(running=rn.Divergence(f, "x")))
    for term, message in [
        (rn.Divergence(rn.MLP(4, 2, 2), "x"), r"^running\[0\]\.field: got MLP.*; must be the model's field, MLP"),
        (rn.Divergence(f), r"^running\[0\]\.control: got 'none'; must be the model's control, 'x'"),
    ]:
        with pytest.raises(InvalidArgument, match=message):
            rn.Problem(model, params, x, rn.Loss(running=term))


def test_weights_and_identity():
    """Multiplying keeps all else; terms equal themselves only."""
    term = rn.Divergence(rn.Linear(2, 2), "none", "hutchinson", np.ones((1, 3, 2)), reduction="sum")
    scaled = -1.0 * term
    assert (scaled.weight, scaled.reduction, scaled.trace) == (-1.0, "sum", "hutchinson")
    np.testing.assert_array_equal(scaled.noise, term.noise)
    assert scaled.field == term.field
    assert term != replace(term)
    assert term.of == "field"
