"""Forward sensitivities: the tangent of the computed solution, and the tangent ODE with its own error control."""

from collections.abc import Sequence

import numpy as np

from refnode.arrays import Array
from refnode.dynamics import Dynamics, dynamics_of, initial_y
from refnode.forward import (
    Forward,
    Grid,
    point_terms,
    right_hand_side,
    segments,
    solve_forward,
)
from refnode.gradients.finite_difference import leaf_sizes, size_along
from refnode.gradients.result import GradientResult, gradient_result, zero_grads
from refnode.integrate import Span, Statistics, Step, segment_steps
from refnode.model import Problem
from refnode.objective import point_loss_jvp
from refnode.solver import Solver
from refnode.steps import rk_step_jvp
from refnode.values import Direction, Values, directions


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
    values = problem.values
    forward = solve_forward(problem, values, solver, keep="steps")
    dynamics, grads, nfe = dynamics_of(problem), zero_grads(values), 0
    for direction in directions(values):
        d_at_bounds = [_initial_dy(problem, values, direction.along)]
        for span, dspan, steps in zip(segments(values), segments(direction.along), forward.steps, strict=True):
            dy = _along_steps(dynamics, values, direction.along, (span, dspan), steps, d_at_bounds[-1], solver)
            d_at_bounds.append(dy)
            nfe += solver.tableau.stages * len(steps)
        direction.put(grads, _loss_jvp(problem, values, forward.at_bounds, direction.along, d_at_bounds))
    return gradient_result(
        problem, values, forward, grads, method="forward_discrete", solver=solver, nfe_backward=nfe,
        peak_bytes=sum(step.y.nbytes + step.k.nbytes for steps in forward.steps for step in steps),
    )  # fmt: skip


def _along_steps(
    dynamics: Dynamics,
    values: Values,
    along: Values,
    spans: tuple[Span, Span],
    steps: Sequence[Step],
    dy: Array,
    solver: Solver,
) -> Array:
    """dy at the end of a segment from dy at its start, along accepted steps; spans are the segment and its change."""
    dspan = spans[1]

    def jvp(t: Array, y: Array, dt: Array, dy_i: Array) -> Array:
        return dynamics.jvp(t, y, values, dt, dy_i, along)

    for step in steps:
        dt, dt_new, dh = dspan.at(step.s), dspan.at(step.s_new), np.asarray((step.s_new - step.s) * dspan.length)
        dy = rk_step_jvp(jvp, (step.t, step.t_new, step.h), (dt, dt_new, dh), step.y, step.k, dy, solver.tableau)
    return dy


def _initial_dy(problem: Problem, values: Values, along: Values) -> Array:
    dy = np.zeros_like(initial_y(problem, values))
    dy[:, : problem.model.state_width] = problem.model.initial_state_jvp(values.w_x, values.x, along.w_x, along.x)
    return dy


def _loss_jvp(
    problem: Problem, values: Values, at_bounds: Sequence[Array], along: Values, d_at_bounds: Sequence[Array]
) -> Array:
    """Change of every sample's loss (b,) for changes of y at the bounds and of the bounds' times."""
    d = problem.model.state_width
    change = d_at_bounds[-1][:, d:].sum(axis=1)
    for term, t, y, dt, dy in zip(
        point_terms(problem), values.bounds(), at_bounds, along.bounds(), d_at_bounds, strict=True
    ):
        if term is not None:
            h_y = problem.model.h_y
            change = change + point_loss_jvp(term, h_y, values.w_y, t, y[:, :d], along.w_y, dt, dy[:, :d])
    return problem.loss.scale * change


def forward_continuous(problem: Problem, solver: Solver) -> GradientResult:
    """Gradient of the ODE by solving the tangent ODE of every number beside the state, sensitivities in the error norm.

        S' = (dF/dy) S + dF/dv,   S(t0) = dz(t0)/dv;   S(t0) = -F(t0) for v = t0;   dy(t_k) = F(t_k) dt_k for v = t_k, T

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
    values = problem.values
    all_directions = list(directions(values))
    moving = [d for d in all_directions if d.where[0] in ("alpha", "w_x", "x", "t0")]
    run = _solve_with_sensitivities(problem, values, moving, solver)
    forward, tangents = run
    grads, dynamics = zero_grads(values), dynamics_of(problem)
    rates = [dynamics.forward(t, y, values) for t, y in zip(values.bounds(), forward.at_bounds, strict=True)]
    index = {id(direction): i for i, direction in enumerate(moving)}
    for direction in all_directions:
        i = index.get(id(direction))
        d_at_bounds = []
        for b, (dt, rate) in enumerate(zip(direction.along.bounds(), rates, strict=True)):
            s = np.zeros_like(rate) if i is None else tangents[b][i]
            # y at t0 does not move with t0; the later bounds carry F dt
            d_at_bounds.append(s + rate * np.asarray(dt)[..., None] if b > 0 else s)
        direction.put(grads, _loss_jvp(problem, values, forward.at_bounds, direction.along, d_at_bounds))
    return gradient_result(
        problem, values, forward, grads, method="forward_continuous", solver=solver,
        nfe_backward=forward.statistics.nfe * len(moving), peak_bytes=tangents[0].nbytes,
    )  # fmt: skip


def _solve_with_sensitivities(
    problem: Problem, values: Values, moving: list[Direction], solver: Solver
) -> tuple[Forward, list[Array]]:
    """The forward solve of [y, S_1, .., S_K], and the sensitivities (K, b, w) at every bound."""
    dynamics, statistics = dynamics_of(problem), Statistics()
    rhs, zero = right_hand_side(dynamics, values), np.zeros(())
    y0 = initial_y(problem, values)
    rate0 = rhs(values.t0, y0)
    start = [y0]
    for direction in moving:
        start.append(_initial_dy(problem, values, direction.along) - rate0 * np.asarray(direction.along.t0)[..., None])
    shape = (problem.batch, 1 + len(moving), y0.shape[1])

    def together(t: Array, u: Array) -> Array:
        y, *tangents = np.moveaxis(u.reshape(shape), 1, 0)
        slopes = [dynamics.jvp(t, y, values, zero, s, d.along) for s, d in zip(tangents, moving, strict=True)]
        return np.stack([rhs(t, y), *slopes], axis=1).reshape(problem.batch, -1)

    sizes = leaf_sizes(problem, values)
    per_block = [1.0, *(1 / size_along(sizes, direction) for direction in moving)]
    atol = np.repeat((solver.atol or 0.0) * np.array(per_block), y0.shape[1])
    u = np.stack(start, axis=1).reshape(problem.batch, -1)
    at_bounds, fractions = [u], []
    for span in segments(values):
        grid = [np.zeros(problem.batch if solver.steps == "own" else ())]
        for step in segment_steps(together, span, values.T - values.t0, u, solver, statistics, atol):
            u = step.y_new
            grid.append(step.s_new)
        at_bounds.append(u)
        fractions.append(np.array(grid))
    parts = [np.moveaxis(v.reshape(shape), 1, 0) for v in at_bounds]
    return Forward([p[0] for p in parts], Grid(tuple(fractions)), [], statistics), [p[1:] for p in parts]
