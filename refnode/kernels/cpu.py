"""The discrete adjoint of a whole problem on the CPU: maps, point losses and bounds by the story, steps compiled."""

from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.control import control_vjp
from refnode.forward import Grid, point_terms
from refnode.gradients.discrete_adjoint import Store, binomial, snapshots_in
from refnode.gradients.result import GradientResult, gradient_result
from refnode.kernels.adjoint import Cotangents
from refnode.kernels.advance import advance
from refnode.kernels.mlp import cotangent_size
from refnode.kernels.pack import gathered
from refnode.kernels.run import Run, from_tiles, pieces, run_of, to_tiles
from refnode.kernels.solve import Solved, solve
from refnode.kernels.sweep import sweep
from refnode.kernels.tape import (
    KEEP_NOTHING,
    KEEP_STAGES,
    KEEP_STATES,
    NOWHERE,
    TILE,
    State,
    Tape,
)
from refnode.kernels.workspace import launch
from refnode.objective import point_loss_vjp
from refnode.problem import Problem
from refnode.segments import bounds, bounds_vjp, like_end
from refnode.solver import Solver
from refnode.values import Values, resolved_vjp

KEEP: dict[Store, int] = {"stages": KEEP_STAGES, "states": KEEP_STATES, "binomial": KEEP_NOTHING}
ROWS_AT_ONCE = 64  # rows whose weight gradients make one product, where a step has fewer


def discrete_adjoint(
    problem: Problem,
    solver: Solver,
    dtype: Any = np.float64,
    grid: Grid | None = None,
    *,
    store: Store = "stages",
    memory_bytes: int | None = None,
) -> GradientResult:
    """Gradient of the computed solution: the twin of `refnode.gradients.discrete_adjoint`.

    Parameters
    ----------
    problem         Problem that packs (see `refnode.kernels.pack.refusal`)
    solver          Solver with shared steps
    dtype           of states, parameters and cotangents: np.float64 or np.float32; times are float64
    grid            accepted steps to replay, or None
    store           "stages": all stages of all steps; "states": y_n only, stages are run again; "binomial": as many
                    y_n as fit into memory_bytes
    memory_bytes    limit for "binomial"

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64, adj_t0 (b, d)

    Raises
    ------
    StepUnderflow, TooManySteps, NonFiniteState    from the forward solve
    InvalidArgument                                if memory_bytes holds less than two states

    Error    exact, to round-off, for the computed solution with its accepted steps frozen.
    Cost     memory N s b (widths + d) on a workspace that the thread keeps, N b d for "states".
    """
    values = problem.resolved
    run = run_of(problem, values, solver, dtype)
    solved = solve(run, KEEP[store], grid)
    back = Backward(run, solved)
    if store == "binomial":
        grads, adj_t0, held = back.from_snapshots(memory_bytes)
    else:
        grads, adj_t0, held = back.from_tape()
    return gradient_result(
        problem, values, solved.forward, grads, method="discrete", solver=solver,
        nfe_backward=back.evaluations, peak_bytes=held, adj_t0=adj_t0,
    )  # fmt: skip


