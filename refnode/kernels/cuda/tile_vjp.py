"""The vjp of a wide network for a tile of trajectories: the twin of `refnode.field.MLP.vjp`.

Layer by layer from the last, with d the cotangent of what a layer's activation is given:

    gW += h^T d,   gb += sum d,   gw += t sum d;      d_before = (d W^T) * act'

Products go through registers (see tile_product.py); the narrow first and last layers' weights belong to a thread for
each unit. What hidden layers return waits in memory of the block's own. Every weight's gradient belongs to one thread,
which adds to it in the order of stages and, within a stage, of trajectories.
"""

from typing import Any

import numpy as np
from numba import cuda, from_dtype, uint64

from refnode.kernels.cuda.compile import device, once
from refnode.kernels.cuda.field import activation
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.tile import ahead_of, inputs_of_tile
from refnode.kernels.cuda.tile_inputs import (
    along_of,
    clear_of,
    first_state_of,
    hidden_inputs_of,
    last_inputs_of,
    time_vjp_of,
)
from refnode.kernels.cuda.tile_product import product_of
from refnode.kernels.cuda.tile_psi import psi_of_row
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_sums import add_of, weight_of_sums
from refnode.kernels.cuda.tile_turn import first_turn_of, hidden_turn_of, last_turn_of, offsets_turn_of


@once
def tile_vjp_of(S: TileShape) -> Any:
    """Device function vjp(theta, turned, slopes, line, layers, t, u, x, i, there, g, g_y, g_x, table, row, held, chunk,
    kept, part, turn). All threads of the block take part.

    theta, turned, slopes    rows `line`, `line` and `row`: theta, with every W transposed, and dtheta/du
    u, g, g_y                of the thread's trajectory i: z, the cotangent of f (o,), and that of z, which is added to
    g_x                      (n_x, b) added to;  there   whether the thread has a trajectory
    kept, part               (blocks, S.kept_size); (blocks, 1 + m, p), added to
    turn                     turn[0] becomes the thread's share of the cotangent of t, or the cotangent of its own t;
                             turn[1] likewise of u
    """
    ahead, back = ahead_of(S), back_of(S)

    @device
    def vjp(
        theta, turned, slopes, line, layers, t, u, x, i, there, g, g_y, g_x, table, row, held, chunk, kept, part, turn
    ):
        ahead(theta, line, layers, table, t, u, x, i, there, held, chunk, kept)
        back(
            theta, turned, slopes, line, layers, t, u, x, i, there, g, g_y, g_x, table, row, held, chunk, kept, part,
            turn,
        )  # fmt: skip

    return vjp


