"""Steps that trajectories share: one attempted step of all of them, whose error is one number.

The host decides what a step was worth, as `refnode.integrate.adaptive_steps` does; blocks hand it sums over their
trajectories in order, so that it is the same number every time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int32, uint64, void

from refnode.kernels.cuda.compile import array_of, device, once
from refnode.kernels.cuda.controller import Limits, squares_of
from refnode.kernels.cuda.costate import rate_of
from refnode.kernels.cuda.psi import psi_of
from refnode.kernels.cuda.shape import Shape, U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of


def rates(S: Shape) -> tuple[Callable[..., None], Any]:
    """The kernel k = F(t, y), or u's for a costate's shape, and its signature.

    y, k        (w, b)
    x .. c      as in `refnode.kernels.cuda.forward`;  t   (1,) or (b,);  table   psi there (1, S.columns), or each
                trajectory's (see psi.py)
    """
    load, rate, scalar, own = load_of(), rate_of(S), from_dtype(np.dtype(S.dtype)), U(S.own)
    theta_size, width, x_room, psi_room = (1 + S.basis) * S.size, S.width, max(1, S.controls), max(1, S.basis)
    w, n_x, psi_at, zero = U(S.width), U(S.controls), psi_of(S, slopes=False), U(0)

    def kernel(y, k, x, theta, neurons, c, t, table):
        W = cuda.shared.array(theta_size, scalar, alignment=16)
        load(theta, W, theta_size)
        cuda.syncthreads()
        i = uint64(cuda.grid(1))
        if i >= uint64(y.shape[1]):
            return
        now, slope = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        mine, psi = cuda.local.array(x_room, scalar), cuda.local.array(psi_room, scalar)
        for j in range(w):
            now[j] = y[j, i]
        for j in range(n_x):
            mine[j] = x[j, i]
        psi_at(table, zero, i, t[i * own], psi)
        rate(W, uint64(neurons), psi, c, t[i * own], now, mine, slope)
        for j in range(w):
            k[j, i] = slope[j]

    one, two = array_of(S.real, 1), array_of(S.real, 2)
    return kernel, void(two, two, two, one, int32, one, one, two)


def attempt(S: Shape) -> tuple[Callable[..., None], Any]:
    """The kernel that takes one step, for blocks of S.threads and tableaux with FSAL, and its signature.

    y, y_new        (w, b) states before and after it;  k_first, k_last   (w, b) its first and its last stage
    x .. c          as in `refnode.kernels.cuda.forward`;  limits   of `refnode.kernels.cuda.controller.Limits` (8,)
    t, t_new, h     (1,) or (b,);  table   a row for every stage (s, S.columns), or each trajectory's
    part            (blocks, 2) of each block the sum and the largest of its trajectories' squared errors, relative to
                    the tolerance; NaN if a state is not finite
    """
    load, squares, add, (_, runge_kutta) = load_of(), squares_of(S), block_sums(S), stages_of(S, rate_of(S))
    scalar, real, own = from_dtype(np.dtype(S.dtype)), S.real, U(S.own)
    theta_size, tableau_size, width = (1 + S.basis) * S.size, butcher_of(S).size, S.width
    x_room, psi_room, stage_size = max(1, S.controls), max(1, S.basis), S.butcher.stages * S.width
    w, n_x, last = U(S.width), U(S.controls), U((S.butcher.stages - 1) * S.width)

    def kernel(y, y_new, k_first, k_last, x, theta, neurons, B, c, limits, t, t_new, h, table, part):
        W = cuda.shared.array(theta_size, scalar, alignment=16)
        tableau = cuda.shared.array(tableau_size, scalar)
        load(theta, W, theta_size)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        i, error = uint64(cuda.grid(1)), real(0)
        if i < uint64(y.shape[1]):
            L = Limits(
                limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6], limits[7]
            )  # fmt: skip
            now, u = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
            mine, psi = cuda.local.array(x_room, scalar), cuda.local.array(psi_room, scalar)
            k, at = cuda.local.array(stage_size, scalar), i * own
            for j in range(w):
                now[j], k[j] = y[j, i], k_first[j, i]
            for j in range(n_x):
                mine[j] = x[j, i]
            runge_kutta(
                W, uint64(neurons), table, U(0), i, c, tableau, t[at], t_new[at], h[at], now, mine, 1, psi, k, u
            )  # fmt: skip
            error = squares(tableau, L, h[at], now, u, k)
            for j in range(w):
                y_new[j, i], k_last[j, i] = u[j], k[last + j]
        add(error, part)

    one, two = array_of(real, 1), array_of(real, 2)
    return kernel, void(two, two, two, two, two, one, int32, one, one, one, one, one, one, two, two)


@once
def block_sums(S: Any) -> Any:
    """part[block] = the sum over its threads, from the first on, and the largest, or NaN if there is one."""
    scalar, real, threads, zero, one = from_dtype(np.dtype(S.dtype)), S.real, S.threads, U(0), U(1)

    @device
    def add(number, part):
        errors = cuda.shared.array(threads, scalar)
        tid, block = uint64(cuda.threadIdx.x), uint64(cuda.blockIdx.x)
        errors[tid] = number
        cuda.syncthreads()
        if tid == zero:
            total, most = real(0), real(0)
            for other in range(threads):
                total += errors[other]
                most = max(most, errors[other])
            part[block, zero] = total
            part[block, one] = most if total == total else total

    return add
