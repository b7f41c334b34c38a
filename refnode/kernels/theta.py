"""theta(t) for the whole batch: theta = still + sum_j psi_j(u) A_j, and what its vjp adds to A, still and u.

The twin of `refnode.depth` for steps that all samples share. Bases are numbered, their functions on [0, 1] are those of
`refnode.bases`.
"""

import math
from dataclasses import dataclass

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.kernels.products import products
from refnode.kernels.records import Record

NO_BASIS, LEGENDRE, CHEBYSHEV, MONOMIAL, FOURIER, GAUSSIAN, HAT, PIECEWISE = range(8)


@dataclass(frozen=True)
class Variance(Record):
    """A depth as plain numbers.

    basis   its number;  follows   1 if u follows the span, else 0;  lo, hi   the interval if it does not
    nodes   0, inner nodes, 1 for hats; the centres, then the width for bells; else unused
    still   leaves that do not vary, zero elsewhere (p,);  A   coefficients, zero for leaves that do not vary (m, p)
    """

    basis: int
    follows: int
    lo: float
    hi: float
    nodes: np.ndarray
    still: np.ndarray
    A: np.ndarray


@kernel
def basis_at(basis, m, nodes, u, cell, psi, slope):
    """psi_j(u) and their slopes, (m,) each."""
    if basis in (LEGENDRE, CHEBYSHEV):
        polynomials(m, u, basis == LEGENDRE, psi, slope)
    elif basis == MONOMIAL:
        power = 1.0
        for j in range(m):
            psi[j], slope[j] = power, j * (psi[j - 1] if j > 0 else 0.0)
            power *= u
    elif basis == FOURIER:
        n, root = m // 2, math.sqrt(2.0)
        psi[0], slope[0] = 1.0, 0.0
        for k in range(1, n + 1):
            omega = 2.0 * math.pi * k
            psi[k], psi[n + k] = root * math.cos(omega * u), root * math.sin(omega * u)
            slope[k], slope[n + k] = -omega * psi[n + k], omega * psi[k]
    elif basis == GAUSSIAN:
        width = nodes[m]
        for j in range(m):
            away = (u - nodes[j]) / width
            psi[j] = math.exp(-0.5 * away * away)
            slope[j] = -away / width * psi[j]
    else:
        for j in range(m):
            psi[j], slope[j] = 0.0, 0.0
        if basis == HAT:
            h = nodes[cell + 1] - nodes[cell]
            w = (u - nodes[cell]) / h
            psi[cell], psi[cell + 1], slope[cell], slope[cell + 1] = 1.0 - w, w, -1.0 / h, 1.0 / h
        else:
            psi[cell] = 1.0


@kernel
def polynomials(m, u, legendre, psi, slope):
    """Legendre's, orthonormal on [0, 1], or Chebyshev's, and their slopes in u."""
    x = 2.0 * u - 1.0
    for j in range(m):
        if j < 2:
            psi[j], slope[j] = (x if j == 1 else 1.0), (1.0 if j == 1 else 0.0)
        else:
            k = j - 1
            a, b = ((2.0 * k + 1.0) / (k + 1.0), k / (k + 1.0)) if legendre else (2.0, 1.0)
            psi[j] = a * x * psi[k] - b * psi[k - 1]
            slope[j] = a * (psi[k] + x * slope[k]) - b * slope[k - 1]
    for j in range(m):
        size = math.sqrt(2.0 * j + 1.0) if legendre else 1.0
        psi[j], slope[j] = size * psi[j], 2.0 * size * slope[j]


@kernel
def coordinate(variance, t, t0, T):
    """u(t)."""
    if variance.follows:
        return (t - t0) / (T - t0)
    return (t - variance.lo) / (variance.hi - variance.lo)


@kernel
def theta_at(variance, t, t0, T, cell, theta, psi, slope):
    """theta(t) (p,); psi and slope (m,) are left for the vjp."""
    u = coordinate(variance, t, t0, T)
    basis_at(variance.basis, variance.A.shape[0], variance.nodes, u, cell, psi, slope)
    weighted(variance, psi, 1, True, theta)


@kernel(allocates=True)
def weighted(variance, weights, count, still, out):
    """out (count, p) = weights (count, m) A, on top of the leaves that do not vary if `still`; all are flat."""
    m, p = variance.A.shape
    A, rows = variance.A.reshape(variance.A.size), np.empty(count * m, out.dtype)
    lo, hi = m, 0  # of a local basis only these coefficients count
    for i in range(count):
        for j in range(m):
            rows[i * m + j] = weights[i * m + j]
            if weights[i * m + j] != 0:
                lo, hi = min(lo, j), max(hi, j + 1)
    lo = min(lo, hi)
    products(
        out, 0, p, variance.still, 0, 0 if still else -1, rows, lo, m, 1, A, lo * p, p, count, p, hi - lo, 1, 0, 0
    )  # fmt: skip


@kernel
def theta_vjp(variance, g, psi, slope, g_still, g_A):
    """Add what g (p,) gives to still (p,) and A (m, p); return the cotangent of u."""
    A, g_u = variance.A, 0.0
    for n in range(g.size):
        g_still[n] += g[n]
    for j in range(A.shape[0]):
        row, g_row, weight, total = A[j], g_A[j], g.dtype.type(psi[j]), 0.0
        if weight != 0:
            for n in range(g.size):
                g_row[n] += weight * g[n]
        if slope[j] != 0:
            for n in range(g.size):
                total += row[n] * g[n]
            g_u += slope[j] * total
    return g_u
