"""torchdyn: the adjoint's dloss/dt0 has the wrong sign and the wrong value."""

# z' = k cos(t) z, loss = z(T)^2 / 2. In sensitivity.py the gradient of t0 is formed as +a(t0).f(T, z(t0)): it should be
# -a(t0).f(t0, z(t0)), and f is evaluated at the time of the wrong end.
# Who is right: z(T) = x e^{k (sin T - sin t0)}, so dloss/dt0 = -z(T)^2 k cos t0; autograd agrees.
import math

import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor([0.75], dtype=torch.float64))

    def forward(self, t, x):
        return self.k * torch.cos(t) * x


t0, T, k = 0.25, 1.25, 0.75
z_T = math.exp(k * (math.sin(T) - math.sin(t0)))
for sensitivity in ("autograd", "adjoint"):
    span = torch.tensor([t0, T], dtype=torch.float64, requires_grad=True)
    x = torch.ones(1, 1, dtype=torch.float64)
    tolerances = dict.fromkeys(("rtol", "atol", "rtol_adjoint", "atol_adjoint"), 1e-8)
    z = ODEProblem(Field(), "dopri5", sensitivity=sensitivity, **tolerances).odeint(x, span)[1]
    (z[-1] ** 2 / 2).sum().backward()
    got = span.grad.tolist()
    print(f"{sensitivity}: dloss/dT  got {got[1]:.6f}, should be {z_T**2 * k * math.cos(T):.6f}")
    print(f"{sensitivity}: dloss/dt0 got {got[0]:.6f}, should be {-(z_T**2) * k * math.cos(t0):.6f}")
