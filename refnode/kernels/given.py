"""Steps on a given grid, tile by tile: the twin of `refnode.integrate.prescribed_steps`.

No step waits for an error norm over the batch, so each tile goes through all steps on its own: its numbers stay in the
cache, and threads meet once.
"""

import math

from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.shared_steps import batch_error, tile_step, turn_tile
from refnode.kernels.tape import DONE, FULL, IN_PLACE, KEEP_STAGES, NOT_FINITE, NOWHERE


@kernel
def tile_steps(F, V, B, kind, control, piece, tape, scratch, x, batch, fractions, n, begun, count, first, tile):
    """`count` steps of one tile from fractions[begun] on, in places n .. of the tape."""
    for i in range(count):
        s, s_new = fractions[begun + i], fractions[begun + i + 1]
        there = first if i == 0 else B.fsal
        tile_step(F, V, B, kind, control, piece, tape, scratch, x, batch, n + i, s, s_new, there, tile)
        if tape.keep != KEEP_STAGES:
            turn_tile(tape, B.c.size, B.fsal, tile)


@kernel
def given_steps(loop, F, V, B, kind, control, piece, tape, scratch, state, x, batch, fractions):
    """`advance` on a given grid, for a tape that keeps states, where theta is not one for each stage."""
    stages, useful = B.c.size, B.c.size - B.fsal
    n, begun, first = state.whole[0], state.whole[7], 0 if state.whole[6] == NOWHERE else 1
    count = min(len(fractions) - 1 - begun, len(tape.s) - 1 - n)
    if tape.keep == KEEP_STAGES:
        count = min(count, (tape.k.shape[1] - tape.base[n] - 2 * stages) // useful + 1)
    if count <= 0:
        return FULL
    for i in range(count):
        tape.s[n + i], tape.s_new[n + i] = fractions[begun + i], fractions[begun + i + 1]
        tape.base[n + i + 1] = tape.base[n + i] + useful if tape.keep == KEEP_STAGES else 0
    each(loop, tape.y.shape[0], tile_steps, (
        F, V, B, kind, control, piece, tape, scratch, x, batch, fractions, n, begun, count, first,
    ))  # fmt: skip
    failed = math.isnan(batch_error(B, control, scratch.errors, batch, F.w))
    good = finite_steps(tape, n, count, batch, F.w) if failed else count
    state.real[0] = fractions[begun + good]
    state.whole[0], state.whole[7] = n + good, begun + good
    state.whole[2] += good + failed
    state.whole[3] += good
    state.whole[5] += stages - first + (good + failed - 1) * useful
    state.whole[6] = IN_PLACE if B.fsal else NOWHERE
    if failed:
        state.real[1] = fractions[begun + good + 1] - fractions[begun + good]
        return NOT_FINITE
    return DONE if begun + good == len(fractions) - 1 else FULL


@kernel
def finite_steps(tape, n, count, batch, w):
    """How many of `count` steps from n on ended in finite states, before the first that did not."""
    for i in range(count):
        for tile in range(tape.y.shape[0]):
            y = tape.y[tile, n + i + 1]
            for q in range(min(y.size, batch * w - tile * y.size)):
                if not math.isfinite(y[q]):
                    return i
    return count - 1
