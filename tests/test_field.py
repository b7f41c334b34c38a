"""The MLP is its definition, and its jvp and vjp are the derivatives of its forward in t, z, theta and x."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import refnode as rn
from refnode.arrays import size
from refnode.errors import InvalidArgument
from refnode.field import apart, beside, time_column
from refnode.layers import ACTIVATIONS
from tests.help import (
    assert_adjoint,
    assert_close,
    assert_jvp,
    assert_vjp,
    mlp_roundings,
    mlp_sizes,
    normals_like,
    plain_mlp,
)


@dataclass
class Case:
    """An MLP, a point (t, z, theta, x) and a cotangent g."""

    f: rn.MLP
    args: tuple[Any, ...]
    g: np.ndarray
    rng: np.random.Generator

    @property
    def n(self):
        """Roundings of f and its derivatives, and of a sum over the batch."""
        return mlp_roundings(self.f) + 2 * len(self.g)

    def jvp(self, d):
        """df along d."""
        return self.f.jvp(*self.args, *d)

    def vjp(self):
        """Cotangents for g."""
        return self.f.vjp(*self.args, self.g)

    def sizes(self, d):
        """Sums of |terms| of df."""
        return mlp_sizes(self.f, self.args, d)[1]


def case(f, n, batch, own_t, own_theta, rng):
    """An MLP with numbers."""
    lead = (batch,) if own_theta else ()
    args = (
        np.array(rng.standard_normal((batch,) if own_t else ())),
        rng.standard_normal((batch, f.widths[0] - n)),
        rng.standard_normal((*lead, size(f.shapes))),
        rng.standard_normal((batch, n)) if n else None,
    )
    return Case(f, args, rng.standard_normal((batch, f.width_out)), rng)


@st.composite
def cases(draw, hidden=2, width=4):
    """Any MLP with up to `hidden` hidden layers, with or without control, at any point."""
    i, n = draw(st.integers(1, width)), draw(st.integers(0, 2))
    widths = draw(st.lists(st.integers(1, width), min_size=1, max_size=1 + hidden))
    f = rn.MLP(
        i + n,
        *widths,
        act=draw(st.sampled_from(sorted(ACTIVATIONS))),
        bias=draw(st.booleans()),
        time=draw(st.sampled_from(["none", "first", "every"])),
        skip=draw(st.booleans()),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return case(f, n, draw(st.integers(2, 3)), draw(st.booleans()), draw(st.booleans()), rng)


# ---------------------------------------------------------------- values and derivatives

@given(cases())
def test_forward_is_the_definition(c):
    """Every sample's f is that of a plain loop over numbers: h_0 = [z, x]; u_k = [h_k, t] W_k + b_k; .. + [z, x] A."""
    t, z, theta, x = c.args
    batch = len(z)
    ts, thetas = np.broadcast_to(t, batch), np.broadcast_to(theta, (batch, theta.shape[-1]))
    want = [plain_mlp(c.f, ts[k], z[k], thetas[k], () if x is None else x[k]) for k in range(batch)]
    assert_close(c.f.forward(*c.args), np.array(want), mlp_sizes(c.f, c.args)[0], c.n)


@given(cases())
def test_jvp_is_the_complex_step(c):
    """In a random direction of all arguments, and in t, z, theta and x each alone."""
    assert_jvp(c.f.forward, c.jvp, c.args, normals_like(c.rng, c.args), c.sizes, c.n)


@given(cases(hidden=1, width=3) | cases(width=2))
def test_vjp_is_the_complex_step(c):
    """Every number of the cotangents of t, z, theta and x; that of a shared theta is the sum over the batch."""
    assert_vjp(c.f.forward, c.vjp(), c.args, c.g, c.sizes, c.n)


@given(cases())
def test_vjp_is_adjoint_to_jvp(c):
    """<J^T g, d> = <g, J d> for random g and d, without any witness."""
    assert_adjoint(c.vjp(), c.jvp, normals_like(c.rng, c.args), c.g, c.sizes, c.n + c.g.size + size(c.f.shapes))


# ---------------------------------------------------------------- shared and own arguments

