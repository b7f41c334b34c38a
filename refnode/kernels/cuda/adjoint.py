"""The discrete adjoint of a whole problem: maps, point losses and bounds by the story, segments by kernels.

Who launches a kernel is the caller's business: launch(build, shape, blocks, threads, arguments), where arrays are NumPy's
and are changed in place. On a card that copies there and back; tests hand the PTX to a CPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.control import control_of, control_vjp
from refnode.dynamics import initial_y
from refnode.errors import NonFiniteState
from refnode.forward import Forward, Grid, point_terms
from refnode.gradients.result import GradientResult, gradient_result
from refnode.integrate import Statistics, uniform_fractions
from refnode.kernels.cuda.forward import forward
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.layout import unpacked_gradient
from refnode.kernels.cuda.problem import Segment, factors, segment_of, shape_of
from refnode.kernels.cuda.shape import THREADS, Keep, Shape
from refnode.kernels.cuda.steps import butcher_of
from refnode.kernels.pack import gathered
from refnode.objective import point_loss_vjp
from refnode.problem import Problem
from refnode.segments import bounds, bounds_vjp, like_end, segments
from refnode.solver import Solver
from refnode.values import Values, resolved_vjp

Launch = Callable[[Any, Shape, int, int, Sequence[Any]], None]


class Run:
    """A problem on its way through the kernels."""

    def __init__(self, problem: Problem, solver: Solver, launch: Launch, dtype: Any, keep: Keep, grid: Grid | None):
        self.problem, self.solver, self.launch, self.values = problem, solver, launch, problem.resolved
        spans = segments(problem, self.values)
        whole = self.values.T - self.values.t0
        self.grid = grid or Grid(tuple(uniform_fractions(span, whole, solver.n_steps or 1) for span in spans))
        own = any(s.ndim == 2 for s in self.grid.fractions) or any(np.ndim(end) for end in problem.span or ())
        self.S = shape_of(problem, solver, dtype, keep, own)
        control = control_of(problem.model.control, self.values.x)
        self.x = np.zeros((0, problem.batch)) if control is None else control.T
        self.x = np.ascontiguousarray(self.x, self.S.real)
        self.c, self.B = factors(problem).astype(self.S.real), butcher_of(self.S)
        self.blocks = -(-problem.batch // THREADS)
        self.segments = [
            segment_of(self.S, problem, self.values, i, s) for i, s in enumerate(self.grid.fractions)
        ]  # fmt: skip

    def tape(self, segment: Segment) -> tuple[Array, Array]:
        """Room for states and stages of a segment, as far as they are kept."""
        S, b, N = self.S, self.problem.batch, len(segment.h)
        states = N + 1 if S.keep != "nothing" else 1
        return np.empty((states, S.width, b), S.real), np.empty(
            (N * S.butcher.stages if S.keep == "stages" else 1, S.width, b), S.real
        )


def solve(run: Run) -> tuple[Forward, list[tuple[Array, Array]], Array]:
    """The story's record of a forward solve, the tapes of its segments, and where trajectories stopped, (b,) or -1."""
    S, b = run.S, run.problem.batch
    y = np.ascontiguousarray(initial_y(run.problem, run.values).T, S.real)
    at_bounds, tapes, ever = [y.T.astype(np.float64)], [], np.full(b, -1, np.int32)
    for segment in run.segments:
        tape_y, tape_k = run.tape(segment)
        stopped = np.empty(b, np.int32)
        grid = (segment.t, segment.t_new, segment.h, segment.count, segment.table)
        run.launch(
            forward, S, run.blocks, THREADS, (y, run.x, segment.theta, run.B, run.c, *grid, tape_y, tape_k, stopped)
        )
        ever = np.where(ever < 0, stopped, ever)
        tapes.append((tape_y, tape_k))
        at_bounds.append(y.T.astype(np.float64))
    steps = sum(len(segment.h) for segment in run.segments)
    nfe = 1 + steps * (S.butcher.stages - 1) if S.butcher.fsal else steps * S.butcher.stages
    return Forward(at_bounds, run.grid, [], Statistics(nfe, np.array(steps), np.array(0))), tapes, ever


def discrete_adjoint(
    problem: Problem, solver: Solver, launch: Launch, dtype: Any = np.float32, grid: Grid | None = None,
    *, keep: Keep = "stages",
) -> GradientResult:  # fmt: skip
    """Gradient of the computed solution: the twin of `refnode.gradients.discrete_adjoint`.

    Parameters
    ----------
    problem, solver    that `refnode.kernels.cuda.problem.refusal` has nothing against
    launch             runs a kernel
    dtype              np.float32 or np.float64, times included
    grid               accepted steps to replay, or None for n_steps
    keep               "stages", or "states": stages are run again

    Raises
    ------
    NonFiniteState    if some trajectory was not finite, with the samples

    Error    exact, to round-off, for the computed solution with its accepted steps frozen.
    Cost     memory N s b w numbers for "stages", N b w for "states"; a vjp costs two evaluations.
    """
    run = Run(problem, solver, launch, dtype, keep, grid)
    solved, tapes, stopped = solve(run)
    if bad := np.flatnonzero(stopped >= 0).tolist():
        raise NonFiniteState("the state is NaN or infinite", float(np.max(run.values.T)), None, bad)
    back = Backward(run, solved)
    for i in reversed(range(len(run.segments))):
        back.jump(i + 1)
        back.through(i, tapes[i], stopped)
    grads, adj_t0 = back.finish()
    steps = int(solved.statistics.accepted)
    evaluations = steps * (run.S.butcher.stages - run.S.butcher.fsal + (keep != "stages") * run.S.butcher.stages)
    held = sum(tape_y.nbytes + tape_k.nbytes for tape_y, tape_k in tapes)
    return gradient_result(
        problem, run.values, solved, grads, method="discrete", solver=solver, nfe_backward=evaluations,
        peak_bytes=held, adj_t0=adj_t0,
    )  # fmt: skip


