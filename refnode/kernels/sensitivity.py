"""Forward sensitivities on the CPU: rates and jvps of all tangents compiled, their steps in NumPy, all at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.control import control_of
from refnode.depth import Constant
from refnode.gradients.forward_sensitivity import initial_dy, loss_jvp, sensitivities
from refnode.gradients.result import GradientResult, gradient_result, zero_grads
from refnode.integrate import Step
from refnode.kernels.forward import solve_forward
from refnode.kernels.mlp import cotangent_size
from refnode.kernels.pack import spread
from refnode.kernels.run import Run, run_of
from refnode.kernels.tangents import BLOCK, ROWS, Perturbations, rates_jvp
from refnode.kernels.threads import ALONE, launch, together
from refnode.problem import Problem
from refnode.segments import segments_jvp
from refnode.solver import Solver
from refnode.span import Span
from refnode.steps import Rhs, stage_time
from refnode.tableau import Tableau
from refnode.values import Direction, Values, directions, resolved_jvp


def forward_discrete(problem: Problem, solver: Solver, dtype: Any = np.float64) -> GradientResult:
    """Gradient of the computed solution by tangents: the twin of `refnode.gradients.forward_discrete`.

    Parameters
    ----------
    problem    Problem that packs (see `refnode.kernels.pack.refusal`)
    solver     Solver
    dtype      of rates and their tangents: np.float64 or np.float32; steps are added up in float64

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64

    Raises
    ------
    StepUnderflow, TooManySteps, NonFiniteState    from the forward solve

    Error    exact, to round-off, for the computed solution with its accepted steps frozen.
    Cost     one jvp per stage for each number of every leaf; memory of the stored steps and of s P b d.
    """
    values = problem.resolved
    forward, kept = solve_forward(problem, solver, dtype)
    run, moved = run_of(problem, values, solver, dtype), list(directions(problem.values))
    alongs = [resolved_jvp(values, direction.along, problem) for direction in moved]
    tangents = Tangents(run, alongs)
    dspans = [segments_jvp(problem, values, along) for along in alongs]
    dy = np.array([initial_dy(problem, values, along) for along in alongs])
    d_at_bounds, nfe, held = [dy], 0, 0
    for i, steps in enumerate(kept()):
        start, end = (np.array([_per_sample(d, problem) for d in ends]) for ends in _ends_of([d[i] for d in dspans]))
        for step in steps:
            dy = _step_jvp(tangents, i, step, start, end, dy, solver.tableau)
        d_at_bounds.append(dy)
        nfe += solver.tableau.stages * len(steps) * len(alongs)
        held += sum(step.y.nbytes + step.k.nbytes for step in steps)
    grads = zero_grads(problem.values)
    for n, (direction, along) in enumerate(zip(moved, alongs, strict=True)):
        direction.put(grads, loss_jvp(problem, values, forward.at_bounds, along, [dy[n] for dy in d_at_bounds]))
    return gradient_result(
        problem, values, forward, grads, method="forward_discrete", solver=solver, nfe_backward=nfe, peak_bytes=held
    )


def forward_continuous(problem: Problem, solver: Solver, dtype: Any = np.float64) -> GradientResult:
    """Gradient of the ODE by the tangent ODE: the twin of `refnode.gradients.forward_continuous`.

    Parameters
    ----------
    problem    Problem that packs (see `refnode.kernels.pack.refusal`)
    solver     Solver; the grid is chosen for state and sensitivities together
    dtype      of rates and their tangents: np.float64 or np.float32; steps are the story's, in float64

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64

    Raises
    ------
    StepUnderflow, TooManySteps, NonFiniteState

    Error    O(tol) for the ODE's gradient, and what rounding of the rates leaves of it in float32.
    Cost     one jvp per stage for each number that moves the state; memory of one step.
    """
    run, found = run_of(problem, problem.resolved, solver, dtype), dict[int, Tangents]()

    def with_tangents(problem: Problem, values: Values, i: int, moving: list[Direction]) -> Rhs:
        if 0 not in found:
            found[0] = Tangents(run, [direction.along for direction in moving])
        tangents, still = found[0], np.zeros((len(moving), problem.batch))

        def rhs(t: Array, u: Array) -> Array:
            blocks = u.reshape(len(u), -1, run.packed.F.w).transpose(1, 0, 2)
            k, dk = tangents.at(i, t, blocks[0], still, blocks[1:])
            return np.concatenate([k[None], dk]).transpose(1, 0, 2).reshape(u.shape)

        return rhs

    return sensitivities(problem, solver, with_tangents)


def _ends_of(spans: Sequence[Span]) -> tuple[list[Array], list[Array]]:
    return [span.start for span in spans], [span.end for span in spans]


def _per_sample(a: Array, problem: Problem) -> Array:
    """a () or (b,) as (b,)."""
    return np.broadcast_to(a, (problem.batch,))


def _step_jvp(
    tangents: "Tangents", i: int, step: Step, start: Array, end: Array, dy: Array, tableau: Tableau
) -> Array:
    """dy_{n+1} (K, b, w) of all perturbations: the twin of `refnode.steps.rk_step_jvp`; start, end (K, b) move."""
    s, s_new = step.s, step.s_new
    dt, dt_new, dh = (1 - s) * start + s * end, (1 - s_new) * start + s_new * end, (s_new - s) * (end - start)
    h, dk = np.broadcast_to(step.h, start.shape[1:])[:, None], np.empty((tableau.stages, *dy.shape))

    def moved(weights: Array, count: int) -> Array:
        sums = (np.tensordot(weights[:count], v[:count], axes=1) for v in (step.k, dk))
        return dy + dh[:, :, None] * next(sums) + h * next(sums)

    for j in range(tableau.stages):
        y_j = step.y + h * np.tensordot(tableau.a[j, :j], step.k[:j], axes=1)
        t_j = stage_time(step.t, step.t_new, step.h, tableau.c[j])
        _, dk[j] = tangents.at(i, t_j, y_j, stage_time(dt, dt_new, dh, tableau.c[j]), moved(tableau.a[j], j))
    return moved(tableau.b, tableau.stages)


class Tangents:
    """F and its change along K perturbations of the values, on every segment."""

    def __init__(self, run: Run, alongs: Sequence[Values]) -> None:
        problem, P, dtype = run.problem, run.packed, run.dtype
        F, b, count = P.F.rates, problem.batch, len(alongs)
        self.run, self.pieces, self.count = run, run.pieces, count
        tasks = -(-b // ROWS) * max(1, -(-count // BLOCK))
        self.loop = together() if tasks > 1 else ALONE
        entry, basis = _entries(problem, alongs)
        t0, T = (np.array([_per_sample(end, problem) for end in ends]).reshape(count, b) for ends in (
            [along.t0 for along in alongs], [along.T for along in alongs],
        ))  # fmt: skip
        controls = [control_of(problem.model.control, along.x) for along in alongs if F.controls]
        x = np.array(controls, dtype).reshape(count, b * F.controls)
        p, m, layers = F.net.size, max(1, len(P.V.A)), int(cotangent_size(F.net))
        self.P = Perturbations(
            entry, basis, t0, T, x, *np.zeros((2, tasks, ROWS * P.F.left), dtype),
            np.zeros((tasks, ROWS * layers), dtype), *np.zeros((2, tasks, p), dtype),
            *np.zeros((2, tasks, m)), np.zeros((tasks, 3 * ROWS), dtype),
            np.zeros((tasks, 2 * ROWS * F.w), dtype),
        )  # fmt: skip

    def at(self, i: int, t: Array, y: Array, dt: Array, dy: Array) -> tuple[Array, Array]:
        """F (b, w) and dF (K, b, w) on segment i at t () or (b,), y (b, w), for dt (K, b) and dy (K, b, w)."""
        run, P, piece, b = self.run, self.run.packed, self.pieces[i], self.run.problem.batch
        times = np.array(np.broadcast_to(t, (b,)), np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            y_own, dy_own = (np.array(v, run.dtype).reshape(*v.shape[:-2], -1) for v in (y, dy))
        k, dk = np.empty_like(y_own), np.empty_like(dy_own)
        moves = np.array(np.broadcast_to(dt, (self.count, b)), np.float64)
        ends = np.array([piece.t0, piece.T])
        with launch(self.loop):
            rates_jvp(
                self.loop, P.F.rates, P.V, P.kind, self.P, P.x, b, times, y_own, k, moves, dy_own, dk, ends, piece.cell
            )
        return k.reshape(y.shape).astype(np.float64), dk.reshape(dy.shape).astype(np.float64)


def _entries(problem: Problem, alongs: Sequence[Values]) -> tuple[Array, Array]:
    """For each perturbation the number of theta that it moves, or -1, and its basis function, or -1."""
    depth, alpha = problem.model.depth, np.arange(1, problem.values.alpha.size + 1)
    place, basis = np.full(alpha.size + 1, -1), np.full(alpha.size + 1, -1)
    if type(depth) is Constant:
        place[1:] = alpha - 1
    else:
        numbered = spread(depth, alpha.astype(np.float64), problem.model.field.shapes)
        still, A = (part.astype(np.int64) for part in numbered)
        numbers = np.arange(len(still))
        place[still], basis[still] = numbers, -1
        for j, row in enumerate(A):
            place[row[row > 0]], basis[row[row > 0]] = numbers[row > 0], j
        place[0] = basis[0] = -1
    moved = np.array([np.argmax(along.alpha) + 1 if along.alpha.any() else 0 for along in alongs], np.int64)
    return place[moved], basis[moved]
