"""Steps that the batch shares, tile by tile: by the calling thread, or by all of Numba's threads."""

import math

from refnode.kernels.apart import each
from refnode.kernels.compiled import inline, kernel
from refnode.kernels.fill import copy
from refnode.kernels.steps import error_of, first_of, rows_of, runge_kutta, set_errors, share_step
from refnode.kernels.systems import copies_of, evaluate, keep_theta, share_theta
from refnode.kernels.tape import KEEP_NOTHING
from refnode.kernels.theta import basis_at, coordinate, theta_at, weighted


@inline
def state_at(tape, n):
    """Where y_n stands on the tape."""
    return 0 if tape.keep == KEEP_NOTHING else n


@inline
def place_of(tape, tile):
    """Where a tape has a tile: one of fewer places than tiles serves several, one after the other."""
    return tile % tape.y.shape[0]


@kernel
def set_psi(V, B, piece, scratch, s, s_new, first, last):
    """psi and its slopes at stages first .. last - 1 of a step that all samples share, as the first sample has it."""
    before, after = (1 - s) * piece.start[0] + s * piece.end[0], (1 - s_new) * piece.start[0] + s_new * piece.end[0]
    h, m = (s_new - s) * (piece.end[0] - piece.start[0]), V.A.shape[0]
    for i in range(first, last):
        t = after if B.c[i] == 1 else before + float(B.c[i]) * h
        u = coordinate(V, t, piece.t0[0], piece.T[0])
        basis_at(V.basis, m, V.nodes, u, piece.cell, scratch.psi[i], scratch.slope[i])
        copy(scratch.psi[i], scratch.weights[i])


@kernel
def make_copy(V, scratch, first, last, number):
    """One copy of theta at stages first .. last - 1, whose psi are there."""
    weights, theta, (stages, _) = scratch.weights[first:last], scratch.theta, scratch.psi.shape
    p, at = theta.shape[1], number * stages + first
    weighted(V, weights.reshape(weights.size), last - first, True, 0, p, theta.reshape(theta.size), at * p, p)


@kernel
def set_theta(loop, F, V, B, piece, scratch, s, s_new, first, last):
    """theta at stages first .. last - 1 of the same step."""
    set_psi(V, B, piece, scratch, s, s_new, first, last)
    each(loop, copies_of(scratch), make_copy, (V, scratch, first, last))
    for i in range(first, last):
        keep_theta(F, scratch.theta[i], i)


@kernel
def turn_over(tape, stages, fsal):
    """On a tape of one step: its last stage is the first of the next, its end the next's start."""
    for tile in range(tape.y.shape[0]):
        turn_tile(tape, stages, fsal, tile)


@kernel
def turn_tile(tape, stages, fsal, tile):
    """The same for one tile."""
    if fsal:
        copy(tape.k[tile, stages - 1], tape.k[tile, 0])
    if tape.keep == KEEP_NOTHING:
        copy(tape.y[tile, 1], tape.y[tile, 0])


@kernel
def tile_step(F, V, B, kind, control, piece, tape, scratch, x, batch, n, s, s_new, first, tile):
    """Stages `first` .. of step n for one tile; its new state; the errors of its rows."""
    m, base, at = rows_of(scratch, tile, batch), tape.base[n], state_at(tape, n)
    x_tile = x[first_of(scratch, tile) * F.controls :]
    share_step(piece, scratch.rows, tile, m, s, s_new)
    place = place_of(tape, tile)
    y, y_new, k = tape.y[place, at], tape.y[place, at + 1], tape.k[place, base:]
    slots = tape.slots[place, min(base, tape.slots.shape[1] - 1) :]
    runge_kutta(F, V, B, kind, scratch, tile, m, first, y, y_new, x_tile, slots, k)
    set_errors(B, control, scratch, tile, m, F.w, y, y_new, k)


@inline
def step_all(loop, F, V, B, kind, control, piece, tape, scratch, x, batch, n, s, s_new, first):
    """One step of all tiles, by this thread or by a loop of all; first is 0 if k_0 is not there yet, else 1."""
    each(loop, tape.y.shape[0], tile_step, (
        F, V, B, kind, control, piece, tape, scratch, x, batch, n, s, s_new, first,
    ))  # fmt: skip


@kernel
def tile_rates(F, V, kind, piece, tape, scratch, x, batch, at, stage, t, tile):
    """k[:, stage] of one tile."""
    m = rows_of(scratch, tile, batch)
    for r in range(m):
        scratch.t[tile, r] = t[first_of(scratch, tile) + r]
    share_step(piece, scratch.rows, tile, m, 0.0, 0.0)
    x_tile = x[first_of(scratch, tile) * F.controls :]
    y, slot, k = tape.y[tile, at], tape.slots[tile, min(stage, tape.slots.shape[1] - 1)], tape.k[tile, stage]
    evaluate(F, V, kind, 0, scratch, tile, m, y, x_tile, slot, k)


@kernel
def rates(loop, F, V, kind, piece, tape, scratch, x, batch, at, stage, t):
    """k[:, stage] = F(t, y[:, at]) of the whole batch at depths t (b,), t[0] for all where the batch shares theta."""
    if kind.by_stage:
        theta_at(V, t[0], piece.t0[0], piece.T[0], piece.cell, scratch.theta[0], scratch.psi[0], scratch.slope[0])
        share_theta(scratch)
        keep_theta(F, scratch.theta[0], 0)
    each(loop, tape.y.shape[0], tile_rates, (F, V, kind, piece, tape, scratch, x, batch, at, stage, t))


@kernel
def larger(a, b):
    """max that keeps NaN."""
    return b if math.isnan(b) or b > a else a


@kernel
def batch_error(B, control, errors, batch, w):
    """The error norm over all rows, in order; for fixed steps NaN if a row is."""
    first, second, size = 0.0, 0.0, errors.shape[2]
    for i in range(batch):
        of_row = errors[i // size]
        r = i % size
        if control.worst:
            first = larger(first, of_row[0, r])
            second = larger(second, of_row[1, r]) if B.two_errors else 0.0
        else:
            first += of_row[0, r]
            second += of_row[1, r] if B.two_errors else 0.0
    return error_of(B, first, second, w if control.worst else batch * w)
