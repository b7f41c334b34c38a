"""The forward solve of a part of a batch on a given grid, a thread for each trajectory.

Maps and bounds are the story's, segments the kernels'. Who runs a kernel is the device's business (see device.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refnode.arrays import Array
from refnode.control import control_of
from refnode.dynamics import initial_y
from refnode.integrate import uniform_fractions
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.layout import unpacked_gradient
from refnode.kernels.cuda.parts import check_room
from refnode.kernels.cuda.problem import Segment, factors, segment_of, shape_of
from refnode.kernels.cuda.shape import THREADS, Keep
from refnode.kernels.cuda.steps import butcher_of
from refnode.kernels.tape import DONE, NOT_FINITE
from refnode.problem import Problem
from refnode.segments import segments
from refnode.solver import Solver


@dataclass(frozen=True, eq=False)
class Solved:
    """A part's forward solve.

    at_bounds  y (b, w) at t0, t_1, .., T;  fractions   of each segment (N + 1,) or (N + 1, b)
    tapes      of each segment, on the device;  word   (b,) DONE, or why a trajectory stopped
    accepted, rejected    steps of each (b,)
    """

    at_bounds: list[Array]
    fractions: list[Array]
    tapes: list[tuple[Any, Any]]
    word: Array
    accepted: Array
    rejected: Array


class Swept(NamedTuple):
    """What the backward pass of a segment gives: cotangents of y at its start (b, w), of the control (n_x, b), of the
    segment's ends (2, b), of theta (rows, p), and of the segment's start and end, t0 and T by theta(t) (4,)."""

    g: Array
    g_x: Array
    g_ends: Array
    g_theta: Array
    g_depths: Array


class Run:
    """Some trajectories of a problem on their way through the kernels, on a grid; fractions are of each segment."""

    def __init__(
        self, problem: Problem, solver: Solver, device: Device, dtype: Any, keep: Keep, fractions: Sequence[Array],
        part: slice | None = None,
    ):  # fmt: skip
        self.problem, self.solver, self.device, self.values = problem, solver, device, problem.resolved
        self.part = slice(0, problem.batch) if part is None else part
        self.batch = self.part.stop - self.part.start
        own = any(s.ndim == 2 for s in fractions) or any(np.ndim(end) for end in problem.span or ())
        self.S, self.fractions = shape_of(problem, solver, dtype, keep, own), list(fractions)
        control = control_of(problem.model.control, self.values.x)
        x = np.zeros((0, self.batch)) if control is None else control[self.part].T
        self.x, self.c, self.B = self.to(x), self.to(factors(problem)), self.to(butcher_of(self.S))
        self.neurons = np.int32(self.S.neurons * self.S.stride)
        self.blocks = -(-self.batch // THREADS)

    def to(self, a: Array) -> Any:
        """A copy on the device, in the kernels' precision."""
        return self.device.array(np.ascontiguousarray(a, self.S.real))

    def start(self) -> Array:
        """y at t0 (b, w)."""
        return initial_y(self.problem, self.values)[self.part]

    def segment(self, i: int) -> Segment:
        """Segment i's arrays, on the device."""
        return segment_of(self.S, self.problem, self.values, i, self.fractions[i], self.part).on(self.device)

    @property
    def bytes_held(self) -> int:
        """Of tapes and grids."""
        S, N = self.S, sum(len(s) - 1 for s in self.fractions)
        states = N + len(self.fractions) if S.keep != "nothing" else 1
        rows = states + (N * S.butcher.stages if S.keep == "stages" else 0)
        numbers = self.batch * (rows * S.width + 5 * N * S.own + 4 * S.width)
        return (numbers + self.blocks * ((1 + S.basis) * S.size + 4)) * np.dtype(S.real).itemsize

    def tape(self, steps: int) -> tuple[Any, Any]:
        """Room for states and stages of a segment, as far as they are kept."""
        S, b = self.S, self.batch
        return tuple(
            self.device.empty((n, S.width, b), S.real)
            for n in (
                steps + 1 if S.keep != "nothing" else 1, steps * S.butcher.stages if S.keep == "stages" else 1,
            )
        )  # fmt: skip

    def solve(self) -> Solved:
        """From t0 to T. Raises MemoryError if the tapes do not fit."""
        check_room(self.device, self.bytes_held)
        S, device, y = self.S, self.device, self.to(self.start().T)
        at_bounds, tapes, ever = [self.start()], [], np.full(self.batch, -1, np.int32)
        for i in range(len(self.fractions)):
            segment = self.segment(i)
            tape, stopped = self.tape(segment.steps), device.empty((self.batch,), np.int32)
            grid = (segment.t, segment.t_new, segment.h, segment.count, segment.table)
            given = (self.x, segment.theta, self.neurons, self.B, self.c, *grid)
            device.launch(forward, S, self.blocks, THREADS, (y, *given, *tape, stopped))
            ever = np.where(ever < 0, device.host(stopped), ever)
            tapes.append(tape)
            at_bounds.append(device.host(y).T.astype(np.float64))
        return given_solved(self, at_bounds, tapes, ever)

    def sweep(self, i: int, g: Array, solved: Solved) -> Swept:
        """Segment i backwards, from the cotangent g (b, w) of y at its end."""
        S, device, segment, b = self.S, self.device, self.segment(i), self.batch
        numbers = (1 + S.basis) * S.size
        on_g, g_x, g_ends = self.to(g.T), self.to(np.zeros((S.controls, b))), self.to(np.zeros((2, b)))
        part = self.to(np.zeros((self.blocks, numbers + (4 if S.basis else 0))))    # neurons that are none stay zero
        stopped = device.array(np.where(solved.word == DONE, -1, 0).astype(np.int32))
        grid = (segment.t, segment.t_new, segment.h, segment.count, segment.table, segment.s, segment.s_new)
        given = (self.x, segment.theta, self.neurons, self.B, self.c, *grid, np.int32(segment.steps), *solved.tapes[i])
        device.launch(gradient, S, self.blocks, THREADS, (on_g, g_x, g_ends, *given, stopped, part))
        total = device.host(part).astype(np.float64).sum(axis=0)
        size = sum(int(np.prod(shape)) for shape in self.problem.model.field.shapes.values())
        theta = unpacked_gradient(S, total[:numbers].reshape(1 + S.basis, S.size), size)
        depths = total[numbers:] if S.basis else np.zeros(4)
        back, to_x, ends = (device.host(a).astype(np.float64) for a in (on_g, g_x, g_ends))
        return Swept(back.T, to_x, ends, theta, depths)


def given_solved(run: Any, at_bounds: list[Array], tapes: list[Any], ever: Array) -> Solved:
    """The record of a solve on a given grid, where trajectories stopped at `ever` (b,) or -1."""
    steps = np.full(run.batch, sum(len(s) - 1 for s in run.fractions))
    word = np.where(ever < 0, DONE, NOT_FINITE).astype(np.int32)
    return Solved(at_bounds, run.fractions, tapes, word, steps, np.zeros_like(steps))


def uniform(problem: Problem, solver: Solver) -> list[Array]:
    """The fractions of n_steps, segment by segment."""
    values = problem.resolved
    spans, whole = segments(problem, values), values.T - values.t0
    return [uniform_fractions(span, whole, solver.n_steps or 1) for span in spans]