@given(cases())
def test_own_parameters_that_are_equal_are_shared_parameters(c):
    """theta (b, p) with equal rows: forward and the cotangents of t, z, x are the same; those of theta sum to (p,)."""
    t, z, theta, x = c.args
    theta = theta if theta.ndim == 1 else theta[0]
    rows = np.repeat(theta[None], len(z), axis=0)
    shared, own = (t, z, theta, x), (t, z, rows, x)
    assert_close(c.f.forward(*own), c.f.forward(*shared), mlp_sizes(c.f, shared)[0], c.n)
    ones = tuple(None if a is None else np.ones(a.shape) for a in shared)
    terms = (np.abs(c.g) * mlp_sizes(c.f, shared, ones)[1]).sum()  # along all numbers at once: no less than along one
    for name, got, want in zip(("t", "z", "theta", "x"), c.f.vjp(*own, c.g), c.f.vjp(*shared, c.g), strict=True):
        if want is not None:
            assert_close(got.sum(axis=0) if name == "theta" else got, want, terms, c.n)


@given(cases())
def test_own_depths_that_are_equal_are_a_shared_depth(c):
    """t (b,) with equal entries gives the very bits that t () gives: forward, jvp and vjp."""
    _, z, theta, x = c.args
    shared, own = (np.array(0.7), z, theta, x), (np.full(len(z), 0.7), z, theta, x)
    np.testing.assert_array_equal(c.f.forward(*own), c.f.forward(*shared))
    d = normals_like(c.rng, shared)
    np.testing.assert_array_equal(c.f.jvp(*own, np.full(len(z), d[0]), *d[1:]), c.f.jvp(*shared, *d))
    for got, want in zip(c.f.vjp(*own, c.g), c.f.vjp(*shared, c.g), strict=True):
        np.testing.assert_array_equal(got, want)


@given(cases())
def test_shapes_and_dtypes_of_what_comes_back(c):
    """f (b, o); cotangents of t (b,), z (b, i), theta as given, x (b, n) or None; real in, float64 out."""
    t, z, theta, x = c.args
    f, (g_t, g_z, g_theta, g_x) = c.f.forward(*c.args), c.vjp()
    assert f.shape == c.g.shape == (len(z), c.f.width_out)
    assert (g_t.shape, g_z.shape, g_theta.shape) == ((len(z),), z.shape, theta.shape)
    assert (g_x is None) if x is None else (g_x.shape == x.shape)
    assert {a.dtype for a in (f, g_t, g_z, g_theta)} == {np.dtype(np.float64)}
    assert c.f.forward(t, z, theta + 0j, x).dtype == np.complex128


# ---------------------------------------------------------------- structure

@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (rn.MLP(2, 3), {"W0": (2, 3), "b0": (3,)}),
        (rn.MLP(2, 3, bias=False), {"W0": (2, 3)}),
        (rn.MLP(2, 5, 3), {"W0": (2, 5), "b0": (5,), "W1": (5, 3), "b1": (3,)}),
        (rn.MLP(2, 5, 3, time="first"), {"W0": (3, 5), "b0": (5,), "W1": (5, 3), "b1": (3,)}),
        (rn.MLP(2, 5, 3, time="every"), {"W0": (3, 5), "b0": (5,), "W1": (6, 3), "b1": (3,)}),
        (rn.MLP(2, 5, 3, skip=True), {"W0": (2, 5), "b0": (5,), "W1": (5, 3), "b1": (3,), "A": (2, 3)}),
        (rn.MLP(2, 3, time="every", skip=True, bias=False), {"W0": (3, 3), "A": (2, 3)}),
        (rn.Linear(4, 2), {"W0": (4, 2), "b0": (2,)}),
        (rn.Linear(4, 2, bias=False), {"W0": (4, 2)}),
    ],
)
def test_leaves(f, shapes):
    """W0, b0, W1, b1, .., A in this order; t is a last row of W, and the skip term does not see it."""
    assert list(f.shapes.items()) == list(shapes.items())


def test_widths():
    """Widths in and out, the number of layers, and equality by structure."""
    f = rn.MLP(2, 5, 6, 3, time="every")
    assert (f.width_in(), f.width_out, f.depth, f.widths) == (2, 3, 3, (2, 5, 6, 3))
    assert f == rn.MLP(2, 5, 6, 3, time="every")
    assert f != rn.MLP(2, 5, 6, 3)
    assert len({f, rn.MLP(2, 5, 6, 3, time="every")}) == 1
    assert rn.MLP(np.int64(2), 3).widths == (2, 3)


