"""An rn.Problem in NumPy, with derivatives by hand that share nothing with refnode's.

All of the adjoint system comes from one scalar for each sample, the Hamiltonian of its cotangent a (d,):

    H(t, z, a) = a z' + l(t, z, theta(t), x),    a' = -dH/dz,    dloss/d(leaf) = int dH/d(leaf) dt

Every segment between two bounds is solved over 0 <= s <= 1, t = start + s (end - start), for each sample its own. By
H at both sides, dloss/d(bound k) = H(k-) - H(k+); t0 and T act through a basis that follows the span besides.
"""

from typing import NamedTuple

import numpy as np
from numpy.polynomial import polynomial

import refnode as rn
from refnode.maps import Network
from validation.peers import support
from validation.peers.support import part, takes_time


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


def linear(h, W):
    """h W (b, o) for h (b, i) and W (i, o), or (b, i, o) with one for each sample."""
    return h @ W if W.ndim == 2 else (h[:, None] @ W)[:, 0]


def mlp(net, leaf, t, h):
    """The output (b, o), and what `mlp_vjp` needs: the input of each layer, t included, and its pre-activation.

    Parameters are for all samples, (i, o), or have a row for each, (b, i, o).
    """
    value, h0, layers = ACTIVATIONS[net.act][0], h, []
    for k in range(net.depth):
        h = value(h) if k > 0 else h
        h = np.column_stack([h, t]) if takes_time(net, k) else h
        u = linear(h, leaf[f"W{k}"]) + (leaf[f"b{k}"] if net.bias else 0.0)
        layers.append((h, u))
        h = u
    return (h + linear(h0, leaf["A"]) if net.skip else h), layers


def mlp_vjp(net, leaf, layers, h0, g):
    """Cotangents of the input (b, i) and of every leaf, a row for each sample, for g (b, o)."""
    slope, grads, g_u = ACTIVATIONS[net.act][1], {}, g
    for k in reversed(range(net.depth)):
        h, _ = layers[k]
        grads[f"W{k}"] = np.einsum("bi,bo->bio", h, g_u)
        if net.bias:
            grads[f"b{k}"] = g_u
        g_h = linear(g_u, leaf[f"W{k}"].swapaxes(-1, -2))
        g_h = g_h[:, :-1] if takes_time(net, k) else g_h
        if k > 0:
            width = g_h.shape[1]
            g_u = g_h * slope(layers[k - 1][1], h[:, :width])
    if net.skip:
        grads["A"] = np.einsum("bi,bo->bio", h0, g)
        g_h = g_h + linear(g, leaf["A"].swapaxes(-1, -2))
    return g_h, grads


def mapped(h, leaf, u):
    """h_x or h_y (b, o) of u (b, i)."""
    if isinstance(h, rn.Columns):
        return u[:, h.start : h.stop]
    if isinstance(h, rn.ZeroAugment):
        return np.pad(u, ((0, 0), (0, h.extra)))
    if isinstance(h, Network):
        return mlp(h.mlp, leaf, None, u)[0]
    return np.column_stack([u, mlp(h.mlp, leaf, None, u)[0]]) if isinstance(h, rn.PartialInput) else u


def mapped_vjp(h, leaf, u, g):
    """Cotangents of u (b, i) and of the leaves of h."""
    i = u.shape[1]
    if isinstance(h, rn.Columns):
        return np.pad(g, ((0, 0), (h.start, i - h.stop))), {}
    if isinstance(h, rn.ZeroAugment):
        return g[:, :i], {}
    if isinstance(h, rn.Identity):
        return g, {}
    behind = g[:, i:] if isinstance(h, rn.PartialInput) else g
    g_u, grads = mlp_vjp(h.mlp, leaf, mlp(h.mlp, leaf, None, u)[1], u, behind)
    g_u = g_u + g[:, :i] if isinstance(h, rn.PartialInput) else g_u
    return g_u, {name: rows.sum(axis=0) for name, rows in grads.items()}


