"""Where a block adds up gradients of theta, each by the thread that owns it."""

from typing import Any

from numba import cuda, uint64

from refnode.kernels.cuda.compile import device, once
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_shape import TileShape


@once
def add_of(S: TileShape) -> Any:
    """Device function: add to the gradient of theta[q], and of its coefficients; the share of theta'(u) is returned.
    Where theta(t) is each trajectory's own, `number` is weighted by psi_c, and belongs to coefficient c alone.

    A `while` loop: NVVM 13.0 miscompiles a range over r here (tests/cuda/test_miscompile.py).
    """
    m, one, zero, put, apart, first = U(S.basis), U(1), S.real(0), _put(S), bool(S.functions), U(0)

    @device
    def add(sums, table, slopes, row, c, q, number):
        put(sums, c if apart else first, q, number)
        if not m or apart:
            return zero
        r = U(0)
        while r < m:
            put(sums, r + one, q, table[row, r] * number)
            r += one
        return slopes[row, q] * number

    return add


@once
def _put(S: TileShape) -> Any:
    """Add to part[block, r, q]; on the way down with a stage's weights, beside absolute terms and errors."""
    if not isinstance(S, TileCostate):
        @device
        def plain(part, r, q, number):
            part[uint64(cuda.blockIdx.x), r, q] += number

        return plain
    estimates = S.estimates

    @device
    def weighted(sums, r, q, number):
        block, (part, sizes, missed, weight, error) = uint64(cuda.blockIdx.x), sums
        term = weight * number
        part[block, r, q] += term
        if estimates:
            sizes[block, r, q] += abs(term)
            missed[block, r, q] += error * number

    return weighted


@once
def weight_of_sums(S: TileShape) -> Any:
    """Device function: what a cotangent weighs that is added elsewhere."""
    one = S.real(1)
    if isinstance(S, TileCostate):
        return device(lambda sums: sums[3])
    return device(lambda sums: one)
