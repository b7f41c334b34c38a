"""A problem in torchdyn's own words: a NeuralODE of its DepthCat, DataControl, GalLinear, Augmenter, CNF and `order`.

A running loss goes into its integral_loss: autograd carries that as the state's first column, which the user adds; the
adjoint adds its gradient on the way back. All else (loss, readout, start) is as for every library of torch.

torchdyn's Galerkin layers build their tables in torch's default dtype, so that a float64 layer raises unless that is
float64 too; here it is while a layer is made or expanded, and nowhere else.
"""

from contextlib import contextmanager

import torch
from torchdyn.core import NeuralODE
from torchdyn.models import CNF
from torchdyn.nn import Augmenter, DataControl, DepthCat, galerkin

import refnode as rn
from validation.peers import support
from validation.peers.support import part, require, takes_time
from validation.peers.torch_problem import ACTIVATIONS, TorchProblem, mapped

BASES = {
    rn.TorchdynFourier: galerkin.Fourier,
    rn.TorchdynGaussianRBF: galerkin.GaussianRBF,
    rn.TorchdynVanillaRBF: galerkin.VanillaRBF,
    rn.TorchdynChebychev: galerkin.Chebychev,
}


def check(problem):
    """Raise NotSupported unless torchdyn has words for the problem, and at least one of its own."""
    model, net = problem.model, problem.model.field
    varies, divergence = isinstance(model.depth, rn.Galerkin), bool(traces(problem))
    own = (rn.ZeroAugment, rn.PartialInput)
    require(isinstance(net, rn.MLP) and not net.skip, "the field is not a sequence of layers")
    require(not varies or type(model.depth.basis) in BASES, "torchdyn's Galerkin layers have bases of their own")
    require(not varies or model.depth.interval == (0.0, 1.0), "the bases of torchdyn's Galerkin layers are of t itself")
    require(not varies or net.bias, "torchdyn's Galerkin layers have a bias")
    require(not support.rescaled(problem), "it needs a span for each sample or segment, and torchdyn has one")
    controls = model.control != "none"
    same = model.control == "x" and type(model.h_x) is rn.Identity and model.order == 1
    require(not controls or same, "torchdyn's DataControl is the state's start, not x")
    plain = len(problem.loss.running) == 1 and model.order == 1 and not controls and net.time == "none"
    exact = all(term.trace == "exact" for term in traces(problem))
    alone = "torchdyn's CNF is of order 1, without t or a condition, and draws its own noise"
    require(not divergence or (plain and exact), alone)
    has = varies or divergence or controls or model.order > 1 or net.time != "none" or type(model.h_x) in own
    require(has, "none of torchdyn's own layers occurs in it")


def traces(problem):
    """The running losses that are divergences."""
    return [term for term in problem.loss.running if isinstance(term, rn.Divergence)]


def own_layers(problem, tol, sensitivity):
    """Gradients by refnode's leaf names."""
    check(problem)
    two, traced = len(problem.leaves().get("t_obs", ())) == 0, traces(problem)
    mine = TorchProblem(problem, gather=False, own_times=sensitivity == "autograd" or two)
    network = Network(problem)
    own = network.integrand(mine) if problem.loss.running and not traced else None
    options = {"rtol": tol, "atol": tol, "rtol_adjoint": tol, "atol_adjoint": tol, "integral_loss": own}
    field = CNF(network.layers) if traced else network.layers
    ode = NeuralODE(field, "dopri5", order=problem.model.order, sensitivity=sensitivity, **options)
    carried = bool(traced) or (own is not None and sensitivity == "autograd")
    y = begin(problem, mine)
    y = torch.cat([torch.zeros_like(y[:, :1]), y], dim=1) if carried else y
    times = mine.times() if mine.own_times else mine.times().detach()
    y = at(times, *ode(y, times))
    total = mine.loss(y[:, :, 1:] if carried else y)
    if carried:  # CNF carries -tr(df/dz)
        factor = -traced[0].factor(problem.batch) if traced else 1.0
        total = total + problem.loss.scale * factor * y[-1][:, 0].sum()
    return mine.gradients(total) | network.gradients()


def at(times, steps, y):
    """The states at `times`. The interpolated adjoint returns every step, and times of a reversed span are negated."""
    steps = steps if steps[0] == times[0] else -steps
    return y[[int(torch.argmin((steps - t).abs())) for t in times]]


