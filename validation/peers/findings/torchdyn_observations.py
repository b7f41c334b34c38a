"""torchdyn: with losses at several times, the interpolated adjoint puts their cotangents at the wrong times."""

# z' = w z, loss = z(1/2) + z(1). The interpolated adjoint returns every step of the solver, but its backward pass reads
# the cotangents at the positions that the times of t_span have: those of the first steps.
# Who is right: loss = e^{w/2} + e^{w}, so dloss/dx is the same and dloss/dw = e^{w/2} / 2 + e^{w}; the adjoint agrees.
import math

import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([-0.75], dtype=torch.float64))

    def forward(self, t, x):
        return self.w * x


w, span = -0.75, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
for sensitivity in ("adjoint", "interpolated_adjoint"):
    field, x = Field(), torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    tolerances = dict.fromkeys(("rtol", "atol", "rtol_adjoint", "atol_adjoint"), 1e-8)
    times, z = ODEProblem(field, "dopri5", sensitivity=sensitivity, **tolerances).odeint(x, span)
    z[times == 0.5].sum().add(z[times == 1.0].sum()).backward()
    exact = math.exp(w / 2) / 2 + math.exp(w), math.exp(w / 2) + math.exp(w)
    print(f"{sensitivity}: dloss/dw got {field.w.grad.item():.6f}, should be {exact[0]:.6f}")
    print(f"{sensitivity}: dloss/dx got {x.grad.item():.6f}, should be {exact[1]:.6f}")
