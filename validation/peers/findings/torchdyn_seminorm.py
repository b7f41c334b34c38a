"""torchdyn: the flag seminorm is ignored: the adjoint leaves parameters out of its error norm, whatever it says."""

# z' = -z + w sin 40 t at w = 0, loss = z(1): state and costate are smooth, and only the gradient of w needs small
# steps. In sensitivity.py the backward solve is given seminorm=(True, ..), and ODEProblem's flag goes nowhere.
# Who is right: dloss/dw = int e^(t - 1) sin 40 t dt = (sin 40 - 40 cos 40 + 40 / e) / 1601; the same field where the
# solver takes the steps that w asks for, at most 0.01 long, agrees.
import math

import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.nfe = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)), 0

    def forward(self, t, x):
        self.nfe += 1
        return -x + self.w * torch.sin(40 * t)


def run(name, times, **flags):
    field, tolerances = Field(), dict.fromkeys(("rtol", "atol", "rtol_adjoint", "atol_adjoint"), 1e-7)
    ode = ODEProblem(field, "dopri5", sensitivity="adjoint", **tolerances, **flags)
    ode.odeint(torch.ones(1, 1, dtype=torch.float64), times.double())[1][-1].sum().backward()
    right = (math.sin(40) - 40 * math.cos(40) + 40 / math.e) / 1601
    print(f"{name}: dloss/dw got {field.w.grad.item():.8f}, should be {right:.8f}; {field.nfe} evaluations")


run("steps of at most 0.01", torch.linspace(0, 1, 101))
run("seminorm=True", torch.tensor([0.0, 1.0]), seminorm=True)
run("seminorm=False", torch.tensor([0.0, 1.0]), seminorm=False)
