"""Loops over steps of the costate: its way down a segment, and the largest slope of the running loss on the way up."""

from refnode.kernels.advance import advance
from refnode.kernels.compiled import kernel
from refnode.kernels.integrals import gather
from refnode.kernels.steps import first_of, rows_of, share_step
from refnode.kernels.systems import evaluate, keep_theta, share_theta
from refnode.kernels.tape import FULL
from refnode.kernels.theta import theta_at


@kernel
def back(loop, F, V, B, kind, control, piece, tape, scratch, state, x, batch, fractions, I):
    """Down a segment on a tape of one step; the parameter integrals are gathered of every step that was accepted."""
    word = FULL
    while word == FULL:
        word = advance(loop, F, V, B, kind, control, piece, tape, scratch, state, x, batch, fractions)
        if state.whole[0]:
            gather(loop, F, V, B, kind, piece, tape, scratch, I, batch)
            state.whole[0] = 0
    return word


@kernel
def largest_at(F, V, kind, piece, scratch, x, batch, s, y):
    """max |g dl/dz| of the batch at y (tiles, T w), where the segment's way down has the fraction s."""
    largest, S = 0.0, F.costate
    if kind.by_stage:
        t = (1 - s) * piece.start[0] + s * piece.end[0]
        theta_at(V, t, piece.t0[0], piece.T[0], piece.cell, scratch.theta[0], scratch.psi[0], scratch.slope[0])
        share_theta(scratch)
        keep_theta(F, scratch.theta[0], 0)
    for tile in range(y.shape[0]):
        m, u, du = rows_of(scratch, tile, batch), scratch.stage[tile], scratch.total[tile]
        share_step(piece, scratch.rows, tile, m, s, s)
        x_tile, t = x[first_of(scratch, tile) * F.controls :], scratch.t[tile]
        for r in range(m):
            t[r] = scratch.rows.t[tile, r]
        for r in range(m):
            for j in range(S.w):  # [z, 0], or 0
                u[r * S.w + j] = y[tile, r * S.rates.w + j] if j < S.w - S.rates.d else 0.0
        evaluate(F, V, kind, 0, scratch, tile, m, u, x_tile, scratch.slot[tile], du)
        for r in range(m):
            for j in range(S.w - S.rates.d, S.w):
                largest = max(largest, abs(du[r * S.w + j]))
    return largest


@kernel
def largest_on_tape(F, V, kind, piece, tape, scratch, x, batch, first, last):
    """max |g dl/dz| at both ends of steps first .. last - 1, which the tape has kept."""
    largest = largest_at(F, V, kind, piece, scratch, x, batch, 1 - tape.s[first], tape.y[:, first])
    for n in range(first, last):
        largest = max(largest, largest_at(F, V, kind, piece, scratch, x, batch, 1 - tape.s_new[n], tape.y[:, n + 1]))
    return largest


@kernel
def largest_again(loop, F, D, V, B, kind, control, up, down, tape, scratch, back, state, x, batch, fractions):
    """The same with the steps of F run again, one at a time: up and down are the segment's two ways, D the costate."""
    largest, word = largest_at(D, V, kind, down, back, x, batch, 1.0, tape.y[:, 0]), FULL
    while word == FULL:
        word = advance(loop, F, V, B, kind, control, up, tape, scratch, state, x, batch, fractions)
        if state.whole[0]:
            largest = max(largest, largest_at(D, V, kind, down, back, x, batch, 1 - state.real[0], tape.y[:, 0]))
            state.whole[0] = 0
    return largest
