"""Steps on a given grid for wide networks: a block is a tile of trajectories.

A hidden layer is a product of the tile's activations with weights (see tile_product.py). The state, its stages and the
narrow last layer belong to one thread for each trajectory.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int64, uint64, void

from refnode.kernels.cuda.compile import array_of, by_network, device, once
from refnode.kernels.cuda.field import activation
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of
from refnode.kernels.cuda.tile_product import product_of
from refnode.kernels.cuda.tile_psi import put_psi_of, weight_of_row
from refnode.kernels.cuda.tile_shape import TileShape


def tile_forward(S: TileShape) -> tuple[Callable[..., None], Any]:
    """The kernel that solves one segment, for blocks of S.threads, and its signature.

    y               (w, b) at the segment's start, and at its end;  x   control (n_x, b)
    theta           of each stage (N s, p), or (1, p); or still and coefficients (1 + m, p) of theta(t) of each
                    trajectory's own
    layers          of S.layers (L, 5), at run time, lest the compiler unroll the loop over them
    B               tableau (s s + 3 s,);  c   factors of the running loss (3,)
    t, t_new, h     of each step (N, 1), or (N, b) for grids of their own;  count   steps (1,) or (b,)
    table           (2 + 3 m, b) of theta(t) of each trajectory's own (see psi.py), or (0, 0)
    tape_y, tape_k  (N + 1, w, b) and (N s, w, b), or (1, w, b) for what is not kept
    stopped         (b,) the step after which a trajectory was not finite, or -1; its tile goes on without it
    """
    stage_state, _ = stages_of(S, None)
    load, stages, longest = load_of(), tile_stages(S), longest_of(S)
    scalar, real, fsal = from_dtype(np.dtype(S.dtype)), S.real, S.butcher.fsal
    w, s, rows = (U(n) for n in (S.width, S.butcher.stages, S.rows))
    width, stage_size, tableau_size = S.width, S.butcher.stages * S.width, butcher_of(S).size
    held_size, chunk_size, last = S.held_size, S.chunk_size, U((S.butcher.stages - 1) * S.width)
    states, all_stages, varies, own = S.keep != "nothing", S.keep == "stages", U(bool(S.basis)), S.own

    def kernel(y, x, theta, layers, B, c, t, t_new, h, count, table, tape_y, tape_k, stopped):
        tableau = cuda.shared.array(tableau_size, scalar)
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        tid = uint64(cuda.threadIdx.x)
        i = uint64(cuda.blockIdx.x) * rows + tid
        there = tid < rows and i < uint64(y.shape[1])
        now, u = cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        k = cuda.local.array(stage_size, scalar)
        for j in range(w):
            now[j] = y[j, i] if there else real(0)
            if states and there:
                tape_y[U(0), j, i] = now[j]
        at = i if own and there else U(0)
        word, first = -1, U(0)
        for n in range(longest(count)):
            stages(
                theta, n * s * varies, layers, table, c, tableau, t[n, at], t_new[n, at], h[n, at], now, x, i, there,
                first, s, k, u, held, chunk,
            )  # fmt: skip
            if not fsal:
                stage_state(tableau, s, h[n, at], now, k, u)
            if not own or n < uint64(count[at]):            # others wait
                total = real(0)
                for j in range(w):
                    total += u[j] - u[j]
                if not math.isfinite(total) and word < 0:
                    word = int64(n)
                for j in range(w):
                    now[j] = u[j] if word < 0 else real(0)
                    if states and there:
                        tape_y[n + U(1), j, i] = now[j]
                if all_stages and there:
                    for q in range(s * w):
                        tape_k[n * s + q // w, q % w, i] = k[q]
            if fsal:
                first = U(1)
                for j in range(w):
                    k[j] = k[last + j]
        if there:
            for j in range(w):
                y[j, i] = now[j] if word < 0 else real(np.nan)
            stopped[i] = word

    one_, two, three = (array_of(real, n) for n in (1, 2, 3))
    grid, whole = (two, two, two), array_of(np.int32, 1)
    return kernel, void(two, two, two, array_of(np.int64, 2), one_, one_, *grid, whole, two, three, three, whole)


@once
def tile_stages(S: TileShape) -> Any:
    """Device function: stages first .. last - 1 in k (s w,); u is the last one's state, stages r that of theta's line
    line + r. All threads of the block take part.
    """
    stage_state, _ = stages_of(S, None)
    scalar, width, one, rate, enter = from_dtype(np.dtype(S.dtype)), S.width, S.real(1), rate_of_tile(S), enter_of(S)
    w, s, varies = U(S.width), U(S.butcher.stages), U(bool(S.basis))
    node_at = s * s + s

    @device
    def stages(theta, line, layers, table, c, tableau, t, t_new, h, now, x, i, there, first, last, k, u, held, chunk):
        slope = cuda.local.array(width, scalar)
        r = first
        while r < last:
            stage_state(tableau, r, h, now, k, u)
            node = tableau[node_at + r]
            tau = t_new if node == one else t + node * h
            enter(table, tau, u, x, i, there, held)
            rate(theta, line + r * varies, layers, c, tau, u, held, chunk, slope)
            for j in range(w):
                k[r * w + j] = slope[j]
            r += U(1)

    return stages


@by_network
def longest_of(S: TileShape) -> Any:
    """Device function: the most steps of a trajectory of the block, of counts (b,), or of all (1,)."""
    own, rows = S.own, U(S.rows)

    @device
    def longest(count):
        if not own:
            return uint64(count[U(0)])
        i, most = uint64(cuda.blockIdx.x) * rows, U(0)
        end = min(i + rows, uint64(count.shape[0]))
        while i < end:
            most = max(most, uint64(count[i]))
            i += U(1)
        return most

    return longest


@by_network
def enter_of(S: TileShape) -> Any:
    """Device function: what a trajectory's first layer is given stands in shared memory, and t and psi if they are its
    own."""
    put_psi = put_psi_of(S)
    inputs_of, times_apart, times_at, rows = inputs_of_tile(S), S.times_apart, U(S.times_at), U(S.rows)

    @device
    def enter(table, t, u, x, i, there, held):
        inputs_of(u, x, i, there, held)
        put_psi(table, i, there, t, held)
        tid = uint64(cuda.threadIdx.x)
        if times_apart and tid < rows:
            held[times_at + tid] = t

    return enter


@by_network
def inputs_of_tile(S: TileShape) -> Any:
    """Device function: each trajectory's z, x stand in shared memory (inputs, rows)."""
    zero, rows, d, n_x = S.real(0), U(S.rows), U(S.d), U(S.controls)

    @device
    def inputs_of(u, x, i, there, inputs):
        tid = uint64(cuda.threadIdx.x)
        if tid < rows:
            for j in range(d):
                inputs[j * rows + tid] = u[j]
            for j in range(n_x):
                inputs[(d + j) * rows + tid] = x[j, i] if there else zero

    return inputs_of


