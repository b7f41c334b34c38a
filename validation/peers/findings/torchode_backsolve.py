"""torchode: on a contracting field JointBacksolveAdjoint returns a gradient many orders too large, status success."""

# z' = a z + b, a = -20, T = 2, loss = int z^2 dt, carried as a second state: backwards, an error in z grows like
# exp(20 (T - t)), and the costate with it.
# Who is right: z = c + (x - c) e^{at} with c = -b/a, so dloss/dx = 2 int z e^{at} dt; AutoDiffAdjoint agrees.
import math

import torch
import torchode

a, b, T, x = -20.0, 12.0, 2.0, 1.5
c = -b / a
exact = 2 * c * (math.exp(a * T) - 1) / a + (x - c) * (math.exp(2 * a * T) - 1) / a


class Field(torch.nn.Module):
    def forward(self, t, y):
        return torch.stack([a * y[:, 0] + b, y[:, 0] ** 2], dim=1)


ends = torch.zeros(1, dtype=torch.float64), torch.full((1,), T, dtype=torch.float64)
for name in ("AutoDiffAdjoint", "JointBacksolveAdjoint"):
    for tol in (1e-3, 1e-5, 1e-7, 1e-9):
        term, start = torchode.ODETerm(Field()), torch.tensor([[x, 0.0]], dtype=torch.float64, requires_grad=True)
        parts = torchode.Dopri5(term=term), torchode.IntegralController(atol=tol, rtol=tol, term=term)
        adjoint = torchode.AutoDiffAdjoint(*parts) if name[0] == "A" else torchode.JointBacksolveAdjoint(term, *parts)
        solution = adjoint.solve(torchode.InitialValueProblem(start, *ends))
        solution.ys[0, -1, 1].backward()
        got, status = start.grad[0, 0].item(), solution.status.tolist()
        print(f"{name} at tol {tol:.0e}: dloss/dx got {got:.6g}, status {status}, should be {exact:.6g}")
