"""The logarithmic norm: how fast two solutions can part.

Theorem (Dahlquist, Lozinskii)   If mu bounds the largest eigenvalue of (J + J^T) / 2 on a convex set that holds two
solutions of z' = F, J = dF/dz, then |z(t + h) - y(t + h)|_2 <= e^(mu h) |z(t) - y(t)|_2 for h >= 0. The same mu serves
the adjoint equation, whose matrix is the transposed one.

Plain ball arithmetic would let errors grow like e^(|J| h), for contracting problems too; mu may be negative.

Source   Dahlquist 1959, Stability and error bounds; Soderlind 2006, BIT 46 (logarithmic norms).
"""

from typing import Any

import numpy as np
from flint import arb

from refnode.arrays import Array
from refnode.oracle.proof.discs import SLACK


def largest_eigenvalue(J: list[list[Any]]) -> float:
    """An upper bound of the largest eigenvalue of (J + J^T) / 2 for every real matrix in the balls J (d, d).

    A float64 guess s is proven: s - (J + J^T) / 2 is positive definite if Gauss's elimination on balls finds positive
    pivots only (Sylvester's criterion; Rump 2006, BIT 46).
    """
    d = len(J)
    S = [[(J[i][j] + J[j][i]) / 2 for j in range(d)] for i in range(d)]
    centre = np.array([[float(v.mid()) for v in row] for row in S])
    spread = np.array([[float(v.rad()) for v in row] for row in S])
    if d == 1:
        return _ceiling(float(S[0][0].upper()))
    size = float(np.max(np.abs(centre) + spread, initial=0.0)) * d
    if not np.isfinite(size):
        return np.inf
    guess = float(np.linalg.eigvalsh(centre)[-1]) + float(np.max(spread.sum(axis=1)))
    for margin in (1e-9, 1e-6, 1e-3):
        s = guess + margin * size
        if _positive_definite([[(arb(s) if i == j else arb(0)) - S[i][j] for j in range(d)] for i in range(d)]):
            return s
    return _ceiling(max(sum(upper_sum(row)) for row in S))  # Gershgorin


def upper_sum(row: list[Any]) -> list[float]:
    """Upper bounds of |entries|."""
    return [float(v.abs_upper()) * (1 + SLACK) for v in row]


def _ceiling(x: float) -> float:
    return x + abs(x) * SLACK


def _positive_definite(M: list[list[Any]]) -> bool:
    """Whether every symmetric matrix in the balls M has positive pivots."""
    d = len(M)
    rows = [list(row) for row in M]
    for k in range(d):
        if not rows[k][k] > 0:
            return False
        for i in range(k + 1, d):
            factor = rows[i][k] / rows[k][k]
            for j in range(k + 1, d):
                rows[i][j] = rows[i][j] - factor * rows[k][j]
    return True


def growth(mu: float, h: float) -> float:
    """e^(mu h), rounded up."""
    return float((arb(mu) * arb(h)).exp().upper()) * (1 + SLACK)


def length(v: Array) -> float:
    """|v|_2, rounded up; scaled, so that squares do not underflow."""
    largest = float(np.max(np.abs(v), initial=0.0))
    return largest * float(np.sqrt(np.sum(np.square(v / largest)))) * (1 + SLACK) if 0 < largest < np.inf else largest
