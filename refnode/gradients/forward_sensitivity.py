"""Forward sensitivities: the tangent of the computed solution, and the tangent ODE with its own error control."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from refnode.arrays import Array, column
from refnode.dynamics import Dynamics, dynamics_of, initial_y
from refnode.forward import Forward, grid_of, point_terms, proposal_of, solve_forward
from refnode.gradients.finite_difference import leaf_sizes, size_along
from refnode.gradients.result import GradientResult, gradient_result, zero_grads
from refnode.integrate import Statistics, Step, segment_steps
from refnode.objective import point_loss_jvp
from refnode.problem import Problem
from refnode.segments import bounds, bounds_jvp, segments, segments_jvp
from refnode.solver import Solver
from refnode.span import Span
from refnode.steps import Rhs, rk_step_jvp
from refnode.values import Direction, Values, directions, resolved_jvp

WithTangents = Callable[[Problem, Values, int, list[Direction]], Rhs]


def forward_discrete(problem: Problem, solver: Solver) -> GradientResult:
    """Gradient of the computed solution by carrying one tangent for each number of every leaf along the steps.

        dk_i = dF(t_i, Y_i; dt_i, dY_i),   dY_i = dy_n + sum_j a_ij (dh k_j + h dk_j)
        dy_{n+1} = dy_n + sum_i b_i (dh k_i + h dk_i)

    Parameters
    ----------
    problem    Problem, x (b, n)
    solver     Solver

    Returns
    -------
    GradientResult    loss (), grads of every leaf

    Error    exact, to round-off, for the computed solution, as the discrete adjoint, from other code.
    Cost     one jvp per stage for each number of every leaf; memory of the stored steps.
    Source   Hairer, Norsett, Wanner I, sec. II.6 (internal differentiation, after Bock 1981).
    """
    values = problem.resolved
    forward = solve_forward(problem, values, solver, keep="steps")
    grads, nfe = zero_grads(problem.values), 0
    for direction in directions(problem.values):
        along = resolved_jvp(values, direction.along, problem)
        d_at_bounds = [initial_dy(problem, values, along)]
        for i, (dspan, steps) in enumerate(zip(segments_jvp(problem, values, along), forward.steps, strict=True)):
            dy = _along_steps(dynamics_of(problem, i), values, along, dspan, steps, d_at_bounds[-1], solver)
            d_at_bounds.append(dy)
            nfe += solver.tableau.stages * len(steps)
        direction.put(grads, loss_jvp(problem, values, forward.at_bounds, along, d_at_bounds))
    return gradient_result(
        problem, values, forward, grads, method="forward_discrete", solver=solver, nfe_backward=nfe,
        peak_bytes=sum(step.y.nbytes + step.k.nbytes for steps in forward.steps for step in steps),
    )  # fmt: skip


def _along_steps(
    dynamics: Dynamics,
    values: Values,
    along: Values,
    dspan: Span,
    steps: Sequence[Step],
    dy: Array,
    solver: Solver,
) -> Array:
    """dy at the end of a segment from dy at its start, along accepted steps; dspan is the change of the segment."""

    def jvp(t: Array, y: Array, dt: Array, dy_i: Array) -> Array:
        return dynamics.jvp(t, y, values, dt, dy_i, along)

    for step in steps:
        dt, dt_new, dh = dspan.at(step.s), dspan.at(step.s_new), np.asarray((step.s_new - step.s) * dspan.length)
        dy = rk_step_jvp(jvp, (step.t, step.t_new, step.h), (dt, dt_new, dh), step.y, step.k, dy, solver.tableau)
    return dy


def initial_dy(problem: Problem, values: Values, along: Values) -> Array:
    """dy (b, d + r) at t0."""
    dy = np.zeros_like(initial_y(problem, values))
    dy[:, : problem.model.state_width] = problem.model.initial_state_jvp(values.w_x, values.x, along.w_x, along.x)
    return dy


def loss_jvp(
    problem: Problem, values: Values, at_bounds: Sequence[Array], along: Values, d_at_bounds: Sequence[Array]
) -> Array:
    """Change of every sample's loss (b,) for changes of y at the bounds and of the bounds' times."""
    d = problem.model.state_width
    change = d_at_bounds[-1][:, d:].sum(axis=1)
    for term, t, y, dt, dy in zip(
        point_terms(problem),
        bounds(problem, values),
        at_bounds,
        bounds_jvp(problem, values, along),
        d_at_bounds,
        strict=True,
    ):
        if term is not None:
            h_y = problem.model.h_y
            change = change + point_loss_jvp(term, h_y, values.w_y, t, y[:, :d], along.w_y, dt, dy[:, :d])
    return problem.loss.scale * change


def forward_continuous(problem: Problem, solver: Solver) -> GradientResult:
    """Gradient of the ODE by solving the tangent ODE of every number beside the state, sensitivities in the error norm.

        S' = (dF/dy) S + dF/dv,   S(t0) = dz(t0)/dv - F(t0) dt0/dv,   dy(t_k)/dv = S(t_k) + F(t_k^-) dt_k/dv
        S(s^+) = S(s^-) + [F(s^-) - F(s^+)] ds/dv where theta(t) jumps

    Parameters
    ----------
    problem    Problem, x (b, n)
    solver     Solver; the grid is chosen for state and sensitivities together

    Returns
    -------
    GradientResult    loss (), grads of every leaf

    Raises
    ------
    StepUnderflow, TooManySteps, NonFiniteState

    Error    O(tol) for the ODE's gradient, and controlled: the error norm sees the sensitivities, each with an absolute
             tolerance of atol over the size of its leaf.
    Cost     one jvp per stage for each number that moves the state; memory of one step.
    Not recommended for many parameters. For few it is the most trustworthy continuous method: it never runs backwards.
    Source   Dickinson and Gelinas 1976; Maly and Petzold 1996 (error control of sensitivities).
    """
    return sensitivities(problem, solver, _with_tangents)


def sensitivities(problem: Problem, solver: Solver, with_tangents: WithTangents) -> GradientResult:
    """`forward_continuous`, with [y, S_1, .., S_K]' on segment i from with_tangents(problem, values, i, moving)."""
    values = problem.resolved
    everywhere = [replace(d, along=resolved_jvp(values, d.along, problem)) for d in directions(problem.values)]
    moving = [d for d in everywhere if d.where[0] not in ("w_y", "t_obs")]
    forward, tangents = _solve_with_sensitivities(problem, values, moving, solver, with_tangents)
    still = [np.zeros_like(y) for y in forward.at_bounds]
    position = {id(direction): k for k, direction in enumerate(moving)}
    rates = _rates_before(problem, values, forward.at_bounds)
    grads = zero_grads(problem.values)
    for direction in everywhere:
        k = position.get(id(direction))
        at_bounds = still if k is None else [tangent[k] for tangent in tangents]
        moves = bounds_jvp(problem, values, direction.along)
        d_at_bounds = [s + column(dt) * rate for s, dt, rate in zip(at_bounds, moves, rates, strict=True)]
        direction.put(grads, loss_jvp(problem, values, forward.at_bounds, direction.along, d_at_bounds))
    return gradient_result(
        problem, values, forward, grads, method="forward_continuous", solver=solver,
        nfe_backward=forward.statistics.nfe * len(moving), peak_bytes=tangents[0].nbytes,
    )  # fmt: skip


