"""The backward pass of a whole problem: the cotangent jumps at bounds, and segments are swept part by part."""

from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.control import control_vjp
from refnode.forward import Forward, point_terms
from refnode.kernels.cuda.run import PartRun, Solved, Swept
from refnode.kernels.pack import gathered
from refnode.objective import point_loss_vjp
from refnode.problem import Problem
from refnode.segments import bounds, bounds_vjp, like_end
from refnode.values import Values, resolved_vjp


class Backward:
    """The cotangent of y on its way from T to t0, and the gradients it gathers, of samples that are done (b,).

    of_loss    whether there is one: else all comes from upstream;  from_x   whether z(t0) is h_x(x)
    """

    def __init__(
        self, problem: Problem, solved: Forward, done: Array, *, of_loss: bool = True, from_x: bool = True
    ) -> None:
        values, depth, d, b = problem.resolved, problem.model.depth, problem.model.state_width, problem.batch
        self.problem, self.values, self.solved, self.d = problem, values, solved, d
        self.scale = problem.loss.scale * done                      # cotangents of the samples' losses (b,)
        self.times, self.from_x = bounds(problem, values), from_x
        self.terms = point_terms(problem) if of_loss else [None] * len(self.times)
        size = sum(int(np.prod(shape)) for shape in problem.model.field.shapes.values())
        self.g_theta = np.zeros((1 + (0 if not hasattr(depth, "basis") else depth.basis.m), size))
        self.g_bounds = [np.zeros(b) for _ in self.times]
        self.g_span, self.g_w_y = np.zeros((2, b)), np.zeros(values.w_y.shape)      # of t0 and T by theta(t)
        self.g_x: Any = 0.0                                         # becomes (n_x, b)
        self.g = np.zeros(solved.at_bounds[0].shape)                # of y at t0, when all parts are swept
        self.jumps = [self._jump(i) for i in range(len(self.times))]

    def _jump(self, i: int) -> Array | None:
        """dL_i/dz at bound i (b, d), if there is a loss; what it gives to h_y and to the bound's time is gathered."""
        term, problem = self.terms[i], self.problem
        z, w_y = self.solved.at_bounds[i][:, : self.d], self.values.w_y
        if term is None:
            return None
        g_w, g_t, g_z = point_loss_vjp(term, problem.model.h_y, w_y, self.times[i], z, self.scale)
        self.g_w_y, self.g_bounds[i] = self.g_w_y + g_w, self.g_bounds[i] + g_t
        return g_z

    def through(self, run: PartRun, solved: Solved, upstream: Any = None) -> Any:
        """The cotangents of a part of the batch, from T to t0; that of y at t0 (w, b), on the device.

        upstream    the cotangent of y at T (w, b), on the device; None: that of the loss
        """
        part, g, to_x = run.part, upstream, 0.0
        if g is None:
            g = np.zeros((self.g.shape[1], run.batch))
            g[self.d :] = self.scale[part]
            g = run.to(g)
        for i in reversed(range(len(solved.tapes))):
            if self.jumps[i + 1] is not None:
                now = run.of(g)
                now[:, : self.d] += self.jumps[i + 1][part]
                g = run.to(now.T)
            swept = run.sweep(i, g, solved)
            self._take(i, part, swept)
            g, to_x = swept.g, to_x + swept.g_x
        self.g[part] = run.of(g)
        if np.size(to_x):
            self.g_x = self.g_x if np.ndim(self.g_x) else np.zeros((len(to_x), self.problem.batch))
            self.g_x[:, part] = to_x
        return g

    def _take(self, i: int, part: slice, swept: Swept) -> None:
        """What segment i gives to theta and to its ends."""
        waiting = np.broadcast_to(self.problem.layout.waiting[i], self.problem.batch)[part]
        start, end, *span = swept.g_ends * ~waiting
        self.g_bounds[i][part] += start
        self.g_bounds[i + 1][part] += end
        if self.problem.model.depth.interval == "span":             # else they do not move theta(t)
            self.g_span[:, part] += span
        self.g_theta[0] += swept.g_theta[0]
        if len(swept.g_theta) > 1:
            self.g_theta[1:] += swept.g_theta[1:]
        elif len(self.g_theta) > 1:                                 # a piece of its own
            self.g_theta[1 + self.problem.layout.cells[i]] += swept.g_theta[0]

    def finish(self) -> tuple[Values, Array]:
        """Gradients with respect to the raw values; a(t0) (b, d)."""
        problem, values, adj_t0 = self.problem, self.values, self.g[:, : self.d]
        g_w_x, g_x = problem.model.initial_state_vjp(values.w_x, values.x, adj_t0 * self.from_x)
        if np.ndim(self.g_x):
            g_x = g_x + control_vjp(problem.model.control, values.x, self.g_x.T)
        grads = bounds_vjp(problem, values, self.g_bounds)
        t0 = grads.t0 + like_end(self.g_span[0], values.t0)
        T = grads.T + like_end(self.g_span[1], values.T)
        alpha = gathered(problem, self.g_theta[0], self.g_theta[1:])
        grads = replace(grads, alpha=alpha, w_x=g_w_x, w_y=self.g_w_y, x=g_x, t0=t0, T=T)
        return resolved_vjp(values, grads, problem), adj_t0
