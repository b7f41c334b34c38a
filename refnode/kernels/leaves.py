"""Coefficients as theta(t) is made from them and as their owner keeps them, leaf by leaf.

alpha holds the leaves one after the other, the m coefficients of each together, (m, size) flat, or its numbers (size,)
if it does not vary. still (p,) has the leaves that do not vary, A (m, p) the coefficients of those that do.
"""

from refnode.kernels.compiled import kernel
from refnode.kernels.fill import copy, zero


@kernel
def spread_leaves(places, alpha, still, A):
    """alpha -> still and A, zero elsewhere; places (leaves, 3): of each leaf its start in theta, size and m, or 0."""
    at = 0
    for leaf in range(places.shape[0]):
        start, size, m = places[leaf, 0], places[leaf, 1], places[leaf, 2]
        for j in range(A.shape[0]):
            row = A[j, start : start + size]
            if m > 0:
                copy(alpha[at + j * size : at + (j + 1) * size], row)
            else:
                zero(row)
        row = still[start : start + size]
        if m > 0:
            zero(row)
        else:
            copy(alpha[at : at + size], row)
        at += size * max(m, 1)


@kernel
def gather_leaves(places, still, A, alpha):
    """still and A -> alpha."""
    at = 0
    for leaf in range(places.shape[0]):
        start, size, m = places[leaf, 0], places[leaf, 1], places[leaf, 2]
        for j in range(max(m, 1)):
            row = A[j, start : start + size] if m > 0 else still[start : start + size]
            copy(row, alpha[at + j * size : at + (j + 1) * size])
        at += size * max(m, 1)
