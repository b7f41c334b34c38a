"""Power series of the costate and of every slot's cotangent, and the integrals that are the gradient; compiled.

    a' = -(df/dz)^T a - g dl/dz,      dloss/dw = int (df/dw)^T a + g dl/dw dt                                       (3)

The tape is run backwards at every order m: a cotangent's coefficient is a sum of products of those of later slots and
the known series of the slots themselves. The integrand of a weight is a product of two series, p q, and

    int_0^h p q ds = h sum_kl p_k h^k q_l h^l / (k + l + 1)

is exact for the polynomials.
"""

from typing import NamedTuple

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.oracle.taylor.core.double import (
    RECIPROCAL_H,
    RECIPROCAL_L,
    add,
    multiply,
    quick_two_sum,
)
from refnode.oracle.taylor.core.series import add_row, convolve, put, take
from refnode.oracle.taylor.core.table import (
    CHAIN,
    KIND,
    LINEAR,
    LIVE,
    OUT,
    PRODUCT,
    ROWS,
    S_A,
    S_B,
    S_OUT,
    TURNED,
    A,
    B,
    N,
    W,
)


class Gathered(NamedTuple):
    """Gradients of weights (p,) and constants (n,) as highs and lows, and the sums of the absolute values added."""

    w_h: np.ndarray
    w_l: np.ndarray
    w_size: np.ndarray
    c_h: np.ndarray
    c_l: np.ndarray
    c_size: np.ndarray


def nothing_gathered(n_weights: int, n_const: int) -> Gathered:
    """Zeros."""
    return Gathered(*(np.zeros(n) for n in (*[n_weights] * 3, *[n_const] * 3)))


@kernel(exact=True)
def hand_back_linear(op, R, w, sh, sl, m):
    """in += W out for W (rows, n): the rows of its transposed copy times the entries of out."""
    out, n, a, rows = op[OUT], op[N], op[A], op[ROWS]
    sh[:] = 0.0
    sl[:] = 0.0
    for o in range(n):
        first = op[TURNED] + o * rows
        last = first + rows
        add_row(sh, sl, R.h[m, out + o], R.l[m, out + o], w.turned_h[first:last], w.turned_l[first:last])
    put(sh, sl, 1.0, 0.0, R.h[m, a : a + rows], R.l[m, a : a + rows])


@kernel(exact=True)
def hand_back_product(op, ch, cl, S, R, sh, sl, m):
    """a += c b out, b += c a out; a sum over slots where one b served all."""
    out, n, a, b, s_out, s_b = op[OUT], op[N], op[A], op[B], op[S_OUT], op[S_B]
    convolve(sh, sl, R, out, s_out, S, b, s_b, 0, m)
    put(sh, sl, ch, cl, R.h[m, a : a + n], R.l[m, a : a + n])
    convolve(sh, sl, R, out, s_out, S, a, 1, 0, m)
    stop = b + (n if s_b else 1)
    put(sh, sl, ch, cl, R.h[m, b:stop], R.l[m, b:stop])


@kernel(exact=True)
def hand_back(P, w, K, m):
    """Cotangents of order m of all slots, from those of the results."""
    S, R = K.S, K.R
    for i in range(len(P.ops) - 1, -1, -1):
        op = P.ops[i]
        kind, out, n, a = op[KIND], op[OUT], op[N], op[A]
        sh, sl = K.sum_h[:n], K.sum_l[:n]
        if not op[LIVE]:
            continue
        if kind == LINEAR:
            hand_back_linear(op, R, w, K.sum_h[: op[ROWS]], K.sum_l[: op[ROWS]], m)
        elif kind == PRODUCT:
            hand_back_product(op, P.c_h[i], P.c_l[i], S, R, sh, sl, m)
        elif kind == CHAIN:
            convolve(sh, sl, R, out, 1, S, op[B], 1, 0, m)
            put(sh, sl, 1.0, 0.0, R.h[m, a : a + n], R.l[m, a : a + n])
        else:
            take(R, m, out, op[S_OUT], sh, sl)
            stop = a + (n if op[S_A] else 1)
            put(sh, sl, P.c_h[i], P.c_l[i], R.h[m, a:stop], R.l[m, a:stop])


