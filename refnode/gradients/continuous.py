"""What the three continuous adjoints share: the backward pass over segments, its jumps and its Hamiltonian.      (3)(6)

    a' = -(df/dz)^T (a + g dl/df) - g dl/dz,   a(T) = dL/dz(T),   a(t_k^-) = a(t_k^+) + dL_k/dz
    dloss/dT = H(T) + dL/dT,   dloss/dt0 = -H(t0),   dloss/dt_k = H(t_k^-) - H(t_k^+) + dL_k/dt,   H = a . f + g l

Where the basis of theta(t) follows the span, T and t0 also move theta: dT gains int (dF/dT)^T [a, g] dt, dt0 likewise.

Source   Massaroli et al. 2020, Prop. 1; Bryson and Ho 1975, Applied Optimal Control, ch. 2 and 3 (interior points).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from refnode.arrays import Array, column
from refnode.dense import DenseSegment
from refnode.dynamics import Cotangents, dynamics_of
from refnode.errors import UnreliableGradient
from refnode.forward import Forward, point_terms, right_hand_side
from refnode.integrate import Statistics, Step, prescribed_steps, segment_steps
from refnode.objective import point_loss_vjp
from refnode.problem import Problem
from refnode.segments import bounds, bounds_vjp, like_end, segments
from refnode.solver import Solver
from refnode.span import Span
from refnode.steps import Rhs, combined, stage_time
from refnode.values import Values, resolved_vjp

TINY = float(np.finfo(np.float64).tiny)  # an absolute tolerance that never divides by zero


def integrals(back: Cotangents, values: Values) -> dict[str, Array]:
    """What the depth integrates: cotangents of alpha and x, and of t0 and T where theta(t) follows the span."""
    t0, T = like_end(back.t0, values.t0), like_end(back.T, values.T)
    return {"alpha": back.alpha, "x": back.x, "t0": t0, "T": T}


class BackwardPass:
    """The costate adj = a(t) (b, d) on its way from T to t0, and the gradients it gathers."""

    def __init__(self, problem: Problem, values: Values, forward: Forward, solver: Solver) -> None:
        self.problem, self.values, self.forward, self.solver = problem, values, forward, solver
        self.times, self.spans = bounds(problem, values), segments(problem, values)
        self.on_segment = [dynamics_of(problem, i) for i in range(len(self.spans))]
        self.waiting = problem.layout.waiting
        self.d, self.width = self.on_segment[0].d, self.on_segment[0].width
        self.statistics = Statistics()
        self.grads = values.like(0.0)
        self.g_times = [np.zeros(problem.batch) for _ in self.times]
        self.integral_error, self.integral_size = 0.0, np.zeros(values.alpha.shape)
        self.jumps = self._jumps()

    def _jumps(self) -> list[Array]:
        """dL_k/dz (b, d) at every bound; gradients with respect to w_y and the bounds' explicit t on the way."""
        jumps = []
        bounds = zip(point_terms(self.problem), self.times, self.forward.at_bounds, strict=True)
        for i, (term, t, y) in enumerate(bounds):
            jump = np.zeros((self.problem.batch, self.d))
            if term is not None:
                z, h_y = y[:, : self.d], self.problem.model.h_y
                g_w, g_t, jump = point_loss_vjp(term, h_y, self.values.w_y, t, z, self.problem.loss.scale)
                self.g_times[i] = self.g_times[i] + g_t
                self.add(w_y=g_w)
            jumps.append(jump)
        return jumps

    def add(self, **parts: Array) -> None:
        """Add to the gradients."""
        self.grads = replace(self.grads, **{name: getattr(self.grads, name) + part for name, part in parts.items()})

    def run(self, sweep: Callable[[int, Array], Array]) -> tuple[Values, Array]:
        """Gradients and a(t0), where sweep(i, adj) takes adj from the end of segment i to its start."""
        adj = np.zeros((self.problem.batch, self.d))
        for i in reversed(range(len(self.spans))):
            adj = adj + self.jumps[i + 1]
            self.g_times[i + 1] = self.g_times[i + 1] + self.hamiltonian(i, i + 1, adj)
            adj = sweep(i, adj)
            self.g_times[i] = self.g_times[i] - self.hamiltonian(i, i, adj)
        g_w, g_x = self.problem.model.initial_state_vjp(self.values.w_x, self.values.x, adj)
        self.add(w_x=g_w, x=g_x)
        grads = self.grads.plus(bounds_vjp(self.problem, self.values, self.g_times))
        return resolved_vjp(self.values, grads, self.problem), adj

    def hamiltonian(self, i: int, bound: int, adj: Array) -> Array:
        """H = a . f + g l (b,) at a bound, as segment i sees it; 0 for samples that wait on it."""
        rate = np.where(column(self.waiting[i]), 0.0, self.rate_at(i, bound))
        return (self.full(adj) * rate).sum(axis=1)

    def rate_at(self, i: int, bound: int) -> Array:
        """F (b, d + r) at a bound, as segment i sees it."""
        return self.on_segment[i].forward(self.times[bound], self.forward.at_bounds[bound], self.values)

    def full(self, adj: Array) -> Array:
        """[a, g] (b, d + r): the cotangent of y = [z, q]."""
        gathered = np.full((len(adj), self.width - self.d), self.problem.loss.scale)
        return np.concatenate([adj, gathered], axis=1)

    def y_of(self, z: Array) -> Array:
        """[z, 0] (b, d + r): F does not depend on what q has gathered."""
        return np.concatenate([z, np.zeros((len(z), self.width - self.d))], axis=1)

    def rate(self, i: int, t: Array, z: Array) -> Array:
        """z' (b, d) on segment i."""
        return self.on_segment[i].forward(t, self.y_of(z), self.values)[:, : self.d]

    def vjp(self, i: int, t: Array, z: Array, g: Array) -> Cotangents:
        """The vjp of F on segment i, at z (b, d) for g (b, d + r), counted."""
        self.statistics.nfe += 1
        return self.on_segment[i].vjp(t, self.y_of(z), self.values, g)

    def costate_rate(self, i: int, t: Array, z: Array, adj: Array) -> Array:
        """a' (b, d) on segment i."""
        return -self.on_segment[i].vjp(t, self.y_of(z), self.values, self.full(adj)).y[:, : self.d]

    def costate_atol(self) -> float:
        """The absolute tolerance of a: rtol times the size of what enters it, so that a scaled loss scales a.

        What enters are the jumps dL_k/dz, and the running loss's g dl/dz over the span. The solver's atol has the units
        of z, not of a.
        """
        largest = max(float(np.max(np.abs(jump))) for jump in self.jumps)
        if self.problem.loss.running:
            length = float(np.max(np.abs(self.values.T - self.values.t0)))
            largest = max(largest, length * self.largest_slope())
        return max((self.solver.rtol or 0.0) * largest, TINY)

    def largest_slope(self) -> float:
        """The largest entry of g dl/dz along the solution, whose steps are run again unless they were kept."""
        none, largest = self.full(np.zeros((self.problem.batch, self.d))), 0.0
        for i, t, z in self._states():
            largest = max(largest, float(np.max(np.abs(self.vjp(i, t, z, none).y))))
        return largest

    def _states(self) -> Iterator[tuple[int, Array, Array]]:
        """Segment, t and z (b, d) at the ends of the forward steps."""
        for i, span in enumerate(self.spans):
            d, rhs = self.d, self.statistics.counting(right_hand_side(self.on_segment[i], self.values))
            y, fractions = self.forward.at_bounds[i], self.forward.grid.fractions[i]
            yield i, self.times[i], y[:, :d]
            kept = self.forward.steps[i] or prescribed_steps(rhs, span, y, fractions, self.solver.tableau)
            yield from ((i, step.t_new, step.y_new[:, :d]) for step in kept)

    def gather(self, segment: int, step: Step, z: list[Array], adj: list[Array]) -> None:
        """Add -h sum_i b_i (dF/d(alpha, x, t0, T))^T [a, g] over the stages of a backward step: h < 0 if t rises.

        z[i], adj[i] (b, d) are state and costate at stage i. The weight enters the cotangent, sample by sample. The
        same stages with b_err for b estimate the error of the integral for alpha, which the steps do not control.
        """
        tableau = self.solver.tableau
        rows = [row for row in (tableau.b_err, tableau.b_err3) if row is not None]
        errors = [np.zeros(self.values.alpha.shape) for _ in rows]
        for i, b in enumerate(tableau.b):
            weight = b or next((row[i] for row in rows if row[i] != 0), 0.0)
            if weight == 0:
                continue
            t_i = stage_time(step.t, step.t_new, step.h, tableau.c[i])
            back = self.vjp(segment, t_i, z[i], column(-step.h * weight) * self.full(adj[i]))
            if b != 0:
                self.add(**integrals(back, self.values))
                self.integral_size = self.integral_size + np.abs(back.alpha)
            errors = [error + row[i] / weight * back.alpha for error, row in zip(errors, rows, strict=True)]
        sizes = [np.asarray(np.max(np.abs(error), initial=0.0)) for error in errors]
        self.integral_error = max(self.integral_error, float(combined(*sizes)) if sizes else 0.0)

    def check_integrals(self) -> None:
        """Raise UnreliableGradient if a step's estimated error of the parameter integrals is beyond 100 rtol of them.

        As in the error norm one step counts: the estimate is that of the embedded method, of lower order, and its sum
        over the steps, O(tol^((q-1)/q)) where a step's is O(h^q), would refuse good gradients at tight tolerances.
        """
        allowed = 100 * (self.solver.rtol or np.inf) * float(np.max(self.integral_size, initial=0.0))
        if self.integral_error > allowed:
            error = f"the parameter integrals' estimated error in one step, {self.integral_error:.1e},"
            message = f"{error} is beyond {allowed:.1e}"
            raise UnreliableGradient(f"{message}: the steps see state and costate, not them; use method 'quadrature'")

    def dense_state(self, i: int) -> DenseSegment:
        """y(t) on segment i, where the forward solve kept its steps; the interpolant's extra stages are counted."""
        rhs = self.statistics.counting(right_hand_side(self.on_segment[i], self.values))
        return DenseSegment(rhs, self.spans[i], self.forward.steps[i], self.solver.tableau)

    def steps(self, i: int, rhs: Rhs, u: Array, atol: Array) -> Iterator[Step]:
        """Solver steps of u' = rhs(t, u) from the end of segment i to its start."""
        span, whole = self.spans[i], self.values.T - self.values.t0
        return segment_steps(rhs, Span(span.end, span.start), whole, u, self.solver, self.statistics, atol)
