"""torchdyn: the interpolated adjoint falls short of its tolerance by digits: its spline is straight at the ends."""

# z' = k cos(t) z, loss = z(T)^2 / 2. The state is interpolated by a natural cubic spline, whose second derivative is
# zero at both ends, which that of the solution is not: an error of O(h^2) there, where the solver's is O(h^5).
# Who is right: z(T) = x e^{k (sin T - sin t0)}, so dloss/dk = z(T)^2 (sin T - sin t0).
import math

import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor([0.75], dtype=torch.float64))

    def forward(self, t, x):
        return self.k * torch.cos(t) * x


t0, T, k = 0.25, 2.5, 0.75
reach = math.sin(T) - math.sin(t0)
exact = math.exp(2 * k * reach) * reach
for tol in (1e-3, 1e-5, 1e-7, 1e-9):
    errors = []
    for sensitivity in ("adjoint", "interpolated_adjoint"):
        field, x = Field(), torch.ones(1, 1, dtype=torch.float64)
        tolerances = dict.fromkeys(("rtol", "atol", "rtol_adjoint", "atol_adjoint"), tol)
        ode = ODEProblem(field, "dopri5", sensitivity=sensitivity, **tolerances)
        z = ode.odeint(x, torch.tensor([t0, T], dtype=torch.float64))[1]
        (z[-1] ** 2 / 2).sum().backward()
        errors.append(abs(field.k.grad.item() / exact - 1))
    print(f"tol {tol:.0e}: relative error of dloss/dk got {errors[1]:.0e}; that of the adjoint is {errors[0]:.0e}")
