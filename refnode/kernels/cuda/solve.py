"""Solves and sweeps on a given grid, a thread for each trajectory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.layout import unpacked_gradient
from refnode.kernels.cuda.own import own
from refnode.kernels.cuda.problem import Segment, segment_of, shape_of
from refnode.kernels.cuda.run import PartRun, Solved, Swept, System, shares, steps_apart
from refnode.kernels.cuda.shape import Keep
from refnode.problem import Problem
from refnode.solver import Solver


class Run(PartRun):
    """Some trajectories of a problem with one hidden layer up to 32 wide."""

    forward = staticmethod(forward)

    def __init__(
        self, problem: Problem, solver: Solver, device: Device, dtype: Any, keep: Keep, fractions: Sequence[Array],
        part: slice | None = None, z0: Any = None,
    ):  # fmt: skip
        S = shape_of(problem, solver, dtype, keep, steps_apart(problem, fractions))
        super().__init__(problem, solver, device, S, fractions, part, z0)
        self.neurons = np.int32(self.S.neurons * self.S.stride)

    def segment(self, i: int, fractions: Array | None = None, down: bool = False) -> Segment:
        """Segment i's arrays, on the device; or those of its way down, or on other fractions."""
        grid = self.fractions[i] if fractions is None else fractions
        return segment_of(self.S, self.problem, self.values, i, grid, self.part, down).on(self.device)

    def given(self, segment: Segment) -> tuple[Any, ...]:
        """What the kernels read of a segment."""
        grid = (segment.t, segment.t_new, segment.h, segment.count, segment.table)
        return (self.x, segment.theta, self.neurons, self.B, self.c, *grid)

    def system(self, i: int, S: Any, c: Any, limits: Any) -> System:
        """What takes steps along segment i."""
        segment = self.segment(i)
        return System(own, S, (self.x, segment.theta, self.neurons, segment.table), c, limits)

    @property
    def bytes_held(self) -> int:
        """Of tapes and grids."""
        S, rows = self.S, sum(sum(self.kept(steps)) for steps in self.steps)
        numbers = self.batch * (S.width * (rows + 4) + 5 * sum(self.steps) * S.own)
        numbers += self.batch * (2 + 3 * S.basis) * bool(S.functions)
        return numbers * np.dtype(S.real).itemsize + self.bytes_of_sums

    @property
    def bytes_of_sums(self) -> int:
        """Of the blocks' gradients."""
        S = self.S
        return self.blocks * (2 * (1 + S.basis) * S.size + 4) * np.dtype(S.real).itemsize

    def sweep(self, i: int, g: Any, solved: Solved) -> Swept:
        """Segment i backwards, from the cotangent g (w, b) of y at its end."""
        S, device, segment, b = self.S, self.device, self.segment(i), self.batch
        numbers = (1 + S.basis) * S.size
        g_x, g_ends = self.to(np.zeros((S.controls, b))), self.to(np.zeros((4, b)))
        part = self.to(np.zeros((self.blocks, numbers + S.depths)))    # neurons that are none stay zero
        longest, tape, stopped = np.int32(segment.steps), solved.tapes[i], self.stopped(solved)
        given = (*self.given(segment), segment.s, segment.s_new, longest, *tape, stopped, part)
        device.launch(gradient, S, self.blocks, S.threads, (g, g_x, g_ends, *given))
        total = device.host(part).astype(np.float64).sum(axis=0)
        size = sum(int(np.prod(shape)) for shape in self.problem.model.field.shapes.values())
        theta = unpacked_gradient(S, total[:numbers].reshape(1 + S.basis, S.size), size)
        to_x, ends = (device.host(a).astype(np.float64) for a in (g_x, g_ends))
        return Swept(g, to_x, ends + shares(total[numbers:], b), theta)
