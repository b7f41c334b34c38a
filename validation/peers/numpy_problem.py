"""An rn.Problem in NumPy, with derivatives by hand that share nothing with refnode's.

All of the adjoint system comes from one scalar, the Hamiltonian of a cotangent a (b, d):

    H(t, z, a) = sum a f(t, z, theta) + l(t, z, theta),    a' = -dH/dz,    dloss/dtheta = int dH/dtheta dt
"""

import numpy as np

import refnode as rn
from validation.peers.support import check, part, point_losses, readout, takes_time


def sigmoid(u):
    """1 / (1 + e^-u)."""
    return np.exp(-np.logaddexp(0.0, -u))


ACTIVATIONS = {  # value, and slope from u and the value
    "tanh": (np.tanh, lambda u, h: 1 - h**2),
    "softplus": (lambda u: np.logaddexp(0.0, u), lambda u, h: sigmoid(u)),
    "sin": (np.sin, lambda u, h: np.cos(u)),
    "sigmoid": (sigmoid, lambda u, h: h * (1 - h)),
    "relu": (lambda u: np.maximum(u, 0.0), lambda u, h: np.where(u > 0, 1.0, 0.0)),
    "identity": (lambda u: u, lambda u, h: np.ones_like(u)),
}


def mlp(net, leaf, t, h):
    """The output (b, o), and what `mlp_vjp` needs: the input of each layer, t included, and its pre-activation."""
    value, h0, layers = ACTIVATIONS[net.act][0], h, []
    for k in range(net.depth):
        h = value(h) if k > 0 else h
        h = np.column_stack([h, np.full(len(h), t)]) if takes_time(net, k) else h
        u = h @ leaf[f"W{k}"] + (leaf[f"b{k}"] if net.bias else 0.0)
        layers.append((h, u))
        h = u
    return (h + h0 @ leaf["A"] if net.skip else h), layers


def mlp_vjp(net, leaf, layers, h0, g):
    """Cotangents of the input (b, i) and of every leaf, for g (b, o)."""
    slope, grads, g_u = ACTIVATIONS[net.act][1], {}, g
    for k in reversed(range(net.depth)):
        h, _ = layers[k]
        grads[f"W{k}"] = h.T @ g_u
        if net.bias:
            grads[f"b{k}"] = g_u.sum(axis=0)
        g_h = g_u @ leaf[f"W{k}"].T
        g_h = g_h[:, :-1] if takes_time(net, k) else g_h
        if k > 0:
            width = g_h.shape[1]
            g_u = g_h * slope(layers[k - 1][1], h[:, :width])
    if net.skip:
        grads["A"] = h0.T @ g
        g_h = g_h + g @ leaf["A"].T
    return g_h, grads


class NumpyProblem:
    """Field, Hamiltonian and point losses of a problem, and theta as one flat vector."""

    def __init__(self, problem):
        check(problem, observed_end=True)
        self.problem, self.net, self.scale = problem, problem.model.field, problem.loss.scale
        self.terms = [(self.scale * term.factor(problem.batch), term) for term in problem.loss.running]
        self.leaf = part(problem.leaves(), "theta")
        self.h_y = part(problem.leaves(), "h_y")

    def field(self, t, z):
        """f (b, d)."""
        if isinstance(self.net, rn.CosineField):
            return self.leaf["k"] * np.cos(t) * z
        return mlp(self.net, self.leaf, t, z)[0]

    def hamiltonian(self, t, z, a):
        """H at a cotangent a (b, d)."""
        f = self.field(t, z)
        return np.sum(a * f) + sum(c * running_value(term, self.leaf, t, z, f).sum() for c, term in self.terms)

    def hamiltonian_slopes(self, t, z, a):
        """f (b, d), dH/dz (b, d), dH/dtheta by leaf."""
        if isinstance(self.net, rn.CosineField):
            f, layers = self.field(t, z), None
        else:
            f, layers = mlp(self.net, self.leaf, t, z)
        a = a + sum(2 * c * f for c, term in self.terms if isinstance(term, rn.Kinetic))  # |f|^2 acts through f
        if layers is None:
            g_z, grads = self.leaf["k"] * np.cos(t) * a, {"k": (np.cos(t) * z * a).sum(axis=0)}
        else:
            g_z, grads = mlp_vjp(self.net, self.leaf, layers, z, a)
        for c, term in self.terms:
            if isinstance(term, rn.SquaredNorm):
                g_z = g_z + 2 * c * z
            elif isinstance(term, rn.Tracking):
                g_z = g_z + 2 * c * (z - path(term.beta, t))
            elif isinstance(term, rn.ParameterNorm):
                grads = {name: g + 2 * c * len(z) * self.leaf[name] for name, g in grads.items()}
        return f, g_z, grads

    def point_slopes(self, k, z):
        """Derivatives of the k-th point loss (t0, observations, T) in z (b, d) and in the leaves of h_y."""
        point, net = point_losses(self.problem)[k], readout(self.problem)
        if point is None:
            return np.zeros_like(z), {}
        factor = 2 * self.scale * point.factor(len(z))
        if net is None:
            return factor * (z - point.target), {}
        y, layers = mlp(net, self.h_y, None, z)
        return mlp_vjp(net, self.h_y, layers, z, factor * (y - point.target))

    def flat(self, grads):
        """Leaves of theta as one vector."""
        return np.concatenate([grads[name].ravel() for name in self.leaf])

    def leaves(self, theta):
        """The inverse of `flat`."""
        sizes = np.cumsum([leaf.size for leaf in self.leaf.values()])[:-1]
        parts = zip(self.leaf.items(), np.split(theta, sizes), strict=True)
        return {name: piece.reshape(leaf.shape) for (name, leaf), piece in parts}


def path(beta, t):
    """A harmonic path (d,)."""
    return beta.amplitude * np.cos(2 * np.pi * beta.frequency * t + beta.phase)


def running_value(term, leaf, t, z, f):
    """A running loss (b,) without its weight."""
    if isinstance(term, rn.SquaredNorm):
        return (z**2).sum(axis=1)
    if isinstance(term, rn.Kinetic):
        return (f**2).sum(axis=1)
    if isinstance(term, rn.ParameterNorm):
        return np.full(len(z), sum((w**2).sum() for w in leaf.values()))
    return ((z - path(term.beta, t)) ** 2).sum(axis=1)
