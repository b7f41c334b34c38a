"""Dense output of a taped segment: the twin of `refnode.dense`."""

from dataclasses import dataclass

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.kernels.records import Record


@dataclass(frozen=True)
class Dense(Record):
    """A segment's steps first .. last - 1 on a tape, with the stages that only the interpolant needs.

    y, k, base, s, s_new   the tape's;  extra (tiles, steps, e, T w) the further stages of each step
    rows                   the interpolant's (rows, S), over the step's stages and the extra ones
    """

    y: np.ndarray
    k: np.ndarray
    extra: np.ndarray
    base: np.ndarray
    s: np.ndarray
    s_new: np.ndarray
    rows: np.ndarray
    first: int
    last: int


@kernel
def fraction_of(start, end, t, m):
    """Where on the segment the m rows stand, that share their steps: as the longest of them says."""
    length, s = 0.0, 0.0
    for r in range(m):
        if abs(end[r] - start[r]) > abs(length):
            length = end[r] - start[r]
            s = (t[r] - start[r]) / length
    return min(max(s, 0.0), 1.0)


@kernel
def step_at(dense, s):
    """The step that holds the fraction s of the segment; of two the later one."""
    low, high = dense.first, dense.last - 1
    while low < high:
        middle = (low + high) // 2
        if s < dense.s_new[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def dense_weight(rows, theta, i):
    """w_i(theta) of dense stage i: the rows times theta, theta (1 - theta), theta^2 (1 - theta), .. in turn."""
    basis, total = theta, 0.0
    for n in range(rows.shape[0]):
        total += basis * rows[n, i]
        basis *= 1 - theta if n % 2 == 0 else theta
    return total


@kernel
def dense_state(dense, start, end, t, tile, first, m, w, y):
    """y (m, w) of rows `first` .. of a tile at depths t (m,) of the segment from start to end (m,)."""
    s = fraction_of(start, end, t, m)
    n = step_at(dense, s)
    length = dense.s_new[n] - dense.s[n]
    theta, stages, a = (s - dense.s[n]) / length, dense.rows.shape[1] - dense.extra.shape[2], first * w
    for q in range(m * w):
        y[q] = 0
    for i in range(dense.rows.shape[1]):
        weight = y.dtype.type(dense_weight(dense.rows, theta, i))
        k = dense.k[tile, dense.base[n] + i] if i < stages else dense.extra[tile, n, i - stages]
        for q in range(m * w):
            y[q] += weight * k[a + q]
    y_n = dense.y[tile, n]
    for r in range(m):
        h = y.dtype.type(length * (end[r] - start[r]))
        for q in range(r * w, (r + 1) * w):
            y[q] = y_n[a + q] + h * y[q]