class Backward:
    """The cotangent of y on its way from T to t0, and the gradients it gathers."""

    def __init__(self, run: Run, solved: Solved) -> None:
        self.run, self.solved = run, solved
        self.problem, self.values, self.packed = run.problem, run.values, run.packed
        self.C = cotangents(run, len(solved.tape.y[0]) if solved.tape.keep == KEEP_STAGES else 1)
        self.g_still, self.g_A = np.zeros(run.packed.F.size), np.zeros(run.packed.V.A.shape)
        self.times, self.terms = bounds(run.problem, run.values), point_terms(run.problem)
        self.pieces = pieces(run.problem, run.values)
        self.g_bounds = [np.zeros(run.problem.batch) for _ in self.times]
        self.g_w_y, self.g_t0, self.g_T = np.zeros(run.values.w_y.shape), *np.zeros((2, run.problem.batch))
        self.g = np.zeros((run.problem.batch, run.packed.F.w))
        self.g[:, run.packed.F.d :] = run.problem.loss.scale
        self.evaluations = 0

    def from_tape(self) -> tuple[Values, Array, int]:
        """Gradients with respect to the raw values, a(t0) (b, d), and the bytes of tape they took."""
        tape, starts = self.solved.tape, self.solved.first_steps
        for i in reversed(range(len(self.pieces))):
            self._jump(i + 1)
            self._steps(i, tape, starts[i], starts[i + 1])
        count = tape.base[starts[-1]] + self.packed.B.c.size if tape.keep == KEEP_STAGES else 0
        held = tape.y[:, : starts[-1] + 1].nbytes + tape.k[:, :count].nbytes + tape.slots[:, :count].nbytes
        return (*self._finish(), held)

    def from_snapshots(self, memory_bytes: int | None) -> tuple[Values, Array, int]:
        """The same from states that fit into memory_bytes, with the steps between them run again."""
        tape, starts = self.solved.tape, self.solved.first_steps
        y0 = np.empty_like(tape.y[:, 0])
        to_tiles(np.concatenate([self.solved.forward.at_bounds[0]]), y0)
        count = snapshots_in(memory_bytes, y0.nbytes)
        segment_of = np.repeat(np.arange(len(self.pieces)), np.diff(starts))

        def forward(lo: int, hi: int, y: Array) -> Array:
            while lo < hi:
                i = int(segment_of[lo])
                end = min(hi, starts[i + 1])
                y = self._advance(i, lo, end, y)
                lo = end
            return y

        def back(n: int, y: Array) -> None:
            i = int(segment_of[n])
            if n + 1 == starts[i + 1]:
                self._jump(i + 1)
            tape.y[:, 0] = y
            one = tape._replace(base=tape.base[:1], s=tape.s[n : n + 1], s_new=tape.s_new[n : n + 1], keep=KEEP_STATES)
            self._steps(i, one, 0, 1)

        binomial(starts[-1], y0, count, forward, back)
        return (*self._finish(), min(count, starts[-1]) * y0.nbytes)

    def _advance(self, i: int, lo: int, hi: int, y: Array) -> Array:
        """y_hi from y_lo, both (tiles, TILE w), along steps of segment i that were taken before."""
        run, P, tape, first = self.run, self.packed, self.solved.tape, self.solved.first_steps[i]
        tape.y[:, 0] = y
        state = State(np.array([tape.s[lo], 0.0, 1.0]), np.array([lo, 1, 0, 0, 0, 0, NOWHERE, lo - first]))
        upto = tape._replace(base=tape.base[: hi + 1], s=tape.s[: hi + 1], s_new=tape.s_new[: hi + 1])
        fractions = self.solved.forward.grid.fractions[i]
        control = P.control._replace(adaptive=0)
        run.enter(self.pieces[i])
        with launch(run.by):
            advance(
                run.by, P.F, P.V, P.B, P.kind, control, self.pieces[i], upto, run.scratch, state, P.x,
                self.problem.batch, fractions,
            )  # fmt: skip
        self.evaluations += (hi - lo) * P.B.c.size
        return np.copy(tape.y[:, 0])

    def _jump(self, i: int) -> None:
        """At bound i the cotangent jumps by dL_i/dz."""
        term, problem, d = self.terms[i], self.problem, self.packed.F.d
        if term is None:
            return
        z = self.solved.forward.at_bounds[i][:, :d]
        g_w, g_t, g_z = point_loss_vjp(
            term, problem.model.h_y, self.values.w_y, self.times[i], z, problem.loss.scale
        )
        self.g_w_y, self.g_bounds[i] = self.g_w_y + g_w, self.g_bounds[i] + g_t
        self.g[:, :d] += g_z

    def _steps(self, i: int, tape: Tape, first: int, last: int) -> None:
        """The cotangent over steps last - 1 .. first of segment i, as this tape counts them."""
        run, C, P = self.run, self.C, self.packed
        to_tiles(self.g, C.g)
        for part in (C.start, C.end, C.t0, C.T):
            part[:] = 0.0
        of_theta = np.zeros(4)
        run.enter(self.pieces[i])
        with launch(run.by):
            sweep(
                run.by, P.F, P.V, P.B, P.kind, self.pieces[i], tape, run.scratch, C, self.g_still, self.g_A, of_theta,
                P.x, self.problem.batch, first, last,
            )  # fmt: skip
        self.evaluations += (last - first) * (P.B.c.size - P.B.fsal)  # the FSAL stage has no vjp
        if tape.keep != KEEP_STAGES:
            self.evaluations += (last - first) * P.B.c.size
        self.g = from_tiles(C.g, self.problem.batch)
        self.hand(i, of_theta)

    def hand(self, i: int, of_theta: Array) -> None:
        """Hand what segment i gives to its ends, and to those that theta(t) follows, to the bounds."""
        C, batch = self.C, self.problem.batch
        start, end = (np.where(self.problem.layout.waiting[i], 0.0, g_t) for g_t in (C.start, C.end))
        self.g_bounds[i] = self.g_bounds[i] + start + of_theta[0] / batch
        self.g_bounds[i + 1] = self.g_bounds[i + 1] + end + of_theta[1] / batch
        self.g_t0, self.g_T = self.g_t0 + C.t0 + of_theta[2] / batch, self.g_T + C.T + of_theta[3] / batch

    def _finish(self) -> tuple[Values, Array]:
        """What was gathered, put in its places; and a(t0) (b, d)."""
        problem, values, adj_t0 = self.problem, self.values, self.g[:, : self.packed.F.d]
        g_w_x, g_x = problem.model.initial_state_vjp(values.w_x, values.x, adj_t0)
        if self.C.x.size:
            of_control = self.C.x.reshape(problem.batch, -1).astype(np.float64)
            g_x = g_x + control_vjp(problem.model.control, values.x, of_control)
        grads = bounds_vjp(problem, values, self.g_bounds)
        t0, T = grads.t0 + like_end(self.g_t0, values.t0), grads.T + like_end(self.g_T, values.T)
        alpha = gathered(problem, self.g_still, self.g_A)
        grads = replace(grads, alpha=alpha, w_x=g_w_x, w_y=self.g_w_y, x=g_x, t0=t0, T=T)
        return resolved_vjp(values, grads, problem), adj_t0


