"""One Runge-Kutta step of one trajectory: the twin of `refnode.kernels.steps.runge_kutta`.

Stages stand in local memory, y and the stage's state in registers: a field has hundreds of instructions, so that the
few loads of a stage cost less than a copy of the field for every stage would.
"""

from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64

from refnode.kernels.cuda.compile import device, once
from refnode.kernels.cuda.psi import psi_of
from refnode.kernels.cuda.shape import Shape, U


def butcher_of(S: Shape) -> np.ndarray:
    """A tableau as a kernel reads it: a, b, c, b_err, flat (s s + 3 s,)."""
    B = S.butcher
    error = np.zeros(B.stages) if B.b_err is None else B.b_err
    return np.concatenate([B.a.ravel(), B.b, B.c, error]).astype(S.real)


@once
def stages_of(S: Shape, rate: Any) -> tuple[Any, Any]:
    """Device functions.

    stage_state(B, i, h, y, k, u)     u = y + h sum_j a_ij k_j; for i = s, y_new
    runge_kutta(W, end, table, row, trajectory, c, B, t, t_new, h, y, x, first, psi, k, u)
                                      stages first .. s - 1 in k (s w,), y_new in u; psi (m,) is
                                      that of the table's rows row .. row + s - 1, or of the trajectory's own depths
    """
    s, w, node_at = U(S.butcher.stages), U(S.width), U(S.butcher.stages**2 + S.butcher.stages)
    psi_at = psi_of(S, slopes=False) if rate else None
    scalar, real, one, width, fsal = from_dtype(np.dtype(S.dtype)), S.real, S.real(1), S.width, S.butcher.fsal

    @device
    def stage_state(B, i, h, y, k, u):
        for j in range(w):
            u[j] = real(0)
        at, place, end = i * s, U(0), min(i, s) * w
        while place < end:
            for j in range(w):
                u[j] += B[at] * k[place + j]
            at += U(1)
            place += w
        for j in range(w):
            u[j] = y[j] + h * u[j]

    @device
    def runge_kutta(W, end, table, row, trajectory, c, B, t, t_new, h, y, x, first, psi, k, u):
        slope = cuda.local.array(width, scalar)
        i = uint64(first)
        while i < s:
            stage_state(B, i, h, y, k, u)
            node = B[node_at + i]
            tau = t_new if node == one else t + node * h
            psi_at(table, row + i, trajectory, tau, psi)
            rate(W, end, psi, c, tau, u, x, slope)
            for j in range(w):
                k[i * w + j] = slope[j]
            i += U(1)
        if not fsal:
            stage_state(B, s, h, y, k, u)

    return stage_state, runge_kutta


@once
def step_back_of(S: Any, stage_vjp: Any) -> Any:
    """Device function, the vjp of a step: the twin of `refnode.steps.rk_step_vjp`.

    step_back(B, t, t_new, h, s, s_new, y, k, adj, ends, rest)
        adj (w,) becomes the cotangent of y; ends gains those of the segment's start and end, of which s and s_new are
        the step's fractions. A thread that stands still has h = s = s_new = 0
    stage_vjp(r, t, u, rate, g, g_u, ends, rest)
        g_u = (dF/dy)^T g at stage r's state u and slope `rate`, and what F's vjp gives to t is returned; the rest of it
        is gathered in `rest`, whatever a design needs
    """
    stage_state, _ = stages_of(S, None)
    scalar, real, one, width = from_dtype(np.dtype(S.dtype)), S.real, S.real(1), S.width
    w, s, used = U(S.width), U(S.butcher.stages), U(S.butcher.stages - S.butcher.fsal)  # the FSAL stage has no vjp
    b_at, node_at, stage_size = s * s, s * s + s, S.butcher.stages * S.width

    @device
    def step_back(B, t, t_new, h, s_old, s_new, y, k, adj, ends, rest):
        g_Y, rate = cuda.local.array(stage_size, scalar), cuda.local.array(width, scalar)
        u, g, g_u = cuda.local.array(width, scalar), cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        g_t, g_t_new, g_h = real(0), real(0), real(0)
        r = used
        while r > U(0):
            r -= U(1)
            stage_state(B, r, h, y, k, u)
            for j in range(w):
                rate[j] = k[r * w + j]
                g[j] = B[b_at + r] * adj[j]
            at, place = (r + U(1)) * s + r, (r + U(1)) * w
            while place < used * w:
                for j in range(w):
                    g[j] += B[at] * g_Y[place + j]
                at += s
                place += w
            for j in range(w):
                g_h += g[j] * rate[j]
                g[j] *= h
            node = B[node_at + r]
            g_tau = stage_vjp(r, t_new if node == one else t + node * h, u, rate, g, g_u, ends, rest)
            for j in range(w):
                g_Y[r * w + j] = g_u[j]
            if node == one:
                g_t_new += g_tau
            else:
                g_t += g_tau
                g_h += node * g_tau
        for r in range(used):
            for j in range(w):
                adj[j] += g_Y[r * w + j]
        ends[0] += g_t * (one - s_old) + g_t_new * (one - s_new) - g_h * (s_new - s_old)
        ends[1] += g_t * s_old + g_t_new * s_new + g_h * (s_new - s_old)

    return step_back


@once
def load_of() -> Any:
    """Device function load(a, to, n): the block's threads copy n numbers to shared memory."""
    @device
    def load(a, to, n):
        q = uint64(cuda.threadIdx.x)
        while q < uint64(n):
            to[q] = a[q]
            q += uint64(cuda.blockDim.x)

    return load
