"""The parameter integrals of an accepted backward step: the twin of `refnode.gradients.continuous.BackwardPass.gather`.

    -h sum_i b_i (dF/d(alpha, x, t0, T))^T [a, g]    and with b_err for b an estimate of its error

Every stage has left a record. Its outer products are summed over groups of tiles, always the same ones, and then, block
by block of theta, over the groups: so the bits do not depend on the number of threads.
"""

from dataclasses import dataclass

import numpy as np

from refnode.kernels.apart import each
from refnode.kernels.compiled import inline, kernel
from refnode.kernels.fill import copy, zero
from refnode.kernels.mlp import add_weights, cotangent_size, slot_size
from refnode.kernels.rates import parameter_norm_vjp
from refnode.kernels.records import Record
from refnode.kernels.shared_steps import set_theta
from refnode.kernels.steps import first_of, rows_of
from refnode.kernels.systems import record_of, record_size
from refnode.kernels.theta import COLUMNS, coordinate, theta_at, theta_vjp, u_vjp

GROUP = 4  # tiles


@dataclass(frozen=True)
class Integrals(Record):
    """What backward steps have given to the parameters, and what their error may be.

    groups           a step's, of theta (groups, stages, 1, p), or of constant leaves and coefficients (.., m + 1, p)
    total, size      of constant leaves, then of coefficients (m + 1, p): the integrals, and the sum of absolute terms
    missed, missed3  this step's errors (m + 1, p), by b_err and by b_err3
    varies           1 for entries of theta that vary, else 0 (p,)
    of_u, worst      blocks' shares of u's cotangents (blocks, stages), at stages that count; largest errors (blocks, 2)
    x                of the control (2, b n_x), with weights b and b_err;  ends (2, 2, b) likewise of t0 and T
    error            the largest error of a step (1,)
    """

    groups: np.ndarray
    total: np.ndarray
    size: np.ndarray
    missed: np.ndarray
    missed3: np.ndarray
    varies: np.ndarray
    of_u: np.ndarray
    worst: np.ndarray
    x: np.ndarray
    ends: np.ndarray
    error: np.ndarray


@inline
def counts(B, i):
    """Whether stage i weighs in an integral or in the estimate of its error."""
    return B.b[i] != 0 or B.b_err[i] != 0 or B.b_err3[i] != 0


# ---------------------------------------------------------------- groups of tiles

@kernel
def add_tiles(S, theta, slots, i, first, count, m, g_theta):
    """Add to g_theta (p,) what stage i of `count` tiles of m rows left."""
    F, pitch, stages = S.rates, slots.shape[1] * slots.shape[2], slots.shape[1]
    at, flat = (first * stages + i) * slots.shape[2], slots.reshape(slots.size)
    layers = at + m * slot_size(F.net)
    t = layers + m * cotangent_size(F.net)
    add_weights(F.net, theta, m, count, flat, at, pitch, flat, layers, pitch, flat, t, pitch, g_theta)
    g_q = 0.0
    for tile in range(first, first + count):
        for share in record_of(F, m, slots[tile, i]).share:
            g_q += S.g_q * share
    parameter_norm_vjp(F.squares[3], theta, g_q, g_theta)


@kernel
def of_theta(S, V, kind, piece, tape, scratch, I, group, i, batch):
    """Stage i's cotangent of theta, or those of coefficients where each row has a theta of its own, for one group."""
    first, last, full = group * GROUP, min((group + 1) * GROUP, tape.slots.shape[0]), batch // scratch.t.shape[1]
    if kind.by_row:
        for tile in range(first, last):
            of_own_theta(S, V, piece, tape, scratch, I.groups[group, i], tile, i, batch)
        return
    theta, g_theta = scratch.theta[i * kind.by_stage], I.groups[group, i, 0]
    if full > first:
        add_tiles(S, theta, tape.slots, i, first, min(full, last) - first, scratch.t.shape[1], g_theta)
    if last > full:
        add_tiles(S, theta, tape.slots, i, full, 1, batch - first_of(scratch, full), g_theta)


