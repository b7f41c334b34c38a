"""Steps that a proposal asks for, tile by tile, before it is known whether they are accepted.

No tile waits for an error norm over the batch: each goes through all proposed steps on its own, as on a given grid, and
the norms are asked afterwards, one step after the other. What follows a rejected step is thrown away.
"""

import numpy as np

from refnode.kernels.advance import advance, judge
from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.shared_steps import batch_error, tile_step
from refnode.kernels.tape import DONE, IN_PLACE, NOWHERE


@kernel
def tile_proposal(F, V, B, kind, control, piece, tape, scratch, x, batch, fractions, n, first, errors, tile):
    """The proposed steps of one tile, in places n .. of the tape; errors[:, tile] of their rows."""
    for i in range(len(fractions) - 1):
        there = first if i == 0 else B.fsal
        tile_step(
            F, V, B, kind, control, piece, tape, scratch, x, batch, n + i, fractions[i], fractions[i + 1], there, tile
        )
        for of in range(errors.shape[2]):
            for r in range(errors.shape[3]):
                errors[i, tile, of, r] = scratch.errors[tile, of, r]


@kernel(allocates=True)
def proposed_steps(loop, F, V, B, kind, control, piece, tape, scratch, state, x, batch, fractions):
    """`advance` along a proposal, fractions (N + 1,), for a tape that keeps stages and one theta for the segment."""
    stages, useful, count, n = B.c.size, B.c.size - B.fsal, len(fractions) - 1, state.whole[0]
    room = min(len(tape.s) - 1 - n, (tape.k.shape[1] - tape.base[n] - 2 * stages) // useful + 1)
    if state.whole[7] or count > room or state.whole[2] + count > control.max_steps:
        return advance(loop, F, V, B, kind, control, piece, tape, scratch, state, x, batch, fractions)
    (tiles, estimates, rows), first = scratch.errors.shape, 0 if state.whole[6] == NOWHERE else 1
    errors = np.empty((count, tiles, estimates, rows))
    for i in range(count):
        tape.base[n + i + 1] = tape.base[n + i] + useful
    each(loop, tape.y.shape[0], tile_proposal, (
        F, V, B, kind, control, piece, tape, scratch, x, batch, fractions, n, first, errors,
    ))  # fmt: skip
    word, i = DONE, 0
    while word == DONE and state.whole[8] and i < count:
        state.whole[2] += 1
        state.whole[5] += stages - (first if i == 0 else B.fsal)
        state.whole[6] = IN_PLACE
        err = batch_error(B, control, errors[i], batch, F.w)
        word = judge(B, control, piece, tape, state, batch, fractions[i], fractions[i + 1], err)
        i += 1
    if word == DONE and state.real[0] < 1:
        return advance(loop, F, V, B, kind, control, piece, tape, scratch, state, x, batch, fractions)
    return word
