"""torchdyn: DataControl detaches the control, so that gradients of x and of an input layer miss a term."""

# z' = a z + b c, controlled by where it starts: z(0) = c = w x, loss = z(1). NeuralODE hands DataControl x.detach().
# Who is right: z(1) = c (e^a + b (e^a - 1) / a), so dloss/dw = x (e^a + b (e^a - 1) / a); the same layer with a control
# that is not detached agrees.
import contextlib
import io
import math

import torch
from torchdyn.core import NeuralODE
from torchdyn.nn import DataControl

a, b = -0.75, 0.5


class Attached(torch.nn.Module):
    def forward(self, z):
        return torch.cat([z, self.control], dim=1)


for name, control in (("the control not detached", Attached()), ("DataControl", DataControl())):
    layer = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    layer.weight.data = torch.tensor([[a, b]], dtype=torch.float64)
    w, x = torch.ones(1, dtype=torch.float64, requires_grad=True), torch.full((1, 1), 2.0, dtype=torch.float64)
    control.control = w * x
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it wraps the field
        ode = NeuralODE(torch.nn.Sequential(control, layer), "dopri5", rtol=1e-8, atol=1e-8)
    ode(w * x, torch.tensor([0.0, 1.0], dtype=torch.float64))[1][-1].sum().backward()
    right = x.item() * (math.exp(a) + b * (math.exp(a) - 1) / a)
    print(f"{name}: dloss/dw got {w.grad.item():.6f}, should be {right:.6f}")
