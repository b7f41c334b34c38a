"""The discrete adjoint of steps on a given grid: a thread is a trajectory, and then a neuron.

A thread runs its trajectory's stages backwards. After each stage the block turns round: every neuron's output and its
input's cotangent stand in shared memory, a column for each trajectory, and lane j of a warp sums neuron j's weight
gradients over the trajectories of that warp, into registers that it keeps for the whole solve. So weight gradients cost
no atomics, and are summed in one order: trajectories of a warp, then steps, then warps, then blocks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int32, uint64, void

from refnode.kernels.cuda.compile import array_of, device, once
from refnode.kernels.cuda.field import field_of
from refnode.kernels.cuda.psi import psi_of
from refnode.kernels.cuda.shape import LANES, PITCH, THREADS, Shape, U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of, step_back_of


def gradient(S: Shape) -> tuple[Callable[..., None], Any]:
    """The kernel that differentiates one segment backwards, for blocks of `THREADS`, and its signature.

    g               (w, b) the cotangent of y at the segment's end, and when it is done at its start
    g_x             (n_x, b) of the control, added to;  g_ends   (4, b) of the segment's start and end, and of t0 and T
                    by a theta(t) of the trajectory's own; added to
    x .. table      as in `refnode.kernels.cuda.forward`
    s, s_new        fractions of the segment, (N, 1) or (N, b);  longest   the most steps of a trajectory
    tape_y, tape_k  what the forward solve kept
    stopped         (b,) trajectories that stopped there have no gradient, and disturb no other
    part            (blocks, (1 + m) size) each block's sum of the weight gradients; with a theta(t) that all share four
                    more numbers, what theta'(t) gives to the segment's start and end, t0 and T
    """
    F, load, finish = field_of(S), load_of(), _finish(S)
    _, runge_kutta = stages_of(S, F.rate)
    step_back = step_back_of(S, _stage_vjp(S, F.rate_vjp))
    scalar, real, own, stored = from_dtype(np.dtype(S.dtype)), S.real, U(S.own), S.keep == "stages"
    w, stages, n_x, four = (U(n) for n in (S.width, S.butcher.stages, S.controls, 4))
    theta_size, tableau_size, width = (1 + S.basis) * S.size, butcher_of(S).size, S.width
    x_room, row_room, stage_size = max(1, S.controls), max(1, S.columns), S.butcher.stages * S.width
    sums, tails = (1 + S.basis) * S.numbers, (1 + S.basis) * S.tail + S.depths
    held_size, columns_size = 2 * S.neurons * PITCH, column_count(S) * THREADS

    def kernel(
        g, g_x, g_ends, x, theta, neurons, B, c, t, t_new, h, count, table, s, s_new, longest, tape_y, tape_k,
        stopped, part,
    ):
        W = cuda.shared.array(theta_size, scalar, alignment=16)
        tableau = cuda.shared.array(tableau_size, scalar)
        held = cuda.shared.array(held_size, scalar)
        columns = cuda.shared.array(columns_size, scalar)
        load(theta, W, theta_size)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        end = uint64(neurons)
        i = uint64(cuda.grid(1))
        there = i < uint64(g.shape[1])
        i = i if there else U(0)
        live, at = there and stopped[i] < 0, i * own
        adj, y = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        u, ends = cuda.local.array(width, scalar), cuda.local.array(4, scalar)
        mine, g_mine = cuda.local.array(x_room, scalar), cuda.local.array(x_room, scalar)
        psi, k = cuda.local.array(row_room, scalar), cuda.local.array(stage_size, scalar)
        total, tail = cuda.local.array(sums, scalar), cuda.local.array(tails, scalar)
        for q in range(sums):
            total[q] = real(0)
        for q in range(tails):
            tail[q] = real(0)
        for j in range(w):
            adj[j] = g[j, i] if live else real(0)
        for j in range(n_x):
            mine[j], g_mine[j] = x[j, i] if live else real(0), real(0)
        for q in range(four):
            ends[q] = real(0)
        for back in range(longest):
            moving = live and back < count[at]
            n = uint64(max(count[at] - 1 - back, 0))  # psi is that of the others' step where this thread has none
            row = n * stages
            length, s_old, s_next = h[n, at], s[n, at], s_new[n, at]
            if not moving:
                length, s_old, s_next = real(0), real(0), real(0)
            for j in range(w):
                y[j] = tape_y[n, j, i] if moving else real(0)
            if stored:
                for r in range(stages):
                    for j in range(w):
                        k[r * w + j] = tape_k[n * stages + r, j, i] if moving else real(0)
            else:
                runge_kutta(
                    W, end, table, row, i, c, tableau, t[n, at], t_new[n, at], length, y, mine, 0, psi, k, u
                )  # fmt: skip
            rest = (W, end, table, row, i, c, mine, g_mine, psi, held, columns, total, tail)
            step_back(tableau, t[n, at], t_new[n, at], length, s_old, s_next, y, k, adj, ends, rest)
        if live:
            for j in range(w):
                g[j, i] = adj[j]
            for j in range(n_x):
                g_x[j, i] += g_mine[j]
            for q in range(four):
                g_ends[q, i] += ends[q]
        finish(total, tail, held, part)

    one, two, three = (array_of(real, n) for n in (1, 2, 3))
    whole = array_of(np.int32, 1)
    grid = (two, two, two, whole, two, two, two, int32)
    return kernel, void(two, two, two, two, one, int32, one, one, *grid, three, three, whole, two)


def column_count(S: Shape) -> int:
    """Numbers of a trajectory in shared memory beside its neurons': inputs, the cotangent of f, a psi of its own."""
    return S.inputs + S.out + S.basis * bool(S.functions)


