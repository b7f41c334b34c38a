"""The way out and the way back over one segment, by Taylor steps; compiled.

On the way out the series of the state are kept, so that z is known everywhere. On the way back the costate takes steps
of its own, each as long as the series of the state and of the costate both allow: a stiff field's fast modes have died
out in z but not in a, whose series they dominate.
"""

import math
from typing import NamedTuple

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.oracle.taylor.cotangents import expand_back, gather
from refnode.oracle.taylor.double import RECIPROCAL_H, RECIPROCAL_L, add, add_product, multiply, quick_two_sum, scalar
from refnode.oracle.taylor.series import expand

NEARLY_THERE = 1.01  # a step may be longer by this factor, to land on the end
ROUNDS = 12  # of the search for a step's length


class Nodes(NamedTuple):
    """Where steps start, t, and the series of the state there (steps, orders, d); all as highs and lows."""

    t_h: np.ndarray
    t_l: np.ndarray
    z_h: np.ndarray
    z_l: np.ndarray


class Steps(NamedTuple):
    """How steps are chosen: the log of what a series' last terms may be of its largest, and a factor on the length."""

    log_tol: float
    factor: float


def room_for(steps: int, orders: int, d: int) -> Nodes:
    """Nodes to be filled."""
    return Nodes(np.zeros(steps), np.zeros(steps), np.zeros((steps, orders, d)), np.zeros((steps, orders, d)))


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


@scalar
def limited(h, left_h, left_l, th, tl, end_h, end_l):
    """A step of length h towards the end, or onto it: the step and where it leads."""
    if h * NEARLY_THERE >= abs(left_h):
        return left_h, left_l, end_h, end_l
    h = math.copysign(h, left_h)
    th, tl = add(th, tl, h, 0.0)
    return h, 0.0, th, tl


@kernel(exact=True)
def advance(P, w, const, t, end, z, q, steps, K, nodes):
    """Steps of the state from t towards the end, until there or until no node is left; how many.

    const (2, n), t and end (2,), z (2, d), the running loss q (2,): pairs; t, z and q move on.
    """
    orders = len(K.S.h)
    for n in range(len(nodes.t_h)):
        left_h, left_l = add(end[0], end[1], -t[0], -t[1])
        if not abs(left_h) > 0.0:
            return n
        expand(P, w, const[0], const[1], t[0], t[1], z[0], z[1], K)
        h = longest(K.S, P.groups, False, abs(left_h), steps.log_tol) * steps.factor
        hh, hl, th, tl = limited(h, left_h, left_l, t[0], t[1], end[0], end[1])
        nodes.t_h[n], nodes.t_l[n] = t[0], t[1]
        nodes.z_h[n], nodes.z_l[n] = K.S.h[:, : P.d], K.S.l[:, : P.d]
        evaluate(nodes.z_h[n], nodes.z_l[n], hh, hl, z[0], z[1])
        if P.loss >= 0:
            sh, sl, ph, pl = 0.0, 0.0, hh, hl
            for m in range(orders):
                rh, rl = multiply(ph, pl, RECIPROCAL_H[m + 1], RECIPROCAL_L[m + 1])
                sh, sl = add_product(sh, sl, K.S.h[m, P.loss], K.S.l[m, P.loss], rh, rl)
                ph, pl = multiply(ph, pl, hh, hl)
            sh, sl = quick_two_sum(sh, sl)
            q[0], q[1] = add(q[0], q[1], sh, sl)
        t[0], t[1] = th, tl
    return len(nodes.t_h)


@kernel(exact=True)
def to_unit_step(X, hh, hl):
    """X_m h^m for every order."""
    ph, pl = 1.0, 0.0
    for m in range(len(X.h)):
        xh, xl = X.h[m], X.l[m]
        for e in range(xh.size):
            xh[e], xl[e] = multiply(xh[e], xl[e], ph, pl)
        ph, pl = multiply(ph, pl, hh, hl)


@kernel(exact=True)
def retreat(P, w, const, t, start, a, g, steps, K, nodes, n, G):
    """Steps of the costate from t back to the start, by n nodes of the way out; how many, or -1 if a step vanishes.

    a (2, d) and t (2,) move on; what weights and constants gain is added to G.
    """
    z, count = np.empty((2, P.d)), 0
    while True:
        left_h, left_l = add(start[0], start[1], -t[0], -t[1])
        if not abs(left_h) > 0.0:
            return count
        while n > 1 and ((nodes.t_h[n - 1] - t[0]) + (nodes.t_l[n - 1] - t[1])) * left_h <= 0.0:
            n -= 1  # t is not beyond this node
        sh, sl = add(t[0], t[1], -nodes.t_h[n - 1], -nodes.t_l[n - 1])
        evaluate(nodes.z_h[n - 1], nodes.z_l[n - 1], sh, sl, z[0], z[1])
        expand(P, w, const[0], const[1], t[0], t[1], z[0], z[1], K)
        expand_back(P, w, a, g, K)
        h = longest(K.S, P.groups, False, abs(left_h), steps.log_tol)
        h = longest(K.R, P.groups, True, h, steps.log_tol) * steps.factor
        if not h > 0.0:
            return -1
        hh, hl, th, tl = limited(h, left_h, left_l, t[0], t[1], start[0], start[1])
        evaluate(K.a.h, K.a.l, hh, hl, a[0], a[1])
        to_unit_step(K.S, hh, hl)
        to_unit_step(K.R, hh, hl)
        gather(P, K, -hh, -hl, G)
        count += 1
        t[0], t[1] = th, tl
