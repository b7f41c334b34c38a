"""The largest slope of the running loss along a wide network's forward solve: the twin of
`refnode.kernels.cuda.largest`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64, void

from refnode.kernels.cuda.compile import array_of
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.tile import longest_of
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_system import system_of


def tile_largest(S: TileCostate) -> tuple[Callable[..., None], Any]:
    """The kernel for one segment, for blocks of S.threads, and its signature.

    found           (b,) max |g dl/dz| at the ends of a trajectory's steps
    x .. table      as in `refnode.kernels.cuda.tile_shared`, with theta at these ends
    c               as in `refnode.kernels.cuda.tile_backsolve`;  t   depths of the ends (N + 1, 1) or (N + 1, b)
    tape_y          (N + 1, w, b) states;  count   steps (1,) or (b,)
    """
    rate, longest, scalar, real = system_of(S), longest_of(S), from_dtype(np.dtype(S.dtype)), S.real
    d, rows, own, varies, width = U(S.d), U(S.rows), S.own, U(bool(S.basis)), S.width
    held_size, chunk_size = S.held_size, S.chunk_size

    def kernel(found, x, theta, turned, layers, kept, table, c, t, tape_y, count):
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        tid = uint64(cuda.threadIdx.x)
        i = uint64(cuda.blockIdx.x) * rows + tid
        there = tid < rows and i < uint64(found.shape[0])
        u, k = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        at, most = i if own and there else U(0), real(0)
        for n in range(longest(count) + U(1)):
            mine = min(n, uint64(count[at]))                # who has arrived stays at the end
            for j in range(d):
                u[j], u[d + j] = tape_y[mine, j, i] if there else real(0), real(0)
            rate(theta, turned, n * varies, layers, table, c, t[mine, at], u, x, i, there, held, chunk, kept, k, U(0))
            for j in range(d):
                most = max(most, abs(k[d + j]))
        if there:
            found[i] = most

    one, two, three = (array_of(real, n) for n in (1, 2, 3))
    return kernel, void(one, two, two, two, array_of(np.int64, 2), two, two, one, two, three, array_of(np.int32, 1))