@once
def back_of(S: TileShape) -> Any:
    """Device function: behind `ahead`, from the last layer to the first."""
    last_vjp, offsets_vjp, slope_of = _last_vjp(S), _offsets_vjp(S), activation(S)[1]
    weights_vjp, inputs_vjp, first_weights_vjp = _hidden_weights_vjp(S), hidden_inputs_of(S), _first_weights_vjp(S)
    first_state, first_control = first_state_of(S), _first_control(S)
    scalar, zero, squared, inputs_of = from_dtype(np.dtype(S.dtype)), S.real(0), S.square**2, inputs_of_tile(S)
    square, rows, columns, across = U(S.square), U(S.rows), U(S.columns), U(S.columns // S.square)
    hidden, plane, one = U(S.hidden), U(S.rows * S.columns), U(1)
    slopes_kept, planes = S.slopes_kept, U(S.kept_size // (S.rows * S.columns))
    apart, offsets_turn, hidden_turn, first_turn = (
        bool(S.functions), offsets_turn_of(S), hidden_turn_of(S), first_turn_of(S)
    )  # fmt: skip

    @device
    def before(x, k, r0, c0, held, kept):
        block = uint64(cuda.blockIdx.x)
        for m in range(square):
            for j in range(square):
                at = k * plane + (r0 + m) * columns + c0 + j
                slope = kept[block, at + hidden * plane] if slopes_kept else slope_of(zero, kept[block, at])
                held[(r0 + m) * columns + c0 + j] = x[m * square + j] * slope

    @device
    def turn_over(x, r0, c0, held):
        """d (rows, o) becomes (o, rows)."""
        if r0 < rows:
            for m in range(square):
                for j in range(square):
                    x[m * square + j] = held[(r0 + m) * columns + c0 + j]
        cuda.syncthreads()
        if r0 < rows:
            for j in range(square):
                for m in range(square):
                    held[(c0 + j) * rows + r0 + m] = x[m * square + j]

    @device
    def back(
        theta, turned, slopes, line, layers, t, u, x, i, there, g, g_y, g_x, table, row, held, chunk, kept, part, turn
    ):
        tid = uint64(cuda.threadIdx.x)
        c0, r0 = tid % across * square, tid // across * square
        busy, square_of = r0 < rows, cuda.local.array(squared, scalar)
        turn[0], turn[1] = zero, zero
        many = uint64(kept.shape[1]) // (planes * columns)  # rows, but at run time only, lest a loop be unrolled
        last_vjp(theta, line, slopes, layers, t, g, table, row, held, chunk, c0, r0, square_of, part, turn)
        k = hidden
        while k > U(0):
            k -= one
            if busy:
                before(square_of, k, r0, c0, held, kept)
            if k == U(0):
                inputs_of(u, x, i, there, chunk)
            cuda.syncthreads()
            offsets_vjp(theta, line, slopes, layers, k, t, table, row, held, held, one, columns, part, turn)
            if k > U(0):
                weights_vjp(slopes, layers, k, table, row, held, chunk, square_of, kept, part, turn)
            else:
                first_weights_vjp(slopes, layers, table, row, held, chunk, many, part, turn)
            turn_over(square_of, r0, c0, held)
            if apart:
                cuda.syncthreads()
                if tid < rows:
                    turn[1] += offsets_turn(theta, line, layers, k, t, held)
                if k > U(0):
                    turn[1] += hidden_turn(turned, layers, k, held, chunk, c0, r0, square_of, kept)
            if k > U(0):
                inputs_vjp(turned, line, layers, k, held, chunk, c0, r0, square_of)
        cuda.syncthreads()
        first_state(theta, line, layers, g_y, held)
        first_control(theta, line, layers, i, there, g_x, held, part)
        if apart and tid < rows:
            turn[1] += first_turn(theta, line, layers, u, x, i, there, held)

    return back


@once
def _offsets_vjp(S: TileShape) -> Any:
    """Gradients of b and of t's row in W, a thread for each unit; d of unit j and trajectory r is d[j across + r down].
    """
    add, real, rows, threads, one = add_of(S), S.real, U(S.rows), U(S.threads), U(1)
    times_apart, times_at, time_vjp = S.times_apart, U(S.times_at), time_vjp_of(S)
    psi, lines = psi_of_row(S), U(S.lines)

    @device
    def offsets_vjp(theta, line, slopes, layers, k, t, table, row, held, d, across, down, part, turn):
        o, at_t, bias = uint64(layers[k, 1]), layers[k, 3], layers[k, 4]
        j = uint64(cuda.threadIdx.x)
        while j < o:
            c = U(0)
            while c < lines:
                total, by_t, place, r = real(0), real(0), j * across, U(0)
                end = place + rows * down
                while place < end:
                    g = d[place] * psi(held, c, r)
                    total += g
                    if times_apart:
                        by_t += held[times_at + r] * g
                    r += one
                    place += down
                if bias >= 0:
                    turn[1] += add(part, table, slopes, row, c, uint64(bias) + j, total)
                if at_t >= 0:
                    if not times_apart:
                        turn[0] += theta[line, uint64(at_t) + j] * total
                        by_t = t * total
                    turn[1] += add(part, table, slopes, row, c, uint64(at_t) + j, by_t)
                c += one
            j += threads
        if times_apart and at_t >= 0:
            turn[0] += time_vjp(theta, line, uint64(at_t), o, held, d, across, down)

    return offsets_vjp


@once
def _last_vjp(S: TileShape) -> Any:
    """The narrow last layer: gradients of its weights, and the cotangent x of what it is given, square by square."""
    add, offsets_vjp, last_inputs, real = add_of(S), _offsets_vjp(S), last_inputs_of(S), S.real
    rows, threads, o, last, one = U(S.rows), U(S.threads), U(S.out), U(S.hidden), U(1)
    apart, last_turn, psi, lines = bool(S.functions), last_turn_of(S), psi_of_row(S), U(S.lines)

    @device
    def last_vjp(theta, line, slopes, layers, t, g, table, row, held, chunk, c0, r0, x, part, turn):
        tid, i, W = uint64(cuda.threadIdx.x), uint64(layers[last, 0]), uint64(layers[last, 2])
        if tid < rows:
            for q in range(o):
                chunk[q * rows + tid] = g[q]
        cuda.syncthreads()
        offsets_vjp(theta, line, slopes, layers, last, t, table, row, held, chunk, rows, one, part, turn)
        unit = tid
        while unit < i:
            for q in range(o):
                c = U(0)
                while c < lines:
                    total, n = real(0), U(0)
                    while n < rows:                     # a power of two; each lane begins at another bank
                        r = (unit + n) & (rows - one)
                        total += held[unit * rows + r] * chunk[q * rows + r] * psi(held, c, r)
                        n += one
                    turn[1] += add(part, table, slopes, row, c, W + unit * o + q, total)
                    c += one
            unit += threads
        if apart and tid < rows:
            turn[1] += last_turn(theta, line, layers, t, held, chunk)
        last_inputs(theta, line, layers, chunk, held, c0, r0, x)
        cuda.syncthreads()

    return last_vjp


@once
def _hidden_weights_vjp(S: TileShape) -> Any:
    """A layer between hidden ones: gradients of its weights from d (rows, o)."""
    add, multiply, clear, own_at, lines = add_of(S), product_of(S).multiply_rows, clear_of(S), U(S.own_at), U(S.lines)
    rows, columns, square, threads, one = (U(n) for n in (S.rows, S.columns, S.square, S.threads, 1))
    across, plane = U(S.columns // S.square), U(S.rows * S.columns)

    @device
    def weights_vjp(slopes, layers, k, table, row, held, chunk, x, kept, part, turn):
        tid, block = uint64(cuda.threadIdx.x), uint64(cuda.blockIdx.x)
        i, o, W = uint64(layers[k, 0]), uint64(layers[k, 1]), uint64(layers[k, 2])
        begin = U(0)
        while begin < across * across:                  # squares of outputs by inputs
            at = begin + tid
            from_o, from_i = at // across * square, at % across * square
            busy = from_o < o and from_i < i
            c = U(0)
            while c < lines:
                clear(x)
                multiply(
                    held, columns, from_o, kept, block, (k - one) * plane, columns, rows, chunk, from_i, busy,
                    own_at + c * rows, x,
                )  # fmt: skip
                if busy:
                    for j in range(square):
                        for m in range(square):
                            if from_i + j < i and from_o + m < o:
                                q = W + (from_i + j) * o + from_o + m
                                turn[1] += add(part, table, slopes, row, c, q, x[m * square + j])
                c += one
            begin += threads

    return weights_vjp


@once
def _first_weights_vjp(S: TileShape) -> Any:
    """The first layer: gradients of its weights from d (rows, o) and inputs (i, rows)."""
    add, real, psi, lines = add_of(S), S.real, psi_of_row(S), U(S.lines)
    rows, columns, threads, d, n_x, first, one = (
        U(n) for n in (S.rows, S.columns, S.threads, S.d, S.controls, 0, 1)
    )  # fmt: skip

    @device
    def first_weights_vjp(slopes, layers, table, row, held, inputs, many, part, turn):
        o, W = uint64(layers[first, 1]), uint64(layers[first, 2])
        unit = uint64(cuda.threadIdx.x)
        while unit < o:
            for q in range(d + n_x):
                c = U(0)
                while c < lines:
                    total, at, place = real(0), q * rows, unit
                    end = at + many
                    while at < end:
                        total += inputs[at] * held[place] * psi(held, c, at - q * rows)
                        at += one
                        place += columns
                    turn[1] += add(part, table, slopes, row, c, W + q * o + unit, total)
                    c += one
            unit += threads

    return first_weights_vjp


@once
def _first_control(S: TileShape) -> Any:
    """That of its control."""
    along, weight_of, rows, d, n_x, first = along_of(S), weight_of_sums(S), U(S.rows), U(S.d), U(S.controls), U(0)

    @device
    def first_control(theta, line, layers, i, there, g_x, held, part):
        o, W = uint64(layers[first, 1]), uint64(layers[first, 2])
        if uint64(cuda.threadIdx.x) < rows and there:
            for q in range(n_x):
                g_x[q, i] += weight_of(part) * along(theta, line, W + (d + q) * o, o, held)

    return first_control
