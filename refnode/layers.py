"""Layers: what each computes, what it does to a perturbation (jvp), what it does to a cotangent (vjp).

Shapes: a batch of b rows; W (i, o) is shared by the batch, or (b, i, o) when every sample has its own. A stack of K
such batches, (K, b, i), passes through a linear layer as one batch does.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refnode.arrays import Array


def linear(W: Array, x: Array) -> Array:  # x (b, i) or (K, b, i), W (i, o) or (b, i, o)
    """y = x W."""
    return x @ W if W.ndim == 2 else np.einsum("...bi,bio->...bo", x, W)  # (b, o) or (K, b, o)


def linear_jvp(W: Array, x: Array, dW: Array, dx: Array) -> Array:
    """dy = dx W + x dW."""
    return linear(W, dx) + linear(dW, x)  # (b, o)


def linear_vjp(W: Array, x: Array, g: Array) -> tuple[Array, Array]:  # g (b, o)
    """Cotangents of W and x. That of a shared W is summed over the batch."""
    if W.ndim == 2:
        return x.T @ g, g @ W.T  # (i, o), (b, i)
    return x[:, :, None] * g[:, None, :], np.einsum("bo,bio->bi", g, W)  # (b, i, o), (b, i)


def linear_stack_vjp(W: Array, x: Array, g: Array) -> tuple[Array, Array]:  # x (K, b, i), g (K, b, o)
    """Cotangents of W and x for a stack of K batches: that of W is summed over the stack."""
    if W.ndim == 2:
        return np.einsum("kbi,kbo->io", x, g), g @ W.T  # (i, o), (K, b, i)
    return np.einsum("kbi,kbo->bio", x, g), np.einsum("kbo,bio->kbi", g, W)  # (b, i, o), (K, b, i)


def bias_vjp(b: Array, g: Array) -> Array:
    """Cotangent of b in y = x + b: (o,) summed over the batch, or (b, o)."""
    return g.sum(axis=0) if b.ndim == 1 else g


def tanh(u: Array) -> Array:
    """tanh u."""
    return np.tanh(u)


def tanh_slope(u: Array) -> Array:
    """1 - tanh^2 u, to full relative accuracy also where tanh u rounds to 1."""
    return 4 * sigmoid_slope(2 * u)


def tanh_curvature(u: Array) -> Array:
    """-2 tanh u (1 - tanh^2 u), the slope's slope, of the same accuracy."""
    return -2 * tanh(u) * tanh_slope(u)


def softplus(u: Array) -> Array:
    """log(1 + e^u), written so that nothing overflows."""
    return np.where(u.real > 0, u, 0) + np.log1p(np.exp(_minus_abs(u)))


def sigmoid(u: Array) -> Array:
    """1 / (1 + e^-u); the slope of softplus."""
    e = np.exp(_minus_abs(u))
    return np.where(u.real > 0, 1, e) / (1 + e)


def sigmoid_slope(u: Array) -> Array:
    """sigmoid(u) sigmoid(-u)."""
    e = np.exp(_minus_abs(u))
    return e / (1 + e) ** 2


def sigmoid_curvature(u: Array) -> Array:
    """sigmoid'(u) (1 - 2 sigmoid(u)); the difference is -tanh(u/2), which does not cancel at 0."""
    return -sigmoid_slope(u) * tanh(u / 2)


def sin_curvature(u: Array) -> Array:
    """-sin u."""
    return -np.sin(u)


def _minus_abs(u: Array) -> Array:
    """-|u| on the real axis, continued analytically from each half-axis for the complex step."""
    return np.where(u.real > 0, -u, u)


def relu(u: Array) -> Array:
    """max(u, 0); not differentiable at 0, where the slope is 0 by definition."""
    return np.where(u.real > 0, u, 0)


def relu_slope(u: Array) -> Array:
    """1 for u > 0, else 0."""
    return np.where(u.real > 0, 1.0, 0.0)


def no_curvature(u: Array) -> Array:
    """0, of the identity, and of relu by definition: its slope jumps at 0 and is constant elsewhere."""
    return np.zeros(u.shape)


def identity(u: Array) -> Array:
    """u."""
    return u


def identity_slope(u: Array) -> Array:
    """1."""
    return np.ones(u.shape)


class Activation(NamedTuple):
    """An elementwise function with two derivatives: jvp = slope(u) du, vjp = slope(u) g; d slope = curvature(u) du."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    curvature: Callable[[Array], Array]
    smooth: bool = True  # infinitely differentiable


ACTIVATIONS = {
    "tanh": Activation(tanh, tanh_slope, tanh_curvature),
    "softplus": Activation(softplus, sigmoid, sigmoid_slope),
    "sin": Activation(np.sin, np.cos, sin_curvature),
    "sigmoid": Activation(sigmoid, sigmoid_slope, sigmoid_curvature),
    "relu": Activation(relu, relu_slope, no_curvature, smooth=False),
    "identity": Activation(identity, identity_slope, no_curvature),
}
