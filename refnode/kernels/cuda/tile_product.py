"""Products of a tile: a thread sums a square in registers, in float32 8 by 8: 64 multiplications for four loads.

    x[m, j] += sum_q A[q, m] B[q, j]

A stands in shared memory; rows of B pass through it, some at a time, but for the first layer's, which are few. Layers,
cotangents of their inputs and gradients of their weights are all of this form:

                                          A                        B
    x = h W     (trajectories, o)         h (i, trajectories)      W (i, o)
    x = d W^T   (trajectories, i)         d (o, trajectories)      W^T (o, i)
    x = d^T h   (o, i)                    d (trajectories, o)      h (trajectories, i)
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, from_dtype, uint64

from refnode.kernels.cuda.compile import by_network, device
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.tile_shape import TileShape


class Product(NamedTuple):
    """Device functions; all threads of a block take part in each.

    multiply(held, pitch, from_a, source, line, start, o, i, chunk, c0, busy, weights, x)
                A[q, m] is held[q pitch + from_a + m], B[q, j] source[line, start + q o + c0 + j] or 0 beyond o; q < i.
                Where theta(t) is each trajectory's own, m's weight is held[weights + m]
    multiply_rows
                the same, but for the weights: q's is held[weights + q]
    layer(theta, line, layers, k, t, held, chunk, c0, r0, x)
                x = h W + b + t w of layer k for trajectories from r0 on, units from c0 on; held has their t, where
                it is their own
    """

    multiply: Any
    multiply_rows: Any
    layer: Any


def product_of(S: TileShape) -> Product:
    """The device functions for a shape."""
    multiply, multiply_rows = (_multiply(S, down) for down in (False, True))
    return Product(multiply, multiply_rows, (_layer_apart if S.functions else _layer)(S, multiply))


@by_network
def _fetch(S: TileShape) -> Any:
    """Device function: `many` numbers of a source's line into `chunk`, rows of S.columns, 0 beyond o."""
    zero, pitch, threads, even = S.real(0), U(S.columns), U(S.threads), S.even
    at_once = U(min(8, S.chunk * S.columns // S.threads))

    @device
    def fetch(source, line, start, o, many, chunk):
        q, stride = uint64(cuda.threadIdx.x), uint64(cuda.blockDim.x)   # at run time only, lest loops be unrolled
        if even:                                        # rows follow each other as they do in the source
            while q < many:
                for part in range(at_once):
                    chunk[q + part * threads] = source[line, start + q + part * threads]
                q += at_once * stride
        else:
            while q < many:
                column = q % pitch
                chunk[q] = source[line, start + q // pitch * o + column] if column < o else zero
                q += stride

    return fetch


@by_network
def _outer(S: TileShape) -> Any:
    """Device function: x[m, j] += a[m] b[j]."""
    square = U(S.square)

    @device
    def outer(a, b, x):
        for m in range(square):
            for j in range(square):
                x[m * square + j] += a[m] * b[j]

    return outer


@by_network
def _row(S: TileShape, down: bool) -> Any:
    """Device function: x[m, j] += held[from_a + m] chunk[from_b + j], weighted by w[m], or by held[weight]; a and b are
    room."""
    square, outer, apart = U(S.square), _outer(S), bool(S.functions)

    @device
    def row(held, from_a, chunk, from_b, weight, w, a, b, x):
        for m in range(square):
            a[m] = held[from_a + m]
            if apart:
                a[m] *= held[weight] if down else w[m]
        for j in range(square):
            b[j] = chunk[from_b + j]
        outer(a, b, x)

    return row


@by_network
def _multiply(S: TileShape, down: bool) -> Any:
    """`Product.multiply`, or `Product.multiply_rows`."""
    square, one, weighs = U(S.square), U(1), bool(S.functions) and not down
    scalar, side, chunk_rows, pitch, even = from_dtype(np.dtype(S.dtype)), S.square, U(S.chunk), U(S.columns), S.even
    two, three, four, fetch, row = U(2), U(3), U(4), _fetch(S), _row(S, down)

    @device
    def multiply(held, pitch_a, from_a, source, line, start, o, i, chunk, c0, busy, weights, x):
        a, b, w = cuda.local.array(side, scalar), cuda.local.array(side, scalar), cuda.local.array(side, scalar)
        if weighs and busy:
            for m in range(square):
                w[m] = held[weights + m]
        begin = U(0)
        while begin < i:
            many = chunk_rows if even else min(chunk_rows, i - begin)
            fetch(source, line, start + begin * o, o, many * pitch, chunk)
            cuda.syncthreads()
            if busy:
                at, from_b, end, q = from_a + begin * pitch_a, c0, c0 + many * pitch, weights + begin
                while from_b + three * pitch < end:     # four rows at a turn
                    row(held, at, chunk, from_b, q, w, a, b, x)
                    row(held, at + pitch_a, chunk, from_b + pitch, q + one, w, a, b, x)
                    row(held, at + two * pitch_a, chunk, from_b + two * pitch, q + two, w, a, b, x)
                    row(held, at + three * pitch_a, chunk, from_b + three * pitch, q + three, w, a, b, x)
                    at += four * pitch_a
                    from_b += four * pitch
                    q += four
                if not even:
                    while from_b < end:                 # and those that are left
                        row(held, at, chunk, from_b, q, w, a, b, x)
                        at += pitch_a
                        from_b += pitch
                        q += one
            cuda.syncthreads()
            begin += chunk_rows

    return multiply


@by_network
def _multiply_few(S: TileShape) -> Any:
    """Device function: the same with rows of B straight from the source."""
    scalar, zero, side, apart = from_dtype(np.dtype(S.dtype)), S.real(0), S.square, bool(S.functions)
    square, rows, one, even, outer = U(S.square), U(S.rows), U(1), S.even, _outer(S)

    @device
    def multiply_few(held, from_a, source, line, start, o, i, c0, weights, x):
        a, b = cuda.local.array(side, scalar), cuda.local.array(side, scalar)
        q = U(0)
        while q < i:
            for m in range(square):
                a[m] = held[q * rows + from_a + m]
                if apart:
                    a[m] *= held[weights + m]
            for j in range(square):
                b[j] = source[line, start + c0 + j] if even or c0 + j < o else zero
            outer(a, b, x)
            start += o
            q += one

    return multiply_few


@by_network
def _add_times(S: TileShape) -> Any:
    """Device function: x[m, j] += t_m w_j, where each trajectory has its own t."""
    zero, square = S.real(0), U(S.square)

    @device
    def add_times(theta, line, row, many, held, from_t, x):
        for j in range(square):
            weight = theta[line, row + j] if j < many else zero
            for m in range(square):
                x[m * square + j] += held[from_t + m] * weight

    return add_times


@by_network
def _layer(S: TileShape, multiply: Any) -> Any:
    """`Product.layer`."""
    scalar, zero, side, square, rows = from_dtype(np.dtype(S.dtype)), S.real(0), S.square, U(S.square), U(S.rows)
    offset, timed, even, zeroth = S.bias, any(S.timed), S.even, U(0)
    times_apart, times_at, multiply_few, add_times = S.times_apart, U(S.times_at), _multiply_few(S), _add_times(S)

    @device
    def layer(theta, line, layers, k, t, held, chunk, c0, r0, x):
        i, o, W = uint64(layers[k, 0]), uint64(layers[k, 1]), uint64(layers[k, 2])
        at_t, bias = layers[k, 3], layers[k, 4]
        b = cuda.local.array(side, scalar)
        for j in range(square):
            b[j] = zero
        if offset:
            for j in range(square):
                b[j] = theta[line, uint64(bias) + c0 + j] if even or c0 + j < o else zero
        if timed and at_t >= 0 and not times_apart:
            for j in range(square):
                b[j] += t * theta[line, uint64(at_t) + c0 + j] if even or c0 + j < o else zero
        for m in range(square):
            for j in range(square):
                x[m * square + j] = b[j]
        straight = i if k == zeroth else zeroth
        if straight > zeroth:
            cuda.syncthreads()
        multiply_few(held, r0, theta, line, W, o, straight if r0 < rows else zeroth, c0, zeroth, x)
        if straight > zeroth:
            cuda.syncthreads()
        multiply(held, rows, r0, theta, line, W, o, i - straight, chunk, c0, r0 < rows, zeroth, x)
        if times_apart and at_t >= 0 and r0 < rows:
            add_times(theta, line, uint64(at_t) + c0, o - min(c0, o), held, times_at + r0, x)

    return layer


@by_network
def _layer_apart(S: TileShape, multiply: Any) -> Any:
    """`Product.layer` where theta(t) is each trajectory's own: the sum over theta's lines."""
    square, rows, real, offset, timed = U(S.square), U(S.rows), S.real, S.bias, any(S.timed)
    multiply_few, own_at, times_at, zero, one = _multiply_few(S), U(S.own_at), U(S.times_at), U(0), U(1)

    @device
    def offsets(theta, line, bias, at_t, c0, many, held, weights, times, x):
        """x[m, j] += psi_m (b_j + t_m w_j)."""
        for j in range(square):
            b = theta[line, uint64(bias) + c0 + j] if offset and j < many else real(0)
            w = theta[line, uint64(at_t) + c0 + j] if timed and at_t >= 0 and j < many else real(0)
            for m in range(square):
                x[m * square + j] += held[weights + m] * (b + held[times + m] * w if timed else b)

    @device
    def layer(theta, line, layers, k, t, held, chunk, c0, r0, x):
        i, o, W = uint64(layers[k, 0]), uint64(layers[k, 1]), uint64(layers[k, 2])
        at_t, bias, many = layers[k, 3], layers[k, 4], o - min(c0, o)
        for q in range(square * square):
            x[q] = real(0)
        cuda.syncthreads()
        c = zero
        while c < uint64(theta.shape[0]):
            weights = own_at + c * rows + r0
            if r0 < rows:
                offsets(theta, c, bias, at_t, c0, many, held, weights, times_at + r0, x)
                if k == zero:
                    multiply_few(held, r0, theta, c, W, o, i, c0, weights, x)
            multiply(held, rows, r0, theta, c, W, o, i if k > zero else zero, chunk, c0, r0 < rows, weights, x)
            c += one
        cuda.syncthreads()

    return layer
