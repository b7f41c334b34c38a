"""Steps of each sample's own: the twin of `refnode.integrate.adaptive_steps` with steps="own".

A pool of samples is one thread's work. Up to T of them, a row each, attempt a step together; the row of a sample
that has arrived goes to the next one that waits. So products have full tiles although some samples take more steps than
others, and since no row sees another, a sample's numbers do not depend on its company.
"""

import math
from dataclasses import dataclass

import numpy as np

from refnode.kernels.advance import step_factor
from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.records import Record
from refnode.kernels.steps import error_of, runge_kutta, set_errors, set_step, set_times
from refnode.kernels.systems import evaluate
from refnode.kernels.tape import DONE, FULL, NOT_FINITE, TOO_MANY, UNDERFLOW


@dataclass(frozen=True)
class Samples(Record):
    """Every sample's tape, and where it stands, so that a solve can be left and entered again.

    y           (b, steps + 1, w) the states at which its steps begin, and the last
    k           (b, w) F at the last
    s, s_new    (b, steps + 1) the fractions of the segment at which a step begins and ends
    now, ds     (b,) how far it has come in the segment, and the next step;  err   the error of the last step
    n           (b,) steps on the tape;  begun   those of this segment;  accepted, rejected, attempts   in this segment
    grow        (b,) whether the next step may be longer;  word   DONE, or why it was left
    """

    y: np.ndarray
    k: np.ndarray
    s: np.ndarray
    s_new: np.ndarray
    now: np.ndarray
    ds: np.ndarray
    err: np.ndarray
    n: np.ndarray
    begun: np.ndarray
    rejected: np.ndarray
    attempts: np.ndarray
    grow: np.ndarray
    word: np.ndarray


@dataclass(frozen=True)
class Lanes(Record):
    """The rows of every pool: whose they are, and their states, (pools, T) and (pools, T w) ..

    k, slots    (pools, stages, ..);  x, g_x   the control and its cotangent (pools, T n_x)
    """

    sample: np.ndarray
    step: np.ndarray
    y: np.ndarray
    k: np.ndarray
    slots: np.ndarray
    x: np.ndarray
    g_x: np.ndarray


@kernel
def seat(F, piece, L, rows, x, pool, r, i):
    """Give row r to sample i."""
    L.sample[pool, r], rows.cell[pool] = i, piece.cell
    rows.start[pool, r], rows.end[pool, r] = piece.start[i], piece.end[i]
    rows.t0[pool, r], rows.T[pool, r] = piece.t0[i], piece.T[i]
    for j in range(F.controls):
        L.x[pool, r * F.controls + j] = x[i * F.controls + j]


@kernel
def copy_row(a, r_from, r_to, w):
    """Row r_from of a (rows, w), flat, to row r_to."""
    for j in range(w):
        a[r_to * w + j] = a[r_from * w + j]


@kernel
def attempt(B, control, piece, S, scratch, pool, r, i, room, given):
    """Judge row r's step: the twin of a turn of `adaptive_steps`. The sample's word is set if it can't go on."""
    s, s_new, n = scratch.rows.s[pool, r], scratch.rows.s_new[pool, r], S.n[i]
    w = S.k.shape[1]
    err = error_of(B, scratch.errors[pool, 0, r], scratch.errors[pool, 1, r] if B.two_errors else 0.0, w)
    good = err <= 1 and (s_new > s or not control.adaptive)
    S.attempts[i] += 1
    if good:
        S.s[i, n], S.s_new[i, n] = s, s_new
        for j in range(w):
            S.y[i, n + 1, j] = scratch.y_new[pool, r * w + j]
        S.n[i], S.begun[i], S.now[i] = n + 1, S.begun[i] + 1, s_new
    else:
        S.rejected[i] += 1
        largest = max(abs(piece.start[i]), abs(piece.end[i]))
        smallest = 16 * np.spacing(largest)
        if not control.adaptive or (s_new - s) * abs(piece.end[i] - piece.start[i]) <= smallest:
            S.word[i] = UNDERFLOW if math.isfinite(err) else NOT_FINITE
            S.ds[i] = s_new - s
            return good
    if control.adaptive:
        factor = step_factor(control, err, S.err[i])
        if good:
            factor = factor if S.grow[i] else min(factor, 1.0)
            S.err[i] = err
        S.grow[i] = good
        wish = (s_new - s) * factor
        S.ds[i] = max(wish, S.ds[i]) if good and s_new == 1 else wish
    S.word[i] = standing(control, S, i, room)
    return good


