"""State and costate of wide networks solved backwards on a given grid, with the parameter integrals, tile by tile.

u = [z, a] belongs to one thread for each trajectory, each weight's integral to one thread of the block: no atomics, and
one order of summing: trajectories of a tile, stages, blocks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64, void

from refnode.kernels.cuda.compile import array_of, device, once
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of
from refnode.kernels.cuda.tile import ahead_of, last_of, longest_of
from refnode.kernels.cuda.tile_costate import TileCostate, cotangents_of
from refnode.kernels.cuda.tile_psi import moves_of
from refnode.kernels.cuda.tile_vjp import back_of


def tile_backsolve(S: TileCostate) -> tuple[Callable[..., None], Any]:
    """The kernel that solves one segment from its end to its start, for blocks of S.threads, and its signature.

    u               (2 d, b) [z, a] at the segment's end, and when it is done at its start
    g_x             (n_x, b) of the control, added to
    x .. layers     as in `refnode.kernels.cuda.tile_gradient`
    B               tableau (s s + 3 s,);  c   factors of the running loss, and the cotangent of q (4,)
    t, t_new, h     of each step down (N, 1), or (N, b) for grids of their own, where h = 0 behind a trajectory's last
    count           steps (1,) or (b,);  table   as in `refnode.kernels.cuda.tile_gradient`, of the way down
    stopped         (b,) trajectories that stopped on their way up, not below 0, add nothing
    mask            (1 + m, p) 1 for the numbers whose error counts, else 0
    kept            (blocks, S.kept_size) room
    part            (blocks, 1 + m, p) each block's integrals;  sizes, missed   likewise sums of absolute terms, and
                    room for a step's errors, with S.estimates
    ends            (2, blocks, threads) what theta'(t) gives to t0 and T; that of a trajectory's own in its thread
    worst           (blocks, threads) each thread's largest error of a step, with S.estimates
    """
    load, stage, clear, judge, longest = load_of(), _stage(S), _clear(S), _judge(S), longest_of(S)
    (stage_state, _), scalar, real = stages_of(S, None), from_dtype(np.dtype(S.dtype)), S.real
    w, s, rows, estimates = U(S.width), U(S.butcher.stages), U(S.rows), S.estimates
    evaluations, last = U(S.butcher.stages - (S.butcher.fsal and not estimates)), U(S.butcher.stages - S.butcher.fsal)
    width, stage_size, tableau_size = S.width, S.butcher.stages * S.width, butcher_of(S).size
    held_size, chunk_size, varies, own, one = S.held_size, S.chunk_size, bool(S.basis), S.own, S.real(1)

    def kernel(
        u, g_x, x, theta, turned, slopes, layers, B, c, t, t_new, h, count, table, stopped, mask, kept, part, sizes,
        missed, ends, worst,
    ):  # fmt: skip
        tableau = cuda.shared.array(tableau_size, scalar)
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        load(B, tableau, tableau_size)
        tid, block = uint64(cuda.threadIdx.x), uint64(cuda.blockIdx.x)
        clear(part)
        if estimates:
            clear(sizes)
            clear(missed)
        cuda.syncthreads()
        i = block * rows + tid
        live = tid < rows and i < uint64(u.shape[1]) and stopped[i if i < uint64(u.shape[1]) else U(0)] < 0
        now, v = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        k, of_ends, largest = cuda.local.array(stage_size, scalar), cuda.local.array(2, scalar), real(0)
        for j in range(w):
            now[j] = u[j, i] if live else real(0)
        of_ends[0], of_ends[1] = real(0), real(0)
        at = i if own and live else U(0)
        for n in range(longest(count)):
            r = U(0)
            while r < evaluations:
                stage_state(tableau, r, one, now, k, v)
                stage(
                    theta, turned, slopes, layers, c, tableau, t[n, at], t_new[n, at], h[n, at], n * s, r, v, x, i,
                    live, k, g_x, table, held, chunk, kept, part, sizes, missed, of_ends,
                )  # fmt: skip
                r += U(1)
            stage_state(tableau, last, one, now, k, v)
            for j in range(w):
                now[j] = v[j]
            if estimates:                                   # barriers of the layers stand before and behind
                largest = judge(mask, missed, largest)
        if live:
            for j in range(w):
                u[j, i] = now[j]
        if varies:
            ends[U(0), block, tid], ends[U(1), block, tid] = of_ends[0], of_ends[1]
        if estimates:
            worst[block, tid] = largest

    one_, two, three, whole = *(array_of(real, n) for n in (1, 2, 3)), array_of(np.int32, 1)
    return kernel, void(
        two, two, two, two, two, two, array_of(np.int64, 2), one_, one_, two, two, two, whole, two, whole, two, two,
        three, three, three, three, two,
    )  # fmt: skip


@once
def _costate(S: TileCostate) -> Any:
    """Device function costate(theta, turned, slopes, line, layers, c, t, v, x, i, there, share, g_x, table, row, held,
    chunk, kept, sums, turn, k, at): k[at ..] = -share u' of the thread's trajectory. All threads take part.

    share   what multiplies that which the parameter integrals are made of: -h, which may be the trajectory's own
    sums    (part, sizes, missed, weight, error weight);  turn[1]   as `tile_vjp_of` has it
    """
    ahead, last, cotangents, back = ahead_of(S), last_of(S), cotangents_of(S), back_of(S)
    scalar, real, depth, d = from_dtype(np.dtype(S.dtype)), S.real, S.d + 1, U(S.d)

    @device
    def costate(
        theta, turned, slopes, line, layers, c, t, v, x, i, there, share, g_x, table, row, held, chunk, kept, sums,
        turn, k, at,
    ):  # fmt: skip
        rate, g_f, g_z = (
            cuda.local.array(depth, scalar), cuda.local.array(depth, scalar), cuda.local.array(depth, scalar)
        )  # fmt: skip
        for j in range(d):
            rate[j] = real(0)
        ahead(theta, line, layers, table, t, v, x, i, there, held, chunk, kept)
        cuda.syncthreads()
        last(theta, line, layers, c, t, v, held, rate)
        cotangents(c, v, there, share, rate, g_f, g_z)
        back(
            theta, turned, slopes, line, layers, t, v, x, i, there, g_f, g_z, g_x, table, row, held, chunk, kept, sums,
            turn,
        )  # fmt: skip
        for j in range(d):
            k[at + j], k[at + d + j] = -share * rate[j], g_z[j]

    return costate


@once
def _stage(S: TileCostate) -> Any:
    """Stage r of a step: h k_r, and what it adds to the integrals."""
    costate, scalar, one = _costate(S), from_dtype(np.dtype(S.dtype)), S.real(1)
    w, s, m, varies = U(S.width), U(S.butcher.stages), U(S.basis), U(bool(S.basis))
    b_at, node_at, error_at, t0_at = s * s, s * s + s, s * s + s + s, U(2 * S.basis + 2)
    apart, moves = bool(S.functions), moves_of(S)

    @device
    def stage(
        theta, turned, slopes, layers, c, B, t, t_new, h, row, r, v, x, i, there, k, g_x, table, held, chunk, kept,
        part, sizes, missed, ends,
    ):
        turn, node, weight = cuda.local.array(2, scalar), B[node_at + r], B[b_at + r]
        sums, tau = (part, sizes, missed, weight, B[error_at + r]), t_new if node == one else t + node * h
        costate(
            theta, turned, slopes, (row + r) * varies, layers, c, tau, v, x, i, there, -h, g_x, table,
            row + r, held, chunk, kept, sums, turn, k, r * w,
        )  # fmt: skip
        if apart:
            _, by_t0, by_T = moves(table, i, there, tau, turn[1])
            ends[0] += weight * by_t0
            ends[1] += weight * by_T
        elif m:
            for q in range(U(2)):
                ends[q] += weight * table[row + r, t0_at + q] * turn[1]

    return stage


@once
def _clear(S: TileCostate) -> Any:
    """A block's sums become 0."""
    zero, size, coefficients, threads = S.real(0), U(S.size), U(1 + S.basis), U(S.threads)

    @device
    def clear(part):
        for r in range(coefficients):
            q = uint64(cuda.threadIdx.x)
            while q < size:
                part[uint64(cuda.blockIdx.x), r, q] = zero
                q += threads

    return clear


@once
def _judge(S: TileCostate) -> Any:
    """The largest error so far of the numbers that fall to the thread; they are cleared."""
    zero, size, coefficients, threads = S.real(0), U(S.size), U(1 + S.basis), U(S.threads)

    @device
    def judge(mask, missed, worst):
        block = uint64(cuda.blockIdx.x)
        for r in range(coefficients):
            q = uint64(cuda.threadIdx.x)
            while q < size:
                worst = max(worst, abs(missed[block, r, q]) * mask[r, q])
                missed[block, r, q] = zero
                q += threads
        return worst

    return judge
