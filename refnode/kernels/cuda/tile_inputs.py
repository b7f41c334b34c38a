"""Cotangents of what a wide network's layers are given: d W^T, for a tile of trajectories.

Squares in registers (see tile_product.py); of the first layer a thread for each trajectory sums that of z, and of each
layer that of its own t.
"""

from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64

from refnode.kernels.cuda.compile import by_network, device
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.tile_product import product_of
from refnode.kernels.cuda.tile_psi import psi_of_row, weight_of_row
from refnode.kernels.cuda.tile_shape import TileShape


@by_network
def last_inputs_of(S: TileShape) -> Any:
    """The cotangent of what the last layer is given, as squares x from g (o, rows)."""
    real, scalar, side = S.real, from_dtype(np.dtype(S.dtype)), S.square
    rows, square, o, last, one = U(S.rows), U(S.square), U(S.out), U(S.hidden), U(1)
    apart, psi, lines = bool(S.functions), psi_of_row(S), U(S.lines)

    @device
    def add(theta, line, c, i, W, g, held, c0, r0, a, b, x):
        q = U(0)
        while q < o:
            for m in range(square):
                a[m] = g[q * rows + r0 + m] * psi(held, c, r0 + m)
            for j in range(square):
                b[j] = theta[line, W + (c0 + j) * o + q] if c0 + j < i else real(0)
            for m in range(square):
                for j in range(square):
                    x[m * square + j] += a[m] * b[j]
            q += one

    @device
    def last_inputs(theta, line, layers, g, held, c0, r0, x):
        i, W = uint64(layers[last, 0]), uint64(layers[last, 2])
        a, b = cuda.local.array(side, scalar), cuda.local.array(side, scalar)
        for q in range(square * square):
            x[q] = real(0)
        if r0 < rows:
            c = U(0)
            while c < lines:
                add(theta, c if apart else line, c, i, W, g, held, c0, r0, a, b, x)
                c += one

    return last_inputs


@by_network
def hidden_inputs_of(S: TileShape) -> Any:
    """The cotangent of what a layer between hidden ones is given: d W^T as squares x from d (o, rows)."""
    multiply, clear, rows, apart = product_of(S).multiply, clear_of(S), U(S.rows), bool(S.functions)
    lines, own_at, one = U(S.lines), U(S.own_at), U(1)

    @device
    def inputs_vjp(turned, line, layers, k, held, chunk, c0, r0, x):
        i, o, W = uint64(layers[k, 0]), uint64(layers[k, 1]), uint64(layers[k, 2])
        clear(x)
        c = U(0)
        while c < lines:
            weights = own_at + c * rows + r0
            multiply(held, rows, r0, turned, c if apart else line, W, i, o, chunk, c0, r0 < rows, weights, x)
            c += one

    return inputs_vjp


@by_network
def first_state_of(S: TileShape) -> Any:
    """The cotangent of the thread's z, added to, from d (o, rows)."""
    along, rows, d, first = along_of(S), U(S.rows), U(S.d), U(0)

    @device
    def first_state(theta, line, layers, g_y, held):
        o, W = uint64(layers[first, 1]), uint64(layers[first, 2])
        if uint64(cuda.threadIdx.x) < rows:
            for q in range(d):
                g_y[q] += along(theta, line, W + q * o, o, held)

    return first_state


def along_of(S: TileShape) -> Any:
    """Device function: sum_j W_j d_j of the thread's trajectory, of d (o, rows)."""
    return along_by(S, weight_of_row(S))


@by_network
def along_by(S: TileShape, weight: Any) -> Any:
    """The same, where `weight` says what of theta W_j is."""
    real, rows, one = S.real, U(S.rows), U(1)

    @device
    def along(theta, line, W, o, held):
        place, total, end = uint64(cuda.threadIdx.x), real(0), W + o
        while end > W:
            total += weight(theta, line, held, W) * held[place]
            W += one
            place += rows
        return total

    return along


@by_network
def clear_of(S: TileShape) -> Any:
    """Device function: a square becomes 0."""
    zero, squared = S.real(0), U(S.square**2)

    @device
    def clear(x):
        for q in range(squared):
            x[q] = zero

    return clear


@by_network
def time_vjp_of(S: TileShape) -> Any:
    """The cotangent of the thread's trajectory's own t."""
    real, rows, one, zero, weight = S.real, U(S.rows), U(1), U(0), weight_of_row(S)

    @device
    def time_vjp(theta, line, at_t, o, held, d, across, down):
        tid, total, n = uint64(cuda.threadIdx.x), real(0), U(0)
        j = tid % o                                     # each lane begins at another bank
        while tid < rows and n < o:
            total += weight(theta, line, held, at_t + j) * d[j * across + tid * down]
            j = j + one if j + one < o else zero
            n += one
        return total

    return time_vjp