@kernel
def standing(control, S, i, room):
    """DONE, or what keeps a sample that has not arrived from its next attempt."""
    word = DONE
    if S.now[i] < 1:
        if control.adaptive and S.attempts[i] >= control.max_steps:
            word = TOO_MANY
        elif S.n[i] + 1 >= room:
            word = FULL
    return word


@kernel
def pool_steps(F, V, B, kind, control, piece, S, L, scratch, x, edges, given, pool):
    """Steps of a pool's samples until each has arrived, has no room left on its tape, or has failed.

    Pool p has samples edges[p] .. edges[p + 1] - 1.
    With control.adaptive = 0 sample i's steps end at given[i] (N + 1,).
    """
    w, room, m, waiting, last = F.w, S.s.shape[1], 0, edges[pool], edges[pool + 1]
    rows, y, k, y_new = scratch.rows, L.y[pool], L.k[pool], scratch.y_new[pool]
    begins, ends_at = rows.s[pool], rows.s_new[pool]
    while True:
        while m < L.sample.shape[1] and waiting < last:
            S.word[waiting] = standing(control, S, waiting, room)
            if S.now[waiting] < 1 and S.word[waiting] == DONE:
                seat(F, piece, L, rows, x, pool, m, waiting)
                begins[m] = S.now[waiting]
                for j in range(w):
                    y[m * w + j], k[0, m * w + j] = S.y[waiting, S.n[waiting], j], S.k[waiting, j]
                m += 1
            waiting += 1
        if m == 0:
            return
        for r in range(m):
            i, s = L.sample[pool, r], begins[r]
            if control.adaptive:
                ends_at[r] = 1.0 if s + 1.01 * S.ds[i] >= 1 else s + S.ds[i]
            else:
                ends_at[r] = given[i, S.begun[i] + 1]
        set_step(rows, pool, m)
        runge_kutta(F, V, B, kind, scratch, pool, m, 1, y, y_new, L.x[pool], L.slots[pool, :1], k)
        set_errors(B, control, scratch, pool, m, w, y, y_new, k)
        ends = k[B.c.size - 1]
        if not B.fsal:
            ends = scratch.total[pool]
            set_times(rows, pool, 1.0, m, scratch.t[pool])
            evaluate(F, V, kind, 0, scratch, pool, m, y_new, L.x[pool], scratch.slot[pool], ends)
        for r in range(m - 1, -1, -1):
            i = L.sample[pool, r]
            if attempt(B, control, piece, S, scratch, pool, r, i, room, given):
                begins[r] = ends_at[r]
                for j in range(r * w, (r + 1) * w):
                    y[j], k[0, j] = y_new[j], ends[j]
            if S.now[i] >= 1 or S.word[i] != DONE:
                for j in range(w):
                    S.k[i, j] = k[0, r * w + j]
                m -= 1
                seat(F, piece, L, rows, x, pool, r, L.sample[pool, m])
                begins[r] = begins[m]
                copy_row(y, m, r, w)
                copy_row(k[0], m, r, w)


@kernel
def own_steps(loop, F, V, B, kind, control, piece, S, L, scratch, x, edges, given):
    """`pool_steps` of all pools, by this thread or by a loop of all."""
    each(loop, len(edges) - 1, pool_steps, (F, V, B, kind, control, piece, S, L, scratch, x, edges, given))


@kernel
def own_rates(loop, F, V, kind, piece, L, scratch, x, edges, t, y, k):
    """k = F(t, y) (b, w) at depths t (b,)."""
    each(loop, len(edges) - 1, pool_rates, (F, V, kind, piece, L, scratch, x, edges, t, y, k))


@kernel
def pool_rates(F, V, kind, piece, L, scratch, x, edges, t, y, k, pool):
    """The same for the samples of one pool."""
    w, rows, size = F.w, scratch.rows, L.sample.shape[1]
    for first in range(edges[pool], edges[pool + 1], size):
        m = min(size, edges[pool + 1] - first)
        for r in range(m):
            seat(F, piece, L, rows, x, pool, r, first + r)
            scratch.t[pool, r] = t[first + r]
            for j in range(w):
                L.y[pool, r * w + j] = y[first + r, j]
        evaluate(F, V, kind, 0, scratch, pool, m, L.y[pool], L.x[pool], scratch.slot[pool], L.k[pool, 0])
        for r in range(m):
            for j in range(w):
                k[first + r, j] = L.k[pool, 0, r * w + j]


@kernel
def own_fractions(S, before, fractions):
    """Where samples stood behind each step of a segment (N + 1, b), 1 where they waited; before (b,): earlier steps."""
    for i in range(S.n.size):
        fractions[0, i] = 0.0
        for n in range(fractions.shape[0] - 1):
            fractions[n + 1, i] = S.s_new[i, before[i] + n] if n < S.begun[i] else 1.0
