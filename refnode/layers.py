"""Layers: what each computes, what it does to a perturbation (jvp), what it does to a cotangent (vjp).

Shapes: a batch of b rows; W (i, o) is shared by the batch, or (b, i, o) when every sample has its own.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refnode.arrays import Array


def linear(W: Array, x: Array) -> Array:  # x (b, i), W (i, o) or (b, i, o)
    """y = x W."""
    return x @ W if W.ndim == 2 else np.einsum("bi,bio->bo", x, W)  # (b, o)


def linear_jvp(W: Array, x: Array, dW: Array, dx: Array) -> Array:
    """dy = dx W + x dW."""
    return linear(W, dx) + linear(dW, x)  # (b, o)


def linear_vjp(W: Array, x: Array, g: Array) -> tuple[Array, Array]:  # g (b, o)
    """Cotangents of W and x. That of a shared W is summed over the batch."""
    if W.ndim == 2:
        return x.T @ g, g @ W.T  # (i, o), (b, i)
    return x[:, :, None] * g[:, None, :], np.einsum("bo,bio->bi", g, W)  # (b, i, o), (b, i)


def bias_vjp(b: Array, g: Array) -> Array:
    """Cotangent of b in y = x + b: (o,) summed over the batch, or (b, o)."""
    return g.sum(axis=0) if b.ndim == 1 else g


def tanh(u: Array) -> Array:
    """tanh u."""
    return np.tanh(u)


def tanh_slope(u: Array) -> Array:
    """1 - tanh^2 u, to full relative accuracy also where tanh u rounds to 1."""
    return 4 * sigmoid_slope(2 * u)


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


def _minus_abs(u: Array) -> Array:
    """-|u| on the real axis, continued analytically from each half-axis for the complex step."""
    return np.where(u.real > 0, -u, u)


def relu(u: Array) -> Array:
    """max(u, 0); not differentiable at 0, where the slope is 0 by definition."""
    return np.where(u.real > 0, u, 0)


def relu_slope(u: Array) -> Array:
    """1 for u > 0, else 0."""
    return np.where(u.real > 0, 1.0, 0.0)


def identity(u: Array) -> Array:
    """u."""
    return u


def identity_slope(u: Array) -> Array:
    """1."""
    return np.ones(u.shape)


class Activation(NamedTuple):
    """An elementwise function and its slope: jvp = slope(u) du, vjp = slope(u) g."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    smooth: bool = True  # infinitely differentiable


ACTIVATIONS = {
    "tanh": Activation(tanh, tanh_slope),
    "softplus": Activation(softplus, sigmoid),
    "sin": Activation(np.sin, np.cos),
    "sigmoid": Activation(sigmoid, sigmoid_slope),
    "relu": Activation(relu, relu_slope, smooth=False),
    "identity": Activation(identity, identity_slope),
}
