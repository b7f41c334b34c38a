"""The forward solve of a problem: segments between bounds, the running loss on the way, the loss.          (2)(3)

`values` are resolved ones everywhere: an adaptive depth's T is computed (see `refnode.values`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from refnode.arrays import Array
from refnode.dense import DenseSegment
from refnode.dynamics import Dynamics, dynamics_of, initial_y
from refnode.errors import InvalidArgument
from refnode.integrate import Statistics, Step, check_finite, prescribed_steps, segment_steps
from refnode.loss import PointLoss
from refnode.objective import point_loss
from refnode.problem import Problem
from refnode.segments import Bound, bounds, segments
from refnode.solver import Solver
from refnode.steps import Rhs
from refnode.tableau import Tableau
from refnode.values import Values


@dataclass(frozen=True, eq=False)
class Grid:
    """The accepted steps of a solve as fractions of its segments, one array (N + 1,) or (N + 1, b) per segment.

    errors    the norms of their estimated errors (N,) per segment, where steps are adaptive and the batch shares them
    """

    fractions: tuple[Array, ...]
    errors: tuple[Array, ...] = ()

    def times(self, problem: Problem, values: Values) -> Array:
        """The depths t of the grid, in order, (N + 1,) or (N + 1, b)."""
        own = values.t0.ndim or values.T.ndim or self.fractions[0].ndim == 2
        parts = []
        for span, s in zip(segments(problem, values), self.fractions, strict=True):
            t = span.at(s[:, None] if own and s.ndim == 1 else s)
            parts.append(np.broadcast_to(t, (len(s), len(values.x))) if own else t)
        return np.concatenate([parts[0], *(t[1:] for t in parts[1:])])


def right_hand_side(dynamics: Dynamics, values: Values) -> Rhs:
    """F(t, y) at given values."""
    return lambda t, y: dynamics.forward(t, y, values)


def point_terms(problem: Problem) -> list[PointLoss | None]:
    """The point loss at every bound t0, .., T; None where there is none."""
    observed = problem.loss.observations.terms if problem.loss.observations else ()

    def at(bound: Bound) -> PointLoss | None:
        if bound.kind == "t_obs":
            return observed[bound.number]
        return problem.loss.terminal if bound.kind == "T" else None

    return [at(bound) for bound in problem.layout.bounds]


@dataclass(frozen=True, eq=False)
class Forward:
    """A forward solve.

    at_bounds  y = [z, q] (b, d + r) at t0, t_1, .., T
    grid       the accepted steps
    steps      them whole, one list per segment; empty unless asked for
    """

    at_bounds: list[Array]
    grid: Grid
    steps: list[list[Step]]
    statistics: Statistics


Keep = Literal["nothing", "states", "steps"]


def solve_forward(problem: Problem, values: Values, solver: Solver, keep: Keep = "nothing") -> Forward:
    """Solve from t0 to T, landing on every bound; `keep` "steps" for dense output or a reverse sweep.

    With keep="states" the steps come without their stages, so that only N states are held.
    """
    statistics = Statistics()
    y = initial_y(problem, values)
    check_finite(y, values.t0, None)
    at_bounds, kept = [y], []
    ends: list[list[Array]] = []
    errors: list[list[Array | None]] = []
    for i, span in enumerate(segments(problem, values)):
        rhs = right_hand_side(dynamics_of(problem, i), values)
        ends.append([np.zeros(len(y) if solver.steps == "own" else ())])
        errors.append([])
        steps: list[Step] = []
        whole, proposal = values.T - values.t0, proposal_of(problem, solver, i)
        for step in segment_steps(rhs, span, whole, y, solver, statistics, proposal=proposal):
            ends[i].append(step.s_new)
            errors[i].append(step.err)
            y = step.y_new
            if keep != "nothing":
                steps.append(step if keep == "steps" else replace(step, k=np.zeros(0)))
        at_bounds.append(y)
        kept.append(steps)
    return Forward(at_bounds, grid_of(solver, ends, errors), kept, statistics)


def grid_of(solver: Solver, ends: list[list[Array]], errors: list[list[Array | None]]) -> Grid:
    """The grid of steps that end at `ends`, the first of them 0, with these errors, segment by segment."""
    shared = solver.adaptive and solver.steps == "shared"
    of_steps = tuple(np.array(of_segment, dtype=float) for of_segment in errors) if shared else ()
    return Grid(tuple(np.array(of_segment) for of_segment in ends), of_steps)


def proposal_of(problem: Problem, solver: Solver, i: int) -> tuple[float, ...]:
    """The steps to try first on segment i; InvalidArgument if a proposal is for another number of segments."""
    if solver.proposal is None:
        return ()
    count = len(problem.layout.cells)
    if len(solver.proposal) != count:
        raise InvalidArgument("proposal", f"{len(solver.proposal)} segments", f"of {count}, those of the problem")
    return solver.proposal[i]


def replay(problem: Problem, values: Values, grid: Grid, tableau: Tableau) -> list[Array]:
    """y at t0, t_1, .., T for other values on the same fractions: the map that discrete gradients differentiate."""
    y = initial_y(problem, values).astype(values.dtype)
    at_bounds = [y]
    for i, (span, fractions) in enumerate(zip(segments(problem, values), grid.fractions, strict=True)):
        rhs = right_hand_side(dynamics_of(problem, i), values)
        for step in prescribed_steps(rhs, span, y, fractions, tableau):
            y = step.y_new
        at_bounds.append(y)
    return at_bounds


def loss_per_sample(problem: Problem, values: Values, at_bounds: Sequence[Array]) -> Array:
    """What each sample adds to the loss (b,): point losses and the gathered running loss, times the scale."""
    d, h_y = problem.model.state_width, problem.model.h_y
    loss = at_bounds[-1][:, d:].sum(axis=1) if problem.loss.running else np.zeros(problem.batch)
    for term, t, y in zip(point_terms(problem), bounds(problem, values), at_bounds, strict=True):
        if term is not None:
            loss = loss + point_loss(term, h_y, values.w_y, t, y[:, :d])
    return problem.loss.scale * loss


def dense_segment(
    problem: Problem, values: Values, forward: Forward, i: int, tableau: Tableau, statistics: Statistics
) -> DenseSegment:
    """y(t) on segment i of a forward solve that kept its steps; the interpolant's extra stages are counted."""
    rhs = statistics.counting(right_hand_side(dynamics_of(problem, i), values))
    return DenseSegment(rhs, segments(problem, values)[i], forward.steps[i], tableau)
