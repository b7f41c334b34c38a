"""What the three continuous adjoints share: the backward pass over segments, its jumps and its Hamiltonian.      (3)(6)

    a' = -(df/dz)^T (a + g dl/df) - g dl/dz,   a(T) = dL/dz(T),   a(t_k^-) = a(t_k^+) + dL_k/dz
    dloss/dT = H(T) + dL/dT,   dloss/dt0 = -H(t0),   dloss/dt_k = H(t_k^-) - H(t_k^+) + dL_k/dt,   H = a . f + g l

Source   Massaroli et al. 2020, Prop. 1; Bryson and Ho 1975, Applied Optimal Control, ch. 2 and 3 (interior points).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from refnode.arrays import Array, column
from refnode.dynamics import Cotangents, dynamics_of
from refnode.forward import Forward, point_terms, right_hand_side, segments
from refnode.gradients.result import with_bounds
from refnode.integrate import Span, Statistics, Step, prescribed_steps, segment_steps
from refnode.model import Problem
from refnode.objective import point_loss_vjp
from refnode.solver import Solver
from refnode.steps import Rhs, stage_time
from refnode.values import Values

TINY = 1e-290  # an absolute tolerance that never divides by zero


class BackwardPass:
    """The costate a (b, d) on its way from T to t0, and the gradients it gathers."""

    def __init__(self, problem: Problem, values: Values, forward: Forward, solver: Solver) -> None:
        self.problem, self.values, self.forward, self.solver = problem, values, forward, solver
        self.dynamics = dynamics_of(problem)
        self.statistics = Statistics()
        self.grads = values.like(0.0)
        self.bounds = [np.zeros(problem.batch) for _ in values.bounds()]
        self.jumps = self._jumps()

    def _jumps(self) -> list[Array]:
        """dL_k/dz (b, d) at every bound; gradients with respect to w_y and the bounds' explicit t on the way."""
        jumps = []
        for i, (term, t, y) in enumerate(
            zip(point_terms(self.problem), self.values.bounds(), self.forward.at_bounds, strict=True)
        ):
            jump = np.zeros((self.problem.batch, self.dynamics.d))
            if term is not None:
                z, h_y = y[:, : self.dynamics.d], self.problem.model.h_y
                g_w, g_t, jump = point_loss_vjp(term, h_y, self.values.w_y, t, z, self.problem.loss.scale)
                self.bounds[i] = self.bounds[i] + g_t
                self.add(w_y=g_w)
            jumps.append(jump)
        return jumps

    def add(self, **parts: Array) -> None:
        """Add to the gradients."""
        self.grads = replace(self.grads, **{name: getattr(self.grads, name) + part for name, part in parts.items()})

    def run(self, sweep: Callable[[int, Array], Array]) -> tuple[Values, Array]:
        """Gradients and a(t0), where sweep(i, a) takes a from the end of segment i to its start."""
        a = np.zeros((self.problem.batch, self.dynamics.d))
        for i in reversed(range(len(self.bounds) - 1)):
            a = a + self.jumps[i + 1]
            self.bounds[i + 1] = self.bounds[i + 1] + self.hamiltonian(i + 1, a)
            a = sweep(i, a)
            self.bounds[i] = self.bounds[i] - self.hamiltonian(i, a)
        g_w, g_x = self.problem.model.initial_state_vjp(self.values.w_x, self.values.x, a)
        self.add(w_x=g_w, x=g_x)
        return with_bounds(self.grads, self.bounds, self.values), a

    def hamiltonian(self, i: int, a: Array) -> Array:
        """H = a . f + g l (b,) at bound i."""
        rate = self.dynamics.forward(self.values.bounds()[i], self.forward.at_bounds[i], self.values)
        return (self.full(a) * rate).sum(axis=1)

    def full(self, a: Array) -> Array:
        """[a, g] (b, d + r): the cotangent of y = [z, q]."""
        gathered = np.full((len(a), self.dynamics.width - self.dynamics.d), self.problem.loss.scale)
        return np.concatenate([a, gathered], axis=1)

    def y_of(self, z: Array) -> Array:
        """[z, 0] (b, d + r): F does not depend on what q has gathered."""
        return np.concatenate([z, np.zeros((len(z), self.dynamics.width - self.dynamics.d))], axis=1)

    def vjp(self, t: Array, z: Array, g: Array) -> Cotangents:
        """The vjp of F at z (b, d) for g (b, d + r), counted."""
        self.statistics.nfe += 1
        return self.dynamics.vjp(t, self.y_of(z), self.values, g)

    def costate_rate(self, t: Array, z: Array, a: Array) -> Array:
        """a' (b, d)."""
        return -self.dynamics.vjp(t, self.y_of(z), self.values, self.full(a)).y[:, : self.dynamics.d]

    def costate_atol(self) -> float:
        """The absolute tolerance of a: relative to the largest cotangent that enters, so that a scaled loss scales a.

        Where no point loss enters, the running loss's does: span times the largest g dl/dz along the solution, for which
        the forward steps are run once more.
        """
        largest = max(float(np.max(np.abs(jump))) for jump in self.jumps)
        if largest == 0 and self.problem.loss.running:
            length = float(np.max(np.abs(self.values.T - self.values.t0)))
            largest = length * self._largest_slope()
        return max((self.solver.atol or 0.0) * largest, TINY)

    def _largest_slope(self) -> float:
        """The largest entry of g dl/dz at the ends of the forward steps."""
        none, largest = self.full(np.zeros((self.problem.batch, self.dynamics.d))), 0.0
        rhs = self.statistics.counting(right_hand_side(self.dynamics, self.values))
        starts = self.forward.at_bounds[:-1]
        for span, y, fractions in zip(self.spans, starts, self.forward.grid.fractions, strict=True):
            for step in prescribed_steps(rhs, span, y, fractions, self.solver.tableau):
                for t, y_t in ((step.t, step.y), (step.t_new, step.y_new)):
                    slope = self.dynamics.vjp(t, y_t, self.values, none).y
                    largest = max(largest, float(np.max(np.abs(slope))))
        return largest

    def gather(self, step: Step, z: list[Array], a: list[Array]) -> None:
        """Add -h sum_i b_i (dF/d(alpha, x))^T [a, g] over the stages of a backward step: h < 0 for a span that rises.

        z[i], a[i] (b, d) are state and costate at stage i. The weight enters the cotangent, sample by sample.
        """
        tableau = self.solver.tableau
        for i, b in enumerate(tableau.b):
            if b != 0:
                t_i = stage_time(step.t, step.t_new, step.h, tableau.c[i])
                back = self.vjp(t_i, z[i], column(-step.h * b) * self.full(a[i]))
                self.add(alpha=back.alpha, x=back.x)

    def steps(self, i: int, rhs: Rhs, u: Array, atol: Array) -> Iterator[Step]:
        """Solver steps of u' = rhs(t, u) from the end of segment i to its start."""
        span, whole = self.spans[i], self.values.T - self.values.t0
        return segment_steps(rhs, Span(span.end, span.start), whole, u, self.solver, self.statistics, atol)

    @property
    def spans(self) -> list[Span]:
        """The segments, forwards."""
        return segments(self.values)
