"""The parameter integrals of a step back, by the lanes of a warp: the twin of `refnode.kernels.integrals`.

    -h sum_i b_i (dF/dtheta)^T [a, g]      with b_err for b an estimate of the step's error

As in `refnode.kernels.cuda.gradient` lane j sums what neuron j's weights gain from its warp's trajectories, into
registers that it keeps; and every lane what the last layer's offsets gain, of which lane 0's sum counts.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, from_dtype, uint64

from refnode.kernels.cuda.compile import device, once
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.shape import LANES, PITCH, THREADS, U


class Integrals(NamedTuple):
    """Device functions; `numbers` are a lane's sums, still and then each coefficient's.

    gather(W, row, b, b_err, held, columns, total, size, missed, ends)
                    a stage's terms, of weight b in the integrals and b_err in their errors; row begins with psi
    judge(mask, missed, worst)
                    the largest error of a number that counts, so far; missed is cleared
    finish(sums, held, part)        part[block] = the block's sums: over its warps, from the first to the last
    finish_ends(ends, held, part)   behind them those of t0 and T, over the block's threads
    """

    numbers: int
    gather: Any
    judge: Any
    finish: Any
    finish_ends: Any


def integrals_of(S: Costate) -> Integrals:
    """The device functions for a shape."""
    finish, finish_ends = _finish(S)
    return Integrals((1 + S.basis) * (S.numbers + S.tail), _gather(S), _judge(S), finish, finish_ends)


def column_count(S: Costate) -> int:
    """Numbers of a trajectory in shared memory beside its neurons': inputs, the cotangent of f, a psi of its own."""
    return inputs_count(S) + S.out + S.basis * bool(S.functions)


def inputs_count(S: Costate) -> int:
    """Of these z, the control, t."""
    return S.d + S.controls + any(S.timed)


@once
def _gather(S: Costate) -> Any:
    """Add a stage."""
    scalar, room, turn, over, over_own = (
        from_dtype(np.dtype(S.dtype)), S.numbers + S.tail, _turn(S), _over(S, False), _over(S, True)
    )  # fmt: skip
    H, each, m, estimates, apart, zero = U(S.hidden), U(room), U(S.basis), S.estimates, bool(S.functions), U(0)
    psi_at, threads, lanes = U((inputs_count(S) + S.out) * THREADS), U(THREADS), U(LANES)

    @device
    def add(new, at, weight, b_err, total, size, missed):
        for q in range(each):
            term = weight * new[q]
            total[at + q] += term
            if estimates:
                size[at + q] += abs(term)
                missed[at + q] += b_err * new[q]

    @device
    def gather(W, row, b, b_err, held, columns, total, size, missed, ends):
        tid = uint64(cuda.threadIdx.x)
        lane = tid % lanes
        new = cuda.local.array(room, scalar)
        if lane < H:
            over(held, columns, lane, tid - lane, zero, new)
            add(new, U(0), b, b_err, total, size, missed)
            at = each
            for r in range(m):
                if apart:
                    over_own(held, columns, lane, tid - lane, psi_at + r * threads, new)
                    add(new, at, b, b_err, total, size, missed)
                else:
                    add(new, at, row[r] * b, row[r] * b_err, total, size, missed)
                at += each
            if m and not apart:
                turn(W, row, b, lane, new, ends)

    return gather


@once
def _over(S: Costate, weighs: bool) -> Any:
    """new = a stage's terms of neuron `lane` and of the offsets, summed over the trajectories of the warp that begins
    at `column`, in their order; each weighs columns[at ..], or 1.
    """
    real, late, each = S.real, S.timed[1], U(S.numbers + S.tail)
    inputs, o, numbers, one = U(S.inputs), U(S.out), U(S.numbers), U(1)
    t_at, g_at, to_e = U(S.d + S.controls), U(inputs_count(S)), U(S.neurons * PITCH)
    pitch, threads, lanes = U(PITCH), U(THREADS), U(LANES)

    @device
    def over(held, columns, lane, column, at, new):
        for q in range(each):
            new[q] = real(0)
        place, end = lane * pitch + column, lane * pitch + column + lanes
        while place < end:
            weight = columns[at + column] if weighs else real(1)
            h, e = held[place], weight * held[place + to_e]
            for q in range(inputs):
                new[q] += columns[q * threads + column] * e
            new[inputs] += e
            for q in range(o):
                g = weight * columns[(g_at + q) * threads + column]
                new[inputs + one + q] += g * h
                new[numbers + q] += g
                if late:
                    new[numbers + o + q] += columns[t_at * threads + column] * g
            place += one
            column += one

    return over


