"""The MLP on a tile is `refnode.field.MLP`: forward and vjp, whatever its widths, activation, time input and rows."""

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import refnode as rn
from refnode.arrays import flatten, unflatten
from refnode.kernels.activations import ACT_NUMBERS
from refnode.kernels.mlp import (
    IN_CACHE,
    cotangent_size,
    mlp_forward,
    mlp_vjp,
    mlp_weights_vjp,
    net_of,
    slot_size,
    transpose_weights,
)
from tests.help import mlp_roundings, mlp_sizes, product, takes_time

WIDTHS = st.one_of(st.integers(1, 6), st.integers(1, 70))


@st.composite
def mlps(draw, act):
    """An MLP with up to three hidden layers."""
    widths = draw(st.lists(WIDTHS, min_size=2, max_size=5))
    time = draw(st.sampled_from(["none", "first", "every"]))
    return rn.MLP(*widths, act=act, bias=draw(st.booleans()), time=time, skip=draw(st.booleans()))


def arguments(f, m, seed, dtype):
    """t (m,), z (m, i), theta (p,) and g (m, o) that are exact in dtype, weights with variance 1 / fan-in."""
    rng = np.random.default_rng(seed)
    theta = np.concatenate([(rng.standard_normal(shape) / np.sqrt(shape[0])).ravel() for shape in f.shapes.values()])
    t, z, g = rng.uniform(-1, 1, m), rng.standard_normal((m, f.widths[0])), rng.standard_normal((m, f.widths[-1]))
    return [v.astype(dtype).astype(np.float64) for v in (t, z, theta, g)]


def by_kernel(f, t, z, theta, g, dtype):
    """f, and the cotangents of t, z and theta, by the kernels. f stands in the middle of wider rows.

    Cotangents of theta are those of two evaluations, the second of which adds nothing.
    """
    net, (m, o) = net_of(f), g.shape
    pitch, before = o + 3, 2
    slot, k = np.full(m * slot_size(net), np.nan, dtype), np.zeros(m * pitch, dtype)
    t, z, theta, g = (v.astype(dtype) for v in (t, z, theta, g))
    slot[: z.size] = z.ravel()
    mlp_forward(net, theta, t, m, slot, k, before, pitch)
    transposed, layers = np.zeros_like(theta), np.zeros((2, m * cotangent_size(net)), dtype)
    layers[0, layers.shape[1] - g.size :] = g.ravel()
    transpose_weights(net, theta, transposed)
    g_h, g_t, g_theta = np.full(z.size, np.nan, dtype), np.zeros(m, dtype), np.zeros_like(theta)
    mlp_vjp(net, theta, transposed, t, m, slot, layers[0], g_h, g_t)
    slots, depths = np.array([slot, np.ones_like(slot)]), np.array([t, t])
    mlp_weights_vjp(net, theta, m, 2, slots, layers, depths, g_theta)
    np.testing.assert_array_equal(k.reshape(m, pitch)[:, :before], 0.0)  # nothing beside f
    np.testing.assert_array_equal(k.reshape(m, pitch)[:, before + o :], 0.0)
    return k.reshape(m, pitch)[:, before : before + o], g_t, g_h.reshape(m, -1), g_theta


def vjp_sizes(f, t, z, theta, g):
    """Sums of |terms| of the cotangents of t, z and theta; as in `mlp_sizes`, a slope counts as 1 + U."""
    leaf, inputs, U = unflatten(np.abs(theta), f.shapes), [], []
    for k in range(f.depth):
        H = 1 + U[-1] if k else np.abs(z)
        inputs.append(np.hstack([H, np.abs(t)[:, None]]) if takes_time(f, k) else H)
        U.append(product(inputs[k], leaf[f"W{k}"]) + (leaf[f"b{k}"] if f.bias else 0))
    G, of_t, leaves = np.abs(g), np.zeros(len(t)), {}
    for k in reversed(range(f.depth)):
        leaves[f"b{k}"], leaves[f"W{k}"] = G.sum(axis=0), inputs[k].T @ G
        of_h = G @ leaf[f"W{k}"].T
        if takes_time(f, k):
            of_t, of_h = of_t + of_h[:, -1], of_h[:, :-1]
        G = (1 + U[k - 1]) * of_h if k else of_h
    if f.skip:
        leaves["A"], G = np.abs(z).T @ np.abs(g), G + np.abs(g) @ leaf["A"].T
    return of_t, G, flatten(leaves, f.shapes)


@pytest.mark.parametrize("act", ACT_NUMBERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=40)
@given(data=st.data(), m=st.integers(1, 32), seed=st.integers(0, 2**32 - 1))
def test_forward_and_vjp(act, dtype, data, m, seed):
    """f and all cotangents within the roundings of the longest path, of what grows along it."""
    f = data.draw(mlps(act))
    t, z, theta, g = arguments(f, m, seed, dtype)
    if act == "relu":  # which side of a kink a unit stands on must not be a matter of rounding
        pre = f.tape(t, z, unflatten(theta, f.shapes))[1][:-1]
        assume(all(np.abs(u).min() > 1e-4 for u in pre))
    got_f, *got = by_kernel(f, t, z, theta, g, dtype)
    want_t, want_z, want_theta, _ = f.vjp(t, z, theta, None, g)
    bound = (mlp_roundings(f) + 2 * m) * np.finfo(dtype).eps  # a cotangent of theta sums m rows
    assert np.all(np.abs(got_f - f.forward(t, z, theta, None)) <= bound * mlp_sizes(f, (t, z, theta, None))[0])
    sizes = vjp_sizes(f, t, z, theta, g)
    for name, mine, want, size in zip(("t", "z", "theta"), got, (want_t, want_z, want_theta), sizes, strict=True):
        assert mine.shape == want.shape
        assert np.all(np.abs(mine - want) <= bound * size), name


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_many_evaluations_at_once_are_one_after_the_other(dtype):
    """Weights' gradients of more cotangents than the cache is meant to hold: every sum runs in the same order."""
    net, m, count, rng = net_of(rn.MLP(3, 70, 65, 2, time="every")), 32, 6, np.random.default_rng(5)
    slots, layers = (rng.standard_normal((count, m * size(net))).astype(dtype) for size in (slot_size, cotangent_size))
    depths, theta = rng.standard_normal((count, m)).astype(dtype), np.zeros(net.size, dtype)
    assert layers.nbytes > 2 * IN_CACHE
    together, apart = np.zeros_like(theta), np.zeros_like(theta)
    mlp_weights_vjp(net, theta, m, count, slots, layers, depths, together)
    for q in range(count):
        mlp_weights_vjp(net, theta, m, 1, slots[q : q + 1], layers[q : q + 1], depths[q : q + 1], apart)
    np.testing.assert_array_equal(together, apart)
