"""The stages that only the interpolant needs: the twin of `refnode.dense.with_extra_stages`."""

from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.shared_steps import set_theta
from refnode.kernels.steps import combine, first_of, rows_of, set_lengths, set_times, share_step
from refnode.kernels.systems import evaluate


@kernel
def tile_extra(F, V, E, kind, piece, tape, extra, scratch, x, batch, n, tile):
    """Step n's extra stages for one tile; E is their part of the tableau."""
    m, base = rows_of(scratch, tile, batch), tape.base[n]
    size, stages = m * F.w, E.a.shape[1] - E.c.size
    rows, x_tile = scratch.rows, x[first_of(scratch, tile) * F.controls :]
    share_step(piece, rows, tile, m, tape.s[n], tape.s_new[n])
    y, k, more = tape.y[tile, n], tape.k[tile, base:], extra[tile, n]
    h, total, stage = scratch.h[tile], scratch.total[tile], scratch.stage[tile]
    set_lengths(rows, tile, m, F.w, h)
    for i in range(E.c.size):
        combine(E.a[i], stages, k, 0, size, total)
        for j in range(i):
            for q in range(size):
                total[q] += E.a[i, stages + j] * more[j, q]
        for q in range(size):
            stage[q] = y[q] + h[q] * total[q]
        set_times(rows, tile, E.c[i], m, scratch.t[tile])
        evaluate(F, V, kind, i * kind.by_stage, scratch, tile, m, stage, x_tile, scratch.slot[tile], more[i])


@kernel
def extra_stages(loop, F, V, E, kind, piece, tape, extra, scratch, x, batch, first, last):
    """The extra stages of steps first .. last - 1."""
    for n in range(first, last):
        if kind.by_stage:
            set_theta(loop, F, V, E, piece, scratch, tape.s[n], tape.s_new[n], 0, E.c.size)
        each(loop, tape.y.shape[0], tile_extra, (F, V, E, kind, piece, tape, extra, scratch, x, batch, n))
