"""Steps on a given grid for wide networks: a block is a tile of trajectories.

A hidden layer is a product of the tile's activations (i, rows) in shared memory with weights (i, o), of which shared
memory holds some rows at a time. A thread sums a square of 8 trajectories by 8 outputs in registers: 64 multiplications
for four loads of 16 bytes. The state, its stages and the narrow last layer belong to one thread for each trajectory.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda, from_dtype, int64, uint64, void

from refnode.kernels.cuda.compile import array_of, device
from refnode.kernels.cuda.field import activation
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.steps import butcher_of, load_of, stages_of
from refnode.kernels.cuda.tile_shape import SQUARE, TileShape


def tile_forward(S: TileShape) -> tuple[Callable[..., None], Any]:
    """The kernel that solves one segment, for blocks of S.threads, and its signature.

    y               (w, b) at the segment's start, and at its end;  x   control (n_x, b)
    theta           of each stage (N s, p), or (1, p)
    layers          of S.layers (L, 5), at run time, lest the compiler unroll the loop over them
    B               tableau (s s + 3 s,);  c   factors of the running loss (3,)
    t, t_new, h     of each step (N,)
    tape_y, tape_k  (N + 1, w, b) and (N s, w, b), or (1, w, b) for what is not kept
    stopped         (b,) the step after which a trajectory was not finite, or -1; its tile goes on without it
    """
    stage_state, _ = stages_of(S, None)
    load, rate = load_of(), _rate(S)
    scalar, real, one, fsal = from_dtype(np.dtype(S.dtype)), S.real, S.real(1), S.butcher.fsal
    w, s, n_x, rows, d = (U(n) for n in (S.width, S.butcher.stages, S.controls, S.rows, S.d))
    width, stage_size, tableau_size = S.width, S.butcher.stages * S.width, butcher_of(S).size
    held_size, chunk_size = S.rows * max(S.columns, S.inputs), S.chunk * S.columns
    states, all_stages, varies = S.keep != "nothing", S.keep == "stages", U(S.varies)
    node_at, last = s * s + s, U((S.butcher.stages - 1) * S.width)

    def kernel(y, x, theta, layers, B, c, t, t_new, h, tape_y, tape_k, stopped):
        tableau = cuda.shared.array(tableau_size, scalar)
        held = cuda.shared.array(held_size, scalar, alignment=16)
        chunk = cuda.shared.array(chunk_size, scalar, alignment=16)
        load(B, tableau, tableau_size)
        cuda.syncthreads()
        tid = uint64(cuda.threadIdx.x)
        i = uint64(cuda.blockIdx.x) * rows + tid
        there = tid < rows and i < uint64(y.shape[1])
        now, u, slope = (
            cuda.local.array(width, scalar), cuda.local.array(width, scalar), cuda.local.array(width, scalar)
        )  # fmt: skip
        k = cuda.local.array(stage_size, scalar)
        for j in range(w):
            now[j] = y[j, i] if there else real(0)
            if states and there:
                tape_y[U(0), j, i] = now[j]
        word, first = -1, U(0)
        for n in range(uint64(h.shape[0])):
            r = first
            while r < s:
                stage_state(tableau, r, h[n], now, k, u)
                if tid < rows:
                    for j in range(d):
                        held[j * rows + tid] = u[j]
                    for j in range(n_x):
                        held[(d + j) * rows + tid] = x[j, i] if there else real(0)
                node = tableau[node_at + r]
                at = t_new[n] if node == one else t[n] + node * h[n]
                rate(theta, (n * s + r) * varies, layers, c, at, u, held, chunk, slope)
                for j in range(w):
                    k[r * w + j] = slope[j]
                r += U(1)
            if not fsal:
                stage_state(tableau, s, h[n], now, k, u)
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
    tables = (two, array_of(np.int64, 2), one_, one_, one_, one_, one_)
    return kernel, void(two, two, *tables, three, three, array_of(np.int32, 1))


def _rate(S: TileShape) -> Any:
    """slope = y' of the thread's trajectory; all threads of the block take part. `held` begins with the inputs."""
    product, hidden = _product(S), U(len(S.widths) - 1)
    rows, d, o, first = U(S.rows), U(S.d), U(S.out), U(S.d - S.out)
    real, zero, running = S.real, S.real(0), S.running

    @device
    def rate(theta, stage, layers, c, t, u, held, chunk, slope):
        tid = uint64(cuda.threadIdx.x)
        for layer in range(hidden):
            product(theta, stage, layers, layer, t, held, chunk)
        if tid < rows:
            i, W, row, bias = layers[hidden, 0], uint64(layers[hidden, 2]), layers[hidden, 3], layers[hidden, 4]
            for j in range(o):
                slope[first + j] = theta[stage, uint64(bias) + j] if bias >= 0 else zero
                if row >= 0:
                    slope[first + j] += t * theta[stage, uint64(row) + j]
            place, end = tid, tid + uint64(i) * rows
            while place < end:
                h = held[place]
                for j in range(o):
                    slope[first + j] += h * theta[stage, W + j]
                place += rows
                W += o
            for j in range(first):
                slope[j] = u[o + j]
            if running:
                total = real(0)
                for j in range(d):
                    total += c[0] * u[j] * u[j] + (c[2] + (c[1] if j >= first else zero)) * slope[j] * slope[j]
                slope[d] = total

    return rate


def _product(S: TileShape) -> Any:
    """held = act(W^T held + b + t w) for one hidden layer, (i, rows) -> (o, rows)."""
    act, _ = activation(S)
    scalar, zero, square, chunk_rows = from_dtype(np.dtype(S.dtype)), S.real(0), U(SQUARE), U(S.chunk)
    rows, pitch, across, threads = U(S.rows), U(S.columns), U(S.columns // SQUARE), U(S.threads)
    side, squared = SQUARE, SQUARE**2

    two, eight = U(2), U(8)

    @device
    def fetch(theta, stage, source, o, many, chunk):
        q = uint64(cuda.threadIdx.x)
        if o == pitch:                                  # rows follow each other as they do in theta
            while q + (eight - U(1)) * threads < many:
                for part in range(eight):
                    chunk[q + part * threads] = theta[stage, source + q + part * threads]
                q += eight * threads
        while q < many:
            column = q % pitch
            chunk[q] = theta[stage, source + q // pitch * o + column] if column < o else zero
            q += threads

    @device
    def outer(held, from_a, chunk, from_b, a, b, x):
        for m in range(square):
            a[m] = held[from_a + m]
        for j in range(square):
            b[j] = chunk[from_b + j]
        for m in range(square):
            for j in range(square):
                x[m * square + j] += a[m] * b[j]

    @device
    def product(theta, stage, layers, layer, t, held, chunk):
        tid = uint64(cuda.threadIdx.x)
        i, o, W = uint64(layers[layer, 0]), uint64(layers[layer, 1]), uint64(layers[layer, 2])
        row, bias = layers[layer, 3], layers[layer, 4]
        c0, r0 = tid % across * square, tid // across * square
        x, a, b = cuda.local.array(squared, scalar), cuda.local.array(side, scalar), cuda.local.array(side, scalar)
        for j in range(square):
            b[j] = zero
        if bias >= 0:
            for j in range(square):
                b[j] = theta[stage, uint64(bias) + c0 + j] if c0 + j < o else zero
        if row >= 0:
            for j in range(square):
                b[j] += t * theta[stage, uint64(row) + c0 + j] if c0 + j < o else zero
        for m in range(square):
            for j in range(square):
                x[m * square + j] = b[j]
        begin = U(0)
        while begin < i:
            many = min(chunk_rows, i - begin)
            fetch(theta, stage, W + begin * o, o, many * pitch, chunk)
            cuda.syncthreads()
            if r0 < rows:
                from_a, from_b, end = begin * rows + r0, c0, c0 + many * pitch
                while from_b + pitch < end:             # two rows at a turn, and then perhaps one more
                    for r in range(two):
                        outer(held, from_a + r * rows, chunk, from_b + r * pitch, a, b, x)
                    from_a += two * rows
                    from_b += two * pitch
                if from_b < end:
                    outer(held, from_a, chunk, from_b, a, b, x)
            cuda.syncthreads()
            begin += chunk_rows
        if r0 < rows:
            for j in range(square):
                for m in range(square):
                    held[(c0 + j) * rows + r0 + m] = act(x[m * square + j])
        cuda.syncthreads()

    return product
