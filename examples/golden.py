"""A gradient held to a golden file of refnode's, with nothing but NumPy: python golden.py mild.json

Reads the problem, a 2-8-2 tanh network with a squared error at T, bit for bit; computes its gradient by RK4 and the
complex step; and compares every number with what was proven:

    |g - midpoint| <= radius + 10^-8 scale
"""

import json
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np


def numbers(node):
    """Exact float64: a C99 hexadecimal float, or an array of them."""
    if isinstance(node, str):
        return np.array(float.fromhex(node))
    return np.array([float.fromhex(text) for text in node["data"]]).reshape(node["shape"])


def ball(node):
    """Midpoints as Decimals, which keep all digits, and radii, both in the leaf's shape."""
    mid = np.array([Decimal(text) for text in node["mid"]], dtype=object).reshape(node["shape"])
    return mid, np.array([float.fromhex(text) for text in node["radius"]]).reshape(node["shape"])


def loss(leaf, target, n=256):
    """The mean over samples of |z(T) - target|^2, z' = tanh(z W0 + b0) W1 + b1, by n steps of RK4."""

    def f(z):
        return np.tanh(z @ leaf["theta.W0"] + leaf["theta.b0"]) @ leaf["theta.W1"] + leaf["theta.b1"]

    z, h = leaf["x"], (leaf["T"] - leaf["t0"]) / n
    for _ in range(n):
        k1 = f(z)
        k2 = f(z + h / 2 * k1)
        k3 = f(z + h / 2 * k2)
        k4 = f(z + h * k3)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return ((z - target) ** 2).sum(axis=1).mean()


def derivative(leaf, name, index, target):
    """dloss / dleaf[index]: the imaginary part of the loss a tiny imaginary step away."""
    moved = leaf[name].astype(complex)
    moved[index] += 1e-100j
    return loss({**leaf, name: moved}, target).imag / 1e-100


file = json.loads(Path(sys.argv[1]).read_text("utf-8"))
leaf = {name: numbers(node) for name, node in {**file["params"], "x": file["x"], **file["span"]}.items()}
target = numbers(file["loss"]["terminal"]["target"])
right = True
for name, node in file["answers"]["gradient"].items():
    mid, radius = ball(node)
    g = np.array([derivative(leaf, name, i, target) for i in np.ndindex(mid.shape)]).reshape(mid.shape)
    off = np.array([float(abs(Decimal(a) - b)) for a, b in zip(g.ravel(), mid.ravel(), strict=True)]).reshape(mid.shape)
    scale = float(max(abs(mid.ravel())))
    right = right and bool(np.all(off <= radius + 1e-8 * scale))
    print(f"{name:10s} {-np.log10(off.max() / scale):5.1f} digits")
print("right" if right else "WRONG")
sys.exit(0 if right else 1)
