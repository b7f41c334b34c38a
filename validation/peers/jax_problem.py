"""An rn.Problem in JAX: the field, the start and the loss as functions of the leaves, in float64.

The state is y = [z, q]: q gathers the running loss where the problem has one, since diffrax has no integral loss. A
leaf that acts through the field, be it t0 by a basis that follows the span, is among the field's arguments.
"""

import jax
import jax.numpy as jnp

import refnode as rn
from refnode.maps import Network
from validation.peers import support
from validation.peers.support import part, takes_time

jax.config.update("jax_enable_x64", True)

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "sin": jnp.sin,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "identity": lambda u: u,
}


def linear(h, W):
    """h W (b, o) for h (b, i) and W (i, o), or (b, i, o) with one for each sample."""
    return h @ W if W.ndim == 2 else (h[:, None] @ W)[:, 0]


def mlp(net, leaf, t, h):
    """u_k = [h_k, t] W_k + b_k; h_{k+1} = act(u_k); u_last + h_0 A, for h (b, i) and t of one or b numbers."""
    h0 = h
    for k in range(net.depth):
        h = ACTIVATIONS[net.act](h) if k > 0 else h
        h = jnp.concatenate([h, column(t, h)], axis=1) if takes_time(net, k) else h
        h = linear(h, leaf[f"W{k}"])
        h = h + leaf[f"b{k}"] if net.bias else h
    return h + linear(h0, leaf["A"]) if net.skip else h


def column(t, h):
    """t, of one or b numbers, as (b, 1)."""
    return jnp.broadcast_to(t, (len(h),))[:, None]


def mapped(h, leaf, u):
    """h_x or h_y (b, o) of u (b, i)."""
    if isinstance(h, rn.Columns):
        return u[:, h.start : h.stop]
    if isinstance(h, rn.ZeroAugment):
        return jnp.concatenate([u, jnp.zeros((len(u), h.extra))], axis=1)
    if isinstance(h, Network):
        return mlp(h.mlp, leaf, None, u)
    return jnp.concatenate([u, mlp(h.mlp, leaf, None, u)], axis=1) if isinstance(h, rn.PartialInput) else u


# ---------------------------------------------------------------- depth


def psi(basis, cell, u):
    """The basis (m,) or (b, m) at u () or (b,)."""
    numbers, u = support.functions(basis, cell), u[..., None]
    if isinstance(numbers, support.Waves):
        return numbers.amplitude * jnp.cos(numbers.frequency * u - numbers.phase)
    if isinstance(numbers, support.Bells):
        return jnp.exp(-((numbers.scale * (u - numbers.centre)) ** 2) / 2)
    powers = [jnp.ones_like(u)]
    for _ in range(numbers.c.shape[1] - 1):
        powers.append(powers[-1] * (2 * u - 1))
    return jnp.concatenate(powers, axis=-1) @ numbers.c.T


def span(problem, leaf):
    """t0 and T, () or (b,); T = t0 + softplus(network(x)) where it is adaptive."""
    depth = problem.model.adaptive
    if depth is None:
        return leaf["t0"], leaf["T"]
    g = mlp(depth.network, part(leaf, "T"), None, leaf["x"])[:, 0]
    return leaf["t0"], leaf["t0"] + jax.nn.softplus(g)


def theta(problem, leaf, cell, t):
    """Parameters of the network at t () or (b,): those that vary are (.., i, o) or one for each sample."""
    depth = problem.model.depth
    if isinstance(depth, rn.Constant):
        return part(leaf, "theta")
    lo, hi = span(problem, leaf) if depth.interval == "span" else depth.interval
    functions = psi(depth.basis, cell, (t - lo) / (hi - lo))
    varying = {name: jnp.tensordot(functions, a, axes=1) for name, a in part(leaf, "alpha").items()}
    return part(leaf, "theta") | varying


def bounds(problem, leaf):
    """The depths at which segments begin and end (K + 1,), or (K + 1, b)."""
    depth, (t0, T) = problem.model.depth, span(problem, leaf)
    lo, hi = (t0, T) if depth.interval == "span" else depth.interval
    u = leaf.get("edges", depth.breaks)
    found = []
    for kind, k, side in problem.layout.bounds:
        if kind == "break":
            beyond = jnp.where(side < 0, t0, T)  # a break outside the span waits at its end
            found.append(jnp.where(side == 0, lo + u[k] * (hi - lo), beyond))
        else:
            found.append(leaf["t_obs"][k] if kind == "t_obs" else t0 if kind == "t0" else T)
    return jnp.stack(jnp.broadcast_arrays(*found))


# ---------------------------------------------------------------- the problem


def divergence(term, f, z):
    """tr(df/dz_n) (b,) of f(z), along unit vectors or the term's noises."""
    width = term.field.width_out
    noise = jnp.broadcast_to(jnp.eye(width)[:, None], (width, len(z), width)) if term.noise is None else term.noise
    weight = 1 if term.noise is None else 1 / len(noise)
    before, total = jnp.zeros((len(z), z.shape[1] - width)), 0
    for v in noise:
        total = total + (v * jax.jvp(f, (z,), (jnp.concatenate([before, v], axis=1),))[1]).sum(axis=1)
    return weight * total


