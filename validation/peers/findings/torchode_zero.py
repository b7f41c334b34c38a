"""torchode: where the field is zero, AutoDiffAdjoint returns NaN for every gradient, status success."""

# z' = w z with w = 0: every stage is zero, and so is the error estimate. Backpropagation goes through the norm of that
# estimate too, whose slope at zero is 0 / 0.
# Who is right: z(T) = x e^{w T}, so for loss = z(1), x = 2: dloss/dx = e^w = 1, dloss/dw = x e^w = 2; joint backsolve
# agrees.
import torch
import torchode


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, t, z):
        return self.w * z


ends = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
for name in ("JointBacksolveAdjoint", "AutoDiffAdjoint"):
    field, x = Field(), torch.full((1, 1), 2.0, dtype=torch.float64, requires_grad=True)
    term = torchode.ODETerm(field)
    parts = torchode.Dopri5(term=term), torchode.IntegralController(atol=1e-8, rtol=1e-8, term=term)
    adjoint = torchode.AutoDiffAdjoint(*parts) if name[0] == "A" else torchode.JointBacksolveAdjoint(term, *parts)
    solution = adjoint.solve(torchode.InitialValueProblem(x, *ends))
    solution.ys[0, -1, 0].backward()
    got, status = (x.grad.item(), field.w.grad.item()), solution.status.tolist()
    print(f"{name}: dloss/dx, dloss/dw got {got[0]:.6f}, {got[1]:.6f}, status {status}, should be 1.000000, 2.000000")
