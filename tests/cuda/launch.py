"""Kernels launched on a CPU: their PTX by the runner."""

import numpy as np

from refnode.kernels.cuda.compile import ptx
from validation.ptx.parse import parse
from validation.ptx.run import Program, Room

PROGRAMS = {}
# arguments that a kernel writes and need not read
WRITTEN = {"forward": (11, 12, 13), "gradient": (19,), "own": (11, 12, 13, 14, 15), "tile_forward": (9, 10, 11)}


def program(build, shape, architecture=(9, 0)):
    """The runner's program of a kernel, translated once."""
    key = build.__name__, shape, architecture
    if key not in PROGRAMS:
        PROGRAMS[key] = Program(parse(ptx(build, shape, architecture)))
    return PROGRAMS[key]


def prepared(build, arguments):
    """Arguments with what is to be written as room; what the kernel leaves out is then seen."""
    return tuple(
        Room(a) if k in WRITTEN[build.__name__] and isinstance(a, np.ndarray) else a for k, a in enumerate(arguments)
    )


def on_cpu(order=0):
    """A `launch` for `refnode.kernels.cuda.adjoint` that runs threads in some order."""

    def launch(build, shape, blocks, threads, arguments):
        program(build, shape).launch(blocks, threads, prepared(build, arguments), order=order)

    return launch
