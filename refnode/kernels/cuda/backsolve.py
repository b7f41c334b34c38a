"""State and costate solved backwards on a given grid, a thread for each trajectory, with the parameter integrals.

The block turns round after every stage, as in `refnode.kernels.cuda.gradient`: no atomics, and one order of summing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int32, uint64, void

from refnode.kernels.cuda.compile import array_of, device, once
from refnode.kernels.cuda.costate import Costate, costate_of
from refnode.kernels.cuda.integrals import column_count, inputs_count, integrals_of
from refnode.kernels.cuda.psi import psi_of
from refnode.kernels.cuda.shape import PITCH, THREADS, U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of


def backsolve(S: Costate) -> tuple[Callable[..., None], Any]:
    """The kernel that solves one segment from its end to its start, for blocks of `THREADS`, and its signature.

    u               (2 d, b) [z, a] at the segment's end, and when it is done at its start
    g_x             (n_x, b) of the control, added to; (n_x + 2, b), and of t0 and T, with theta(t) of its own
    x .. B          as in `refnode.kernels.cuda.forward`;  c   factors of the running loss, and the cotangent of q (4,)
    t, t_new, h     of each step down (N, 1), or (N, b) for grids of their own, where h = 0 behind a trajectory's last
    table           a row for every stage of the way down (N s, S.columns); or each trajectory's (see psi.py)
    stopped         (b,) trajectories that stopped on their way up, not below 0, add nothing
    mask            ((1 + m) size,) 1 for the numbers whose error counts, else 0
    part            (blocks, (1 + m) size + 2) each block's integrals, and what theta(t) of all gives to t0 and T
    sizes           (blocks, (1 + m) size) sums of absolute terms;  worst   (64 blocks,) each lane's largest error of a
                    step; both only with S.estimates
    """
    load, I, (stage_state, _) = load_of(), integrals_of(S), stages_of(S, None)
    scalar, real, own, estimates = from_dtype(np.dtype(S.dtype)), S.real, U(S.own), S.estimates
    w, s, n_x, stage = U(S.width), U(S.butcher.stages), U(S.controls), _stage(S, stage_state, I.gather)
    evaluations, last = U(S.butcher.stages - (S.butcher.fsal and not estimates)), U(S.butcher.stages - S.butcher.fsal)
    theta_size, tableau_size, width, room = (1 + S.basis) * S.size, butcher_of(S).size, S.width, I.numbers
    x_room, stage_size, some = max(1, S.controls), S.butcher.stages * S.width, I.numbers if S.estimates else 1
    held_size, columns_size, judge, finish, varies = 2 * S.neurons * PITCH, column_count(S) * THREADS, *I[2:4], S.depths
    finish_ends, apart = I.finish_ends, bool(S.functions)

    def kernel(
        u, g_x, x, theta, neurons, B, c, t, t_new, h, table, stopped, mask, part, sizes, worst,
    ):  # fmt: skip
        W = cuda.shared.array(theta_size, scalar, alignment=16)
        tableau = cuda.shared.array(tableau_size, scalar)
        held = cuda.shared.array(held_size, scalar)
        columns = cuda.shared.array(columns_size, scalar)
        load(theta, W, theta_size)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        end = uint64(neurons)
        i = uint64(cuda.grid(1))
        live = i < uint64(u.shape[1])
        i = i if live else U(0)
        live = live and stopped[i] < 0
        at = i * own
        now, v = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        mine, g_mine = cuda.local.array(x_room, scalar), cuda.local.array(x_room, scalar)
        k, ends = cuda.local.array(stage_size, scalar), cuda.local.array(2, scalar)
        total, size = cuda.local.array(room, scalar), cuda.local.array(some, scalar)
        missed, largest = cuda.local.array(some, scalar), real(0)
        for q in range(room):
            total[q] = real(0)
        for q in range(some):
            size[q], missed[q] = real(0), real(0)
        for j in range(w):
            now[j] = u[j, i] if live else real(0)
        for j in range(n_x):
            mine[j], g_mine[j] = x[j, i] if live else real(0), real(0)
        ends[0], ends[1] = real(0), real(0)
        for n in range(uint64(h.shape[0])):
            length = h[n, at] if live else real(0)
            r = U(0)
            while r < evaluations:
                stage(
                    W, end, table, n * s, i, c, tableau, t[n, at], t_new[n, at], length, r, now, mine, k, v, g_mine,
                    held, columns, total, size, missed, ends,
                )  # fmt: skip
                r += U(1)
            stage_state(tableau, last, length, now, k, v)
            for j in range(w):
                now[j] = v[j]
            if estimates:
                largest = judge(mask, missed, largest)
        if live:
            for j in range(w):
                u[j, i] = now[j]
            for j in range(n_x):
                g_x[j, i] += g_mine[j]
            if apart:
                g_x[n_x, i] += ends[0]
                g_x[n_x + U(1), i] += ends[1]
        finish(total, held, part)
        if varies:
            finish_ends(ends, held, part)
        if estimates:
            finish(size, held, sizes)
            worst[uint64(cuda.grid(1))] = largest

    one, two = array_of(real, 1), array_of(real, 2)
    return kernel, void(
        two, two, two, one, int32, one, one, two, two, two, two, array_of(np.int32, 1), one, two, two, one
    )  # fmt: skip


@once
def _stage(S: Costate, stage_state: Any, gather: Any) -> Any:
    """Stage r of a step: its rates k_r, and what it adds to the integrals. All threads of the block take part."""
    costate, scalar, one = costate_of(S, gathers=True), from_dtype(np.dtype(S.dtype)), S.real(1)
    w, d, o, n_x, s, first = (U(n) for n in (S.width, S.d, S.out, S.controls, S.butcher.stages, S.d - S.out))
    psi_at, row_room, width, x_room = psi_of(S, slopes=True), max(1, S.columns), S.width, max(1, S.controls)
    t_at, threads, timed, depth, apart = U(S.d + S.controls), U(THREADS), any(S.timed), S.d, bool(S.functions)
    g_at, own_at, m, t0_at = U(inputs_count(S)), U(inputs_count(S) + S.out), U(S.basis), U(2 * S.basis + 1)
    b_at, node_at, error_at = s * s, s * s + s, s * s + s + s

    @device
    def stage(
        W, end, table, row, i, c, B, t, t_new, h, r, now, x, k, v, g_mine, held, columns, total, size, missed, ends
    ):
        tid = uint64(cuda.threadIdx.x)
        rate, psi = cuda.local.array(width, scalar), cuda.local.array(row_room, scalar)
        g, g_x = cuda.local.array(depth, scalar), cuda.local.array(x_room, scalar)
        stage_state(B, r, h, now, k, v)
        node, b = B[node_at + r], B[b_at + r]
        tau = t_new if node == one else t + node * h
        psi_at(table, row + r, i, tau, psi)
        cuda.syncthreads()
        g_u = costate(W, end, psi, c, tau, v, x, rate, -h, g, g_x, held, tid)
        for j in range(w):
            k[r * w + j] = rate[j]
        for j in range(n_x):
            g_mine[j] += b * g_x[j]
            columns[(d + j) * threads + tid] = x[j]
        for j in range(d):
            columns[j * threads + tid] = v[j]
        if timed:
            columns[t_at * threads + tid] = tau
        for j in range(o):
            columns[(g_at + j) * threads + tid] = g[first + j]
        if apart:
            for q in range(m):
                columns[(own_at + q) * threads + tid] = psi[q]
            for q in range(U(2)):
                ends[q] += b * psi[t0_at + q] * g_u
        cuda.syncthreads()
        gather(W, psi, b, B[error_at + r], held, columns, total, size, missed, ends)

    return stage