@once
def _stage_vjp(S: Shape, rate_vjp: Any) -> Any:
    """The vjp of F at a stage, as `refnode.kernels.cuda.steps.step_back_of` has it; then the block turns round."""
    gather, psi_at, apart, m = _gather(S), psi_of(S, slopes=True), bool(S.functions), U(S.basis)
    d, o, n_x, first, inputs = (U(n) for n in (S.d, S.out, S.controls, S.d - S.out, S.inputs))
    early, pitch, two = S.timed[0], U(THREADS), U(2)

    @device
    def stage_vjp(r, t, u, rate, g, g_u, ends, rest):
        W, end, table, row, i, c, x, g_x, psi, held, columns, total, tail = rest
        tid = uint64(cuda.threadIdx.x)
        psi_at(table, row + r, i, t, psi)
        cuda.syncthreads()
        g_t, g_theta = rate_vjp(W, end, psi, c, t, u, x, rate, g, g_u, g_x, held, tid)
        for j in range(d):
            columns[j * pitch + tid] = u[j]
        for j in range(n_x):
            columns[(d + j) * pitch + tid] = x[j]
        if early:
            columns[(d + n_x) * pitch + tid] = t
        for j in range(o):
            columns[(inputs + j) * pitch + tid] = g[first + j]
        if apart:
            for q in range(m):
                columns[(inputs + o + q) * pitch + tid] = psi[q]
            g_t += psi[m + m] * g_theta
            for q in range(two):
                ends[two + q] += psi[m + m + U(1) + q] * g_theta
        cuda.syncthreads()
        gather(W, psi, t, held, columns, total, tail, g)
        return g_t

    return stage_vjp


@once
def _gather(S: Shape) -> Any:
    """Add an evaluation's weight gradients: lane j those of neuron j over its warp, a thread those of b1 of its own."""
    scalar, late, room, turn, apart = from_dtype(np.dtype(S.dtype)), S.timed[1], S.numbers, _turn(S), bool(S.functions)
    H, o, numbers, m, size, first = (U(n) for n in (S.hidden, S.out, S.numbers, S.basis, S.tail, S.d - S.out))
    lanes, threads, zero, psi_at = U(LANES), U(THREADS), U(0), U((S.inputs + S.out) * THREADS)
    over, over_own = _over(S, False), _over(S, True)

    @device
    def gather(W, psi, t, held, columns, total, tail, g):
        tid = uint64(cuda.threadIdx.x)
        lane = tid % lanes
        new, own = cuda.local.array(room, scalar), cuda.local.array(room, scalar)
        if lane < H:
            over(held, columns, lane, tid - lane, zero, new)
            for q in range(numbers):
                total[q] += new[q]
                if not apart:
                    at = q + numbers
                    for r in range(m):
                        total[at] += psi[r] * new[q]
                        at += numbers
            if apart:
                for r in range(m):
                    over_own(held, columns, lane, tid - lane, psi_at + r * threads, new)
                    for q in range(numbers):
                        total[(r + U(1)) * numbers + q] += new[q]
        for q in range(o):
            own[q] = g[first + q]
            own[o * U(late) + q] = t * g[first + q] if late else own[q]
        for q in range(size):
            tail[q] += own[q]
            at = q + size
            for r in range(m):
                tail[at] += psi[r] * own[q]
                at += size
        if m and not apart:
            turn(W, psi, lane, new, own, tail)

    return gather


