"""The backward pass of a whole problem: the cotangent jumps at bounds, and segments are swept by the kernel."""

from dataclasses import replace

import numpy as np

from refnode.arrays import Array
from refnode.control import control_vjp
from refnode.forward import Forward, point_terms
from refnode.kernels.cuda.gradient import gradient
from refnode.kernels.cuda.layout import unpacked_gradient
from refnode.kernels.cuda.shape import THREADS
from refnode.kernels.cuda.solve import Run
from refnode.kernels.pack import gathered
from refnode.objective import point_loss_vjp
from refnode.segments import bounds, bounds_vjp, like_end
from refnode.values import Values, resolved_vjp


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
        run, S, segment, b = self.run, self.run.S, self.run.segment(i), self.run.problem.batch
        g, g_ends = np.ascontiguousarray(self.g.T, S.real), np.zeros((2, b), S.real)
        part = np.zeros((run.blocks, (1 + S.basis) * S.size + (4 if S.basis else 0)), S.real)
        grid = (segment.t, segment.t_new, segment.h, segment.count, segment.table, segment.s, segment.s_new)
        given = (run.x, segment.theta, run.neurons, run.B, run.c, *grid, np.int32(len(segment.h)), *tape, stopped)
        run.launch(gradient, S, run.blocks, THREADS, (g, self.g_x, g_ends, *given, part))
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
