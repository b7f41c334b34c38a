"""The length of a Taylor step, and the series at its end; compiled."""

import math

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.oracle.taylor.core.double import RECIPROCAL_H, RECIPROCAL_L, add, multiply

ROUNDS = 12  # of the search for a step's length


@kernel(exact=True)
def longest(X, groups, cotangents, h, log_tol):
    """The longest step, at most h, after which the last two terms of every group of series are negligible.

    A group's terms of order k have the size max |X_k| h^k; those of the last two orders must be below e^log_tol times
    the largest.
    """
    orders = len(X.h)
    logs = np.empty(orders)
    for g in range(len(groups)):
        first, n = groups[g, 0], groups[g, 1]
        if cotangents and not groups[g, 2]:
            continue
        for k in range(orders):
            largest = 0.0
            for e in range(first, first + n):
                largest = max(largest, abs(X.h[k, e]))
            logs[k] = math.log(largest) if largest > 0.0 else -np.inf
        for _ in range(ROUNDS):
            log_h, largest = math.log(h), -np.inf
            for k in range(orders - 2):
                largest = max(largest, logs[k] + k * log_h)
            last = max(logs[orders - 1] + (orders - 1) * log_h, logs[orders - 2] + (orders - 2) * log_h)
            excess = last - largest - log_tol
            if not excess > 0.0 or largest == -np.inf:
                break
            h = math.exp(log_h - excess / (orders - 1))
    return h


@kernel(exact=True)
def evaluate(Xh, Xl, hh, hl, oh, ol):
    """The series (orders, d) at h, by Horner's rule."""
    for j in range(oh.size):
        sh, sl = 0.0, 0.0
        for m in range(len(Xh) - 1, -1, -1):
            sh, sl = multiply(sh, sl, hh, hl)
            sh, sl = add(sh, sl, Xh[m, j], Xl[m, j])
        oh[j], ol[j] = sh, sl


@kernel(exact=True)
def integrate(xh, xl, hh, hl):
    """int_0^h of one series, by Horner's rule."""
    sh, sl = 0.0, 0.0
    for m in range(len(xh) - 1, -1, -1):
        sh, sl = multiply(sh, sl, hh, hl)
        ch, cl = multiply(xh[m], xl[m], RECIPROCAL_H[m + 1], RECIPROCAL_L[m + 1])
        sh, sl = add(sh, sl, ch, cl)
    return multiply(sh, sl, hh, hl)


@kernel(exact=True)
def to_unit_step(X, hh, hl):
    """X_m h^m for every order."""
    ph, pl = 1.0, 0.0
    for m in range(len(X.h)):
        xh, xl = X.h[m], X.l[m]
        for e in range(xh.size):
            xh[e], xl[e] = multiply(xh[e], xl[e], ph, pl)
        ph, pl = multiply(ph, pl, hh, hl)
