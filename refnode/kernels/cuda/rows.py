"""Copies between the kernels' columns, a trajectory in each, and the rows of arrays that others made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, from_dtype, types, uint64, void


@dataclass(frozen=True)
class Rows:
    """What the kernel is compiled for."""

    dtype: str


def rows(S: Rows) -> tuple[Callable[..., None], Any]:
    """The kernel that copies a (b, n) to `to` (b, m), a thread for each row, and its signature; columns that a has not
    are zero, those that `to` has not are left out. Both may have any strides.
    """
    zero = np.dtype(S.dtype).type(0)

    def kernel(a, to):
        i = uint64(cuda.grid(1))
        if i >= uint64(to.shape[0]):
            return
        for j in range(uint64(to.shape[1])):
            to[i, j] = a[i, j] if j < uint64(a.shape[1]) else zero

    strided = types.Array(from_dtype(np.dtype(S.dtype)), 2, "A")
    return kernel, void(strided, strided)
