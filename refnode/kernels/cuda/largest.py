"""The largest slope of the running loss along a forward solve, in whose units the costate's tolerance is."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int32, uint64, void

from refnode.kernels.cuda.compile import array_of
from refnode.kernels.cuda.costate import Costate, rate_of
from refnode.kernels.cuda.psi import psi_of
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.steps import load_of


def largest(S: Costate) -> tuple[Callable[..., None], Any]:
    """The kernel for one segment, and its signature.

    found           (b,) max |g dl/dz| at the ends of a trajectory's steps
    x .. c          as in `refnode.kernels.cuda.backsolve`
    t, table        depths of the steps' ends (N + 1, 1) or (N + 1, b), and psi there, or each trajectory's (see psi.py)
    tape_y          (N + 1, w, b) states;  count   steps (1,) or (b,)
    """
    load, rate, scalar, real = load_of(), rate_of(S), from_dtype(np.dtype(S.dtype)), S.real
    theta_size, width, x_room, psi_room = (1 + S.basis) * S.size, S.width, max(1, S.controls), max(1, S.basis)
    d, n_x, own, psi_at = U(S.d), U(S.controls), U(S.own), psi_of(S, slopes=False)

    def kernel(found, x, theta, neurons, c, t, table, tape_y, count):
        W = cuda.shared.array(theta_size, scalar, alignment=16)
        load(theta, W, theta_size)
        cuda.syncthreads()
        i, end = uint64(cuda.grid(1)), uint64(neurons)
        if i >= uint64(found.shape[0]):
            return
        u, k = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        mine, psi = cuda.local.array(x_room, scalar), cuda.local.array(psi_room, scalar)
        at, most = i * own, real(0)
        for j in range(n_x):
            mine[j] = x[j, i]
        for n in range(uint64(count[at]) + U(1)):
            for j in range(d):
                u[j], u[d + j] = tape_y[n, j, i], real(0)
            psi_at(table, n, i, t[n, at], psi)
            rate(W, end, psi, c, t[n, at], u, mine, k)
            for j in range(d):
                most = max(most, abs(k[d + j]))
        found[i] = most

    one, two = array_of(real, 1), array_of(real, 2)
    return kernel, void(one, two, one, int32, one, two, two, array_of(real, 3), array_of(np.int32, 1))
