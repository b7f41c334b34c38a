"""torchdyn: radial bases have one centre, 0: VanillaRBF(5) is one function, all bells of GaussianRBF(5) peak at 0."""

# The basis of a layer is what a unit coefficient makes of its weight at t, on 1001 points of [0, 1]. `centers` is one
# number, 0; VanillaRBF is |t| k / 2 for k of linspace(0, 5, 5), GaussianRBF exp(-(k t / 2)^2), of five widths.
# Who is right: bells exp(-(t - c)^2 / 2 w^2) with centres c spread over the span, w their distance, peak where they
# stand, and depend on each other far less.
import torch
from torchdyn.nn import GalLinear, GaussianRBF, VanillaRBF

torch.set_default_dtype(torch.float64)
t = torch.linspace(0, 1, 1001)


def basis(expansion):
    layer, columns = GalLinear(1, 1, expfunc=expansion), []
    for k in range(5):
        layer.coeffs.data.zero_()
        layer.coeffs.data[0, k, 0] = 1.0
        columns.append(torch.stack([layer.calculate_weights(s)[0].detach() for s in t]))
    return torch.stack(columns, dim=1)


spread = torch.exp(-(((t[:, None] - torch.linspace(0, 1, 5)) * 4) ** 2) / 2)
for name, psi in (
    ("spread bells", spread),
    ("GaussianRBF(5)", basis(GaussianRBF(5))),
    ("VanillaRBF(5)", basis(VanillaRBF(5))),
):
    sizes = torch.linalg.svdvals(psi)
    rank = int((sizes > 1e-12 * sizes[0]).sum())
    said = f"condition {(sizes[0] / sizes[-1]).item():.0f}" if rank == 5 else "no condition"
    peaks = sorted({round(t[i].item(), 2) for i in psi.argmax(dim=0).tolist()})
    print(f"{name}: rank {rank} of 5, {said}; largest at t = {', '.join(map(str, peaks))}")
