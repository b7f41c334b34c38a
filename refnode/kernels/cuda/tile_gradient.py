"""The discrete adjoint of steps on a given grid for wide networks: a block is a tile of trajectories.

The state's cotangent and those of the stages belong to one thread for each trajectory, weights' gradients each to one
thread of the block (see tile_vjp.py): no atomics, and one order of summing: trajectories of a tile, stages, blocks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64, void

from refnode.kernels.cuda.compile import array_of, device, once
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.steps import butcher_of, load_of, step_back_of
from refnode.kernels.cuda.tile import longest_of, tile_stages
from refnode.kernels.cuda.tile_psi import moves_of
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_vjp import tile_vjp_of


def tile_gradient(S: TileShape) -> tuple[Callable[..., None], Any]:
    """The kernel that differentiates one segment backwards, for blocks of S.threads, and its signature.

    g               (w, b) the cotangent of y at the segment's end, and when it is done at its start
    g_x             (n_x, b) of the control, added to
    x .. count      as in `refnode.kernels.cuda.tile`; turned   theta with every W transposed
    slopes          dtheta/du of each stage (N s, p), or (1, 1) where theta is constant or each trajectory's own
    table           psi, psi' and the derivatives of u by the segment's start and end, t0 and T (N s, 2 m + 4), or
                    each trajectory's (2 + 3 m, b)
    s, s_new        fractions of the segment, (N, 1) or (N, b)
    tape_y, tape_k  what the forward solve kept
    stopped         (b,) trajectories that stopped there have no gradient, and disturb no other
    kept            (blocks, S.kept_size) room
    part            (blocks, 1 + m, p) each block's gradient of theta and its coefficients
    depths          (blocks, 4) each block's gradient of the segment's start and end, t0 and T; or (4, b) that of each
                    trajectory's own start and end, and of t0 and T
    """
    load, stages, step_back, finish = load_of(), tile_stages(S), step_back_of(S, _stage_vjp(S)), _finish(S)
    scalar, real, stored = from_dtype(np.dtype(S.dtype)), S.real, S.keep == "stages"
    w, s, rows, used = (U(n) for n in (S.width, S.butcher.stages, S.rows, S.butcher.stages - S.butcher.fsal))
    width, stage_size, tableau_size = S.width, S.butcher.stages * S.width, butcher_of(S).size
    held_size, chunk_size, varies, size = S.held_size, S.chunk_size, U(bool(S.basis)), U(S.size)
    coefficients, threads, own, longest = U(1 + S.basis), U(S.threads), S.own, longest_of(S)

    def kernel(
        g, g_x, x, theta, turned, slopes, layers, B, c, t, t_new, h, count, table, s_old, s_new, tape_y, tape_k,
        stopped, kept, part, depths,
    ):  # fmt: skip
        tableau = cuda.shared.array(tableau_size, scalar)
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        load(B, tableau, tableau_size)
        tid, block = uint64(cuda.threadIdx.x), uint64(cuda.blockIdx.x)
        for r in range(coefficients):
            q = tid
            while q < size:
                part[block, r, q] = real(0)
                q += threads
        cuda.syncthreads()
        i = block * rows + tid
        there = tid < rows and i < uint64(g.shape[1])
        live = there and stopped[i] < 0
        adj, y, u = cuda.local.array(width, scalar), cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        k, ends = cuda.local.array(stage_size, scalar), cuda.local.array(4, scalar)
        for j in range(w):
            adj[j] = g[j, i] if live else real(0)
        for j in range(4):
            ends[j] = real(0)
        at = i if own and there else U(0)
        steps, left = uint64(count[at]), longest(count)
        while left > U(0):
            left -= U(1)
            moving = live and left < steps
            n = left if not own or moving else U(0)
            length, s_from, s_to = h[n, at], s_old[n, at], s_new[n, at]
            if own and not moving:
                length, s_from, s_to = real(0), real(0), real(0)
            for j in range(w):
                y[j] = tape_y[n, j, i] if moving else real(0)
            if stored:
                for r in range(used):
                    for j in range(w):
                        k[r * w + j] = tape_k[n * s + r, j, i] if moving else real(0)
            else:
                stages(
                    theta, n * s * varies, layers, table, c, tableau, t[n, at], t_new[n, at], length, y, x, i, live,
                    U(0), used, k, u, held, chunk,
                )  # fmt: skip
            rest = (
                theta, turned, slopes, n * s, layers, c, x, i, live, g_x, table, held, chunk, kept, part,
            )  # fmt: skip
            step_back(tableau, t[n, at], t_new[n, at], length, s_from, s_to, y, k, adj, ends, rest)
        if live:
            for j in range(w):
                g[j, i] = adj[j]
        finish(ends, i, there, chunk, depths)

    one, two, three, whole = array_of(real, 1), array_of(real, 2), array_of(real, 3), array_of(np.int32, 1)
    grid = (two, two, two, whole, two, two, two)
    return kernel, void(
        two, two, two, two, two, two, array_of(np.int64, 2), one, one, *grid, three, three, whole, two, three, two
    )  # fmt: skip


@once
def _stage_vjp(S: TileShape) -> Any:
    """The vjp of F at a stage, as `refnode.kernels.cuda.steps.step_back_of` has it; ends gains the thread's share of
    the cotangents of the segment's start and end, t0 and T by theta(t).
    """
    vjp, scalar, real, width, two = tile_vjp_of(S), from_dtype(np.dtype(S.dtype)), S.real, S.width, S.real(2)
    w, d, o, first, m = (U(n) for n in (S.width, S.d, S.out, S.d - S.out, S.basis))
    varies, depths, running, apart, moves = U(bool(S.basis)), U(4), S.running, bool(S.functions), moves_of(S)

    @device
    def stage_vjp(r, t, u, rate, g, g_u, ends, rest):
        theta, turned, slopes, row, layers, c, x, i, there, g_x, table, held, chunk, kept, part = rest
        g_f, turn = cuda.local.array(width, scalar), cuda.local.array(2, scalar)
        for j in range(w):
            g_u[j] = real(0)
        if running:
            for j in range(d):
                g_u[j] = two * c[0] * g[d] * u[j]
                g[j] += two * (c[2] + (c[1] if j >= first else real(0))) * g[d] * rate[j]
        for j in range(first):
            g_u[o + j] += g[j]
        for j in range(o):
            g_f[j] = g[first + j]
        vjp(
            theta, turned, slopes, (row + r) * varies, layers, t, u, x, i, there, g_f, g_u, g_x, table, row + r, held,
            chunk, kept, part, turn,
        )  # fmt: skip
        if apart:
            by_t, by_t0, by_T = moves(table, i, there, t, turn[1])
            ends[2] += by_t0
            ends[3] += by_T
            return turn[0] + by_t
        if m:
            for q in range(depths):
                ends[q] += table[row + r, m + m + q] * turn[1]
        return turn[0]

    return stage_vjp


@once
def _finish(S: TileShape) -> Any:
    """depths[block] = the sums of the threads' ends, from the first thread on; or depths[:, i] a trajectory's own."""
    real, four, threads = S.real, U(4), U(S.threads)

    @device
    def finish_own(ends, i, there, sums, depths):
        if there:
            for q in range(four):
                depths[q, i] = ends[q]

    @device
    def finish(ends, i, there, sums, depths):
        tid = uint64(cuda.threadIdx.x)
        for q in range(four):
            sums[q * threads + tid] = ends[q]
        cuda.syncthreads()
        if tid < four:
            total = real(0)
            for other in range(threads):
                total += sums[tid * threads + other]
            depths[uint64(cuda.blockIdx.x), tid] = total

    return finish_own if S.own else finish