@once
def _turn(S: Costate) -> Any:
    """What theta'(t) gives to t0 and T, where its basis follows them; a row ends with du/dt0 and du/dT."""
    real, numbers, m, size, tail, stride, theta = (
        S.real, *(U(n) for n in (S.numbers, S.basis, S.tail, S.neurons * S.stride, S.stride, S.size))
    )  # fmt: skip
    t0_at = U(2 * S.basis + 2)

    @device
    def turn(W, row, b, lane, new, ends):
        g_u, first = real(0), theta
        for r in range(m):
            along = real(0)
            for q in range(numbers):
                along += W[first + lane * stride + q] * new[q]
            if lane == U(0):
                for q in range(size):
                    along += W[first + tail + q] * new[numbers + q]
            g_u += row[m + r] * along
            first += theta
        for q in range(U(2)):
            ends[q] += b * row[t0_at + q] * g_u

    return turn


@once
def _judge(S: Costate) -> Any:
    """The largest error so far of a number that counts: still ones of still leaves, coefficients of those that vary."""
    real, H, stride, theta, numbers, tail = S.real, U(S.hidden), U(S.stride), U(S.size), U(S.numbers), U(S.tail)
    each, m, offsets = U(S.numbers + S.tail), U(1 + S.basis), U(S.neurons * S.stride)

    @device
    def judge(mask, missed, worst):
        lane = uint64(cuda.threadIdx.x) % U(LANES)
        if lane < H:
            at, first = U(0), U(0)
            for _ in range(m):
                for q in range(numbers):
                    worst = max(worst, abs(missed[at + q]) * mask[first + lane * stride + q])
                for q in range(tail):
                    worst = max(worst, abs(missed[at + numbers + q]) * mask[first + offsets + q])
                at += each
                first += theta
        for q in range(m * each):
            missed[q] = real(0)
        return worst

    return judge


@once
def _finish(S: Costate) -> tuple[Any, Any]:
    """part[block] = the block's sums: neurons and offsets over its warps, ends over its threads, in order."""
    real, H, stride, numbers, blocks, theta = S.real, U(S.hidden), U(S.stride), S.numbers, 1 + S.basis, S.size
    each, offsets, warps, lanes = S.numbers + S.tail, U(S.neurons * S.stride), U(THREADS // LANES), U(LANES)

    @device
    def finish(sums, held, part):
        tid, block = uint64(cuda.threadIdx.x), uint64(cuda.blockIdx.x)
        for r in range(blocks):
            for q in range(each):
                cuda.syncthreads()
                held[tid] = sums[r * each + q]
                cuda.syncthreads()
                if tid < (H if q < numbers else U(1)):
                    number = real(0)
                    for warp in range(warps):
                        number += held[warp * lanes + tid]
                    place = uint64(q) + tid * stride if q < numbers else offsets + uint64(q - numbers)
                    part[block, uint64(r * theta) + place] = number

    @device
    def finish_ends(ends, held, part):
        tid, block = uint64(cuda.threadIdx.x), uint64(cuda.blockIdx.x)
        for q in range(2):
            cuda.syncthreads()
            held[tid] = ends[q]
            cuda.syncthreads()
            if tid == U(0):
                number = real(0)
                for other in range(THREADS):
                    number += held[other]
                part[block, uint64(blocks * theta + q)] = number

    return finish, finish_ends
