"""torchdyn: two Galerkin layers, whose coefficients start at zero, never train; only the last bias does."""

# z' = W1(t) tanh(W0(t) z + b0(t)) + b1(t), both layers GalLinear, is to take x to 2 x: 200 steps of Adam.
# Who is right: all is zero at the start. The gradient of W0 and b0 passes W1 = 0, that of W1 meets tanh 0 = 0, so both
# are exactly zero, and remain so; from coefficients that are small and random the same layers train.
import contextlib
import io

import torch
from torchdyn.core import NeuralODE
from torchdyn.nn import DepthCat, Fourier, GalLinear

torch.manual_seed(0)
x = torch.randn(64, 2)
for name in ("random start", "its own start"):
    first, last = GalLinear(2, 8, expfunc=Fourier(3)), GalLinear(8, 2, expfunc=Fourier(3))
    if name == "random start":
        for layer in (first, last):
            layer.coeffs.data = 0.1 * torch.randn_like(layer.coeffs)
    with contextlib.redirect_stdout(io.StringIO()):
        ode = NeuralODE(torch.nn.Sequential(DepthCat(), first, torch.nn.Tanh(), DepthCat(), last), "rk4")
    adam = torch.optim.Adam(ode.parameters(), lr=0.01)
    losses = []
    for _ in range(200):
        adam.zero_grad()
        loss = ((ode(x, torch.linspace(0, 1, 5))[1][-1] - 2 * x) ** 2).mean()
        loss.backward()
        losses.append(loss.item())
        adam.step()
    size = max(first.coeffs.abs().max().item(), last.coeffs[:-2].abs().max().item())
    said = f"loss {losses[0]:.2f}, after 200 steps {losses[-1]:.2f}"
    print(f"{name}: {said}; largest coefficient besides the last bias {size:.2f}")
