"""Gradients of a whole problem on the CPU: maps, point losses and bounds by the story, dynamics and steps compiled."""

from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.control import control_vjp
from refnode.forward import Grid, point_terms
from refnode.gradients.result import GradientResult, gradient_result
from refnode.kernels.adjoint import Cotangents, sweep
from refnode.kernels.pack import gathered
from refnode.kernels.solve import Run, Solved, from_tiles, pieces, run_of, solve, to_tiles
from refnode.kernels.tape import TILE
from refnode.kernels.workspace import launch
from refnode.objective import point_loss_vjp
from refnode.problem import Problem
from refnode.segments import bounds, bounds_vjp
from refnode.solver import Solver
from refnode.values import Values, resolved_vjp


def discrete_adjoint(
    problem: Problem, solver: Solver, dtype: Any = np.float64, grid: Grid | None = None
) -> GradientResult:
    """Gradient of the computed solution, all stages kept: the twin of `refnode.gradients.discrete_adjoint`.

    Parameters
    ----------
    problem    Problem that packs (see `refnode.kernels.pack.refusal`)
    solver     Solver with shared steps
    dtype      of states, parameters and cotangents: np.float64 or np.float32; times are float64
    grid       accepted steps to replay, or None

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64, adj_t0 (b, d)

    Raises
    ------
    StepUnderflow, TooManySteps, NonFiniteState    from the forward solve

    Error    exact, to round-off, for the computed solution with its accepted steps frozen.
    Cost     memory N s b (widths + d) on a workspace that the thread keeps.
    """
    values = problem.resolved
    run = run_of(problem, values, solver, dtype)
    solved = solve(run, grid)
    back = Backward(run, solved)
    grads, adj_t0 = back.run_all()
    tape = solved.tape
    held = tape.y.nbytes + tape.k.nbytes + tape.slots.nbytes
    return gradient_result(
        problem, values, solved.forward, grads, method="discrete", solver=solver,
        nfe_backward=back.vjps, peak_bytes=held, adj_t0=adj_t0,
    )  # fmt: skip


class Backward:
    """The cotangent of y on its way from T to t0 over the tape's segments, and the gradients it gathers."""

    def __init__(self, run: Run, solved: Solved) -> None:
        self.run, self.solved = run, solved
        problem, P = run.problem, run.packed
        self.problem, self.values = problem, run.values
        self.C = _cotangents(run)
        self.g_still, self.g_A = np.zeros(P.F.size), np.zeros(P.V.A.shape)
        self.times = bounds(problem, run.values)
        self.g_bounds = [np.zeros(problem.batch) for _ in self.times]
        self.g_w_y, self.g_ends = np.zeros(run.values.w_y.shape), np.zeros(2)
        self.vjps = 0

    def run_all(self) -> tuple[Values, Array]:
        """Gradients with respect to the raw values, and a(t0) (b, d)."""
        run, d = self.run, self.run.packed.F.d
        g = np.zeros((self.problem.batch, run.packed.F.w))
        g[:, d:] = self.problem.loss.scale
        terms, segments = point_terms(self.problem), pieces(self.problem, self.values)
        for i in reversed(range(len(segments))):
            g = self._jump(g, terms[i + 1], i + 1)
            g = self._segment(g, segments[i], i)
        return self._finish(g[:, :d]), g[:, :d]

    def _jump(self, g: Array, term: Any, i: int) -> Array:
        """At bound i the cotangent jumps by dL_i/dz."""
        if term is None:
            return g
        problem, d = self.problem, self.run.packed.F.d
        z = self.solved.forward.at_bounds[i][:, :d]
        g_w, g_t, g_z = point_loss_vjp(
            term, problem.model.h_y, self.values.w_y, self.times[i], z, problem.loss.scale
        )
        self.g_w_y, self.g_bounds[i] = self.g_w_y + g_w, self.g_bounds[i] + g_t
        return np.concatenate([g[:, :d] + g_z, g[:, d:]], axis=1)

    def _segment(self, g: Array, piece: Any, i: int) -> Array:
        """The cotangent from the end of segment i to its start."""
        run, C, batch = self.run, self.C, self.problem.batch
        P, first, last = run.packed, *self.solved.first_steps[i : i + 2]
        to_tiles(g, C.g)
        C.start[:], C.end[:], of_theta = 0.0, 0.0, np.zeros(4)
        with launch(run.by):
            sweep(
                run.by, P.F, P.V, P.B, piece, self.solved.tape, run.scratch, C, self.g_still, self.g_A, of_theta, batch,
                first, last,
            )  # fmt: skip
        self.vjps += (last - first) * (P.B.c.size - P.B.fsal)  # no vjp of a stage that only begins the next step
        start, end = (np.where(self.problem.layout.waiting[i], 0.0, g_t) for g_t in (C.start, C.end))
        self.g_bounds[i] = self.g_bounds[i] + start + of_theta[0] / batch
        self.g_bounds[i + 1] = self.g_bounds[i + 1] + end + of_theta[1] / batch
        self.g_ends += of_theta[2:]
        return from_tiles(C.g, batch)

    def _finish(self, adj_t0: Array) -> Values:
        """What was gathered, put in its places."""
        problem, values = self.problem, self.values
        g_w_x, g_x = problem.model.initial_state_vjp(values.w_x, values.x, adj_t0)
        if self.C.x.size:
            of_control = self.C.x.reshape(problem.batch, -1).astype(np.float64)
            g_x = g_x + control_vjp(problem.model.control, values.x, of_control)
        grads = bounds_vjp(problem, values, self.g_bounds)
        ends = (_shared(g, end) for g, end in zip(self.g_ends, (values.t0, values.T), strict=True))
        t0, T = (np.asarray(g + end) for g, end in zip(ends, (grads.t0, grads.T), strict=True))
        alpha = gathered(problem, self.g_still, self.g_A)
        grads = replace(grads, alpha=alpha, w_x=g_w_x, w_y=self.g_w_y, x=g_x, t0=t0, T=T)
        return resolved_vjp(values, grads, problem)


def _shared(g: float, end: Array) -> Array:
    """A sum over the batch as the gradient of an end: each sample of an end per sample bears its part."""
    return np.full(end.shape, g / max(end.size, 1))


def _cotangents(run: Run) -> Cotangents:
    """Room for the sweep."""
    F, tiles, dtype, batch = run.packed.F, run.tiles, run.dtype, run.problem.batch
    stages, width, thetas = run.packed.B.c.size, TILE * F.w, len(run.scratch.theta)
    spare = TILE * (F.d + int(F.widths[0]) + 2 * int(F.widths.max()))
    return Cotangents(
        np.zeros((tiles, width), dtype), np.zeros((tiles, stages, width), dtype), np.zeros((tiles, width), dtype),
        np.zeros((tiles, thetas, F.size), dtype), np.zeros(batch * F.controls, dtype), np.zeros(batch), np.zeros(batch),
        np.zeros((tiles, spare), dtype), np.zeros((tiles, TILE), dtype), np.zeros((thetas, F.size), dtype),
    )  # fmt: skip
