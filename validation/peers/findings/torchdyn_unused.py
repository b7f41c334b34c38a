"""torchdyn: a parameter that the field does not use crashes the adjoint."""

# z' = w z, and a second parameter (2, 2) without effect. In sensitivity.py its missing gradient becomes one zero
# instead of four, and the adjoint's state no longer fits its rate.
# Who is right: dloss/dw = e^w for loss = z(1), and zero for what has no effect; autograd agrees.
import math

import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([-0.75], dtype=torch.float64))
        self.unused = torch.nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))

    def forward(self, t, x):
        return self.w * x


for sensitivity in ("autograd", "adjoint"):
    field, x, span = Field(), torch.ones(1, 1, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    z = ODEProblem(field, "dopri5", sensitivity=sensitivity, rtol=1e-8, atol=1e-8).odeint(x, span)[1]
    try:
        z[-1].sum().backward()
        got = f"{field.w.grad.item():.6f}"
    except RuntimeError as error:
        got = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    print(f"{sensitivity}: dloss/dw got {got}, should be {math.exp(-0.75):.6f}")
