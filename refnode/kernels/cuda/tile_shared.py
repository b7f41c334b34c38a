"""One attempted step of wide networks that all trajectories share: the twins of `refnode.kernels.cuda.shared`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64, void

from refnode.kernels.cuda.compile import array_of
from refnode.kernels.cuda.controller import Limits, squares_of
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.shared import block_sums
from refnode.kernels.cuda.steps import butcher_of, load_of
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_system import system_of, system_stages_of


def tile_rates(S: TileShape) -> tuple[Callable[..., None], Any]:
    """The kernel k = F(t, y), or u's for a costate's shape, for blocks of S.threads, and its signature.

    y, k            (w, b);  t   (1,) or (b,)
    x .. layers     as in `refnode.kernels.cuda.tile_gradient`, of one stage;  c   as in `.tile_backsolve` for a costate
    kept            (blocks, S.kept_size) room for a costate's;  table   as in `refnode.kernels.cuda.tile`
    """
    rate, scalar, real, own = system_of(S), from_dtype(np.dtype(S.dtype)), S.real, S.own
    w, rows, width, held_size, chunk_size = U(S.width), U(S.rows), S.width, S.held_size, S.chunk_size

    def kernel(y, k, x, theta, turned, layers, kept, table, c, t):
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        tid = uint64(cuda.threadIdx.x)
        i = uint64(cuda.blockIdx.x) * rows + tid
        there = tid < rows and i < uint64(y.shape[1])
        now, slope = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        for j in range(w):
            now[j] = y[j, i] if there else real(0)
        t_now = t[i if own and there else U(0)]
        rate(theta, turned, U(0), layers, table, c, t_now, now, x, i, there, held, chunk, kept, slope, U(0))
        if there:
            for j in range(w):
                k[j, i] = slope[j]

    one, two = array_of(real, 1), array_of(real, 2)
    return kernel, void(two, two, two, two, two, array_of(np.int64, 2), two, two, one, one)


def tile_attempt(S: TileShape) -> tuple[Callable[..., None], Any]:
    """The kernel that takes one step, for blocks of S.threads and tableaux with FSAL, and its signature.

    y, y_new        (w, b) states before and after it;  k_first, k_last   (w, b) its first and its last stage
    x .. table      as in `tile_rates`, of this step;  B   tableau (s s + 3 s,)
    limits          of `Limits` (8,);  t, t_new, h   (1, 1) or (1, b)
    errors          (blocks, 2) as in `refnode.kernels.cuda.shared`
    """
    load, stages, squares, add = load_of(), system_stages_of(S), squares_of(S), block_sums(S)
    scalar, real, own, w, rows = from_dtype(np.dtype(S.dtype)), S.real, S.own, U(S.width), U(S.rows)
    width, stage_size, tableau_size = S.width, S.butcher.stages * S.width, butcher_of(S).size
    held_size, chunk_size, last = S.held_size, S.chunk_size, U((S.butcher.stages - 1) * S.width)
    s = U(S.butcher.stages)

    def kernel(
        y, y_new, k_first, k_last, x, theta, turned, layers, kept, table, B, c, limits, t, t_new, h, errors
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
            theta, turned, layers, table, c, tableau, t[U(0), at], t_new[U(0), at], length, now, x, i, there, U(1), s,
            held, chunk, kept, k, u,
        )  # fmt: skip
        if there:
            L = Limits(
                limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6], limits[7]
            )  # fmt: skip
            error = squares(tableau, L, length, now, u, k)
            for j in range(w):
                y_new[j, i], k_last[j, i] = u[j], k[last + j]
        add(error, errors)

    one, two = array_of(real, 1), array_of(real, 2)
    return kernel, void(
        two, two, two, two, two, two, two, array_of(np.int64, 2), two, two, one, one, one, two, two, two, two
    )  # fmt: skip
