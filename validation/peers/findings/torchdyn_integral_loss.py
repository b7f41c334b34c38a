"""torchdyn: an integral_loss loses its dependence on theta and the upstream factor, and l(T) is missing in dloss/dT."""

# z' = w z with x = 1, loss = s int_0^1 w^2 z^2 dt: l depends on theta = w. sensitivity.py differentiates integral_loss
# with respect to the state alone, adds it whatever the cotangent of the loss, and takes dloss/dT as a(T).f(T).
# Who is right: the integral is w (e^{2w} - 1) / 2; its derivative in w is (e^{2w} - 1) / 2 + w e^{2w}, in T w^2 e^{2w}.
import math

import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([-0.75], dtype=torch.float64))

    def forward(self, t, x):
        return self.w * x


w = -0.75
dw, dT = (math.exp(2 * w) - 1) / 2 + w * math.exp(2 * w), w**2 * math.exp(2 * w)
without = w * math.exp(2 * w) - w * (math.exp(2 * w) - 1) / (2 * w)  # int w^2 (dz^2/dw) dt alone
for s in (1.0, 3.0):
    field, span = Field(), torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    tolerances = dict.fromkeys(("rtol", "atol", "rtol_adjoint", "atol_adjoint"), 1e-8)
    integral = {"integral_loss": lambda t, x, field=field: (field.w * x) ** 2}
    ode = ODEProblem(field, "dopri5", sensitivity="adjoint", **integral, **tolerances)
    z = ode.odeint(torch.ones(1, 1, dtype=torch.float64), span)[1]
    (s * 0.0 * z[-1].sum()).backward()  # no terminal loss
    print(f"s = {s:g}: dloss/dw got {field.w.grad.item():.6f}, should be {s * dw:.6f}; without dl/dw: {without:.6f}")
    print(f"s = {s:g}: dloss/dT got {span.grad[1].item():.6f}, should be {s * dT:.6f}")
