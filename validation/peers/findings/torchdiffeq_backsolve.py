"""torchdiffeq: on a contracting field odeint_adjoint returns a gradient many orders too large, and raises nothing."""

# z' = a z + b, a = -20, T = 2, loss = int z^2 dt, carried as a second state. The adjoint solves z backwards, where an
# error e becomes e exp(20 (T - t)), 2e17 of it at t = 0, and with it goes the costate, which the loss ties to z.
# Nothing compares the state that comes back with the one that left.
# Who is right: z = c + (x - c) e^{at} with c = -b/a, so dloss/dx = 2 int z e^{at} dt; backpropagation agrees.
import math

import torch
from torchdiffeq import odeint, odeint_adjoint

a, b, T, x = -20.0, 12.0, 2.0, 1.5
c = -b / a
exact = 2 * c * (math.exp(a * T) - 1) / a + (x - c) * (math.exp(2 * a * T) - 1) / a


class Field(torch.nn.Module):
    def forward(self, t, y):
        return torch.stack([a * y[0] + b, y[0] ** 2])


for solve in (odeint, odeint_adjoint):
    for tol in (1e-3, 1e-5, 1e-7, 1e-9, 1e-11):
        start = torch.tensor([x, 0.0], dtype=torch.float64, requires_grad=True)
        y = solve(Field(), start, torch.tensor([0.0, T], dtype=torch.float64), rtol=tol, atol=tol)
        y[-1, 1].backward()
        print(f"{solve.__name__} at tol {tol:.0e}: dloss/dx got {start.grad[0].item():.6g}, should be {exact:.6g}")
