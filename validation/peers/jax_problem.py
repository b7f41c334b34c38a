"""An rn.Problem in JAX: the field, the start and the loss as functions of the leaves, in float64.

The state is y = [z, q]: q gathers the running loss where the problem has one, since diffrax has no integral loss.
"""

import jax
import jax.numpy as jnp

import refnode as rn
from validation.peers.support import check, part, point_losses, readout, takes_time

jax.config.update("jax_enable_x64", True)

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "sin": jnp.sin,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "identity": lambda u: u,
}


def mlp(net, leaf, t, h):
    """u_k = [h_k, t] W_k + b_k; h_{k+1} = act(u_k); u_last + h_0 A, for h (b, i) and t ()."""
    h0 = h
    for k in range(net.depth):
        h = ACTIVATIONS[net.act](h) if k > 0 else h
        h = jnp.concatenate([h, jnp.broadcast_to(t, (len(h), 1))], axis=1) if takes_time(net, k) else h
        h = h @ leaf[f"W{k}"]
        h = h + leaf[f"b{k}"] if net.bias else h
    return h + h0 @ leaf["A"] if net.skip else h


def running_value(term, theta, t, z, f):
    """A running loss (b,) without its weight."""
    if isinstance(term, rn.SquaredNorm):
        return (z**2).sum(axis=1)
    if isinstance(term, rn.Kinetic):
        return (f**2).sum(axis=1)
    if isinstance(term, rn.ParameterNorm):
        return jnp.broadcast_to(sum((leaf**2).sum() for leaf in theta.values()), (len(z),))
    beta = term.beta
    path = beta.amplitude * jnp.cos(2 * jnp.pi * beta.frequency * t + beta.phase)
    return ((z - path) ** 2).sum(axis=1)


class JaxProblem:
    """Leaves, field, start and loss of a problem. The functions are pure: leaves in, arrays out."""

    def __init__(self, problem):
        check(problem)
        self.problem, self.net, self.terms = problem, problem.model.field, problem.loss.running
        self.width = problem.model.state_width
        self.leaves = {name: jnp.asarray(leaf) for name, leaf in problem.leaves().items()}

    def field(self, t, y, theta):
        """y' = [f, q'] for y (b, d + r); theta by short names."""
        assert jnp.result_type(t) == y.dtype == jnp.float64, f"the field was called in {t.dtype}, {y.dtype}"
        z = y[:, : self.width]
        if isinstance(self.net, rn.CosineField):
            f = theta["k"] * jnp.cos(t) * z
        else:
            f = mlp(self.net, theta, t, z)
        if not self.terms:
            return f
        batch = self.problem.batch
        q = sum(term.factor(batch) * running_value(term, theta, t, z, f) for term in self.terms)
        return jnp.concatenate([f, q[:, None]], axis=1)

    def start(self, leaves):
        """y(t0) (b, d + r)."""
        x = leaves["x"]
        return jnp.concatenate([x, jnp.zeros((len(x), 1))], axis=1) if self.terms else x

    def loss(self, leaves, y):
        """The loss for y (K + 2, b, d + r) at t0, the observation times and T."""
        total = y[-1][:, self.width :].sum()
        for point, y_k in zip(point_losses(self.problem), y, strict=True):
            if point is not None:
                errors = (self.predict(leaves, y_k[:, : self.width]) - point.target) ** 2
                total = total + point.factor(self.problem.batch) * errors.sum()
        return self.problem.loss.scale * total

    def predict(self, leaves, z):
        """h_y(z)."""
        net = readout(self.problem)
        return z if net is None else mlp(net, part(leaves, "h_y"), None, z)