def test_linear_by_hand():
    """Linear is u W0 + b0, an MLP without hidden layers, whatever its activation."""
    theta = np.array([1.0, 2, 3, 4, 5, 6, 10, 20])
    u = np.array([[1.0, 0, 0], [0, 1, 1], [2, 0, -1]])
    np.testing.assert_array_equal(rn.Linear(3, 2).forward(np.zeros(()), u, theta), [[11, 22], [18, 30], [7, 18]])
    assert rn.Linear(3, 2) == rn.MLP(3, 2)


def test_time_enters_where_it_is_told_to(rng):
    """Without time the cotangent of t is zero; with "first" its last row of W0 is its only way in."""
    for time, zero in (("none", True), ("first", False), ("every", False)):
        c = case(rn.MLP(2, 3, 2, time=time), 0, 3, True, False, rng)
        assert (c.vjp()[0] == 0).all() == zero
    c = case(rn.MLP(2, 3, 2, time="first"), 0, 3, True, False, rng)
    c.args[2][6:9] = 0.0  # the last row of W0 (3, 3)
    np.testing.assert_array_equal(c.vjp()[0], np.zeros(3))


def test_control_beside_the_state(rng):
    """[z, x] and its cotangent fall apart where they were joined; without control there is nothing to join."""
    z, x = rng.standard_normal((3, 2)), rng.standard_normal((3, 4))
    back_z, back_x = apart(beside(z, x), z, x)
    np.testing.assert_array_equal(back_z, z)
    np.testing.assert_array_equal(back_x, x)
    assert beside(z, None) is z
    assert apart(z, z, None) == (z, None)


def test_time_column():
    """A shared depth repeats, own depths stand each in their row."""
    u = np.zeros((3, 5))
    np.testing.assert_array_equal(time_column(np.array(2.0), u), [[2.0]] * 3)
    np.testing.assert_array_equal(time_column(np.arange(3.0), u), [[0.0], [1.0], [2.0]])


# ---------------------------------------------------------------- initial parameters

@pytest.mark.parametrize("time", ["none", "first", "every"])
def test_initial_weights(time, rng):
    """Weights are normal with variance 1 / fan-in, t counted as an input; biases and skip term are zero."""
    f = rn.MLP(40, 60, 50, time=time, skip=True)
    leaves = f.init(rng)
    assert {name: leaf.shape for name, leaf in leaves.items()} == dict(f.shapes)
    for name, leaf in leaves.items():
        if name.startswith("W"):
            # N normals: the mean of their squares has standard deviation sqrt(2 / N), their mean sqrt(1 / N); six of
            # them happen once in 5e8 runs
            unit, N = leaf * np.sqrt(len(leaf)), leaf.size
            assert abs((unit**2).mean() - 1) < 6 * np.sqrt(2 / N)
            assert abs(unit.mean()) < 6 / np.sqrt(N)
        else:
            np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))


def test_initial_weights_follow_the_generator():
    """The same generator state gives the same weights, another gives others; layers differ."""
    first, again, other = (rn.MLP(3, 3, 3).init(np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in ("W0", "W1"):
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] != other[name]).all()
    assert (first["W0"] != first["W1"]).all()


# ---------------------------------------------------------------- refusals

@pytest.mark.parametrize(
    ("widths", "words", "message"),
    [
        ((), {}, r"^widths: got \(\); must be at least an input and an output width"),
        ((2,), {}, r"^widths: got \(2,\)"),
        ((2, 0, 2), {}, r"^widths\[1\]: got 0; must be an integer >= 1"),
        ((2, 2.0), {}, r"^widths\[1\]: got 2\.0"),
        ((True, 2), {}, r"^widths\[0\]: got True"),
        (([2, 3], 2), {}, r"^widths\[0\]: got \[2, 3\]"),
        ((2, 2), {"act": "gelu"}, r"^act: got '?gelu'?; must be one of 'tanh', 'softplus', 'sin', "),
        ((2, 2), {"act": np.tanh}, r"^act: got <ufunc 'tanh'>"),
        ((2, 2), {"time": "last"}, r"^time: got '?last'?; must be one of 'none', 'first', 'every'"),
        ((2, 2), {"time": True}, r"^time: got True"),
        ((2, 2), {"bias": 1}, r"^bias: got 1; must be True or False"),
        ((2, 2), {"skip": None}, r"^skip: got None; must be True or False"),
    ],
)
def test_refusals(widths, words, message):
    """A structure that makes no sense raises, and the message names the argument and what it may be."""
    with pytest.raises(InvalidArgument, match=message):
        rn.MLP(*widths, **words)