def cotangents(run: Run, steps: int) -> Cotangents:
    """Room for a sweep over a tape of so many steps."""
    P, tiles, dtype, batch, rows = run.packed, run.tiles, run.dtype, run.problem.batch, run.rows
    F, stages, width = P.F, P.B.c.size, TILE * P.F.w
    blocks, thetas, m, own = stages, len(run.scratch.theta), len(P.V.A), P.kind.by_row
    if not (P.kind.by_stage or P.kind.by_row):
        blocks *= max(1, min(steps, ROWS_AT_ONCE // (rows * stages)))
    of_depth = (tiles, F.size) if own else (0, F.size)
    return Cotangents(
        np.zeros((tiles, width), dtype), np.zeros((tiles, stages, width), dtype), np.zeros((tiles, width), dtype),
        np.zeros((tiles, 6, TILE)), np.zeros(batch * F.controls, dtype), *np.zeros((4, batch)),
        np.zeros((tiles, thetas, F.size), dtype), np.zeros(of_depth), np.zeros((of_depth[0], m, F.size)),
        np.zeros((tiles, blocks, rows * int(cotangent_size(F))), dtype), np.zeros((tiles, blocks, TILE), dtype),
        np.zeros((tiles, TILE * (F.d + int(F.widths[0]))), dtype),
        np.zeros((tiles if own else thetas, F.size), dtype),
    )  # fmt: skip
