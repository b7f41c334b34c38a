"""Steps on a given grid, a thread for each trajectory."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int32, uint64, void

from refnode.kernels.cuda.compile import array_of
from refnode.kernels.cuda.field import field_of
from refnode.kernels.cuda.shape import Shape, U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of


def forward(S: Shape) -> tuple[Callable[..., None], Any]:
    """The kernel that solves one segment, and its signature.

    y               (w, b) at the segment's start, and when it is done at its end
    x               control (n_x, b)
    theta           weights in the order of `Shape`, once for still and for each coefficient ((1 + m) size,)
    neurons         where in theta the neurons end
    B               tableau (s s + 3 s,);  c   factors of the running loss (3,)
    t, t_new, h     of each step (N, 1), or (N, b) for grids of their own;  count   steps (1,) or (b,)
    table           a row for every stage, which begins with psi (N s, S.columns); or each trajectory's (see psi.py)
    tape_y, tape_k  (N + 1, w, b) and (N s, w, b), or (1, w, b) for what is not kept
    stopped         (b,) the step after which a trajectory was not finite and stopped, or -1
    """
    load = load_of()
    _, runge_kutta = stages_of(S, field_of(S).rate)
    scalar, real, own, fsal = from_dtype(np.dtype(S.dtype)), S.real, U(S.own), S.butcher.fsal
    w, s, n_x = (U(n) for n in (S.width, S.butcher.stages, S.controls))
    theta_size, tableau_size, width = (1 + S.basis) * S.size, butcher_of(S).size, S.width
    stage_size, x_room, psi_room = S.butcher.stages * S.width, max(1, S.controls), max(1, S.basis)
    states, all_stages, last = S.keep != "nothing", S.keep == "stages", U((S.butcher.stages - 1) * S.width)

    def kernel(y, x, theta, neurons, B, c, t, t_new, h, count, table, tape_y, tape_k, stopped):
        W = cuda.shared.array(theta_size, scalar, alignment=16)
        tableau = cuda.shared.array(tableau_size, scalar)
        load(theta, W, theta_size)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        end = uint64(neurons)
        i = uint64(cuda.grid(1))
        if i >= uint64(y.shape[1]):
            return
        now, u = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        k = cuda.local.array(stage_size, scalar)
        mine, psi = cuda.local.array(x_room, scalar), cuda.local.array(psi_room, scalar)
        for j in range(w):
            now[j] = y[j, i]
            if states:
                tape_y[U(0), j, i] = now[j]
        for j in range(n_x):
            mine[j] = x[j, i]
        at, word, first = i * own, -1, 0
        for n in range(uint64(count[at])):
            runge_kutta(
                W, end, table, n * s, i, c, tableau, t[n, at], t_new[n, at], h[n, at], now, mine, first, psi, k, u
            )  # fmt: skip
            total = real(0)
            for j in range(w):
                now[j] = u[j]
                total += u[j] - u[j]
                if states:
                    tape_y[n + U(1), j, i] = u[j]
            if all_stages:
                for r in range(s):
                    for j in range(w):
                        tape_k[n * s + r, j, i] = k[r * w + j]
            if not math.isfinite(total):
                word = n
                break
            if fsal:
                first = 1
                for j in range(w):
                    k[j] = k[last + j]
        for j in range(w):
            y[j, i] = now[j]
        stopped[i] = word

    one, two, three = (array_of(real, n) for n in (1, 2, 3))
    whole = array_of(np.int32, 1)
    return kernel, void(two, two, one, int32, one, one, two, two, two, whole, two, three, three, whole)
