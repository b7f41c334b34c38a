"""torchdyn: an integral_loss with order above one raises an AttributeError under autograd."""

# q'' = -k q with q(0) = x, q'(0) = 0 and k = 1, loss = int_0^1 q^2 dt. DEFunc calls self.horder_forward, which is
# called higher_order_forward. The adjoint does not go that way, and is right where l does not depend on theta.
# Who is right: q = x cos t, so dloss/dx = x (1 + sin 2 / 2); the integral as one more state, by hand, agrees.
import contextlib
import io
import math

import torch
from torchdyn.core import NeuralODE


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, z):
        return -self.k * z[:, :1]


class ByHand(Field):
    def forward(self, z):  # [integral, q, p]
        return torch.cat([z[:, 1:2] ** 2, z[:, 2:], -self.k * z[:, 1:2]], dim=1)


x, tolerances = torch.tensor([2.0], dtype=torch.float64, requires_grad=True), {"rtol": 1e-8, "atol": 1e-8}
for name, field, more in (
    ("the integral as one more state", ByHand(), {}),
    ("integral_loss", Field(), {"order": 2, "integral_loss": lambda t, z: z[:, 0] ** 2}),
):
    with contextlib.redirect_stdout(io.StringIO()):
        ode = NeuralODE(field, "dopri5", sensitivity="autograd", **tolerances, **more)
    try:
        y = ode(torch.stack([0 * x, x, 0 * x], dim=1), torch.tensor([0.0, 1.0], dtype=torch.float64))[1]
        got = f"{torch.autograd.grad(y[-1, 0, 0], x)[0].item():.6f}"
    except AttributeError as error:
        got = f"AttributeError: {error}"
    print(f"{name}: dloss/dx got {got}, should be {2 * (1 + math.sin(2) / 2):.6f}")
