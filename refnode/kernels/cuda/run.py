"""A part of a batch on its way through the kernels, on a given grid: what all designs share.

Maps and bounds are the story's, segments the kernels'. Who runs a kernel is the device's business (see device.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refnode.arrays import Array
from refnode.control import control_of
from refnode.dynamics import initial_y
from refnode.integrate import uniform_fractions
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.parts import check_room
from refnode.kernels.cuda.problem import factors
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
    accepted, rejected    steps of each (b,);  where   t and h at which it stopped (2, b), NaN if it did not
    """

    at_bounds: list[Array]
    fractions: list[Array]
    tapes: list[tuple[Any, Any]]
    word: Array
    accepted: Array
    rejected: Array
    where: Array


class Swept(NamedTuple):
    """What the backward pass of a segment gives: cotangents of y at its start (b, w), of the control (n_x, b), of the
    segment's ends (2, b), of theta (rows, p), and of the segment's start and end, t0 and T by theta(t) (4,)."""

    g: Array
    g_x: Array
    g_ends: Array
    g_theta: Array
    g_depths: Array


class PartRun(ABC):
    """Some trajectories of a problem on their way through the kernels of a design, on a grid.

    S            what the kernels are compiled for, with blocks of S.threads for S.rows trajectories
    fractions    of each segment;  part   the trajectories, all of them if it is None
    """

    forward: ClassVar[Callable[..., Any]]                           # the design's kernel of a forward solve

    def __init__(
        self, problem: Problem, solver: Solver, device: Device, S: Any, fractions: Sequence[Array],
        part: slice | None,
    ):  # fmt: skip
        self.problem, self.solver, self.device, self.values = problem, solver, device, problem.resolved
        self.part = slice(0, problem.batch) if part is None else part
        self.batch = self.part.stop - self.part.start
        self.S, self.fractions, self.blocks = S, list(fractions), -(-self.batch // S.rows)
        control = control_of(problem.model.control, self.values.x)
        self.x = self.to(np.zeros((0, self.batch)) if control is None else control[self.part].T)
        self.B, self.c = self.to(butcher_of(S)), self.to(factors(problem))

    def to(self, a: Array) -> Any:
        """A copy on the device, in the kernels' precision, where what is too large becomes infinite, which is found."""
        with np.errstate(over="ignore"):
            return self.device.array(np.ascontiguousarray(a, self.S.real))

    def start(self) -> Array:
        """y at t0 (b, w)."""
        return initial_y(self.problem, self.values)[self.part]

    @abstractmethod
    def segment(self, i: int) -> Any:
        """Segment i's arrays, on the device."""

    @abstractmethod
    def given(self, segment: Any) -> tuple[Any, ...]:
        """What the forward kernel reads of a segment, between y and the tape."""

    @abstractmethod
    def sweep(self, i: int, g: Array, solved: Solved) -> Swept:
        """Segment i backwards, from the cotangent g (b, w) of y at its end."""

    @property
    @abstractmethod
    def bytes_held(self) -> int:
        """Of all that stays on the device from the solve to the sweep."""

    @property
    def steps(self) -> list[int]:
        """N of each segment."""
        return [len(s) - 1 for s in self.fractions]

    def kept(self, steps: int) -> tuple[int, int]:
        """Rows of states and of stages that a segment's tape has."""
        states = steps + 1 if self.S.keep != "nothing" else 1
        return states, steps * self.S.butcher.stages if self.S.keep == "stages" else 1

    def solve(self) -> Solved:
        """From t0 to T. Raises MemoryError if the tapes do not fit."""
        check_room(self.device, self.bytes_held)
        S, device, y = self.S, self.device, self.to(self.start().T)
        at_bounds, tapes, word = [self.start()], [], np.full(self.batch, DONE, np.int32)
        where = np.full((2, self.batch), np.nan)
        for i, steps in enumerate(self.steps):
            tape = tuple(device.empty((rows, S.width, self.batch), S.real) for rows in self.kept(steps))
            stopped = device.empty((self.batch,), np.int32)
            segment = self.segment(i)
            device.launch(type(self).forward, S, self.blocks, S.threads, (y, *self.given(segment), *tape, stopped))
            step = device.host(stopped)
            first = (word == DONE) & (step >= 0)
            where[:, first] = self._grid(segment)[:, step[first], first]
            word[first] = NOT_FINITE
            tapes.append(tape)
            at_bounds.append(device.host(y).T.astype(np.float64))
        accepted = np.full(self.batch, sum(self.steps))
        return Solved(at_bounds, self.fractions, tapes, word, accepted, np.zeros_like(accepted), where)

    def _grid(self, segment: Any) -> Array:
        """t and h of every step (2, N, b)."""
        rows = (self.device.host(a).reshape(segment.steps, -1) for a in (segment.t, segment.h))
        return np.array([np.broadcast_to(a, (segment.steps, self.batch)) for a in rows], np.float64)

    def stopped(self, solved: Solved) -> Any:
        """On the device, -1 for trajectories that have a gradient (b,)."""
        return self.device.array(np.where(solved.word == DONE, -1, 0).astype(np.int32))


def uniform(problem: Problem, solver: Solver) -> list[Array]:
    """The fractions of n_steps, segment by segment."""
    values = problem.resolved
    spans, whole = segments(problem, values), values.T - values.t0
    return [uniform_fractions(span, whole, solver.n_steps or 1) for span in spans]