def psi(basis, cell, u):
    """The basis and its slope (b, m) each, at u (b,)."""
    numbers, u = support.functions(basis, cell), u[:, None]
    if isinstance(numbers, support.Waves):
        size, angle = numbers.amplitude, numbers.frequency * u - numbers.phase
        return size * np.cos(angle), -numbers.frequency * size * np.sin(angle)
    if isinstance(numbers, support.Bells):
        away = numbers.scale * (u - numbers.centre)
        return np.exp(-(away**2) / 2), -numbers.scale * away * np.exp(-(away**2) / 2)
    w, c = 2 * u[:, 0] - 1, numbers.c.T
    return polynomial.polyval(w, c).T, 2 * polynomial.polyval(w, polynomial.polyder(c)).T


class Place(NamedTuple):
    """Where on a segment a state is: t (b,), dt/ds (b,), theta(t) with a row for each sample, and of its basis."""

    t: np.ndarray
    length: np.ndarray
    theta: dict
    u: np.ndarray | None = None
    psi: np.ndarray | None = None
    slope: np.ndarray | None = None


class NumpyProblem:
    """Field, Hamiltonian and point losses of a problem, and all that acts through the field as one flat vector."""

    def __init__(self, problem):
        support.check(problem)
        traced = any(isinstance(term, rn.Divergence) for term in problem.loss.running)
        support.require(not traced, "an adjoint by hand would need second derivatives of the field")
        self.problem, self.model, self.net = problem, problem.model, problem.model.field
        self.leaf, self.scale = problem.leaves(), problem.loss.scale
        self.terms = [(self.scale * term.factor(problem.batch), term) for term in problem.loss.running]
        self.t0, self.T = (np.broadcast_to(end, (problem.batch,)) for end in self.span())
        self.bounds = self.all_bounds()

    # ------------------------------------------------------------ spans

    def span(self):
        """t0 and T."""
        depth = self.model.adaptive
        if depth is None:
            return self.leaf["t0"], self.leaf["T"]
        return self.leaf["t0"], self.leaf["t0"] + np.logaddexp(0.0, self.depth_network()[0][:, 0])

    def depth_network(self):
        """The adaptive depth's network before its softplus (b, 1), and its layers."""
        return mlp(self.model.adaptive.network, part(self.leaf, "T"), None, self.leaf["x"])

    def interval(self):
        """Where the basis lies, (b,) each."""
        depth = self.model.depth
        return (self.t0, self.T) if depth.interval == "span" else np.array(depth.interval)[:, None] + 0 * self.t0

    def all_bounds(self):
        """The depths at which segments begin and end (K + 1, b)."""
        depth, (lo, hi), found = self.model.depth, self.interval(), []
        u = self.leaf.get("edges", depth.breaks)
        for kind, k, side in self.problem.layout.bounds:
            if kind == "break":
                beyond = np.where(side < 0, self.t0, self.T)  # a break outside the span waits at its end
                found.append(np.where(side == 0, lo + u[k] * (hi - lo), beyond))
            else:
                found.append(self.leaf["t_obs"][k] + 0 * lo if kind == "t_obs" else self.t0 if kind == "t0" else self.T)
        return np.array(found)

    def span_slopes(self, g, through):
        """Gradients of t0, T, t_obs, edges, T.* and x for those of the bounds (K + 1, b) and of t0, T through u."""
        depth, (lo, hi), (g_t0, g_T) = self.model.depth, self.interval(), through
        u, g_obs, g_edges = self.leaf.get("edges", depth.breaks), {}, np.zeros(len(depth.breaks))
        for (kind, k, side), g_k in zip(self.problem.layout.bounds, g, strict=True):
            inside = g_k * (side == 0) if kind == "break" else 0 * g_k
            moves = u[k] * inside if kind == "break" and depth.interval == "span" else 0 * inside
            stays = inside - moves if depth.interval == "span" else 0 * inside
            g_t0 = g_t0 + stays + g_k * ((kind == "t0") or (kind == "break") * (side < 0))
            g_T = g_T + moves + g_k * ((kind == "T") or (kind == "break") * (side > 0))
            if kind == "break":
                g_edges[k] += (inside * (hi - lo)).sum()
            elif kind == "t_obs":
                g_obs[k] = g_k.sum()
        grads = {"edges": g_edges} if "edges" in self.leaf else {}
        grads |= {"t_obs": np.array([g_obs[k] for k in range(len(g_obs))])} if g_obs else {}
        if self.model.adaptive is None:
            grads["T"], g_x = (g_T if self.leaf["T"].ndim else g_T.sum()), 0.0
        else:
            g_t0, network, (u, layers) = g_t0 + g_T, self.model.adaptive.network, self.depth_network()
            g_x, rows = mlp_vjp(network, part(self.leaf, "T"), layers, self.leaf["x"], sigmoid(u) * g_T[:, None])
            grads |= {f"T.{name}": row.sum(axis=0) for name, row in rows.items()}
        return grads | {"t0": g_t0 if self.leaf["t0"].ndim else g_t0.sum()}, g_x

    # ------------------------------------------------------------ along a segment

    def place(self, segment, s):
        """Where s is on the segment."""
        start, end = self.bounds[segment : segment + 2]
        t, rows = start + s * (end - start), len(start)
        theta = {name: np.broadcast_to(w, (rows, *w.shape)) for name, w in part(self.leaf, "theta").items()}
        if isinstance(self.model.depth, rn.Constant):
            return Place(t, end - start, theta)
        lo, hi = self.interval()
        u = (t - lo) / (hi - lo)
        functions, slope = psi(self.model.depth.basis, self.problem.layout.cells[segment], u)
        theta |= {name: np.tensordot(functions, a, axes=1) for name, a in part(self.leaf, "alpha").items()}
        return Place(t, end - start, theta, u, functions, slope)

    def rate(self, at, z):
        """z' (b, d) by t, the network's input and its layers."""
        if isinstance(self.net, rn.CosineField):
            return at.theta["k"] * np.cos(at.t)[:, None] * z, z, None
        x = self.leaf["x"]
        h = np.column_stack([z, x[:, support.controlled(self.model, x.shape[1])]])
        f, layers = mlp(self.net, at.theta, at.t, h)
        return np.column_stack([z[:, f.shape[1] :], f]) if self.model.order > 1 else f, h, layers

    def forwards(self, segment, s, z):
        """dz/ds (b, d)."""
        at = self.place(segment, s)
        return at.length[:, None] * self.rate(at, z)[0]

    def hamiltonian(self, segment, s, z, a):
        """H (b,) at a cotangent a (b, d)."""
        at = self.place(segment, s)
        dz = self.rate(at, z)[0]
        return np.sum(a * dz, axis=1) + sum(c * self.running(term, at, z, dz) for c, term in self.terms)

    def running(self, term, at, z, dz):
        """A running loss (b,) without its weight."""
        if isinstance(term, rn.SquaredNorm):
            return (z**2).sum(axis=1)
        if isinstance(term, rn.Kinetic):
            return (dz[:, self.seen(term) :] ** 2).sum(axis=1)
        if isinstance(term, rn.ParameterNorm):
            return sum((w**2).reshape(len(z), -1).sum(axis=1) for w in at.theta.values())
        return ((z - path(term.beta, at.t)) ** 2).sum(axis=1)

    def seen(self, term):
        """The first column of z' that a kinetic energy sees."""
        return 0 if term.of == "state" else self.model.state_width - self.net.width_out

    def slopes(self, segment, s, z, a):
        """dz/ds (b, d), dH/dz dt/ds (b, d), and dH dt/ds by all that acts through the field, flat."""
        at = self.place(segment, s)
        dz, h, layers = self.rate(at, z)
        length = at.length[:, None]
        g_dz = length * a
        for c, term in self.terms:
            if isinstance(term, rn.Kinetic):  # it acts through z'
                first = self.seen(term)
                g_dz = g_dz + 2 * c * length * dz * (np.arange(dz.shape[1]) >= first)
        g_z, g_x, grads = self.field_vjp(at, z, h, layers, g_dz)
        for c, term in self.terms:
            if isinstance(term, rn.SquaredNorm):
                g_z = g_z + 2 * c * length * z
            elif isinstance(term, rn.Tracking):
                g_z = g_z + 2 * c * length * (z - path(term.beta, at.t))
            elif isinstance(term, rn.ParameterNorm):
                weigh = {name: at.length.reshape(-1, *[1] * (w.ndim - 1)) * w for name, w in at.theta.items()}
                grads = {name: g + 2 * c * weigh[name] for name, g in grads.items()}
        return length * dz, g_z, self.flat(self.depth_vjp(at, grads) | {"x": g_x})

    def field_vjp(self, at, z, h, layers, g):
        """Cotangents of z (b, d), x (b, n) and theta(t), a row for each sample, for g (b, d) of z'."""
        g_x, w, d = np.zeros(self.leaf["x"].shape), self.net.width_out, z.shape[1]
        if layers is None:
            wave = np.cos(at.t)[:, None] * g
            rest = {name: np.zeros(rows.shape) for name, rows in at.theta.items()}
            return at.theta["k"] * wave, g_x, rest | {"k": wave * z}
        g_h, grads = mlp_vjp(self.net, at.theta, layers, h, g[:, d - w :])
        g_z = g_h[:, :d] + np.column_stack([np.zeros((len(z), w)), g[:, : d - w]])
        g_x[:, support.controlled(self.model, g_x.shape[1])] = g_h[:, d:]
        return g_z, g_x, grads

    def depth_vjp(self, at, rows):
        """Cotangents of theta.*, alpha.* and, through a basis that follows the span, of t0 and T (b,)."""
        grads, g_u = {}, np.zeros(len(at.t))
        for name, g in rows.items():
            if f"theta.{name}" in self.leaf:
                grads[f"theta.{name}"] = g.sum(axis=0)
            else:
                grads[f"alpha.{name}"] = np.tensordot(at.psi.T, g, axes=1)
                turned = np.tensordot(at.slope, self.leaf[f"alpha.{name}"], axes=1) * g
                g_u = g_u + turned.reshape(len(g_u), -1).sum(axis=1)
        if support.follows_span(self.model):
            grads |= {"by t0": -(1 - at.u) * g_u / (self.T - self.t0), "by T": -at.u * g_u / (self.T - self.t0)}
        return grads

    # ------------------------------------------------------------ ends

    def start(self):
        """z(t0) (b, d)."""
        first, stop = support.block(self.model)
        u = mapped(self.model.h_x, part(self.leaf, "h_x"), self.leaf["x"])
        return np.pad(u, ((0, 0), (first, self.model.state_width - stop)))

    def start_vjp(self, a):
        """Cotangents of x (b, n) and h_x.*."""
        first, stop = support.block(self.model)
        g_x, grads = mapped_vjp(self.model.h_x, part(self.leaf, "h_x"), self.leaf["x"], a[:, first:stop])
        return g_x, {f"h_x.{name}": g for name, g in grads.items()}

    def point_slopes(self, point, z):
        """Derivatives of a point loss in z (b, d) and in h_y.*."""
        leaf, h_y = part(self.leaf, "h_y"), self.model.h_y
        factor, y = self.scale * point.factor(len(z)), mapped(h_y, leaf, z)
        g = factor * y if isinstance(point, rn.StandardNormal) else 2 * factor * (y - point.target)
        g_z, grads = mapped_vjp(h_y, leaf, z, g)
        return g_z, {f"h_y.{name}": g for name, g in grads.items()}

    def shapes(self):
        """Of all that acts through the field: its leaves, x by control, and t0, T (b,) by a basis on the span."""
        shapes = {name: a.shape for name, a in self.leaf.items() if name.startswith(("theta.", "alpha."))}
        spans = {"by t0": self.t0.shape, "by T": self.T.shape} if support.follows_span(self.model) else {}
        return shapes | spans | ({"x": self.leaf["x"].shape} if self.model.control != "none" else {})

    def flat(self, grads):
        """These as one vector."""
        return np.concatenate([grads[name].ravel() for name in self.shapes()])

    def unflat(self, vector):
        """The inverse of `flat`."""
        shapes = self.shapes()
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1]
        pieces = np.split(vector, ends)
        return {name: g.reshape(shape) for (name, shape), g in zip(shapes.items(), pieces, strict=True)}


def path(beta, t):
    """A harmonic path (b, d)."""
    return beta.amplitude * np.cos(2 * np.pi * beta.frequency * t[:, None] + beta.phase)
