"""Integrals over a step of products of functions that are known by their power series.

    int_0^1 g(s) y(s)^T ds = sum_{m,n} g_m y_n^T / (m + n + 1) = G H Y^T,     H the Hilbert matrix

With |g| <= M_g and |y| <= M_y on the disc, what is left of each series is at most M x^n / (1 - x) = M geo (Cauchy), and

    |g y - p q| <= M_g M_y geo (2 + geo),     p, q the polynomials
"""

from functools import lru_cache
from typing import Any

import numpy as np
from flint import arb, arb_mat, ctx

from refnode.arrays import Array
from refnode.oracle.proof import series
from refnode.oracle.proof.discs import up
from refnode.oracle.proof.series import Series


def outer(g: Series, y: Series) -> Any:
    """int_0^1 p q^T ds (o, i) of the polynomials p (o,) and q (i,)."""
    G, Y = series.coefficients(g), series.coefficients(y).transpose()
    H = hilbert(G.ncols(), Y.nrows(), ctx.prec)
    return (G * H) * Y if G.nrows() <= Y.ncols() else G * (H * Y)


@lru_cache(maxsize=256)
def hilbert(m: int, n: int, bits: int) -> Any:
    """1 / (i + j + 1) (m, n), to the precision of the moment, which is part of the key."""
    return arb_mat(m, n, [arb(1) / (i + j + 1) for i in range(m) for j in range(n)])


def outer_error(g: Array, g_off: Array, y: Array, geo: float) -> Array:
    """How far `outer` is from the integral of g y^T (o, i), for bounds g, y on the disc; g is known up to g_off."""
    g = np.asarray(g)
    return up(np.multiply.outer(up(g * geo * (2 + geo) + g_off), y))


def integral(row: Any) -> Any:
    """int_0^1 of a polynomial."""
    return sum((c / (n + 1) for n, c in enumerate(row.coeffs()[: ctx.cap])), arb(0))
