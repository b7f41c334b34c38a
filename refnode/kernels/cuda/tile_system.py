"""Slopes of what a wide network's trajectories are solved for, tile by tile: of y = [z, q], or of u = [z, a] by

    [z, a]' = [f, -(df/dz)^T (a + g dl/df) - g dl/dz]

without the parameter integrals, as those need who chooses steps. All threads of the block take part.
"""

from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64

from refnode.kernels.cuda.compile import device, once
from refnode.kernels.cuda.field import activation
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.steps import stages_of
from refnode.kernels.cuda.tile import ahead_of, enter_of, last_of, rate_of_tile
from refnode.kernels.cuda.tile_costate import TileCostate, cotangents_of
from refnode.kernels.cuda.tile_inputs import first_state_of, hidden_inputs_of, last_inputs_of
from refnode.kernels.cuda.tile_shape import TileShape


def system_of(S: TileShape) -> Any:
    """Device function slope(theta, turned, line, layers, table, c, t, v, x, i, there, held, chunk, kept, k, at).

    k[at ..] = y', or u', of the thread's trajectory; kept (blocks, S.kept_size) is room for a costate's.
    """
    return _costate_slope(S) if isinstance(S, TileCostate) else _state_slope(S)


@once
def system_stages_of(S: TileShape) -> Any:
    """Device function: stages first .. last - 1 of a step in k (s w,); u is the last one's state, which with FSAL is
    the step's end.
    """
    slope, one, w, s, varies = system_of(S), S.real(1), U(S.width), U(S.butcher.stages), U(bool(S.basis))
    (stage_state, _), node_at = stages_of(S, None), s * s + s

    @device
    def stages(
        theta, turned, layers, table, c, B, t, t_new, h, now, x, i, there, first, last, held, chunk, kept, k, u
    ):  # fmt: skip
        r = first
        while r < last:
            stage_state(B, r, h, now, k, u)
            node = B[node_at + r]
            slope(
                theta, turned, r * varies, layers, table, c, t_new if node == one else t + node * h, u, x, i, there,
                held, chunk, kept, k, r * w,
            )  # fmt: skip
            r += U(1)

    return stages


@once
def _state_slope(S: TileShape) -> Any:
    """y'."""
    rate, enter = rate_of_tile(S), enter_of(S)
    scalar, real, w, width = from_dtype(np.dtype(S.dtype)), S.real, U(S.width), S.width

    @device
    def slope(theta, turned, line, layers, table, c, t, v, x, i, there, held, chunk, kept, k, at):
        found = cuda.local.array(width, scalar)
        for j in range(w):
            found[j] = real(0)
        enter(table, t, v, x, i, there, held)
        rate(theta, line, layers, c, t, v, held, chunk, found)
        for j in range(w):
            k[at + j] = found[j]

    return slope


@once
def _costate_slope(S: TileCostate) -> Any:
    """u': layer by layer ahead, and back again."""
    ahead, last, cotangents, back = ahead_of(S), last_of(S), cotangents_of(S), _back(S)
    scalar, real, one, d, depth = from_dtype(np.dtype(S.dtype)), S.real, S.real(1), U(S.d), S.d + 1

    @device
    def slope(theta, turned, line, layers, table, c, t, v, x, i, there, held, chunk, kept, k, at):
        rate, g_f, g_z = (
            cuda.local.array(depth, scalar), cuda.local.array(depth, scalar), cuda.local.array(depth, scalar)
        )  # fmt: skip
        for j in range(d):
            rate[j] = real(0)
        ahead(theta, line, layers, table, t, v, x, i, there, held, chunk, kept)
        cuda.syncthreads()
        last(theta, line, layers, c, t, v, held, rate)
        cotangents(c, v, there, one, rate, g_f, g_z)
        back(theta, turned, line, layers, g_f, g_z, held, chunk, kept)
        for j in range(d):
            k[at + j], k[at + d + j] = rate[j], -g_z[j]

    return slope


@once
def _back(S: TileCostate) -> Any:
    """g_z += (df/dz)^T g_f, behind `ahead`."""
    last_inputs, hidden_inputs, first_state, slope_of = (
        last_inputs_of(S), hidden_inputs_of(S), first_state_of(S), activation(S)[1]
    )  # fmt: skip
    scalar, zero, squared, slopes_kept = from_dtype(np.dtype(S.dtype)), S.real(0), S.square**2, S.slopes_kept
    square, rows, columns, across = U(S.square), U(S.rows), U(S.columns), U(S.columns // S.square)
    o, hidden, plane, one = U(S.out), U(S.hidden), U(S.rows * S.columns), U(1)

    @device
    def before(x, k, r0, c0, held, kept):
        """d of layer k stands in shared memory (o, rows)."""
        block = uint64(cuda.blockIdx.x)
        for m in range(square):
            for j in range(square):
                at = k * plane + (r0 + m) * columns + c0 + j
                x[m * square + j] *= (
                    kept[block, at + hidden * plane] if slopes_kept else slope_of(zero, kept[block, at])
                )
        for j in range(square):
            for m in range(square):
                held[(c0 + j) * rows + r0 + m] = x[m * square + j]

    @device
    def back(theta, turned, line, layers, g_f, g_z, held, chunk, kept):
        tid, x = uint64(cuda.threadIdx.x), cuda.local.array(squared, scalar)
        c0, r0 = tid % across * square, tid // across * square
        if tid < rows:
            for q in range(o):
                chunk[q * rows + tid] = g_f[q]
        cuda.syncthreads()
        last_inputs(theta, line, layers, chunk, held, c0, r0, x)
        k = hidden
        while k > U(0):
            k -= one
            if r0 < rows:
                before(x, k, r0, c0, held, kept)
            cuda.syncthreads()
            if k > U(0):
                hidden_inputs(turned, line, layers, k, held, chunk, c0, r0, x)
        first_state(theta, line, layers, g_z, held)

    return back
