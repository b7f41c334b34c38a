"""The part of a backward pass that is not compiled: jumps at bounds, and where what was gathered goes."""

import numpy as np

from refnode.arrays import Array
from refnode.control import control_vjp
from refnode.forward import Forward, point_terms
from refnode.kernels.adjoint import Cotangents
from refnode.kernels.pack import gathered
from refnode.kernels.run import Run
from refnode.objective import point_loss_vjp
from refnode.segments import bounds, ends_vjp
from refnode.values import Values, resolved_vjp


class Backward:
    """The cotangent g of y on its way from T to t0, and the gradients it gathers.

    evaluations, held    of F and its vjp; bytes of the tape
    """

    def __init__(self, run: Run, forward: Forward) -> None:
        self.run, self.forward, self.problem, self.values = run, forward, run.problem, run.values
        batch, F = run.problem.batch, run.packed.F
        shape = (0, 0) if run.packed.kind.by_stage else run.packed.V.A.shape  # see `take_depth`
        self.g_still, self.g_A = np.zeros(shape[1]), np.zeros(shape)
        self.times, self.terms = bounds(run.problem, run.values), point_terms(run.problem)
        self.pieces = run.pieces
        self.g_bounds = [np.zeros(batch) for _ in self.times]
        self.g_w_y = np.zeros(run.values.w_y.shape)
        self.g_control = np.zeros(batch * F.controls)
        self.g = np.zeros((batch, F.w))
        self.g[:, F.rates.d :] = run.problem.loss.scale
        self.evaluations = self.held = 0

    def jump(self, i: int) -> None:
        """At bound i the cotangent jumps by dL_i/dz."""
        term, problem, d = self.terms[i], self.problem, self.run.packed.F.rates.d
        if term is None:
            return
        z, w_y = self.forward.at_bounds[i][:, :d], self.values.w_y
        g_w, g_t, g_z = point_loss_vjp(term, problem.model.h_y, w_y, self.times[i], z, problem.loss.scale)
        self.g_w_y += g_w
        self.g_bounds[i] += g_t
        self.g[:, :d] += g_z

    def take(self, i: int, C: Cotangents, of_theta: Array) -> None:
        """Take what steps of segment i gave to its ends, to those that theta(t) follows and to the control."""
        waiting = self.problem.layout.waiting[i]
        if waiting.any():
            C.start[waiting], C.end[waiting] = 0.0, 0.0
        shared, received = of_theta / self.problem.batch, [(i, C.start), (i + 1, C.end)]
        if len(self.run.packed.V.A):
            received += [(0, C.t0), (-1, C.T)]
        for (bound, own), of_all in zip(received, shared.tolist(), strict=False):
            self.g_bounds[bound] += own
            if of_all:
                self.g_bounds[bound] += of_all
            own.fill(0)
        if C.x.size:
            self.g_control += C.x
            C.x.fill(0)

    def take_depth(self, C: Cotangents) -> None:
        """Take what all steps gave to the depth, where theta is by stage: it was gathered in the kernels' precision."""
        if self.run.packed.kind.by_stage:
            self.g_still, self.g_A = C.depth[0], C.depth[1:]

    def finish(self) -> tuple[Values, Array]:
        """Gradients with respect to the raw values; a(t0) (b, d)."""
        problem, values, adj_t0 = self.problem, self.values, self.g[:, : self.run.packed.F.rates.d]
        g_w_x, g_x = problem.model.initial_state_vjp(values.w_x, values.x, adj_t0)
        if self.g_control.size:
            g_x = g_x + control_vjp(problem.model.control, values.x, self.g_control.reshape(problem.batch, -1))
        alpha, w_T = gathered(problem, self.g_still, self.g_A), np.zeros(values.w_T.shape)
        ends = ends_vjp(problem, values, self.g_bounds)
        grads = Values(alpha=alpha, w_x=g_w_x, w_y=self.g_w_y, w_T=w_T, x=g_x, **ends)
        return resolved_vjp(values, grads, problem), adj_t0
