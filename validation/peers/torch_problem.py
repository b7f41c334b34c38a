"""An rn.Problem in torch: the field as a module, the leaves as float64 tensors that want gradients, the loss.

The state is y = [z, q]: q gathers the running loss where the problem has one, for libraries without an integral loss.
"""

import numpy as np
import torch

import refnode as rn
from validation.peers.support import check, part, point_losses, readout, takes_time

ACTIVATIONS = {
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
    "sin": torch.sin,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "identity": lambda u: u,
}


def mlp(net, leaf, t, h):
    """u_k = [h_k, t] W_k + b_k; h_{k+1} = act(u_k); u_last + h_0 A, for h (b, i) and t of one or b numbers."""
    h0 = h
    for k in range(net.depth):
        h = ACTIVATIONS[net.act](h) if k > 0 else h
        h = torch.cat([h, t.expand(len(h))[:, None]], dim=1) if takes_time(net, k) else h
        h = h @ leaf[f"W{k}"]
        h = h + leaf[f"b{k}"] if net.bias else h
    return h + h0 @ leaf["A"] if net.skip else h


def running_value(term, theta, t, z, f):
    """A running loss (b,) without its weight."""
    if isinstance(term, rn.SquaredNorm):
        return (z**2).sum(dim=1)
    if isinstance(term, rn.Kinetic):
        return (f**2).sum(dim=1)
    if isinstance(term, rn.ParameterNorm):
        return sum((leaf**2).sum() for leaf in theta.values()).expand(len(z))
    amplitude, frequency, phase = (torch.tensor(getattr(term.beta, n)) for n in ("amplitude", "frequency", "phase"))
    path = amplitude * torch.cos(2 * np.pi * frequency * t.expand(len(z))[:, None] + phase)
    return ((z - path) ** 2).sum(dim=1)


class Field(torch.nn.Module):
    """y' = [f, q'] for y (b, d + 1), or f for y (b, d); theta are its parameters, and it counts its evaluations."""

    def __init__(self, problem, gather):
        super().__init__()
        self.net, self.terms = problem.model.field, problem.loss.running
        self.factors = [term.factor(problem.batch) for term in self.terms]
        self.width, self.gather = problem.model.state_width, gather
        self.theta = torch.nn.ParameterDict(
            {name: torch.tensor(leaf) for name, leaf in part(problem.leaves(), "theta").items()}
        )
        self.nfe = 0

    def forward(self, t, x):  # torchdyn looks for arguments of these names
        """y' at y = x."""
        self.nfe += 1
        assert t.dtype == x.dtype == torch.float64, f"the field was called in {t.dtype}, {x.dtype}"
        z = x[:, : self.width]
        f = self.rate(t, z)
        return torch.cat([f, self.running(t, z, f)[:, None]], dim=1) if self.gather else f

    def rate(self, t, z):
        """f (b, d)."""
        if isinstance(self.net, rn.CosineField):
            return self.theta["k"] * torch.cos(t.expand(len(z)))[:, None] * z
        return mlp(self.net, self.theta, t, z)

    def running(self, t, z, f):
        """The running loss (b,), weighted, but without the upstream factor."""
        theta = dict(self.theta.items())
        terms = zip(self.factors, self.terms, strict=True)
        return sum(factor * running_value(term, theta, t, z, f) for factor, term in terms)


class TorchProblem:
    """Field, start, times and loss of a problem, and the gradients of its leaves after a backward pass.

    gather      whether the state carries the running loss
    own_span    whether the library can solve every sample over a span of its own
    """

    def __init__(self, problem, gather=True, own_span=False):
        check(problem, own_span)
        self.problem = problem
        self.field = Field(problem, gather and bool(problem.loss.running))
        self.leaf = {n: torch.tensor(a, requires_grad=True) for n, a in problem.leaves().items() if n[:6] != "theta."}
        self.leaf |= {f"theta.{name}": leaf for name, leaf in self.field.theta.items()}

    def start(self):
        """y(t0) (b, d + r)."""
        zero = torch.zeros(self.problem.batch, 1, dtype=torch.float64)
        return torch.cat([self.leaf["x"], zero], dim=1) if self.field.gather else self.leaf["x"]

    def times(self):
        """t0, observation times, T (K + 2,); or (b, K + 2) where every sample has its own."""
        between = list(self.leaf["t_obs"]) if "t_obs" in self.leaf else []
        times = [self.leaf["t0"], *between, self.leaf["T"]]
        return torch.stack(torch.broadcast_tensors(*times), dim=-1)

    def loss(self, y):
        """The loss for y (K + 2, b, d + r) at `times()`."""
        total = 0.0 * y[-1].sum()  # so that a loss without point losses still has a backward pass
        for point, y_k in zip(point_losses(self.problem), y, strict=True):
            assert y_k.dtype == torch.float64, f"the library returned {y_k.dtype}"
            if point is not None:
                errors = (self.predict(y_k[:, : self.field.width]) - torch.tensor(point.target)) ** 2
                total = total + point.factor(self.problem.batch) * errors.sum()
        total = total + y[-1][:, -1].sum() if self.field.gather else total
        return self.problem.loss.scale * total

    def predict(self, z):
        """h_y(z)."""
        net = readout(self.problem)
        return z if net is None else mlp(net, part(self.leaf, "h_y"), None, z)

    def gradients(self, total):
        """Leaf name -> gradient. A time without a gradient is left out; elsewhere torch's None means zero."""
        total.backward()
        grads = {}
        for name, leaf in self.leaf.items():
            if leaf.grad is None and name in ("t0", "T", "t_obs"):
                continue
            grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            assert grad.dtype == torch.float64, f"the gradient of {name} is {grad.dtype}"
            grads[name] = grad.numpy()
        return grads
