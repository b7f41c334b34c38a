"""theta(t) of each trajectory's own in a tile: theta = sum_c psi_c A_c, where A_0 is what stands still and psi_0 = 1.

Lines of theta are A_0, .., A_m. A trajectory's psi stand in shared memory, a column for each, and multiply its row of
whatever a product with A_c begins or ends with: products are summed over c. Where theta is one for all trajectories of
a stage, theta's line has it, and there is no such sum.
"""

from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64

from refnode.kernels.cuda.compile import by_network, device
from refnode.kernels.cuda.psi import psi_of
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.tile_shape import TileShape


@by_network
def put_psi_of(S: TileShape) -> Any:
    """Device function put_psi(table, i, there, t, held): psi_0 .. psi_m and psi_1' .. psi_m' of each trajectory at its
    t stand in shared memory."""
    apart, psi_at, rows, m, own_at = bool(S.functions), psi_of(S, slopes=True), U(S.rows), U(S.basis), U(S.own_at)
    scalar, real, room, slopes_at = from_dtype(np.dtype(S.dtype)), S.real, max(1, 2 * S.basis + 3), U(S.slopes_at)

    @device
    def put_psi(table, i, there, t, held):
        tid = uint64(cuda.threadIdx.x)
        if apart and tid < rows:
            row = cuda.local.array(room, scalar)
            psi_at(table, U(0), i if there else U(0), t, row)
            held[own_at + tid] = real(1)
            for c in range(m):
                held[own_at + (c + U(1)) * rows + tid] = row[c]
                held[slopes_at + c * rows + tid] = row[m + c]

    return put_psi


@by_network
def weight_of_row(S: TileShape) -> Any:
    """Device function weight(theta, line, held, q): number q of the theta of the thread's trajectory."""
    apart, real, rows, m, own_at = bool(S.functions), S.real, U(S.rows), U(S.basis), U(S.own_at)

    @device
    def of_all(theta, line, held, q):
        return theta[line, q]

    @device
    def of_row(theta, line, held, q):
        number, tid = real(0), uint64(cuda.threadIdx.x)
        for c in range(m + U(1)):
            number += held[own_at + c * rows + tid] * theta[c, q]
        return number

    return of_row if apart else of_all


@by_network
def turn_of_row(S: TileShape) -> Any:
    """Device function turn(theta, line, held, q): number q of its theta'(u)."""
    real, rows, m, slopes_at = S.real, U(S.rows), U(S.basis), U(S.slopes_at)

    @device
    def turn(theta, line, held, q):
        number, tid = real(0), uint64(cuda.threadIdx.x)
        for c in range(m):
            number += held[slopes_at + c * rows + tid] * theta[c + U(1), q]
        return number

    return turn


@by_network
def psi_of_row(S: TileShape) -> Any:
    """Device function psi(held, c, r): psi_c of trajectory r; 1 where theta is all trajectories'."""
    apart, one, rows, own_at = bool(S.functions), S.real(1), U(S.rows), U(S.own_at)

    @device
    def psi(held, c, r):
        return held[own_at + c * rows + r] if apart else one

    return psi


@by_network
def moves_of(S: TileShape) -> Any:
    """Device function moves(table, i, there, t, g_u): the cotangents of the trajectory's t, t0 and T from that of u."""
    one, start, rate = S.real(1), U(0), U(1)

    @device
    def moves(table, i, there, t, g_u):
        at = i if there else U(0)
        by_t = table[rate, at]
        u = (t - table[start, at]) * by_t
        return by_t * g_u, (u - one) * by_t * g_u, -u * by_t * g_u

    return moves