def squares(parameters, shapes, batch):
    """|theta|^2 (b,), of parameters that may be one for each sample."""
    sums = [(w**2).sum(axis=tuple(range(w.ndim - len(shapes[name]), w.ndim))) for name, w in parameters.items()]
    return sum(jnp.broadcast_to(total, (batch,)) for total in sums)


class JaxProblem:
    """Leaves, field, start and loss of a problem. The functions are pure: leaves in, arrays out."""

    def __init__(self, problem):
        support.check(problem)
        self.problem, self.net, self.terms = problem, problem.model.field, problem.loss.running
        self.width, self.rescaled = problem.model.state_width, support.rescaled(problem)
        self.leaves = {name: jnp.asarray(leaf) for name, leaf in problem.leaves().items()}
        self.used = support.used(problem, self.rescaled or support.follows_span(problem.model))

    def field(self, segment):
        """(t, y, leaves) -> y'. segment None: t is the depth; k: t is s in [0, 1] along segment k."""

        def rate(t, y, leaf):
            assert jnp.result_type(t) == y.dtype == jnp.float64, f"the field was called in {t.dtype}, {y.dtype}"
            if segment is None:
                return self.rate(leaf, 0, t, y)
            start, end = bounds(self.problem, leaf)[segment : segment + 2]
            return column(end - start, y) * self.rate(leaf, segment, start + t * (end - start), y)

        return rate

    def rate(self, leaf, segment, t, y):
        """[z', q'] or z' by t."""
        parameters = theta(self.problem, leaf, self.problem.layout.cells[segment], t)
        z = y[:, : self.width]
        f = self.f(leaf, parameters, t, z)
        dz = jnp.concatenate([z[:, f.shape[1] :], f], axis=1) if self.problem.model.order > 1 else f
        if not self.terms:
            return dz
        return jnp.concatenate([dz, self.running(leaf, parameters, t, z, dz)[:, None]], axis=1)

    def f(self, leaf, parameters, t, z):
        """f (b, o)."""
        if isinstance(self.net, rn.CosineField):
            return parameters["k"] * jnp.cos(column(t, z)) * z
        model = self.problem.model
        if model.control != "none":
            x = leaf["x"]
            z = jnp.concatenate([z, x[:, support.controlled(model, x.shape[1])]], axis=1)
        return mlp(self.net, parameters, t, z)

    def running(self, leaf, parameters, t, z, dz):
        """The running losses (b,), weighted, but without the upstream factor."""
        total = 0
        for term in self.terms:
            if isinstance(term, rn.SquaredNorm):
                value = (z**2).sum(axis=1)
            elif isinstance(term, rn.Kinetic):
                value = ((dz if term.of == "state" else dz[:, -self.net.width_out :]) ** 2).sum(axis=1)
            elif isinstance(term, rn.ParameterNorm):
                value = squares(parameters, self.net.shapes, len(z))
            elif isinstance(term, rn.Divergence):
                value = divergence(term, lambda z: self.f(leaf, parameters, t, z), z)
            else:
                beta = term.beta
                path = beta.amplitude * jnp.cos(2 * jnp.pi * beta.frequency * column(t, z) + beta.phase)
                value = ((z - path) ** 2).sum(axis=1)
            total = total + term.factor(self.problem.batch) * value
        return total

    def start(self, leaves):
        """y(t0) (b, d + r)."""
        model = self.problem.model
        start, stop = support.block(model)
        filled = mapped(model.h_x, part(leaves, "h_x"), leaves["x"])
        return jnp.pad(filled, ((0, 0), (start, self.width - stop + bool(self.terms))))

    def solve(self, leaves, odeint):
        """y (K + 2, b, d + r) at t0, the observation times and T, by odeint(field, start, times, leaves)."""
        mine = {name: leaves[name] for name in self.used}
        if not self.rescaled:
            times = [leaves["t0"], *leaves.get("t_obs", ()), span(self.problem, leaves)[1]]
            return odeint(self.field(None), self.start(leaves), times, mine)
        states = [self.start(leaves)]
        for segment in range(len(self.problem.layout.cells)):
            states.append(odeint(self.field(segment), states[-1], [0.0, 1.0], mine)[-1])
        return support.at_points(self.problem, states)

    def loss(self, leaves, y):
        """The loss for y (K + 2, b, d + r)."""
        total = y[-1][:, self.width :].sum()
        for point, y_k in zip(support.point_losses(self.problem), y, strict=True):
            if point is not None:
                seen = mapped(self.problem.model.h_y, part(leaves, "h_y"), y_k[:, : self.width])
                total = total + point.factor(self.problem.batch) * self.point(point, seen)
        return self.problem.loss.scale * total

    def point(self, point, seen):
        """A point loss without its weight, summed over the batch."""
        if isinstance(point, rn.StandardNormal):
            return (seen**2).sum() / 2 + seen.size * jnp.log(2 * jnp.pi) / 2
        return ((seen - point.target) ** 2).sum()
