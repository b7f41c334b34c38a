"""theta(t) for the whole batch: theta = still + sum_j psi_j(u) A_j, and what its vjp adds to A, still and u.

The twin of `refnode.depth` for steps that all samples share. Bases are numbered, their functions on [0, 1] are those of
`refnode.bases`.
"""

import math
from dataclasses import dataclass

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.kernels.fill import copy
from refnode.kernels.products import products
from refnode.kernels.records import Record

COLUMNS = 256  # numbers of theta whose cotangents are handed on by one task
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


@kernel(allocates=True)
def theta_at(variance, t, t0, T, cell, theta, psi, slope):
    """theta(t) (p,); psi and slope (m,) are left for the vjp."""
    u, rounded = coordinate(variance, t, t0, T), np.empty(psi.size, theta.dtype)
    basis_at(variance.basis, variance.A.shape[0], variance.nodes, u, cell, psi, slope)
    copy(psi, rounded)
    weighted(variance, rounded, 1, True, 0, theta.size, theta, 0, 0)


@kernel
def weighted(variance, weights, count, still, first, size, out, at, pitch):
    """Columns first .. first + size - 1 of weights (count, m) A, on top of the leaves that do not vary if `still`.

    Row i begins at out[at + i pitch]; out and weights are flat.
    """
    m, p = variance.A.shape
    lo, hi = 0, m
    if variance.basis in (HAT, PIECEWISE):  # few coefficients count
        lo, hi = m, 0
        for i in range(count):
            for j in range(m):
                if weights[i * m + j] != 0:
                    lo, hi = min(lo, j), max(hi, j + 1)
        lo = min(lo, hi)
    S, A, row = variance.still, variance.A.reshape(variance.A.size), lo * p + first
    products(
        out, at, pitch, S, first, 0 if still else -1, weights, lo, m, 1, A, row, p, count, size, hi - lo, 1, 0, 0
    )  # fmt: skip


@kernel
def u_vjp(variance, slopes, count, g, at, pitch, first, size, moving, received, r0):
    """received[r0 + i] = <dtheta/du, g> over columns first .. first + size - 1 of theta, at `count` values of u.

    slopes (count, m) are psi_j'(u), flat; the cotangents of theta at the i-th begin at g[at + i pitch]. moving is room
    for count size numbers.
    """
    weighted(variance, slopes, count, False, first, size, moving, 0, size)
    for i in range(count):
        products(
            received, r0 + i, 1, received, 0, -1, moving, i * size, size, 1, g, at + i * pitch, 1, 1, 1, size, 1, 0, 0
        )  # fmt: skip


@kernel(allocates=True)
def theta_vjp(variance, g, psi, slope, g_still, g_A):
    """Add what g (p,) gives to still (p,) and A (m, p); return the cotangent of u."""
    for n in range(g.size):
        g_still[n] += g[n]
    for j in range(variance.A.shape[0]):
        g_row, weight = g_A[j], g.dtype.type(psi[j])
        if weight != 0:
            for n in range(g.size):
                g_row[n] += weight * g[n]
    if variance.A.shape[0] == 0:
        return 0.0
    slopes, moving, received = np.empty(slope.size, g.dtype), np.empty(g.size, g.dtype), np.empty(1, g.dtype)
    copy(slope, slopes)
    u_vjp(variance, slopes, 1, g, 0, 0, 0, g.size, moving, received, 0)
    return float(received[0])
