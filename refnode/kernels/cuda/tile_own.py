"""Steps of each trajectory's own for wide networks: the twin of `refnode.kernels.cuda.own`, tile by tile.

A block attempts steps until none of its trajectories is on its way: those that have arrived or failed stay where they
are, and take part in products that nobody reads. Each one's t, step and fault are its own.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int32, uint64, void

from refnode.kernels.cuda.compile import array_of, device, once
from refnode.kernels.cuda.controller import Limits, controller_of, first_step_of, squares_of
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.steps import butcher_of, load_of
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_system import system_stages_of
from refnode.kernels.tape import DONE


def tile_own(S: TileShape) -> tuple[Callable[..., None], Any]:
    """The kernel that solves one segment, of y, or of u = [z, a] by the error of both, for blocks of S.threads, and its
    signature.

    y               (w, b) at the segment's start, and at its end
    x .. table      as in `refnode.kernels.cuda.tile_shared`;  B, c   tableau, factors of the running loss
    limits .. word  as in `refnode.kernels.cuda.own`
    """
    load, stages, still = load_of(), system_stages_of(S), _still(S)
    aim, judge, fault, halt = controller_of(S)
    squares, (probe, first_step) = squares_of(S), first_step_of(S)
    scalar, real, zero, one, states = from_dtype(np.dtype(S.dtype)), S.real, S.real(0), S.real(1), S.keep != "nothing"
    w, rows, last, numbers = U(S.width), U(S.rows), U((S.butcher.stages - 1) * S.width), S.real(S.width)
    width, stage_size, tableau_size, flags = S.width, S.butcher.stages * S.width, butcher_of(S).size, S.rows
    held_size, chunk_size, stage_count, two = S.held_size, S.chunk_size, U(S.butcher.stages), U(2)

    def kernel(
        y, x, theta, turned, layers, kept, table, B, c, limits, start, end, ds, max_steps, tape_y, tape_s, count,
        rejected, word,
    ):  # fmt: skip
        tableau = cuda.shared.array(tableau_size, scalar)
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        going = cuda.shared.array(flags, int32)
        load(B, tableau, tableau_size)
        tid = uint64(cuda.threadIdx.x)
        i = uint64(cuda.blockIdx.x) * rows + tid
        there = tid < rows and i < uint64(y.shape[1])
        L = Limits(limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6], limits[7])
        now, u, k = (
            cuda.local.array(width, scalar), cuda.local.array(width, scalar), cuda.local.array(stage_size, scalar)
        )  # fmt: skip
        at, room = i if there else U(0), tape_s.shape[0] - 1
        for j in range(w):
            now[j] = y[j, i] if there else zero
            if states and there:
                tape_y[U(0), j, i] = now[j]
        first, length, size = start[at], end[at] - start[at], max(abs(start[at]), abs(end[at]))
        s, err_before, grow, n, failed, why = zero, one, True, 0, 0, DONE
        if there:
            tape_s[U(0), i] = s
        step, h0, d1 = ds[i] if there else one, zero, zero
        # the slope at the start, Hairer's probe, and then steps, in one loop: more copies of the layers cost registers
        begin, until = U(0), U(1)
        while still(there and s < one and why == DONE, going):
            s_new = aim(s, step)
            t, t_new, h = (one - s) * first + s * end[at], (one - s_new) * first + s_new * end[at], (s_new - s) * length
            if until == two:                                # a first stage which is as far as the probe
                h = h0 * length / tableau[stage_count]
            stages(
                theta, turned, layers, table, c, tableau, t, t_new, h, now, x, i, there, begin, until, held, chunk,
                kept, k, u,
            )  # fmt: skip
            if until == U(1):
                h0, d1 = probe(L, length, now, k, u)
                begin, until = U(1), two
            elif until == two:
                for j in range(w):
                    u[j] = k[w + j]
                step = step if step > zero else first_step(L, length, now, k, u, h0, d1)
                until = stage_count
            elif there and s < one and why == DONE:         # others wait
                err = math.sqrt(squares(tableau, L, h, now, u, k) / numbers)
                good, step = judge(L, err, err_before, s, s_new, step, grow)
                grow = good
                if good:
                    n += 1
                    for j in range(w):
                        now[j] = u[j]
                        k[j] = k[last + j]
                        if states:
                            tape_y[uint64(n), j, i] = u[j]
                    s, err_before = s_new, err
                    tape_s[uint64(n), i] = s
                else:
                    failed += 1
                    why = fault(s, s_new, length, size, err)
                if s < one and why == DONE:
                    why = halt(n, failed, room, max_steps)
        if there:
            for j in range(w):
                y[j, i] = now[j]
            ds[i], count[i], rejected[i], word[i] = step, n, failed, why

    one_, two_, three, whole = *(array_of(real, n) for n in (1, 2, 3)), array_of(np.int32, 1)
    return kernel, void(
        two_, two_, two_, two_, array_of(np.int64, 2), two_, two_, one_, one_, one_, one_, one_, one_, int32, three,
        two_, whole, whole, whole,
    )  # fmt: skip


@once
def _still(S: TileShape) -> Any:
    """Device function: whether a trajectory of the block is on its way; flags (rows,) are of shared memory."""
    rows = U(S.rows)

    @device
    def still(mine, flags):
        tid, found = uint64(cuda.threadIdx.x), int32(0)
        if tid < rows:
            flags[tid] = int32(mine)
        cuda.syncthreads()
        for r in range(rows):
            found |= flags[r]
        return found != 0

    return still
