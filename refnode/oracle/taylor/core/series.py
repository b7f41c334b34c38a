"""Power series of every slot of a tape, order by order; compiled.

A row holds one order of all slots: S.h[m, slot] and S.l[m, slot]. The inner loops run along rows, over many slots at
once, so that vectors carry them.
"""

from typing import NamedTuple

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.oracle.taylor.core.double import (
    RECIPROCAL_H,
    RECIPROCAL_L,
    add,
    add_product,
    multiply,
    quick_two_sum,
    scalar,
    scaled,
)
from refnode.oracle.taylor.core.functions import value
from refnode.oracle.taylor.core.table import (
    CHAIN,
    FUNCTION,
    KIND,
    LINEAR,
    OUT,
    PRODUCT,
    ROWS,
    S_A,
    S_B,
    S_OUT,
    A,
    B,
    N,
    W,
)


class Series(NamedTuple):
    """Coefficients (orders, slots) as highs and lows."""

    h: np.ndarray
    l: np.ndarray


class Work(NamedTuple):
    """Series of all slots, S, and their cotangents, R; m u_m for chains, moments Q; the costate a; room for a sum."""

    S: Series
    R: Series
    mu: Series
    Q: Series
    a: Series
    sum_h: np.ndarray
    sum_l: np.ndarray


def work_of(n_slots: int, d: int, orders: int) -> Work:
    """Room for a tape with series of so many coefficients."""
    widths = n_slots, n_slots, n_slots, n_slots, d
    rooms = (Series(np.zeros((orders, width)), np.zeros((orders, width))) for width in widths)
    return Work(*rooms, np.zeros(n_slots), np.zeros(n_slots))


@scalar
def add_row(sh, sl, xh, xl, rh, rl):
    """s += x r for a number x and a row r."""
    for e in range(sh.size):
        sh[e], sl[e] = add_product(sh[e], sl[e], xh, xl, rh[e], rl[e])


@scalar
def add_rows(sh, sl, ah, al, bh, bl):
    """s += a b, entry by entry."""
    for e in range(sh.size):
        sh[e], sl[e] = add_product(sh[e], sl[e], ah[e], al[e], bh[e], bl[e])


@kernel(exact=True)
def convolve(sh, sl, P, p, s_p, Q, q, s_q, first, m):
    """s = sum_{k = first}^{m} P_k Q_{m-k} of slots p.. and q.. (one slot for all where a stride is 0)."""
    n = sh.size
    sh[:] = 0.0
    sl[:] = 0.0
    for k in range(first, m + 1):
        if s_p == 1 and s_q == 1:
            add_rows(sh, sl, P.h[k, p : p + n], P.l[k, p : p + n], Q.h[m - k, q : q + n], Q.l[m - k, q : q + n])
        elif s_p == 1:
            add_row(sh, sl, Q.h[m - k, q], Q.l[m - k, q], P.h[k, p : p + n], P.l[k, p : p + n])
        else:
            add_row(sh, sl, P.h[k, p], P.l[k, p], Q.h[m - k, q : q + n], Q.l[m - k, q : q + n])


@kernel(exact=True)
def put(sh, sl, ch, cl, oh, ol):
    """o += c s, entry by entry, or of all entries if o has one slot only; s is left normalised."""
    for e in range(sh.size):
        sh[e], sl[e] = quick_two_sum(sh[e], sl[e])
        xh, xl = multiply(ch, cl, sh[e], sl[e])
        place = e if oh.size > 1 else 0
        oh[place], ol[place] = add(oh[place], ol[place], xh, xl)


@kernel(exact=True)
def matvec(sh, sl, rows, xh, xl, wh, wl):
    """s = sum_i x_i W[i] for x (rows,) and W (rows, n), flat."""
    n = sh.size
    sh[:] = 0.0
    sl[:] = 0.0
    for i in range(rows):
        add_row(sh, sl, xh[i], xl[i], wh[i * n : (i + 1) * n], wl[i * n : (i + 1) * n])


@scalar
def take(X, m, first, stride, sh, sl):
    """s = the coefficients of order m of slots first, first + stride, .."""
    for e in range(sh.size):
        sh[e], sl[e] = X.h[m, first + stride * e], X.l[m, first + stride * e]


@kernel(exact=True)
def chain(op, S, mu, sh, sl, m):
    """out_m = 1/m sum_{k=1}^m (k u_k) d_{m-k}; out_0 = function(u_0)."""
    out, n, u = op[OUT], op[N], op[A]
    if m == 0:
        for e in range(n):
            S.h[0, out + e], S.l[0, out + e] = value(op[FUNCTION], S.h[0, u + e], S.l[0, u + e])
        return
    for e in range(n):
        mu.h[m, u + e], mu.l[m, u + e] = scaled(S.h[m, u + e], S.l[m, u + e], float(m))
    convolve(sh, sl, mu, u, 1, S, op[B], 1, 1, m)
    put(sh, sl, RECIPROCAL_H[m], RECIPROCAL_L[m], S.h[m, out : out + n], S.l[m, out : out + n])


@kernel(exact=True)
def extend(P, w, K, m):
    """The coefficients of order m of every slot but the inputs', from those before and the inputs' own.

    Rows of outputs must be zero before.
    """
    S = K.S
    for i in range(len(P.ops)):
        op = P.ops[i]
        kind, out, n, a = op[KIND], op[OUT], op[N], op[A]
        sh, sl = K.sum_h[:n], K.sum_l[:n]
        stop = out + (n if op[S_OUT] else 1)
        oh, ol = S.h[m, out:stop], S.l[m, out:stop]
        if kind == LINEAR:
            rows, first, last = op[ROWS], op[W], op[W] + op[ROWS] * n
            matvec(sh, sl, rows, S.h[m, a : a + rows], S.l[m, a : a + rows], w.h[first:last], w.l[first:last])
            put(sh, sl, 1.0, 0.0, oh, ol)
        elif kind == PRODUCT:
            convolve(sh, sl, S, a, 1, S, op[B], op[S_B], 0, m)
            put(sh, sl, P.c_h[i], P.c_l[i], oh, ol)
        elif kind == CHAIN:
            chain(op, S, K.mu, sh, sl, m)
        else:
            take(S, m, a, op[S_A], sh, sl)
            put(sh, sl, P.c_h[i], P.c_l[i], oh, ol)


@kernel(exact=True)
def expand(P, w, const_h, const_l, th, tl, zh, zl, K):
    """Taylor series about t of the solution that starts in z, and of every other slot: K.S, in t' - t."""
    S, d = K.S, P.d
    S.h[:] = 0.0
    S.l[:] = 0.0
    for j in range(d):  # whole rows would do, but compile for seconds
        S.h[0, j], S.l[0, j] = zh[j], zl[j]
    for j in range(P.n_const):
        S.h[0, d + j], S.l[0, d + j] = const_h[j], const_l[j]
    one = d + P.n_const
    S.h[0, one] = 1.0
    S.h[0, one + 1], S.l[0, one + 1] = th, tl
    orders = len(S.h)
    if orders > 1:
        S.h[1, one + 1] = 1.0
    for m in range(orders):
        extend(P, w, K, m)
        if m + 1 < orders:
            for j in range(d):
                h, l = S.h[m, P.out[j]], S.l[m, P.out[j]]
                S.h[m + 1, j], S.l[m + 1, j] = multiply(h, l, RECIPROCAL_H[m + 1], RECIPROCAL_L[m + 1])
