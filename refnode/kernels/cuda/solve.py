"""The forward solve of a whole problem: maps and bounds by the story, segments by kernels.

Who launches a kernel is the caller's business: launch(build, shape, blocks, threads, arguments), where arrays are
NumPy's and are changed in place. Tests hand the PTX to a CPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.control import control_of
from refnode.dynamics import initial_y
from refnode.forward import Forward, Grid
from refnode.integrate import Statistics, uniform_fractions
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.problem import Segment, factors, segment_of, shape_of
from refnode.kernels.cuda.shape import THREADS, Keep, Shape
from refnode.kernels.cuda.steps import butcher_of
from refnode.problem import Problem
from refnode.segments import segments
from refnode.solver import Solver

Launch = Callable[[Any, Shape, int, int, Sequence[Any]], None]


class Run:
    """A problem on its way through the kernels, on a grid; fractions are of each segment."""

    def __init__(
        self, problem: Problem, solver: Solver, launch: Launch, dtype: Any, keep: Keep, fractions: Sequence[Array]
    ):  # fmt: skip
        self.problem, self.solver, self.launch, self.values = problem, solver, launch, problem.resolved
        own = any(s.ndim == 2 for s in fractions) or any(np.ndim(end) for end in problem.span or ())
        self.S, self.fractions = shape_of(problem, solver, dtype, keep, own), list(fractions)
        control = control_of(problem.model.control, self.values.x)
        self.x = np.zeros((0, problem.batch)) if control is None else control.T
        self.x = np.ascontiguousarray(self.x, self.S.real)
        self.c, self.B = factors(problem).astype(self.S.real), butcher_of(self.S)
        self.neurons = np.int32(self.S.neurons * self.S.stride)
        self.blocks = -(-problem.batch // THREADS)

    def segment(self, i: int) -> Segment:
        """Segment i's arrays."""
        return segment_of(self.S, self.problem, self.values, i, self.fractions[i])

    def tape(self, segment: Segment) -> tuple[Array, Array]:
        """Room for states and stages of a segment, as far as they are kept."""
        S, b, N = self.S, self.problem.batch, len(segment.h)
        states = N + 1 if S.keep != "nothing" else 1
        return np.empty((states, S.width, b), S.real), np.empty(
            (N * S.butcher.stages if S.keep == "stages" else 1, S.width, b), S.real
        )


@dataclass(frozen=True, eq=False)
class Solved:
    """The story's record of a forward solve, the segments' tapes, and where trajectories stopped, (b,) or -1."""

    forward: Forward
    tapes: list[tuple[Array, Array]]
    stopped: Array


def uniform(problem: Problem, solver: Solver) -> list[Array]:
    """The fractions of n_steps, segment by segment."""
    values = problem.resolved
    spans, whole = segments(problem, values), values.T - values.t0
    return [uniform_fractions(span, whole, solver.n_steps or 1) for span in spans]


def solve(run: Run) -> Solved:
    """Solve from t0 to T on a given grid."""
    S, b = run.S, run.problem.batch
    y = np.ascontiguousarray(initial_y(run.problem, run.values).T, S.real)
    at_bounds, tapes, ever = [y.T.astype(np.float64)], [], np.full(b, -1, np.int32)
    for i in range(len(run.fractions)):
        segment = run.segment(i)
        tape_y, tape_k = run.tape(segment)
        stopped = np.empty(b, np.int32)
        grid = (segment.t, segment.t_new, segment.h, segment.count, segment.table)
        given = (run.x, segment.theta, run.neurons, run.B, run.c, *grid)
        run.launch(forward, S, run.blocks, THREADS, (y, *given, tape_y, tape_k, stopped))
        ever = np.where(ever < 0, stopped, ever)
        tapes.append((tape_y, tape_k))
        at_bounds.append(y.T.astype(np.float64))
    steps = sum(len(s) - 1 for s in run.fractions)
    nfe = steps * (S.butcher.stages - S.butcher.fsal) + int(S.butcher.fsal) * len(run.fractions)
    statistics = Statistics(nfe, np.array(steps), np.array(0))
    return Solved(Forward(at_bounds, Grid(tuple(run.fractions)), [], statistics), tapes, ever)
