"""T_i = t0 + softplus(network(x_i)): positive lengths, their derivatives, and where T goes in the record of numbers."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.arrays import flatten, size
from refnode.errors import InvalidArgument
from refnode.values import directions, resolved, resolved_jvp, resolved_magnitude, resolved_vjp
from tests.help import EPS, STEP, assert_adjoint, assert_close, assert_jvp, mlp_roundings, normals_like, plain_mlp

NETWORK = rn.MLP(2, 3, 1)
DEPTH = rn.AdaptiveDepth(NETWORK)
SEEDS = st.integers(0, 2**32 - 1)
N = mlp_roundings(NETWORK) + 16  # softplus and its slope beside the network


def point(seed, b=4):
    """(w, x), a direction of them and a cotangent (b,)."""
    rng = np.random.default_rng(seed)
    args = (rng.standard_normal(size(DEPTH.shapes)), rng.standard_normal((b, 2)))
    return args, normals_like(rng, args), rng.standard_normal(b)


def problem_with(t0=0.25, theta=None, **loss):
    """Four samples with adaptive depth."""
    rng = np.random.default_rng(5)
    model = rn.NeuralODE(rn.MLP(2, 2, time="first"), theta=theta or rn.Constant(), span=(0.0, DEPTH))
    params = {name: rng.standard_normal(shape) for name, shape in model.shapes.items()}
    if "edges" in params:
        params["edges"] = model.edges
    loss = rn.Loss(**(loss or {"terminal": rn.SquaredError(np.zeros(2))}))
    return rn.Problem(model, params, rng.standard_normal((4, 2)), loss, (t0, None))


# ---------------------------------------------------------------- the function g

def test_values_by_hand():
    """g_w(x) = log(1 + exp(network(x))), computed number by number."""
    (w, x), _, _ = point(0)
    want = [np.log1p(np.exp(plain_mlp(NETWORK, 0.0, row, w)[0])) for row in x]
    np.testing.assert_allclose(DEPTH.forward(w, x), want, rtol=N * EPS)


def test_always_positive():
    """Depth is positive however negative the network's output, as far as floats go, and grows like it upwards."""
    (w, x), _, _ = point(0)
    for bias, at_least, at_most in ((-600.0, 0.0, 1e-250), (600.0, 590.0, 610.0)):
        w[-1] = bias
        g = DEPTH.forward(w, x)
        assert (g > at_least).all()
        assert (g < at_most).all()


def sizes(args):
    """Sums of |terms| of the network's jvp; softplus's slope is below 1, and its own slope below 1/4."""
    from tests.help import mlp_sizes

    def of(d):
        at = (np.zeros(()), args[1], args[0], None)
        value, change = mlp_sizes(NETWORK, at, (np.zeros(()), d[1], d[0], None))
        return ((1 + value) * change)[:, 0]

    return of


@given(SEEDS)
def test_jvp_is_the_complex_step(seed):
    """In w and in x, together and each alone."""
    args, d, _ = point(seed)
    assert_jvp(DEPTH.forward, lambda d: DEPTH.jvp(*args, *d), args, d, sizes(args), N)


@given(SEEDS)
def test_vjp_is_adjoint_to_jvp(seed):
    """<J^T g, d> = <g, J d>; the cotangent of w (p,) sums over the samples, of w (b, p) it does not."""
    args, d, g = point(seed)
    assert_adjoint(DEPTH.vjp(*args, g), lambda d: DEPTH.jvp(*args, *d), d, g, sizes(args), N + size(DEPTH.shapes) + 12)
    own, _ = DEPTH.vjp(np.tile(args[0], (4, 1)), args[1], g)
    np.testing.assert_allclose(own.sum(axis=0), DEPTH.vjp(*args, g)[0], rtol=0, atol=64 * EPS * np.abs(own).sum())


# ---------------------------------------------------------------- its place in the record

def test_replace_keeps_an_adaptive_problem():
    """dataclasses.replace changes a loss and keeps T computed; another T than the computed one is refused."""
    before = problem_with()
    after = replace(before, loss=replace(before.loss, scale=2.0))
    np.testing.assert_array_equal(after.span[1], before.span[1])
    with pytest.raises(rn.InvalidArgument, match="None: the model computes it from x"):
        replace(before, span=(before.span[0], before.span[1] + 1.0))


def test_leaves_of_an_adaptive_problem():
    """The network's leaves are T.W0 ..; T itself is none, and neither has a gradient of its own."""
    problem = problem_with()
    assert list(problem.leaves()) == [
        "theta.W0", "theta.b0", "T.W0", "T.b0", "T.W1", "T.b1", "x", "t0"
    ]  # fmt: skip
    g = rn.gradient(problem, "discrete", rn.Solver("rk4", n_steps=3))
    assert g.grads.keys() == problem.leaves().keys()
    with pytest.raises(InvalidArgument, match=r"^leaf: got T; must be among"):
        problem["T"]


