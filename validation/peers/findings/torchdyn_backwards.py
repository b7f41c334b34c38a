"""torchdyn: over a span with T < t0 both adjoints are wrong, in sign or altogether."""

# z' = k cos(t) z from t0 = 2.5 back to T = 0.25, loss = z(T)^2 / 2. odeint flips the field and negates the times, and
# returns the negated times; the backward pass takes them for the user's and solves the adjoint at -t, with the wrong
# direction.
# Who is right: z(T) = x e^{k (sin T - sin t0)}, so dloss/dk = z(T)^2 (sin T - sin t0); autograd agrees.
import math

import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor([0.75], dtype=torch.float64))

    def forward(self, t, x):
        return self.k * torch.cos(t) * x


t0, T, k = 2.5, 0.25, 0.75
z_T = math.exp(k * (math.sin(T) - math.sin(t0)))
for sensitivity in ("autograd", "interpolated_adjoint", "adjoint"):
    field, x = Field(), torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    tolerances = dict.fromkeys(("rtol", "atol", "rtol_adjoint", "atol_adjoint"), 1e-8)
    span = torch.tensor([t0, T], dtype=torch.float64)
    z = ODEProblem(field, "dopri5", sensitivity=sensitivity, **tolerances).odeint(x, span)[1]
    (z[-1] ** 2 / 2).sum().backward()
    exact = z_T**2 * (math.sin(T) - math.sin(t0)), z_T**2
    print(f"{sensitivity}: dloss/dk got {field.k.grad.item():.6f}, should be {exact[0]:.6f}")
    print(f"{sensitivity}: dloss/dx got {x.grad.item():.6f}, should be {exact[1]:.6f}")
