"""Kernels launched on a CPU: their PTX by the runner, on NumPy's arrays."""

import numpy as np

from refnode.kernels.cuda.card import Card
from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.driver import Driver
from validation.ptx.driver import PtxDriver
from validation.ptx.parse import parse
from validation.ptx.run import Fault, Program, Room

PROGRAMS = {}
# arguments that a kernel writes and need not read
WRITTEN = {
    "forward": (11, 12, 13), "gradient": (19,), "own": (12, 13, 14, 15, 16), "tile_forward": (11, 12, 13),
    "tile_gradient": (19, 20, 21), "backsolve": (13, 14, 15), "largest": (0,), "rates": (1,),
    "attempt": (1, 3, 14), "tile_backsolve": (16, 17, 18, 19, 21),
    "tile_rates": (1, 6), "tile_attempt": (1, 3, 8, 16), "tile_own": (5, 14, 15, 16, 17, 18), "tile_largest": (0, 5),
}  # fmt: skip


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


def copied(arguments):
    """Arguments whose arrays a launch may change."""
    return [np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments]


def fault_of(program, launch, **words):
    """The kind of fault that a program raises in a launch (build, shape, blocks, threads, arguments), or None."""
    build, _, blocks, threads, arguments = launch
    try:
        program.launch(blocks, threads, prepared(build, copied(arguments)), **words)
    except Fault as fault:
        return fault.kind
    return None


def card(**words):
    """A card whose driver is the PTX runner."""
    return Card(Driver(PtxDriver(**words)))


class OnCpu:
    """A `refnode.kernels.cuda.device.Device` that runs threads in some order, and remembers its launches if asked."""

    def __init__(self, order=0, *, memory=2**40, remember=False):
        self.name, self.order, self.memory, self.launches = "the PTX runner", order, memory, []
        self.remember = remember

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def array(self, host):
        return np.array(host, order="C")

    def host(self, array):
        return array.copy()

    def free(self):
        return self.memory

    def launch(self, build, shape, blocks, threads, arguments):
        if self.remember:                           # with copies of the arguments as they were before
            self.launches.append((build, shape, blocks, threads, copied(arguments)))
        program(build, shape).launch(blocks, threads, prepared(build, arguments), order=self.order)
