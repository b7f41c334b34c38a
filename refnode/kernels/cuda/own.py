"""Steps of each trajectory's own: the twin of `refnode.integrate.adaptive_steps` with steps="own", for FSAL tableaux.

A thread goes on until its trajectory has arrived or has failed. Threads of a warp whose trajectories need fewer steps
wait for the one that needs most; every trajectory's result and fault are its own.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int32, uint64, void

from refnode.kernels.cuda.compile import array_of
from refnode.kernels.cuda.controller import Limits, controller_of, first_step_of, squares_of
from refnode.kernels.cuda.costate import rate_of
from refnode.kernels.cuda.psi import psi_of
from refnode.kernels.cuda.shape import Shape, U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of
from refnode.kernels.tape import DONE


def own(S: Shape) -> tuple[Callable[..., None], Any]:
    """The kernel that solves one segment, of y, or of u = [z, a] by the error of both; and its signature.

    y               (w, b) at the segment's start, and at its end
    x .. neurons    as in `refnode.kernels.cuda.forward`; so are B and c
    table           (2 + 3 m, b) of a theta(t) of each trajectory's own (see psi.py), or (0, 0)
    limits          those of `refnode.kernels.cuda.controller.Limits` (8,);  max_steps   attempts
    start, end      of the segment (b,)
    ds              the first step as a fraction of the segment, or 0 for Hairer's; then the wish for the next (b,)
    tape_y, tape_s  states and fractions at which steps begin, and the last (room + 1, w, b), (room + 1, b); states only
                    if they are kept
    count           steps (b,);  rejected   (b,)
    word            (b,) DONE, or why it stopped: FULL, UNDERFLOW, TOO_MANY, NOT_FINITE
    """
    rate, psi_at, psi_room = rate_of(S), psi_of(S, slopes=False), max(1, S.basis)
    load, states, (aim, judge, fault, halt) = load_of(), S.keep != "nothing", controller_of(S)
    _, runge_kutta = stages_of(S, rate)
    squares, (probe, first_step) = squares_of(S), first_step_of(S)
    scalar, real, zero, one = from_dtype(np.dtype(S.dtype)), S.real, S.real(0), S.real(1)
    w, n_x, last, theta_size, tableau_size = (
        U(S.width), U(S.controls), U((S.butcher.stages - 1) * S.width), (1 + S.basis) * S.size, butcher_of(S).size
    )  # fmt: skip
    numbers, width, stage_size, x_room = S.real(S.width), S.width, S.butcher.stages * S.width, max(1, S.controls)
    zeroth = U(0)

    def kernel(
        y, x, theta, neurons, table, B, c, limits, start, end, ds, max_steps, tape_y, tape_s, count, rejected, word
    ):  # fmt: skip
        W = cuda.shared.array(theta_size, scalar, alignment=16)
        tableau = cuda.shared.array(tableau_size, scalar)
        load(theta, W, theta_size)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        last_weight = uint64(neurons)
        i = uint64(cuda.grid(1))
        if i >= uint64(y.shape[1]):
            return
        L = Limits(limits[0], limits[1], limits[2], limits[3], limits[4], limits[5], limits[6], limits[7])
        now, u = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        mine, psi = cuda.local.array(x_room, scalar), cuda.local.array(psi_room, scalar)
        k = cuda.local.array(stage_size, scalar)
        for j in range(w):
            now[j] = y[j, i]
            if states:
                tape_y[U(0), j, i] = now[j]
        for j in range(n_x):
            mine[j] = x[j, i]
        first, length, room = start[i], end[i] - start[i], tape_s.shape[0] - 1
        size = max(abs(start[i]), abs(end[i]))
        psi_at(table, zeroth, i, first, psi)
        rate(W, last_weight, psi, c, first, now, mine, u)
        for j in range(w):
            k[j] = u[j]
        s, err_before, grow, n, failed, why = zero, one, True, 0, 0, DONE
        tape_s[U(0), i] = s
        step = ds[i]
        if not step > zero:
            k1 = cuda.local.array(width, scalar)
            h0, d1 = probe(L, length, now, k, u)
            psi_at(table, zeroth, i, first + h0 * length, psi)
            rate(W, last_weight, psi, c, first + h0 * length, u, mine, k1)
            step = first_step(L, length, now, k, k1, h0, d1)
        while s < one and why == DONE:
            s_new = aim(s, step)
            t, t_new = (one - s) * first + s * end[i], (one - s_new) * first + s_new * end[i]
            runge_kutta(
                W, last_weight, table, zeroth, i, c, tableau, t, t_new, (s_new - s) * length, now, mine, 1, psi, k, u
            )  # fmt: skip
            err = math.sqrt(squares(tableau, L, (s_new - s) * length, now, u, k) / numbers)
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
        for j in range(w):
            y[j, i] = now[j]
        ds[i], count[i], rejected[i], word[i] = step, n, failed, why

    one_, two, three, whole = array_of(real, 1), array_of(real, 2), array_of(real, 3), array_of(np.int32, 1)
    return kernel, void(
        two, two, one_, int32, two, one_, one_, one_, one_, one_, one_, int32, three, two, whole, whole, whole
    )  # fmt: skip
