"""A problem's parameters as the kernels read them, neuron by neuron, and gradients back.

theta is that of `refnode.field.MLP`: W0 (n_0 + timed, n_1), b0 (n_1,), W1 (n_1 + timed, n_2), b1 (n_2,), flat.
"""

import numpy as np

from refnode.kernels.cuda.shape import Shape


def places(S: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Where number q of a kernel's theta stands in the field's (size,), and whether it is there."""
    i, n, o = S.inputs, S.hidden, S.out
    b0 = i * n
    W1 = b0 + n * S.bias
    b1 = W1 + (n + S.timed[1]) * o
    j, c = np.meshgrid(np.arange(S.neurons), np.arange(S.stride), indexing="ij")
    neuron = np.where(c < i, c * n + j, np.where(c == i, b0 + j, W1 + j * o + c - i - 1))
    tail = np.concatenate([b1 + np.arange(o), W1 + n * o + np.arange(o * S.timed[1])])
    weights = (j < n) & (c < S.numbers) & ((c != i) | S.bias)
    there = np.concatenate([weights.ravel(), np.arange(S.tail) >= o * (not S.bias)])
    at = np.concatenate([neuron.ravel(), tail])
    return np.where(there, at, 0).astype(np.int64), there


def packed_theta(S: Shape, theta: np.ndarray) -> np.ndarray:
    """theta (p,), or still and coefficients (1 + m, p), as a kernel reads it ((1 + m) size,)."""
    at, there = places(S)
    return np.where(there, np.atleast_2d(theta)[:, at], 0).astype(S.real).ravel()


def unpacked_gradient(S: Shape, g: np.ndarray, size: int) -> np.ndarray:
    """The gradient of theta (.., p) in float64 from a kernel's (.., S.size)."""
    at, there = places(S)
    out = np.zeros((*g.shape[:-1], size))
    out[..., at[there]] = g[..., there]
    return out
