"""The costate a(t) and the Hamiltonian H(t) on the whole span, not only where a gradient needs them.             (3)

    a' = -(df/dz)^T (a + g dl/df) - g dl/dz,   a(T) = dL/dz(T),   a(t_k^-) = a(t_k^+) + dL_k/dz,   H = a . f + g l

a(t) is dloss/dz(t): what the loss would gain if the state were moved at depth t. It jumps at observations; H jumps
there and at the edges of a stacked depth. Between them H is constant where neither f, l nor theta depend on t.

Source   Massaroli et al. 2020, Prop. 1; Pontryagin et al. 1962; Bryson and Ho 1975, Applied Optimal Control, ch. 2.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refnode.api import Solution, solve
from refnode.arrays import Array, float64, one_of
from refnode.dense import DenseSegment, Side, by_row, segment_of
from refnode.dynamics import dynamics_of
from refnode.errors import InvalidArgument
from refnode.gradients.continuous import BackwardPass
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.span import Span


@dataclass(frozen=True, eq=False)
class Costate:
    """z(t), a(t) and H(t) of a problem at any depth of its span.

    solution    the forward solve
    adj_t0      a(t0) (b, d), the gradient's
    times       the bounds t0, .., T, () or (b,) each: observations and breaks of theta(t) between them
    on_segment  a(t) between two bounds

    t is () for the batch, or (b,), a depth for each sample, inside every sample's own span. At a bound there are two
    sides: "after" is the limit from the depths that the solve passes later, "before" from those it passed earlier. At
    t0 there is only "after", at T only "before", where an observation that stands at T has already entered a.
    """

    solution: Solution
    adj_t0: Array
    times: tuple[Array, ...]
    on_segment: tuple[DenseSegment, ...]

    @property
    def problem(self) -> Problem:
        """Whose costate it is."""
        return self.solution.problem

    def z(self, t: Any) -> Array:
        """z(t) (b, d)."""
        t, segment = self._checked(t, "after")
        d, dense = self.problem.model.state_width, self.solution.dense
        return by_row(segment, lambda i: dense[i](t)[:, :d])

    def adj(self, t: Any, side: Side = "after") -> Array:
        """a(t) (b, d).

        Raises InvalidArgument for t outside a sample's span.
        """
        t, segment = self._checked(t, side)
        return by_row(segment, lambda i: self.on_segment[i](t))

    def hamiltonian(self, t: Any, side: Side = "after") -> Array:
        """H(t) = a . f + g l (b,), f and l with the theta of that side.

        With a terminal loss that does not name t, and a theta(t) that does not follow the span, dloss/dT = H(T) and
        dloss/dt0 = -H(t0). An observation at t_k has dloss/dt_k = H(t_k^-) - H(t_k^+), before and after.
        """
        t, segment = self._checked(t, side)
        problem, values, dense = self.problem, self.problem.resolved, self.solution.dense

        def on(i: int) -> Array:
            dynamics = dynamics_of(problem, i)
            g = np.full((problem.batch, dynamics.width - dynamics.d), problem.loss.scale)
            adj = np.concatenate([self.on_segment[i](t), g], axis=1)  # [a, g] (b, d + r)
            return (adj * dynamics.forward(t, dense[i](t), values)).sum(axis=1)

        return by_row(segment, on)

    def _checked(self, t: Any, side: Side) -> tuple[Array, Array]:
        """t, and the segment (b,) that every sample is on."""
        one_of("side", side, ("before", "after"))
        t, batch = float64("t", t), self.problem.batch
        if t.shape not in ((), (batch,)):
            raise InvalidArgument("t", f"shape {t.shape}", f"of shape () or ({batch},)")
        return t, segment_of([dense.span for dense in self.solution.dense], t, side, batch)


def costate(problem: Problem, solver: Solver = Solver()) -> Costate:
    """The costate on the whole span: the interpolating adjoint's backward solve, kept.                          (3)

    Parameters
    ----------
    problem    Problem
    solver     Solver, used forwards and backwards

    Returns
    -------
    Costate    z(t), adj(t), hamiltonian(t), adj_t0

    Raises
    ------
    StepUnderflow, TooManySteps, NonFiniteState    from the solves

    Error    O(tol), as long as the tableau's interpolant is as accurate as its steps.
    Cost     memory of both dense outputs, 2 N s b d; one vjp a backward stage.
    """
    solution = solve(problem, solver)
    back = BackwardPass(problem, problem.resolved, replace(solution.forward, steps=solution.steps()), solver)
    atol, found = np.asarray(back.costate_atol()), []

    def sweep(i: int, adj: Array) -> Array:
        y_at, span = solution.dense[i], back.spans[i]

        def rhs(t: Array, adj: Array) -> Array:
            return back.costate_rate(i, t, y_at(t)[:, : back.d], adj)

        steps = list(back.steps(i, rhs, adj, atol))
        found.append(DenseSegment(rhs, Span(span.end, span.start), steps, solver.tableau))
        return steps[-1].y_new

    _, adj_t0 = back.run(sweep)
    return Costate(solution, adj_t0, tuple(back.times), tuple(reversed(found)))
