"""One attempted step of wide networks that all trajectories share: the twins of `refnode.kernels.cuda.shared`.

Rates of state and costate come from the pass that gathers integrals, into room that nobody reads: weights are 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64, void

from refnode.kernels.cuda.compile import array_of, device
from refnode.kernels.cuda.controller import Limits, squares_of
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.shared import block_sums
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of
from refnode.kernels.cuda.tile import enter_of, rate_of_tile
from refnode.kernels.cuda.tile_backsolve import costate_of_tile
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_shape import TileShape


def tile_rates(S: TileShape) -> tuple[Callable[..., None], Any]:
    """The kernel k = F(t, y), or u's for a costate's shape, for blocks of S.threads, and its signature.

    y, k            (w, b);  t   (1,) or (b,)
    x .. table      as in `refnode.kernels.cuda.tile_backsolve`, of one stage
    g_x, kept, part room that only a costate needs
    """
    rate, scalar, real, own = system_of(S), from_dtype(np.dtype(S.dtype)), S.real, S.own
    w, rows, width, held_size, chunk_size = U(S.width), U(S.rows), S.width, S.held_size, S.chunk_size

    def kernel(y, k, x, theta, turned, slopes, layers, c, t, table, g_x, kept, part):
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        tid = uint64(cuda.threadIdx.x)
        i = uint64(cuda.blockIdx.x) * rows + tid
        there = tid < rows and i < uint64(y.shape[1])
        now, slope = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        for j in range(w):
            now[j] = y[j, i] if there else real(0)
        rate(
            theta, turned, slopes, U(0), layers, c, t[i if own and there else U(0)], now, x, i, there, g_x, table, U(0),
            held, chunk, kept, part, slope, U(0),
        )  # fmt: skip
        if there:
            for j in range(w):
                k[j, i] = slope[j]

    one, two, three = (array_of(real, n) for n in (1, 2, 3))
    return kernel, void(two, two, two, two, two, two, array_of(np.int64, 2), one, one, two, two, two, three)


def tile_attempt(S: TileShape) -> tuple[Callable[..., None], Any]:
    """The kernel that takes one step, for blocks of S.threads and tableaux with FSAL, and its signature.

    y, y_new        (w, b) states before and after it;  k_first, k_last   (w, b) its first and its last stage
    x .. table      as in `refnode.kernels.cuda.tile_backsolve`, of this step;  limits   of `Limits` (8,)
    g_x, kept, part room that only a costate needs
    errors          (blocks, 2) as in `refnode.kernels.cuda.shared`
    """
    load, stages, squares, add = load_of(), system_stages_of(S), squares_of(S), block_sums(S)
    scalar, real, own, w, rows = from_dtype(np.dtype(S.dtype)), S.real, S.own, U(S.width), U(S.rows)
    width, stage_size, tableau_size = S.width, S.butcher.stages * S.width, butcher_of(S).size
    held_size, chunk_size, last = S.held_size, S.chunk_size, U((S.butcher.stages - 1) * S.width)
    s = U(S.butcher.stages)

    def kernel(
        y, y_new, k_first, k_last, x, theta, turned, slopes, layers, B, c, limits, t, t_new, h, table, g_x, kept, part,
        errors,
    ):  # fmt: skip
        tableau = cuda.shared.array(tableau_size, scalar)
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        tid = uint64(cuda.threadIdx.x)
        i = uint64(cuda.blockIdx.x) * rows + tid
        there = tid < rows and i < uint64(y.shape[1])
        now, u, k = (
            cuda.local.array(width, scalar), cuda.local.array(width, scalar), cuda.local.array(stage_size, scalar)
        )  # fmt: skip
        for j in range(w):
            now[j] = y[j, i] if there else real(0)
            k[j] = k_first[j, i] if there else real(0)
        at, error = i if own and there else U(0), real(0)
        length = h[U(0), at]
        stages(
            theta, turned, slopes, layers, c, tableau, t[U(0), at], t_new[U(0), at], length, now, x, i, there, U(1), s,
            g_x, table, held, chunk, kept, part, k, u,
        )  # fmt: skip
        if there:
            L = Limits(
                limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6], limits[7]
            )  # fmt: skip
            error = squares(tableau, L, length, now, u, k)
            for j in range(w):
                y_new[j, i], k_last[j, i] = u[j], k[last + j]
        add(error, errors)

    one_, two, three = (array_of(real, n) for n in (1, 2, 3))
    return kernel, void(
        two, two, two, two, two, two, two, two, array_of(np.int64, 2), one_, one_, one_, two, two, two, two, two, two,
        three, two,
    )  # fmt: skip


def system_stages_of(S: TileShape) -> Any:
    """Device function: stages first .. last - 1 of a step of y, or of u, in k (s w,); u is the last one's state, which
    with FSAL is the step's end. All threads of the block take part.
    """
    rate, one, w, s, varies = system_of(S), S.real(1), U(S.width), U(S.butcher.stages), U(bool(S.basis))
    (stage_state, _), node_at = stages_of(S, None), s * s + s

    @device
    def stages(
        theta, turned, slopes, layers, c, B, t, t_new, h, now, x, i, there, first, last, g_x, table, held, chunk, kept,
        part, k, u,
    ):  # fmt: skip
        r = first
        while r < last:
            stage_state(B, r, h, now, k, u)
            node = B[node_at + r]
            rate(
                theta, turned, slopes, r * varies, layers, c, t_new if node == one else t + node * h, u, x, i, there,
                g_x, table, r, held, chunk, kept, part, k, r * w,
            )  # fmt: skip
            r += U(1)

    return stages


def system_of(S: TileShape) -> Any:
    """Device function: k[at ..] = y', or u', of the thread's trajectory; all threads of the block take part."""
    scalar, real, w, width = from_dtype(np.dtype(S.dtype)), S.real, U(S.width), S.width
    if isinstance(S, TileCostate):
        costate, all_of_it = costate_of_tile(S), S.real(-1)

        @device
        def of_both(
            theta, turned, slopes, line, layers, c, t, v, x, i, there, g_x, table, row, held, chunk, kept, part, k, at
        ):
            turn = cuda.local.array(2, scalar)
            costate(
                theta, turned, slopes, line, layers, c, t, v, x, i, there, all_of_it, g_x, table, row, held, chunk,
                kept, (part, part, part, real(0), real(0)), turn, k, at,
            )  # fmt: skip

        return of_both
    rate, enter = rate_of_tile(S), enter_of(S)

    @device
    def of_state(
        theta, turned, slopes, line, layers, c, t, v, x, i, there, g_x, table, row, held, chunk, kept, part, k, at
    ):
        slope = cuda.local.array(width, scalar)
        for j in range(w):
            slope[j] = real(0)
        enter(t, v, x, i, there, held)
        rate(theta, line, layers, c, t, v, held, chunk, slope)
        for j in range(w):
            k[at + j] = slope[j]

    return of_state
