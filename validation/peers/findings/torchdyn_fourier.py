"""torchdyn: Fourier(5) has frequencies 0, 1.25, 2.5, 3.75, 5, no harmonics of a span: 10 functions of rank 9, or 8."""

# The basis of a layer is what a unit coefficient makes of its weight at t, here on 1001 points of [0, 1]. In
# galerkin.py the numbers k are linspace(0, deg, deg). sin 0 t is zero; of the rest one is a sum of the others up to
# rounding in float32, torchdyn's usual dtype. A dilation, which is a parameter, scales all frequencies alike.
# Who is right: 1, cos 2 pi k t, sin 2 pi k t are orthogonal on [0, 1], so that each of 2 n + 1 coefficients is its own.
import math

import torch
from torchdyn.nn import Fourier, GalLinear

torch.set_default_dtype(torch.float64)
layer, t = GalLinear(1, 1, expfunc=Fourier(5)), torch.linspace(0, 1, 1001)
columns = []
for i in range(2):
    for k in range(5):
        layer.coeffs.data.zero_()
        layer.coeffs.data[0, k, i] = 1.0
        columns.append(torch.stack([layer.calculate_weights(s)[0].detach() for s in t]))
torchdyns = torch.stack(columns, dim=1)
angle = 2 * math.pi * t[:, None] * torch.arange(1.0, 6.0)
harmonics = torch.cat([torch.ones(1001, 1), torch.cos(angle), torch.sin(angle)], dim=1)
for name, psi in (("harmonics", harmonics), ("Fourier(5)", torchdyns)):
    sizes = torch.linalg.svdvals(psi)
    ranks = [int((sizes > 10 * torch.finfo(dtype).eps * sizes[0]).sum()) for dtype in (torch.float64, torch.float32)]
    said = f"condition {(sizes[0] / sizes[-1]).item():.1f}" if ranks[0] == len(sizes) else "no condition"
    print(f"{name}: {len(sizes)} functions, rank in float64 {ranks[0]}, in float32 {ranks[1]}; {said}")