def begin(problem, mine):
    """y(t0), by torchdyn's Augmenter where it adds columns to x."""
    h_x = problem.model.h_x
    if isinstance(h_x, rn.ZeroAugment):
        return Augmenter(augment_dims=h_x.extra, order="last")(mine.leaf["x"])
    if isinstance(h_x, rn.PartialInput) and problem.model.order == 1:
        leaf = part(mine.leaf, "h_x")
        return Augmenter(augment_func=lambda x: mapped(rn.maps.Network(h_x.mlp), leaf, x), order="last")(mine.leaf["x"])
    return mine.start()


# ---------------------------------------------------------------- the network


class Act(torch.nn.Module):
    """An activation as a layer."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, u):
        """act(u)."""
        return ACTIVATIONS[self.name](u)


class GalLinear(galerkin.GalLinear):
    """torchdyn's, in float64."""

    def calculate_weights(self, t):
        """theta(t), by tables of float64."""
        with in_float64():
            return super().calculate_weights(t)


@contextmanager
def in_float64():
    """torch's default dtype is float64 inside."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


class Network:
    """The field as a sequence of layers, and the way between their parameters and refnode's leaves."""

    def __init__(self, problem):
        self.net, self.depth = problem.model.field, problem.model.depth
        leaves, found = problem.leaves(), [DataControl()] if problem.model.control != "none" else []
        self.linear = []
        for k in range(self.net.depth):
            found += [Act(self.net.act)] if k else []
            found += [DepthCat()] if takes_time(self.net, k) else []
            varies = f"alpha.W{k}" in leaves
            found += [DepthCat()] if varies else []  # which hands t to the Galerkin layer
            self.linear.append(self.galerkin(leaves, k) if varies else self.constant(leaves, k))
            found.append(self.linear[-1])
        self.layers = torch.nn.Sequential(*found)

    def constant(self, leaves, k):
        """Layer k as torch's Linear."""
        W = torch.tensor(leaves[f"theta.W{k}"])
        layer = torch.nn.Linear(*W.shape, bias=self.net.bias, dtype=torch.float64)
        layer.weight.data = W.T.clone()
        if self.net.bias:
            layer.bias.data = torch.tensor(leaves[f"theta.b{k}"])
        return layer

    def galerkin(self, leaves, k):
        """Layer k as torchdyn's GalLinear."""
        W, b = torch.tensor(leaves[f"alpha.W{k}"]), torch.tensor(leaves[f"alpha.b{k}"])
        basis = self.depth.basis
        with in_float64():
            layer = GalLinear(*W.shape[1:], expfunc=BASES[type(basis)](basis.deg), dilation=False, shift=False)
        flat = torch.cat([W.transpose(1, 2).flatten(1), b], dim=1)  # (m, (i + 1) o), as a row of coeffs holds them
        layer.coeffs.data = flat.reshape(-1, basis.deg, flat.shape[1]).permute(2, 1, 0).clone()
        return layer

    def gradients(self):
        """The leaves' gradients from those of the layers."""
        grads = {}
        for k, layer in enumerate(self.linear):
            if isinstance(layer, GalLinear):
                g = layer.coeffs.grad.permute(2, 1, 0).flatten(0, 1)  # (m, (i + 1) o)
                i, o = layer.in_features, layer.out_features
                found = {f"alpha.W{k}": g[:, : i * o].reshape(-1, o, i).transpose(1, 2), f"alpha.b{k}": g[:, i * o :]}
            else:
                found = {f"theta.W{k}": layer.weight.grad.T}
                found |= {f"theta.b{k}": layer.bias.grad} if self.net.bias else {}
            grads |= {name: g.contiguous().numpy() for name, g in found.items()}
        return grads

    def parameters(self, t):
        """W0, b0, .. at t."""
        found = {}
        for k, layer in enumerate(self.linear):
            if isinstance(layer, GalLinear):
                i, o = layer.in_features, layer.out_features
                w = layer.calculate_weights(t)
                found |= {f"W{k}": w[: i * o].reshape(o, i).T, f"b{k}": w[i * o :]}
            else:
                found |= {f"W{k}": layer.weight.T} | ({f"b{k}": layer.bias} if self.net.bias else {})
        return found

    def integrand(self, mine):
        """The running loss of (t, z)."""
        field = mine.fields[0]
        return lambda t, z: field.running({}, self.parameters(t), t, z, field.moved(z, self.layers(z)))