@pytest.mark.parametrize("t0", [0.25, np.array([0.25, -1.0, 0.0, 2.0])], ids=["shared t0", "own t0"])
def test_resolved_T(t0):
    """T = t0 + g_w(x) (b,) in the resolved record and in problem.span; the raw record's T is empty."""
    problem = problem_with(t0)
    w = flatten(problem.params, {f"T.{name}": shape for name, shape in DEPTH.shapes.items()})
    want = t0 + DEPTH.forward(w, problem.x)
    assert problem.values.T.shape == (0,)
    np.testing.assert_array_equal(problem.resolved.T, want)
    np.testing.assert_array_equal(problem.span[1], want)
    plain = rn.Problem(rn.NeuralODE(rn.MLP(2, 2)), {"theta.W0": np.eye(2), "theta.b0": np.zeros(2)}, problem.x,
                       rn.Loss(rn.SquaredError(np.zeros(2))), (0.0, want))  # fmt: skip
    assert resolved(plain.values, plain).T is plain.values.T


@given(SEEDS, st.booleans())
def test_resolved_derivatives(seed, own):
    """T moves with t0, w and x: the jvp is the complex step, and the vjp hands a cotangent of T on to all three."""
    problem, rng = problem_with(np.zeros(4) if own else 0.0), np.random.default_rng(seed)
    raw, at = problem.values, problem.resolved
    d = type(raw)(*normals_like(rng, [a for _, a in raw.items()]))
    moved = resolved_jvp(at, d, problem)
    args = (raw.w_T, raw.x)
    room = sizes(args)((d.w_T, d.x)) + np.abs(d.t0)
    assert_close(moved.T, np.imag(resolved(raw.shifted(1j * STEP, d), problem).T) / STEP, room, N)
    g = at.like(0.0)
    g.T[...], g.x[...] = rng.standard_normal(4), rng.standard_normal((4, 2))
    back = resolved_vjp(at, g, problem)
    assert back.T.shape == (0,)
    left = (g.T * moved.T).sum() + (g.x * d.x).sum()
    right = sum((a * b).sum() for (_, a), (_, b) in zip(back.items(), d.items(), strict=True))
    assert abs(left - right) <= N * EPS * (40 * (np.abs(g.T) * room).sum() + np.abs(g.x * d.x).sum())


def test_magnitude_holds_every_samples_part():
    """resolved_magnitude sums absolute values over the samples, where resolved_vjp lets them cancel."""
    problem = problem_with()
    at = problem.resolved
    g, m = at.like(0.0), at.like(0.0)
    g.T[...] = [1.0, -1.0, 2.0, -2.0]
    m.T[...] = np.abs(g.T)
    plain, magnitude = resolved_vjp(at, g, problem), resolved_magnitude(at, m, problem)
    for (_, a), (_, b) in zip(plain.items(), magnitude.items(), strict=True):
        assert (np.abs(a) <= b * (1 + 32 * EPS)).all()
    assert (plain.t0, magnitude.t0) == (0, 6)


def test_directions_of_the_network():
    """Each number of the network is one direction; T has none."""
    kinds = [d.where[0] for d in directions(problem_with().values)]
    assert kinds.count("w_T") == size(DEPTH.shapes)
    assert "T" not in kinds


def test_with_leaves_computes_T_anew():
    """Other network parameters, another x or t0 give another T."""
    problem = problem_with()
    for name in ("T.b1", "x", "t0"):
        other = problem.with_leaves({name: problem[name] + 0.5})
        assert (other.span[1] != problem.span[1]).all()
        np.testing.assert_array_equal(other.span[1], other.resolved.T)


def test_init_draws_a_network():
    """init has every leaf of the model, and depths around log 2."""
    model = problem_with().model
    params = model.init(np.random.default_rng(0))
    assert set(params) == set(model.shapes)
    assert "T.W0" in params
    assert model.adaptive is DEPTH
    assert rn.NeuralODE(rn.MLP(2, 2)).adaptive is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rn.AdaptiveDepth(3), "network: got 3; must be an MLP with one output"),
        (lambda: rn.AdaptiveDepth(rn.MLP(2, 3, 2)), "network: got of output width 2; must be of output width 1"),
        (lambda: rn.AdaptiveDepth(rn.MLP(2, 1, time="first")), "network: got with time='first'; must be without time"),
        (lambda: rn.NeuralODE(rn.MLP(2, 2), span=(DEPTH, 1.0)), "span: got (AdaptiveDepth("),
        (lambda: rn.NeuralODE(rn.MLP(2, 2), span=(0.0, rn.MLP(2, 1))), "span: got (0.0, MLP(widths=(2, 1)"),
        (
            lambda: rn.Problem(rn.NeuralODE(rn.MLP(3, 3), span=(0.0, DEPTH)), {}, np.zeros((2, 3)),
                               rn.Loss(rn.SquaredError(np.zeros(3)))),
            "span[1].network: got of input width 2; must be of input width 3, that of x",
        ),
    ],
)  # fmt: skip
def test_bad_adaptive_depths(call, message):
    """One output, no depth of its own, the width of x, and only at T."""
    with pytest.raises(InvalidArgument, match="^" + re.escape(message)):
        call()
