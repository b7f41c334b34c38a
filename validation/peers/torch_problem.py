"""An rn.Problem in torch: the field as a module, the leaves as float64 parameters, the loss.

The state is y = [z, q]: q gathers the running loss where the problem has one, for libraries without an integral loss.
A leaf that acts through the field, be it t0 by a basis that follows the span, is a parameter of the field.
"""

import math
from functools import lru_cache

import torch

import refnode as rn
from refnode.maps import Network
from validation.peers import support
from validation.peers.support import part, takes_time

ACTIVATIONS = {
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
    "sin": torch.sin,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
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
        h = torch.cat([h, t.expand(len(h))[:, None]], dim=1) if takes_time(net, k) else h
        h = linear(h, leaf[f"W{k}"])
        h = h + leaf[f"b{k}"] if net.bias else h
    return h + linear(h0, leaf["A"]) if net.skip else h


def mapped(h, leaf, u):
    """h_x or h_y (b, o) of u (b, i)."""
    if isinstance(h, rn.Columns):
        return u[:, h.start : h.stop]
    if isinstance(h, rn.ZeroAugment):
        return torch.cat([u, u.new_zeros(len(u), h.extra)], dim=1)
    if isinstance(h, Network):
        return mlp(h.mlp, leaf, None, u)
    return torch.cat([u, mlp(h.mlp, leaf, None, u)], dim=1) if isinstance(h, rn.PartialInput) else u


# ---------------------------------------------------------------- depth


@lru_cache
def functions(basis, cell):
    """The basis's numbers as tensors."""
    numbers = support.functions(basis, cell)
    return type(numbers)(*map(torch.tensor, numbers))


def psi(basis, cell, u):
    """The basis (m,) or (b, m) at u () or (b,)."""
    numbers, u = functions(basis, cell), u[..., None]
    if isinstance(numbers, support.Waves):
        return numbers.amplitude * torch.cos(numbers.frequency * u - numbers.phase)
    if isinstance(numbers, support.Bells):
        return torch.exp(-((numbers.scale * (u - numbers.centre)) ** 2) / 2)
    powers = [torch.ones_like(u)]
    for _ in range(numbers.c.shape[1] - 1):
        powers.append(powers[-1] * (2 * u - 1))
    return torch.cat(powers, dim=-1) @ numbers.c.T


def span(problem, leaf):
    """t0 and T, () or (b,); T = t0 + softplus(network(x)) where it is adaptive."""
    depth = problem.model.adaptive
    if depth is None:
        return leaf["t0"], leaf["T"]
    g = mlp(depth.network, part(leaf, "T"), None, leaf["x"])[:, 0]
    return leaf["t0"], leaf["t0"] + torch.nn.functional.softplus(g)


def theta(problem, leaf, cell, t):
    """Parameters of the network at t () or (b,): those that vary are (.., i, o) or one for each sample."""
    depth = problem.model.depth
    if isinstance(depth, rn.Constant):
        return part(leaf, "theta")
    lo, hi = span(problem, leaf) if depth.interval == "span" else depth.interval
    at = psi(depth.basis, cell, (t - lo) / (hi - lo))
    varying = {name: torch.tensordot(at, a, dims=1) for name, a in part(leaf, "alpha").items()}
    return part(leaf, "theta") | varying


def bounds(problem, leaf):
    """The depths at which segments begin and end (K + 1,), or (K + 1, b)."""
    depth, (t0, T) = problem.model.depth, span(problem, leaf)
    lo, hi = (t0, T) if depth.interval == "span" else depth.interval
    u = leaf["edges"] if "edges" in leaf else torch.tensor(depth.breaks)
    found = []
    for kind, k, side in problem.layout.bounds:
        if kind == "break":
            beyond = torch.where(torch.tensor(side) < 0, t0, T)  # a break outside the span waits at its end
            found.append(torch.where(torch.tensor(side) == 0, lo + u[k] * (hi - lo), beyond))
        else:
            found.append(leaf["t_obs"][k] if kind == "t_obs" else t0 if kind == "t0" else T)
    return torch.stack(torch.broadcast_tensors(*found))


# ---------------------------------------------------------------- the field


def squares(theta, shapes, batch):
    """|theta|^2 (b,), of parameters that may be one for each sample."""
    sums = [(w**2).flatten(w.ndim - len(shapes[name])).sum(dim=-1) if w.ndim else w**2 for name, w in theta.items()]
    return sum(total.expand(batch) for total in sums)


def divergence(term, f, z):
    """tr(df/dz_n) (b,) of f(z), along unit vectors or the term's noises."""
    width = term.field.width_out
    noise = torch.eye(width)[:, None].expand(-1, len(z), -1) if term.noise is None else torch.tensor(term.noise)
    weight = 1 if term.noise is None else 1 / len(noise)
    before, total = z.new_zeros(len(z), z.shape[1] - width), 0
    for v in noise.to(z):
        total = total + (v * torch.func.jvp(f, (z,), (torch.cat([before, v], dim=1),))[1]).sum(dim=1)
    return weight * total


class Field(torch.nn.Module):
    """y' = [z', q'] for y (b, d + 1), or z' for y (b, d); it counts its evaluations.

    segment    None: t is the depth; k: t is s in [0, 1] along segment k, and y' is the rate by s
    """

    def __init__(self, problem, leaf, gather, segment=None):
        super().__init__()
        self.problem, self.gather, self.segment = problem, gather, segment
        self.net, self.terms, self.width = problem.model.field, problem.loss.running, problem.model.state_width
        self.cell = problem.layout.cells[segment or 0]
        self.names = support.used(problem, segment is not None or support.follows_span(problem.model))
        self.own = torch.nn.ParameterList([leaf[name] for name in self.names])
        self.nfe = 0

    def forward(self, t, x):  # torchdyn looks for arguments of these names
        """y' at y = x."""
        self.nfe += 1
        assert t.dtype == x.dtype == torch.float64, f"the field was called in {t.dtype}, {x.dtype}"
        leaf = dict(zip(self.names, self.own, strict=True))
        t, length = self.depth(leaf, t)
        rate = self.rate(leaf, t, x)
        return rate if length is None else length.expand(len(x))[:, None] * rate

    def depth(self, leaf, s):
        """The depth t, and dt/ds where s runs along a segment."""
        if self.segment is None:
            return s, None
        start, end = bounds(self.problem, leaf)[self.segment : self.segment + 2]
        return start + s * (end - start), end - start

    def rate(self, leaf, t, y):
        """[z', q'] or z' by t."""
        z = y[:, : self.width]
        parameters = theta(self.problem, leaf, self.cell, t)
        dz = self.moved(z, self.f(leaf, parameters, t, z))
        return torch.cat([dz, self.running(leaf, parameters, t, z, dz)[:, None]], dim=1) if self.gather else dz

    def f(self, leaf, parameters, t, z):
        """f (b, o)."""
        if isinstance(self.net, rn.CosineField):
            return parameters["k"] * torch.cos(t.expand(len(z)))[:, None] * z
        model = self.problem.model
        if model.control != "none":
            x = leaf["x"]
            z = torch.cat([z, x[:, support.controlled(model, x.shape[1])]], dim=1)
        return mlp(self.net, parameters, t, z)

    def moved(self, z, f):
        """z' = [z_2, .., z_n, f]."""
        return torch.cat([z[:, f.shape[1] :], f], dim=1) if self.problem.model.order > 1 else f

    def running(self, leaf, parameters, t, z, dz):
        """The running losses (b,), weighted, but without the upstream factor."""
        total = 0
        for term in self.terms:
            if isinstance(term, rn.SquaredNorm):
                value = (z**2).sum(dim=1)
            elif isinstance(term, rn.Kinetic):
                value = ((dz if term.of == "state" else dz[:, -self.net.width_out :]) ** 2).sum(dim=1)
            elif isinstance(term, rn.ParameterNorm):
                value = squares(parameters, self.net.shapes, len(z))
            elif isinstance(term, rn.Divergence):
                value = divergence(term, lambda z: self.f(leaf, parameters, t, z), z)
            else:
                beta = (torch.tensor(a) for a in (term.beta.amplitude, term.beta.frequency, term.beta.phase))
                value = ((z - harmonic(*beta, t.expand(len(z))[:, None])) ** 2).sum(dim=1)
            total = total + term.factor(self.problem.batch) * value
        return total

    def integrand(self, t, z):
        """The running losses (b,) at z, for a library that has an integral loss."""
        leaf = dict(zip(self.names, self.own, strict=True))
        t, length = self.depth(leaf, t)
        parameters = theta(self.problem, leaf, self.cell, t)
        value = self.running(leaf, parameters, t, z, self.moved(z, self.f(leaf, parameters, t, z)))
        return value if length is None else length * value


def harmonic(amplitude, frequency, phase, t):
    """A harmonic path (b, d)."""
    return amplitude * torch.cos(2 * math.pi * frequency * t + phase)


# ---------------------------------------------------------------- the problem


class TorchProblem:
    """Fields, start, times and loss of a problem, and the gradients of its leaves after a backward pass.

    gather      whether the state carries the running loss
    own_span    whether the library can solve every sample over a span of its own
    own_times   whether it differentiates with respect to the times that it is given
    """

    def __init__(self, problem, gather=True, own_span=False, own_times=True):
        support.check(problem)
        self.problem, self.gather = problem, gather and bool(problem.loss.running)
        self.leaf = {name: torch.nn.Parameter(torch.tensor(a)) for name, a in problem.leaves().items()}
        self.rescaled, self.own_times = support.rescaled(problem, own_span, own_times), own_times
        segments = range(len(problem.layout.cells)) if self.rescaled else [None]
        self.fields = [Field(problem, self.leaf, self.gather, segment) for segment in segments]

    @property
    def nfe(self):
        """Evaluations of the field, forwards and backwards."""
        return sum(field.nfe for field in self.fields)

    def start(self):
        """y(t0) (b, d + r)."""
        model = self.problem.model
        start, stop = support.block(model)
        filled = mapped(model.h_x, part(self.leaf, "h_x"), self.leaf["x"])
        behind = model.state_width - stop + self.gather
        return torch.cat([filled.new_zeros(len(filled), start), filled, filled.new_zeros(len(filled), behind)], dim=1)

    def times(self):
        """t0, observation times, T (K + 2,); or (b, K + 2) where every sample has its own."""
        t0, T = span(self.problem, self.leaf)
        between = list(self.leaf["t_obs"]) if "t_obs" in self.leaf else []
        return torch.stack(torch.broadcast_tensors(t0, *between, T), dim=-1)

    def solve(self, odeint):
        """y (K + 2, b, d + r) at t0, the observation times and T, by odeint(field, start, times) -> y at `times`."""
        if not self.rescaled:
            return odeint(self.fields[0], self.start(), self.times())
        states, unit = [self.start()], torch.tensor([0.0, 1.0], dtype=torch.float64)
        for field in self.fields:
            states.append(odeint(field, states[-1], unit)[-1])
        return support.at_points(self.problem, states)

    def loss(self, y):
        """The loss for y (K + 2, b, d + r)."""
        total = 0.0 * y[-1].sum()  # so that a loss without point losses still has a backward pass
        for point, y_k in zip(support.point_losses(self.problem), y, strict=True):
            assert y_k.dtype == torch.float64, f"the library returned {y_k.dtype}"
            if point is not None:
                seen = self.predict(y_k[:, : self.problem.model.state_width])
                total = total + point.factor(self.problem.batch) * self.point(point, seen)
        total = total + y[-1][:, -1].sum() if self.gather else total
        return self.problem.loss.scale * total

    def point(self, point, seen):
        """A point loss without its weight, summed over the batch."""
        if isinstance(point, rn.StandardNormal):
            return (seen**2).sum() / 2 + seen.numel() * math.log(2 * math.pi) / 2
        return ((seen - torch.tensor(point.target)) ** 2).sum()

    def predict(self, z):
        """h_y(z)."""
        return mapped(self.problem.model.h_y, part(self.leaf, "h_y"), z)

    def gradients(self, total):
        """Leaf name -> gradient. A time without a gradient is left out; elsewhere torch's None means zero."""
        total.backward()
        grads = {}
        for name, leaf in self.leaf.items():
            time = name in ("t0", "T", "t_obs")
            if time and (leaf.grad is None or not (self.own_times or self.rescaled)):
                continue
            grad = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            assert grad.dtype == torch.float64, f"the gradient of {name} is {grad.dtype}"
            grads[name] = grad.numpy()
        return grads
