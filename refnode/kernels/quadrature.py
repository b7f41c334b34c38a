"""The quadrature adjoint on the CPU: panels compiled, their order and their halving by the story."""

from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array, count, positive
from refnode.control import control_vjp
from refnode.gradients.quadrature_adjoint import (
    GAUSS,
    KRONROD,
    NODES,
    Panel,
    by_quadrature,
    integrate,
    largest,
)
from refnode.gradients.result import GradientResult, gradient_result
from refnode.kernels.costate import CostatePass, down, integrals
from refnode.kernels.evaluations import EvaluatedPass
from refnode.kernels.forward import whole_forward
from refnode.kernels.pack import gathered
from refnode.kernels.panels import panel
from refnode.kernels.run import Run, run_of
from refnode.kernels.solve import solve
from refnode.kernels.tape import KEEP_NOTHING, KEEP_STAGES, Butcher, Tape
from refnode.kernels.threads import launch
from refnode.kernels.workspace import WORK
from refnode.problem import Problem
from refnode.segments import like_end
from refnode.solver import Solver


def quadrature_adjoint(
    problem: Problem,
    solver: Solver,
    dtype: Any = np.float64,
    *,
    rtol: float | None = None,
    max_panels: int = 20_000,
) -> GradientResult:
    """Gradient of the loss by Gauss nodes with controlled error: the twin of `refnode.gradients.quadrature_adjoint`.

    Parameters
    ----------
    problem             Problem that packs (see `refnode.kernels.pack.refusal`)
    solver              Solver; own steps are the story's, between compiled evaluations
    dtype               of states, parameters and costates: np.float64 or np.float32; times and integrals are float64
    rtol, max_panels    as in the story

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64, adj_t0 (b, d); estimate of the quadrature's error

    Raises
    ------
    UnreliableGradient                             if the quadrature does not converge
    StepUnderflow, TooManySteps, NonFiniteState    from the solves

    Error    O(tol) for the ODE's gradient, quadrature error controlled, down to what rounding in dtype leaves.
    Cost     memory of both dense outputs, and of a panel's 15 cotangents of theta for every four tiles.
    """
    values = problem.resolved
    count("max_panels", max_panels)
    quad_rtol = positive("rtol", rtol) if rtol is not None else solver.tolerance or 1e-10
    eps = float(np.finfo(dtype).eps)
    if solver.steps == "own":
        forward = whole_forward(problem, solver, dtype, keep_steps=True)
        return by_quadrature(EvaluatedPass(problem, values, forward, solver, dtype), quad_rtol, max_panels, eps)
    run = run_of(problem, values, solver, dtype)
    back = CostatePass(run, solve(run, KEEP_STAGES, for_vjps=False), beside=False)
    panels, errors, held = Panels(back), [], 0

    def sweep(i: int, adj: Array) -> Array:
        nonlocal held
        tape, adj = back.kept_steps_down(i, adj)
        panels.enter(i, tape, int(back.state.whole[0]))
        held += panels.adj.y.nbytes + panels.adj.k.nbytes
        errors.append(integrate(
            panels.of, back, back.spans[i], panels.knots(), quad_rtol, max_panels, eps,
        ))  # fmt: skip
        return adj

    grads, adj_t0 = back.run(sweep)
    estimate = problem.values.like(0.0)
    estimate.alpha[...], estimate.x[...] = np.sum(errors, axis=0)[:2]
    return gradient_result(
        problem, values, back.forward, grads, method="quadrature", solver=solver, nfe_backward=back.statistics.nfe,
        peak_bytes=held + back.solved.tape.y.nbytes + back.solved.tape.k.nbytes, adj_t0=adj_t0, estimate=estimate,
    )  # fmt: skip


class Panels:
    """Kronrod's rule on parts of one segment after the other.

    run     steps the costate, with theta at every node;  tape, room for the nodes' records;  Q, the rule as a tableau
    adj     the costate's dense output on the present segment
    """

    def __init__(self, back: CostatePass) -> None:
        self.back, self.i, self.adj = back, 0, None
        under, nodes, dtype = back.under, len(NODES), back.run_up.dtype
        P, scratch = under.packed, under.scratch
        if P.kind.by_stage:
            m = scratch.psi.shape[1]
            theta = np.zeros((nodes, P.F.rates.net.size), dtype)
            psi, slope = np.zeros((2, nodes, m))
            scratch = replace(scratch, theta=theta, psi=psi, slope=slope, weights=np.zeros((nodes, m), dtype))
            back.S = replace(back.S, transposed=np.zeros((nodes, P.F.rates.net.size), dtype))
        self.run: Run = replace(under, scratch=scratch, place="kept ")
        self.Q, self.I = _rule(P.B, dtype), integrals(back.run_up, nodes)
        nothing = np.zeros((under.tiles, 0, 0), dtype)
        slots = WORK.get("nodes", (under.tiles, nodes, under.slot), dtype)
        self.tape = Tape(nothing, nothing, slots, np.zeros(1, np.int64), *np.zeros((3, 1)), KEEP_NOTHING)

    def enter(self, i: int, tape: Tape, steps: int) -> None:
        """Go on to segment i, down which the costate took these steps."""
        self.i, self.run.packed = i, self.back.under.packed
        self.adj = self.back.dense_output(self.run, tape, down(self.back.pieces[i]), 0, steps)

    def knots(self) -> Array:
        """The fractions of the segment at which a step of state or costate begins or ends."""
        state, adj = self.back.dense[self.i], self.adj
        return np.union1d(
            np.append(0.0, state.s_new[state.first : state.last]), 1 - np.append(0.0, adj.s_new[: adj.last])
        )

    def of(self, lo: float, hi: float) -> Panel:
        """Kronrod's rule on the fractions [lo, hi], and how far Gauss's is from it."""
        P, back, problem, I = self.run.packed, self.back, self.back.problem, self.I
        self.tape.s[0], self.tape.s_new[0] = 1 - hi, 1 - lo
        with launch(self.run.loop):
            panel(
                self.run.loop, P.F, P.V, self.Q, P.kind, self.adj, down(back.pieces[self.i]), self.tape,
                self.run.scratch, P.x, problem.batch, I,
            )  # fmt: skip
        back.statistics.nfe += len(NODES)
        parts = []
        for n, of_theta in enumerate((I.total, I.missed)):
            x = I.x[n].reshape(problem.batch, -1)
            parts.append([
                gathered(problem, of_theta[0], of_theta[1:]),
                control_vjp(problem.model.control, back.values.x, x) if x.size else np.zeros(back.values.x.shape),
                like_end(I.ends[n, 0], back.values.t0), like_end(I.ends[n, 1], back.values.T),
            ])  # fmt: skip
        return Panel(lo, hi, [np.copy(part) for part in parts[0]], np.array([largest(part) for part in parts[1]]))


def _rule(B: Butcher, dtype: Any) -> Butcher:
    """Kronrod's rule as a tableau whose stages do not see each other."""
    n = len(NODES)
    b, c, b_err = (a.astype(dtype) for a in (KRONROD / 2, (1 + NODES) / 2, (KRONROD - GAUSS) / 2))
    return Butcher(np.zeros((n, n), dtype), b, c, b_err, np.zeros(n, dtype), 0, 0, B.order, B.order_err)
