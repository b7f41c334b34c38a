"""The stages that only the interpolant needs: the twin of `refnode.dense.with_extra_stages`."""

from numba import prange
from numba.extending import overload

from refnode.kernels.compiled import inline, kernel
from refnode.kernels.shared_steps import set_theta
from refnode.kernels.steps import combine, rows_of, set_lengths, set_times, tile_rows
from refnode.kernels.systems import evaluate
from refnode.kernels.tape import TILE, OneThread


@kernel
def tile_extra(F, V, E, kind, piece, tape, extra, scratch, x, tile, batch, n):
    """Step n's extra stages for one tile; E is their part of the tableau."""
    m, base = rows_of(tile, batch), tape.base[n]
    size, stages = m * F.w, E.a.shape[1] - E.c.size
    rows, x_tile = tile_rows(piece, scratch, tile, m, tape.s[n], tape.s_new[n]), x[tile * TILE * F.controls :]
    y, k, more = tape.y[tile, n], tape.k[tile, base:], extra[tile, n]
    h, total, stage = scratch.h[tile], scratch.total[tile], scratch.stage[tile]
    set_lengths(rows, m, F.w, h)
    for i in range(E.c.size):
        combine(E.a[i], stages, k, 0, size, total)
        for j in range(i):
            for q in range(size):
                total[q] += E.a[i, stages + j] * more[j, q]
        for q in range(size):
            stage[q] = y[q] + h[q] * total[q]
        set_times(rows, E.c[i], m, scratch.t[tile])
        evaluate(F, V, kind, i * kind.by_stage, scratch, rows, tile, m, stage, x_tile, scratch.slot[tile], more[i])


@kernel(parallel=True)
def extra_in_parallel(F, V, E, kind, piece, tape, extra, scratch, x, batch, n):
    """Step n's extra stages, by all threads."""
    for tile in prange(tape.y.shape[0]):
        tile_extra(F, V, E, kind, piece, tape, extra, scratch, x, tile, batch, n)


@inline
def extra_in_series(F, V, E, kind, piece, tape, extra, scratch, x, batch, n):
    """Step n's extra stages, by this thread."""
    for tile in range(tape.y.shape[0]):
        tile_extra(F, V, E, kind, piece, tape, extra, scratch, x, tile, batch, n)


def extra_of_step(by, F, V, E, kind, piece, tape, extra, scratch, x, batch, n):
    """Step n's extra stages, by the threads that the type of `by` says."""
    raise NotImplementedError("compiled code only")


@overload(extra_of_step, inline="always")
def _extra_of_step(by, F, V, E, kind, piece, tape, extra, scratch, x, batch, n):
    run = extra_in_series if by.instance_class is OneThread else extra_in_parallel

    def implementation(by, F, V, E, kind, piece, tape, extra, scratch, x, batch, n):
        run(F, V, E, kind, piece, tape, extra, scratch, x, batch, n)

    return implementation


@kernel
def extra_stages(by, F, V, E, kind, piece, tape, extra, scratch, x, batch, first, last):
    """The extra stages of steps first .. last - 1."""
    for n in range(first, last):
        if kind.by_stage:
            set_theta(F, V, E, piece, scratch, tape.s[n], tape.s_new[n], 0, E.c.size)
        extra_of_step(by, F, V, E, kind, piece, tape, extra, scratch, x, batch, n)