def _rates_before(problem: Problem, values: Values, at_bounds: Sequence[Array]) -> list[Array]:
    """F (b, w) at every bound, as the segment before it sees it; zero at t0, for y(t0) does not move with t0."""
    pairs = enumerate(zip(bounds(problem, values)[1:], at_bounds[1:], strict=True))
    return [np.zeros_like(at_bounds[0]), *(_rate(problem, values, i, t, y) for i, (t, y) in pairs)]


def _rate(problem: Problem, values: Values, i: int, t: Array, y: Array) -> Array:
    """F (b, w) on segment i; zero for samples that wait on it."""
    rate = dynamics_of(problem, i).forward(t, y, values)
    return np.where(column(problem.layout.waiting[i]), 0.0, rate)


def _with_tangents(problem: Problem, values: Values, i: int, moving: list[Direction]) -> Rhs:
    """[y, S_1, .., S_K]' (b, (1 + K) w) on segment i."""
    dynamics, zero = dynamics_of(problem, i), np.zeros(())

    def rhs(t: Array, u: Array) -> Array:
        y, *tangents = _apart(u, dynamics.width)
        slopes = [dynamics.jvp(t, y, values, zero, s, d.along) for s, d in zip(tangents, moving, strict=True)]
        return _together([dynamics.forward(t, y, values), *slopes])

    return rhs


def _together(blocks: Sequence[Array]) -> Array:
    """Blocks (b, w) side by side: (b, (1 + K) w)."""
    return np.concatenate(blocks, axis=1)


def _apart(u: Array, width: int) -> list[Array]:
    """The inverse of `_together`."""
    return np.split(u, u.shape[1] // width, axis=1)


def _solve_with_sensitivities(
    problem: Problem, values: Values, moving: list[Direction], solver: Solver, with_tangents: WithTangents
) -> tuple[Forward, list[Array]]:
    """The forward solve of [y, S_1, .., S_K], and S at fixed t (K, b, w) before every bound.

    At t0, and at a break, a moving bound hands S on as S + [F(t^-) - F(t^+)] dt; F(t0^-) counts as zero.
    """
    statistics, y = Statistics(), initial_y(problem, values)
    width = y.shape[1]
    tangents = [initial_dy(problem, values, direction.along) for direction in moving]
    moves = [bounds_jvp(problem, values, direction.along) for direction in moving]
    sizes = leaf_sizes(problem, problem.values)
    per_block = [1.0, *(1 / size_along(sizes, direction) for direction in moving)]
    atol = np.repeat((solver.atol or 0.0) * np.array(per_block), width)
    at_bounds, before, rate_before = [y], [np.array(tangents)], np.zeros_like(y)
    ends: list[list[Array]] = []
    errors: list[list[Array | None]] = []
    for i, span in enumerate(segments(problem, values)):
        jump = rate_before - _rate(problem, values, i, span.start, y)
        tangents = [s + column(move[i]) * jump for s, move in zip(tangents, moves, strict=True)]
        u = _together([y, *tangents])
        ends.append([np.zeros(problem.batch if solver.steps == "own" else ())])
        errors.append([])
        together = with_tangents(problem, values, i, moving)
        whole, proposal = values.T - values.t0, proposal_of(problem, solver, i)
        for step in segment_steps(together, span, whole, u, solver, statistics, atol, proposal):
            u = step.y_new
            ends[i].append(step.s_new)
            errors[i].append(step.err)
        y, *tangents = _apart(u, width)
        rate_before = _rate(problem, values, i, span.end, y)
        at_bounds.append(y)
        before.append(np.array(tangents))
    return Forward(at_bounds, grid_of(solver, ends, errors), [], statistics), before