@kernel(exact=True)
def expand_back(P, w, a, g, K):
    """Series of the costate that is a (2, d) at t, K.a, and of every slot's cotangent, K.R, beside those of `expand`.

    g (2,) is the cotangent of the running loss's integral, constant in t. Of a map's tape, a is the result's cotangent.
    """
    R, C = K.R, K.a
    R.h[:] = 0.0
    R.l[:] = 0.0
    for j in range(P.out.size):
        C.h[0, j], C.l[0, j] = a[0, j], a[1, j]
    orders = len(R.h)
    for m in range(orders):
        for j in range(P.out.size):
            slot = P.out[j]
            R.h[m, slot], R.l[m, slot] = add(R.h[m, slot], R.l[m, slot], C.h[m, j], C.l[m, j])
        if m == 0 and P.loss >= 0:
            R.h[0, P.loss], R.l[0, P.loss] = g[0], g[1]
        hand_back(P, w, K, m)
        if m + 1 < orders:
            for j in range(P.d):
                h, l = multiply(R.h[m, j], R.l[m, j], RECIPROCAL_H[m + 1], RECIPROCAL_L[m + 1])
                C.h[m + 1, j], C.l[m + 1, j] = -h, -l


@kernel(exact=True)
def moments(X, first, n, Q):
    """Q_k = sum_l X_l / (k + l + 1), of n slots: int_0^1 s^k X(s) ds."""
    orders = len(X.h)
    for k in range(orders):
        qh, ql = Q.h[k, :n], Q.l[k, :n]
        qh[:] = 0.0
        ql[:] = 0.0
        for l in range(orders):
            r = k + l + 1
            add_row(qh, ql, RECIPROCAL_H[r], RECIPROCAL_L[r], X.h[l, first : first + n], X.l[l, first : first + n])
        for e in range(n):
            qh[e], ql[e] = quick_two_sum(qh[e], ql[e])


@kernel(exact=True)
def add_scaled(sh, sl, ch, cl, oh, ol, size):
    """o += c s, and the size of what is added to `size`."""
    put(sh, sl, ch, cl, oh, ol)
    for e in range(sh.size):
        size[e] += abs(ch * sh[e])


@kernel(exact=True)
def gather(P, K, ch, cl, G):
    """Add c int_0^1 (integrand) ds of every weight and constant, for series scaled to a step of length 1."""
    S, R, Q = K.S, K.R, K.Q
    orders = len(S.h)
    for i in range(len(P.ops)):
        op = P.ops[i]
        if op[KIND] != LINEAR or not op[LIVE]:
            continue
        out, n, rows = op[OUT], op[N], op[ROWS]
        sh, sl = K.sum_h[:n], K.sum_l[:n]
        moments(S, op[A], rows, Q)
        for r in range(rows):
            sh[:] = 0.0
            sl[:] = 0.0
            for k in range(orders):
                add_row(sh, sl, Q.h[k, r], Q.l[k, r], R.h[k, out : out + n], R.l[k, out : out + n])
            first = op[W] + r * n
            last = first + n
            add_scaled(sh, sl, ch, cl, G.w_h[first:last], G.w_l[first:last], G.w_size[first:last])
    sh, sl = K.sum_h[: P.n_const], K.sum_l[: P.n_const]
    sh[:] = 0.0
    sl[:] = 0.0
    for k in range(orders):
        last = P.d + P.n_const
        add_row(sh, sl, RECIPROCAL_H[k + 1], RECIPROCAL_L[k + 1], R.h[k, P.d : last], R.l[k, P.d : last])
    add_scaled(sh, sl, ch, cl, G.c_h, G.c_l, G.c_size)