@once
def _over(S: Shape, weighs: bool) -> Any:
    """new (numbers,) = the gradient of neuron `lane`'s weights, summed over the trajectories of the warp that begins
    at `column`; each weighs columns[at ..], or 1.
    """
    real, inputs, o, numbers, one = S.real, U(S.inputs), U(S.out), U(S.numbers), U(1)
    to_e, pitch, threads, lanes = U(S.neurons * PITCH), U(PITCH), U(THREADS), U(LANES)

    @device
    def over(held, columns, lane, column, at, new):
        for q in range(numbers):
            new[q] = real(0)
        place, end = lane * pitch + column, lane * pitch + column + lanes
        while place < end:
            weight = columns[at + column] if weighs else real(1)
            h, e = weight * held[place], weight * held[place + to_e]
            for q in range(inputs):
                new[q] += columns[q * threads + column] * e
            new[inputs] += e
            for q in range(o):
                new[inputs + one + q] += columns[(inputs + q) * threads + column] * h
            place += one
            column += one

    return over


@once
def _turn(S: Shape) -> Any:
    """Add what theta'(t) gives to the depths that a stage's t follows: the segment's start and end, t0, T.

    Behind psi a row has psi'(u), and the derivatives of u with respect to these four.
    """
    real, numbers, m, size, tail, stride, theta = (
        S.real, *(U(n) for n in (S.numbers, S.basis, S.tail, S.neurons * S.stride, S.stride, S.size))
    )  # fmt: skip
    H, ends_at, depths = U(S.hidden), U((1 + S.basis) * S.tail), U(4)

    @device
    def turn(W, row, lane, new, own, sums):
        g_u, first = real(0), theta
        for r in range(m):
            along = real(0)
            if lane < H:
                for q in range(numbers):
                    along += W[first + lane * stride + q] * new[q]
            for q in range(size):
                along += W[first + tail + q] * own[q]
            g_u += row[m + r] * along
            first += theta
        for q in range(depths):
            sums[ends_at + q] += row[m + m + q] * g_u

    return turn


@once
def _finish(S: Shape) -> Any:
    """part[block] = the block's sums: neurons over its warps, the rest over its threads, from the first to the last."""
    real, H, stride, numbers, blocks, size, theta = S.real, S.hidden, S.stride, S.numbers, 1 + S.basis, S.tail, S.size
    pitch, neurons, rest = U(PITCH), S.neurons * S.stride, (1 + S.basis) * S.tail + S.depths

    @device
    def finish(total, tail, held, part):
        tid, block = uint64(cuda.threadIdx.x), uint64(cuda.blockIdx.x)
        lane, warp = tid % U(LANES), tid // U(LANES)
        for r in range(blocks):
            for q in range(numbers):
                cuda.syncthreads()
                if lane < U(H):
                    held[lane * pitch + warp] = total[r * numbers + q]
                cuda.syncthreads()
                if tid < U(H):
                    number = real(0)
                    for other in range(THREADS // LANES):
                        number += held[tid * pitch + uint64(other)]
                    part[block, uint64(r * theta + q) + tid * U(stride)] = number
        for q in range(rest):
            cuda.syncthreads()
            held[tid] = tail[q]
            cuda.syncthreads()
            if tid == U(0):
                number = real(0)
                for other in range(THREADS):
                    number += held[other]
                at = q // size * theta + neurons + q % size if q < blocks * size else blocks * theta + q - blocks * size
                part[block, uint64(at)] = number

    return finish
