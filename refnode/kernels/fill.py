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


@kernel
def copy_columns(source, s0, source_pitch, target, t0, target_pitch, m, count):
    """target[t0 + s target_pitch + j] = source[s0 + s source_pitch + j] for s < m, j < count."""
    if source_pitch == count and target_pitch == count:  # one run of numbers, which takes vectors
        out, given = target[t0 : t0 + m * count], source[s0 : s0 + m * count]
        for n in range(m * count):
            out[n] = given[n]
        return
    for s in range(m):
        for j in range(count):
            target[t0 + s * target_pitch + j] = source[s0 + s * source_pitch + j]


@kernel
def add_columns(source, s0, source_pitch, target, t0, target_pitch, m, count):
    """target[t0 + s target_pitch + j] += source[s0 + s source_pitch + j] for s < m, j < count."""
    if source_pitch == count and target_pitch == count:
        out, given = target[t0 : t0 + m * count], source[s0 : s0 + m * count]
        for n in range(m * count):
            out[n] += given[n]
        return
    for s in range(m):
        for j in range(count):
            target[t0 + s * target_pitch + j] += source[s0 + s * source_pitch + j]