class Backward:
    """The cotangent of y on its way from T to t0, and the gradients it gathers."""

    def __init__(self, run: Run, solved: Forward) -> None:
        problem, values, S = run.problem, run.values, run.S
        self.run, self.solved = run, solved
        self.times, self.terms = bounds(problem, values), point_terms(problem)
        size = sum(int(np.prod(shape)) for shape in problem.model.field.shapes.values())
        depth = problem.model.depth
        self.g_theta = np.zeros((1 + (0 if not hasattr(depth, "basis") else depth.basis.m), size))
        self.g_bounds = [np.zeros(problem.batch) for _ in self.times]
        self.g_t0, self.g_T, self.g_w_y = 0.0, 0.0, np.zeros(values.w_y.shape)
        self.g_x = np.zeros_like(run.x)
        self.g = np.zeros((problem.batch, S.width))
        self.g[:, S.d :] = problem.loss.scale

    def jump(self, i: int) -> None:
        """At bound i the cotangent jumps by dL_i/dz."""
        term, problem, d = self.terms[i], self.run.problem, self.run.S.d
        if term is None:
            return
        z, w_y = self.solved.at_bounds[i][:, :d], self.run.values.w_y
        g_w, g_t, g_z = point_loss_vjp(term, problem.model.h_y, w_y, self.times[i], z, problem.loss.scale)
        self.g_w_y, self.g_bounds[i] = self.g_w_y + g_w, self.g_bounds[i] + g_t
        self.g[:, :d] += g_z

    def through(self, i: int, tape: tuple[Array, Array], stopped: Array) -> None:
        """The cotangent over segment i."""
        run, S, segment, b = self.run, self.run.S, self.run.segments[i], self.run.problem.batch
        g, g_ends = np.ascontiguousarray(self.g.T, S.real), np.zeros((2, b), S.real)
        part = np.zeros((run.blocks, (1 + S.basis) * S.size + (4 if S.basis else 0)), S.real)
        grid = (segment.t, segment.t_new, segment.h, segment.count, segment.table, segment.s, segment.s_new)
        run.launch(
            gradient, S, run.blocks, THREADS,
            (g, self.g_x, g_ends, run.x, segment.theta, run.B, run.c, *grid, np.int32(len(segment.h)), *tape, stopped, part),
        )  # fmt: skip
        self.g = g.T.astype(np.float64)
        total = part.astype(np.float64).sum(axis=0)
        self._take_theta(i, total[: (1 + S.basis) * S.size].reshape(1 + S.basis, S.size))
        ends = g_ends.astype(np.float64) * ~run.problem.layout.waiting[i]
        if S.basis:
            start, end, t0, T = total[-4:]
            ends = ends + np.array([[start], [end]]) / b
            self.g_t0, self.g_T = self.g_t0 + t0, self.g_T + T
        self.g_bounds[i], self.g_bounds[i + 1] = self.g_bounds[i] + ends[0], self.g_bounds[i + 1] + ends[1]

    def _take_theta(self, i: int, g: Array) -> None:
        g = unpacked_gradient(self.run.S, g, self.g_theta.shape[1])
        self.g_theta[0] += g[0]
        if self.run.S.basis:
            self.g_theta[1:] += g[1:]
        elif len(self.g_theta) > 1:                             # a piece of its own
            self.g_theta[1 + self.run.problem.layout.cells[i]] += g[0]

    def finish(self) -> tuple[Values, Array]:
        """Gradients with respect to the raw values; a(t0) (b, d)."""
        problem, values, adj_t0 = self.run.problem, self.run.values, self.g[:, : self.run.S.d]
        g_w_x, g_x = problem.model.initial_state_vjp(values.w_x, values.x, adj_t0)
        if self.g_x.size:
            g_x = g_x + control_vjp(problem.model.control, values.x, self.g_x.T.astype(np.float64))
        grads = bounds_vjp(problem, values, self.g_bounds)
        b = problem.batch
        t0 = grads.t0 + like_end(np.full(b, self.g_t0 / b), values.t0)
        T = grads.T + like_end(np.full(b, self.g_T / b), values.T)
        alpha = gathered(problem, self.g_theta[0], self.g_theta[1:])
        grads = replace(grads, alpha=alpha, w_x=g_w_x, w_y=self.g_w_y, x=g_x, t0=t0, T=T)
        return resolved_vjp(values, grads, problem), adj_t0