@once
def rate_of_tile(S: TileShape) -> Any:
    """slope = y' of the thread's trajectory; all threads of the block take part. `held` begins with the inputs."""
    product, last, hidden = _hidden_layer(S), last_of(S), U(S.hidden)

    @device
    def rate(theta, stage, layers, c, t, u, held, chunk, slope):
        for layer in range(hidden):
            product(theta, stage, layers, layer, t, held, chunk)
        last(theta, stage, layers, c, t, u, held, slope)

    return rate


@once
def last_of(S: TileShape) -> Any:
    """Device function: slope = y' of the thread's trajectory, from what the hidden layers return, in `held`."""
    rows, d, o, first, hidden = U(S.rows), U(S.d), U(S.out), U(S.d - S.out), U(S.hidden)
    real, zero, running, weight = S.real, S.real(0), S.running, weight_of_row(S)

    @device
    def last(theta, stage, layers, c, t, u, held, slope):
        tid = uint64(cuda.threadIdx.x)
        if tid < rows:
            i, W, row, bias = layers[hidden, 0], uint64(layers[hidden, 2]), layers[hidden, 3], layers[hidden, 4]
            for j in range(o):
                slope[first + j] = weight(theta, stage, held, uint64(bias) + j) if bias >= 0 else zero
                if row >= 0:
                    slope[first + j] += t * weight(theta, stage, held, uint64(row) + j)
            place, end = tid, tid + uint64(i) * rows
            while place < end:
                h = held[place]
                for j in range(o):
                    slope[first + j] += h * weight(theta, stage, held, W + j)
                place += rows
                W += o
            for j in range(first):
                slope[j] = u[o + j]
            if running:
                total = real(0)
                for j in range(d):
                    total += c[0] * u[j] * u[j] + (c[2] + (c[1] if j >= first else zero)) * slope[j] * slope[j]
                slope[d] = total

    return last


@by_network
def _hidden_layer(S: TileShape) -> Any:
    """held = act(W^T held + b + t w) for one hidden layer, (i, rows) -> (o, rows)."""
    act, _ = activation(S)
    scalar, squared, layer = from_dtype(np.dtype(S.dtype)), S.square**2, product_of(S).layer
    square, rows, across = U(S.square), U(S.rows), U(S.columns // S.square)

    @device
    def hidden_layer(theta, line, layers, k, t, held, chunk):
        tid = uint64(cuda.threadIdx.x)
        c0, r0 = tid % across * square, tid // across * square
        x = cuda.local.array(squared, scalar)
        layer(theta, line, layers, k, t, held, chunk, c0, r0, x)
        if r0 < rows:
            for j in range(square):
                for m in range(square):
                    held[(c0 + j) * rows + r0 + m] = act(x[m * square + j])
        cuda.syncthreads()

    return hidden_layer


@by_network
def ahead_of(S: TileShape) -> Any:
    """Device function: what the hidden layers return stands in `kept`, and that of the last one in `held` (o, rows),
    as soon as all threads are there.
    """
    (act, slope_of), layer, enter = activation(S), product_of(S).layer, enter_of(S)
    scalar, squared, slopes_kept = from_dtype(np.dtype(S.dtype)), S.square**2, S.slopes_kept
    square, rows, columns, across = U(S.square), U(S.rows), U(S.columns), U(S.columns // S.square)
    hidden, plane = U(S.hidden), U(S.rows * S.columns)

    @device
    def keep(x, k, r0, c0, held, kept):
        block = uint64(cuda.blockIdx.x)
        for m in range(square):
            for j in range(square):
                at, a = k * plane + (r0 + m) * columns + c0 + j, x[m * square + j]
                x[m * square + j] = act(a)
                kept[block, at] = x[m * square + j]
                if slopes_kept:
                    kept[block, at + hidden * plane] = slope_of(a, x[m * square + j])
        for j in range(square):
            for m in range(square):
                held[(c0 + j) * rows + r0 + m] = x[m * square + j]

    @device
    def ahead(theta, line, layers, table, t, u, x, i, there, held, chunk, kept):
        tid = uint64(cuda.threadIdx.x)
        c0, r0 = tid % across * square, tid // across * square
        square_of = cuda.local.array(squared, scalar)
        enter(table, t, u, x, i, there, held)
        for k in range(hidden):
            layer(theta, line, layers, k, t, held, chunk, c0, r0, square_of)
            if r0 < rows:
                keep(square_of, k, r0, c0, held, kept)

    return ahead
