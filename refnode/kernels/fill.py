"""Arrays filled with zeros and copied. Numba's own assignment to slices takes seconds to compile."""

from refnode.kernels.compiled import kernel


@kernel
def zero(g):
    """g = 0."""
    for n in range(g.size):
        g[n] = 0


@kernel
def copy(source, target):
    """target = source."""
    for n in range(target.size):
        target[n] = source[n]
