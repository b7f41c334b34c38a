"""torchdiffeq's gradients of a refnode problem: its adjoint, and backpropagation through its solver."""

from typing import Literal

import numpy as np
import torch
import torchdiffeq

import refnode as rn

ACTIVATIONS = {
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
    "sin": torch.sin,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "identity": lambda u: u,
}


class Field(torch.nn.Module):
    """The problem's MLP with its own weights, in float64: h W + b, W (i, o), t beside h where the problem has it.

    The state is [z, q]: q gathers the running loss c |z|^2, since torchdiffeq has no integral loss of its own.
    """

    def __init__(self, problem: rn.Problem) -> None:
        super().__init__()
        self.mlp = problem.model.field
        leaves = {name[6:]: leaf for name, leaf in problem.params.items() if name.startswith("theta.")}
        self.leaves = torch.nn.ParameterDict({name: torch.tensor(leaf) for name, leaf in leaves.items()})
        self.running = sum(term.factor(problem.batch) for term in problem.loss.running)
        self.nfe = 0

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """[f, c |z|^2] (b, d + 1)."""
        self.nfe += 1
        z = y[:, :-1]
        q = self.running * (z**2).sum(dim=1, keepdim=True)
        return torch.cat([self.field(t, z), q], dim=1)

    def field(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """f (b, d)."""
        h = z
        for k in range(self.mlp.depth):
            h = ACTIVATIONS[self.mlp.act](h) if k > 0 else h
            if self.mlp.time == "every" or (self.mlp.time == "first" and k == 0):
                h = torch.cat([h, t.expand(len(h), 1)], dim=1)
            h = h @ self.leaves[f"W{k}"]
            h = h + self.leaves[f"b{k}"] if self.mlp.bias else h
        return h + z @ self.leaves["A"] if self.mlp.skip else h


def gradient(problem: rn.Problem, tol: float, kind: Literal["adjoint", "backprop"], solver: str = "dopri5"):
    """Gradients by refnode's leaf names, and evaluations of the field, forwards and backwards."""
    loss, model = problem.loss, problem.model
    norms = all(isinstance(term, rn.SquaredNorm) for term in loss.running)
    supported = isinstance(loss.terminal, rn.SquaredError) and loss.observations is None and norms
    if not (supported and isinstance(model.field, rn.MLP) and model.order == 1 and not model.h_x.shapes):
        raise ValueError("this adapter takes MLP fields with squared error at T and a running |z|^2")
    field = Field(problem)
    x = torch.tensor(problem.x, requires_grad=True)
    span = torch.tensor(np.array([problem.leaves()["t0"], problem.leaves()["T"]]), requires_grad=True)
    solve = torchdiffeq.odeint_adjoint if kind == "adjoint" else torchdiffeq.odeint
    start = torch.cat([x, torch.zeros(problem.batch, 1, dtype=torch.float64)], dim=1)
    y = solve(field, start, span, rtol=tol, atol=tol, method=solver)[-1]
    if y.dtype != torch.float64:
        raise TypeError(f"torchdiffeq returned {y.dtype}, not float64")
    per_sample = ((y[:, :-1] - torch.tensor(loss.terminal.target)) ** 2).sum(dim=1)
    total = loss.scale * (loss.terminal.factor(problem.batch) * per_sample.sum() + y[:, -1].sum())
    total.backward()
    grads = {f"theta.{name}": leaf.grad.numpy() for name, leaf in field.leaves.items()}
    grads |= {"x": x.grad.numpy()}
    if span.grad is not None:
        grads |= {"t0": span.grad[0].numpy(), "T": span.grad[1].numpy()}
    return grads, field.nfe
