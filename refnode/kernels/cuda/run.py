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
from refnode.kernels.cuda.problem import factors, spans_differ
from refnode.kernels.cuda.rows import Rows, rows
from refnode.kernels.cuda.shape import THREADS
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
    end        y at T (w, b), on the device
    """

    at_bounds: list[Array]
    fractions: list[Array]
    tapes: list[tuple[Any, Any]]
    word: Array
    accepted: Array
    rejected: Array
    where: Array
    end: Any


class Swept(NamedTuple):
    """What the backward pass of a segment gives: cotangents of y at its start (w, b), on the device, of the control
    (n_x, b), of the segment's ends, and of t0 and T by theta(t) (4, b), and of theta (rows, p)."""

    g: Any
    g_x: Array
    g_ends: Array
    g_theta: Array


class System(NamedTuple):
    """What takes steps of each trajectory's own: the kernel for a shape, what it reads between y and the tableau,
    factors of the running loss, and a solver's `refnode.kernels.cuda.controller.Limits`.
    """

    build: Any
    S: Any
    given: tuple[Any, ...]
    c: Any
    limits: Any


class PartRun(ABC):
    """Some trajectories of a problem on their way through the kernels of a design, on a grid.

    S            what the kernels are compiled for, with blocks of S.threads for S.rows trajectories
    fractions    of each segment;  part   the trajectories, all of them if it is None
    z0           their z at t0 (b, d), on the device; None: it comes from x
    """

    forward: ClassVar[Callable[..., Any]]                           # the design's kernel of a forward solve

    def __init__(
        self, problem: Problem, solver: Solver, device: Device, S: Any, fractions: Sequence[Array],
        part: slice | None, z0: Any,
    ):  # fmt: skip
        self.problem, self.solver, self.device, self.values = problem, solver, device, problem.resolved
        self.part = slice(0, problem.batch) if part is None else part
        self.batch = self.part.stop - self.part.start
        self.S, self.fractions, self.blocks, self.z0 = S, list(fractions), -(-self.batch // S.rows), z0
        control = control_of(problem.model.control, self.values.x)
        self.x = self.to(np.zeros((0, self.batch)) if control is None else control[self.part].T)
        self.B, self.c = self.to(butcher_of(S)), self.to(factors(problem))

    def to(self, a: Array) -> Any:
        """A copy on the device, in the kernels' precision, where what is too large becomes infinite, which is found."""
        with np.errstate(over="ignore"):
            return self.device.array(np.ascontiguousarray(a, self.S.real))

    def start(self) -> tuple[Array, Any]:
        """y at t0 (b, w), and on the device (w, b)."""
        if self.z0 is None:
            y = initial_y(self.problem, self.values)[self.part]
            return y, self.to(y.T)
        on_device = self.columns(self.z0)
        return self.of(on_device), on_device

    def of(self, y: Any) -> Array:
        """An array (w, b) of the device on the host (b, w), in float64."""
        return self.device.host(y).T.astype(np.float64)

    def columns(self, a: Any) -> Any:
        """An array (b, d) of the device as the kernels have it (w, b), beside zeros for the running loss."""
        y = self.device.empty((self.S.width, self.batch), self.S.real)
        self.device.launch(rows, Rows(self.S.dtype), -(-self.batch // THREADS), THREADS, (a, y.T))
        return y

    def leave(self, y: Any, to: Any) -> None:
        """Copy y (w, b) of the device to rows (b, d) there."""
        self.device.launch(rows, Rows(self.S.dtype), -(-self.batch // THREADS), THREADS, (y.T, to))

    @abstractmethod
    def segment(self, i: int, fractions: Array | None = None, down: bool = False) -> Any:
        """Segment i's arrays, on the device; or those of its way down, or on other fractions."""

    @abstractmethod
    def given(self, segment: Any) -> tuple[Any, ...]:
        """What the forward kernel reads of a segment, between y and the tape."""

    @abstractmethod
    def system(self, i: int, S: Any, c: Any, limits: Any) -> System:
        """What takes steps along segment i, of y or, for a costate's shape S, of u."""

    @abstractmethod
    def sweep(self, i: int, g: Any, solved: Solved) -> Swept:
        """Segment i backwards, from the cotangent g (w, b) of y at its end, on the device, where it is overwritten."""

    @property
    @abstractmethod
    def bytes_held(self) -> int:
        """Of all that stays on the device from the solve to the sweep."""

    @property
    @abstractmethod
    def bytes_of_sums(self) -> int:
        """Of what a sweep, or a way down whose errors are estimated, needs beside."""

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
        S, device, (start, y) = self.S, self.device, self.start()
        at_bounds, tapes, word = [start], [], np.full(self.batch, DONE, np.int32)
        where = np.full((2, self.batch), np.nan)
        for i, steps in enumerate(self.steps):
            tape = tuple(device.empty((n, S.width, self.batch), S.real) for n in self.kept(steps))
            stopped = device.empty((self.batch,), np.int32)
            segment = self.segment(i)
            device.launch(type(self).forward, S, self.blocks, S.threads, (y, *self.given(segment), *tape, stopped))
            step = device.host(stopped)
            first = (word == DONE) & (step >= 0)
            if first.any():
                where[:, first] = self._where(segment, step, np.flatnonzero(first))
            word[first] = NOT_FINITE
            tapes.append(tape)
            at_bounds.append(self.of(y))
        accepted = np.full(self.batch, sum(self.steps))
        return Solved(at_bounds, self.fractions, tapes, word, accepted, np.zeros_like(accepted), where, y)

    def _where(self, segment: Any, step: Array, samples: Array) -> Array:
        """t and h of the steps at which some samples stopped (2, k)."""
        grid = (self.device.host(a).reshape(segment.steps, -1) for a in (segment.t, segment.h))
        return np.array([a[step[samples], samples if a.shape[1] > 1 else 0] for a in grid], np.float64)

    def stopped(self, solved: Solved) -> Any:
        """On the device, -1 for trajectories that have a gradient (b,)."""
        return self.device.array(np.where(solved.word == DONE, -1, 0).astype(np.int32))


def shares(total: Array, b: int) -> Array:
    """Each of b trajectories' share of the cotangents of depths that are all trajectories' (4, 1); 0 if there are none.
    """
    return (total if len(total) else np.zeros(4))[:, None] / b


def steps_apart(problem: Problem, fractions: Sequence[Array]) -> bool:
    """Whether trajectories have steps of their own."""
    return any(s.ndim == 2 for s in fractions) or spans_differ(problem)


def uniform(problem: Problem, solver: Solver) -> list[Array]:
    """The fractions of n_steps, segment by segment."""
    values = problem.resolved
    spans, whole = segments(problem, values), values.T - values.t0
    return [uniform_fractions(span, whole, solver.n_steps or 1) for span in spans]
