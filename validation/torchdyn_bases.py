"""What torchdyn's Galerkin layers compute: every basis function at a few depths, for tests/torchdyn_bases.json.

    python -m validation.torchdyn_bases > tests/torchdyn_bases.json

in the environment that validation/peers/install.sh makes. A layer expands its coefficients in the basis; with a unit
coefficient, and zeros elsewhere, its `calculate_weights(t)` is the basis function itself, in the order in which
refnode lists it: j = i deg + k for coeffs[:, k, i].
"""

import json
import sys
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")  # torchdyn's imports
import torch  # noqa: E402
from torchdyn.nn import galerkin  # noqa: E402

NAMES = ("Fourier", "Polynomial", "Chebychev", "GaussianRBF", "VanillaRBF", "MultiquadRBF")
DEGREES = (2, 5)
TIMES = (0.0, 0.125, 0.5, 0.875, 1.0)


def values(name, deg):
    """psi_j(t) for every t and j: the weights of a layer with one input, one output and unit coefficients in turn."""
    expansion = getattr(galerkin, name)(deg)
    layer = galerkin.GalLinear(1, 1, expfunc=expansion)
    table = []
    for t in TIMES:
        row = []
        for i in range(expansion.n_eig):
            for k in range(deg):
                layer.coeffs.data.zero_()
                layer.coeffs.data[0, k, i] = 1.0
                row.append(layer.calculate_weights(torch.tensor(t))[0].item())
        table.append(row)
    return table


def main():
    """Write all of it to standard output."""
    torch.set_default_dtype(torch.float64)
    bases = [{"basis": name, "deg": deg, "psi": values(name, deg)} for name in NAMES for deg in DEGREES]
    made = f"torchdyn {version('torchdyn')}, torch {torch.__version__}: python -m validation.torchdyn_bases"
    lines = ",\n".join("  " + json.dumps(basis) for basis in bases)
    sys.stdout.write(f'{{"made by": {json.dumps(made)}, "t": {json.dumps(TIMES)}, "bases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
