"""What a tile's trajectories give to their own u by theta'(u): layer by layer, d^T (h W' + b' + t w').

d stands in shared memory (o, rows), where the cotangents of a layer's inputs are summed; W' = sum_c psi_c' A_c.
"""

from typing import Any

from numba import cuda, uint64

from refnode.kernels.cuda.compile import by_network, device
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.tile_inputs import along_by, clear_of
from refnode.kernels.cuda.tile_product import product_of
from refnode.kernels.cuda.tile_psi import turn_of_row
from refnode.kernels.cuda.tile_shape import TileShape


@by_network
def last_turn_of(S: TileShape) -> Any:
    """The last layer's, of the thread's trajectory, from what it is given (i, rows), and g (o, rows)."""
    real, rows, o, last, turn = S.real, U(S.rows), U(S.out), U(S.hidden), turn_of_row(S)

    @device
    def last_turn(theta, line, layers, t, held, g):
        tid, i, W, total = uint64(cuda.threadIdx.x), uint64(layers[last, 0]), uint64(layers[last, 2]), real(0)
        row, bias = layers[last, 3], layers[last, 4]
        for q in range(o):
            along = turn(theta, line, held, uint64(bias) + q) if bias >= 0 else real(0)
            if row >= 0:
                along += t * turn(theta, line, held, uint64(row) + q)
            unit = U(0)
            while unit < i:
                along += held[unit * rows + tid] * turn(theta, line, held, W + unit * o + q)
                unit += U(1)
            total += g[q * rows + tid] * along
        return total

    return last_turn


@by_network
def offsets_turn_of(S: TileShape) -> Any:
    """That of a hidden layer's b and t's row in W, of the thread's trajectory."""
    real, along = S.real, along_by(S, turn_of_row(S))

    @device
    def offsets_turn(theta, line, layers, k, t, held):
        o, at_t, bias, total = uint64(layers[k, 1]), layers[k, 3], layers[k, 4], real(0)
        if bias >= 0:
            total += along(theta, line, uint64(bias), o, held)
        if at_t >= 0:
            total += t * along(theta, line, uint64(at_t), o, held)
        return total

    return offsets_turn


@by_network
def first_turn_of(S: TileShape) -> Any:
    """That of the first layer's W, of the thread's trajectory."""
    along, real, d, n_x, first = along_by(S, turn_of_row(S)), S.real, U(S.d), U(S.controls), U(0)

    @device
    def first_turn(theta, line, layers, u, x, i, there, held):
        o, W, total = uint64(layers[first, 1]), uint64(layers[first, 2]), real(0)
        for q in range(d):
            total += u[q] * along(theta, line, W + q * o, o, held)
        for q in range(n_x):
            total += (x[q, i] if there else real(0)) * along(theta, line, W + (d + q) * o, o, held)
        return total

    return first_turn


@by_network
def hidden_turn_of(S: TileShape) -> Any:
    """That of W of a layer between hidden ones, of the thread's trajectory: squares of d W'^T beside what it is given.
    """
    multiply, clear, real, rows, slopes_at = product_of(S).multiply, clear_of(S), S.real, U(S.rows), U(S.slopes_at)
    square, columns, across, plane = U(S.square), U(S.columns), U(S.columns // S.square), U(S.rows * S.columns)
    lines, one = U(S.lines), U(1)

    @device
    def hidden_turn(turned, layers, k, held, chunk, c0, r0, x, kept):
        i, o, W = uint64(layers[k, 0]), uint64(layers[k, 1]), uint64(layers[k, 2])
        tid, block, total, c = uint64(cuda.threadIdx.x), uint64(cuda.blockIdx.x), real(0), one
        clear(x)
        while c < lines:
            weights = slopes_at + (c - one) * rows + r0
            multiply(held, rows, r0, turned, c, W, i, o, chunk, c0, r0 < rows, weights, x)
            c += one
        if r0 < rows:
            for m in range(square):
                along, at = real(0), (k - one) * plane + (r0 + m) * columns + c0
                for j in range(square):
                    along += x[m * square + j] * kept[block, at + j]
                chunk[tid % across * rows + r0 + m] = along
        cuda.syncthreads()
        if tid < rows:
            for n in range(across):
                total += chunk[n * rows + tid]
        cuda.syncthreads()
        return total

    return hidden_turn