@kernel
def of_own_theta(S, V, piece, tape, scratch, groups, tile, i, batch):
    """What the rows of a tile, each with its own theta, give to constant leaves and coefficients in stage i."""
    F = S.rates
    size, still, A = record_size(F), groups[0], groups[1:]
    own, psi, slope = scratch.own[tile], scratch.own_psi[tile], scratch.own_slope[tile]
    g_theta = S.transposed[tile]  # room: no longer needed
    for r in range(rows_of(scratch, tile, batch)):
        b, record = first_of(scratch, tile) + r, record_of(F, 1, tape.slots[tile, i, r * size : (r + 1) * size])
        theta_at(V, record.t[0], piece.t0[b], piece.T[b], piece.cell, own, psi, slope)
        zero(g_theta)
        add_weights(F.net, own, 1, 1, record.slot, 0, 0, record.layers, 0, 0, record.t, 0, 0, g_theta)
        parameter_norm_vjp(F.squares[3], own, S.g_q * record.share[0], g_theta)
        record.u[0] = theta_vjp(V, g_theta, psi, slope, still, A)


@kernel
def group_task(S, V, B, kind, piece, tape, scratch, I, batch, task):
    """One stage of a group, or, where rows have their own theta and share its room, all stages."""
    stages = B.c.size
    first, group = (0, task) if kind.by_row else (task % stages, task // stages)
    for i in range(first, stages if kind.by_row else first + 1):
        if counts(B, i):
            zero(I.groups[group, i].reshape(I.groups[group, i].size))
            of_theta(S, V, kind, piece, tape, scratch, I, group, i, batch)


# ---------------------------------------------------------------- tiles

@kernel
def tile_task(S, V, B, kind, piece, tape, scratch, I, batch, tile):
    """What is each sample's own: its control, and the ends that its theta follows; and the next step's first record."""
    F, m, h = S.rates, rows_of(scratch, tile, batch), (tape.s_new[0] - tape.s[0]) * S.longest
    size, n_x = record_size(F), F.controls
    for i in range(B.c.size):
        for r in range(m if counts(B, i) and (n_x or kind.by_row) else 0):
            b = first_of(scratch, tile) + r
            if kind.by_row:
                record = record_of(F, 1, tape.slots[tile, i, r * size : (r + 1) * size])
                t, t0, T, g_u = record.t[0], piece.t0[b], piece.T[b], float(record.u[0])
                x = record.x
                if V.follows and g_u != 0:
                    add_ends(B, i, -h * g_u / (T - t0), (t - t0) / (T - t0), I.ends[:, :, b])
            else:
                x = record_of(F, m, tape.slots[tile, i]).x[r * n_x : (r + 1) * n_x]
            for j in range(n_x):
                I.x[0, b * n_x + j] -= h * B.b[i] * x[j]
                I.x[1, b * n_x + j] -= h * B.b_err[i] * x[j]
    if B.fsal:
        copy(tape.slots[tile, B.c.size - 1], tape.slots[tile, 0])


@kernel
def add_ends(B, i, rate, u, ends):
    """What stage i's u gives to t0 and T: ends (2, 2)."""
    for n, weight in enumerate((float(B.b[i]), float(B.b_err[i]))):
        ends[n, 0] -= weight * (1 - u) * rate
        ends[n, 1] -= weight * u * rate


# ---------------------------------------------------------------- blocks of theta

@kernel(allocates=True)
def block_task(S, V, B, kind, tape, scratch, I, block):
    """A block's entries of theta: sums over the groups in order, their integrals, absolute terms and errors."""
    low, high = block * COLUMNS, min((block + 1) * COLUMNS, I.varies.size)
    h, stages, varies = (tape.s_new[0] - tape.s[0]) * S.longest, B.c.size, I.varies[low:high]
    for i in range(stages):
        for j in range(I.groups.shape[2] if counts(B, i) else 0):
            row = I.groups[0, i, j, low:high]
            for group in range(1, I.groups.shape[0]):
                other = I.groups[group, i, j, low:high]
                for q in range(row.size):
                    row[q] += other[q]
    zero(I.worst[block])
    for j in range(I.total.shape[0]):
        total, size = I.total[j, low:high], I.size[j, low:high]
        missed, missed3 = I.missed[j, low:high], I.missed3[j, low:high]
        zero(missed)
        zero(missed3)
        for i in range(stages):
            weight = -h * (1.0 if kind.by_row or j == 0 else scratch.psi[i * kind.by_stage, j - 1])
            row = I.groups[0, i, j * kind.by_row, low:high]
            if B.b[i] != 0:
                add_integral(weight * B.b[i], row, total, size)
            if B.b_err[i] != 0:
                add_error(weight * B.b_err[i], row, missed)
            if B.b_err3[i] != 0:
                add_error(weight * B.b_err3[i], row, missed3)
        for q in range(varies.size):
            if varies[q] == (j > 0):
                I.worst[block, 0] = max(I.worst[block, 0], abs(missed[q]))
                I.worst[block, 1] = max(I.worst[block, 1], abs(missed3[q]))
    if kind.by_stage:
        g, received = I.groups.reshape(I.groups.size), np.empty(stages, I.groups.dtype)
        slopes, moving = np.empty(scratch.slope.size, g.dtype), np.empty(stages * (high - low), g.dtype)
        copy(scratch.slope.reshape(scratch.slope.size), slopes)
        u_vjp(V, slopes, stages, g, low, I.varies.size, low, high - low, moving, received, 0)
        copy(received, I.of_u[block])


@inline
def add_integral(weight, row, total, size):
    """A stage's term of the integrals."""
    for q in range(row.size):
        term = weight * row[q]
        total[q] += term
        size[q] += abs(term)


@inline
def add_error(weight, row, missed):
    """A stage's term of an error."""
    for q in range(row.size):
        missed[q] += weight * row[q]


# ---------------------------------------------------------------- a step

@inline
def tasks_of(B, kind, I):
    """How many `group_task`s there are."""
    return I.groups.shape[0] * (1 if kind.by_row else B.c.size)


@kernel
def block_or_tile(S, V, B, kind, piece, tape, scratch, I, batch, task):
    """A block of theta, or, behind them, a tile."""
    blocks = I.worst.shape[0]
    if task < blocks:
        block_task(S, V, B, kind, tape, scratch, I, task)
    else:
        tile_task(S, V, B, kind, piece, tape, scratch, I, batch, task - blocks)


@kernel(allocates=True)
def gather(loop, F, V, B, kind, piece, tape, scratch, I, batch):
    """Add the integrals of the step at the start of the tape, whose stages have left their records."""
    s, s_new, S = tape.s[0], tape.s_new[0], F.costate
    if kind.by_stage:
        set_theta(loop, F, V, B, piece, scratch, s, s_new, 0, 1)  # of a first stage that was the last step's last
    held = (S, V, B, kind, piece, tape, scratch, I, batch)
    each(loop, tasks_of(B, kind, I), group_task, held)
    each(loop, I.worst.shape[0] + tape.slots.shape[0], block_or_tile, held)
    I.error[0] = max(I.error[0], joined(I.worst[:, 0].max(), I.worst[:, 1].max(), B.two_errors))
    if kind.by_stage and V.follows:
        h, t0, T = (s_new - s) * S.longest, piece.t0[0], piece.T[0]
        for i in range(B.c.size):
            if counts(B, i):
                c = float(B.c[i])
                place = s_new if c == 1 else s + c * (s_new - s)
                t, g_u = (1 - place) * piece.start[0] + place * piece.end[0], -h * I.of_u[:, i].sum()
                for b in range(batch):  # each sample bears its part
                    add_ends(B, i, g_u / (T - t0) / batch, coordinate(V, t, t0, T), I.ends[:, :, b])


@inline
def joined(first, second, two):
    """The error by one estimate, or by two as DOP853 joins them: the twin of `refnode.steps.combined`."""
    total = (first * first + 0.01 * second * second) ** 0.5 if two else first
    return first * first / total if total != 0 else total
