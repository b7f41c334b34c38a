"""The interpolating adjoint: the costate backwards, over the dense output of the forward solve."""

import numpy as np

from refnode.arrays import Array, flag
from refnode.forward import solve_forward
from refnode.gradients.continuous import BackwardPass
from refnode.gradients.result import GradientResult, gradient_result
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.steps import stage_time, stages_of_step


def interpolating_adjoint(problem: Problem, solver: Solver, *, check: bool = True) -> GradientResult:
    """Gradient of the loss by solving the costate backwards, with z(t) read off the forward solve.

        a' = -(df/dz)^T (a + g dl/df) - g dl/dz,   a(T) = dL/dz(T)                                              (3)
        dloss/dalpha_j = int psi_j [(df/dtheta)^T (a + g dl/df) + g dl/dtheta] dt                               (6)

    Parameters
    ----------
    problem    Problem, x (b, n)
    solver     Solver, used forwards and backwards; parameter integrals stay outside the error norm
    check      hold the parameter integrals' estimated error to 100 rtol

    Returns
    -------
    GradientResult    loss (), grads of every leaf, adj_t0 (b, d)

    Raises
    ------
    UnreliableGradient                             if the parameter integrals are too coarse
    StepUnderflow, TooManySteps, NonFiniteState    from the solves

    Error    O(tol) for the ODE's gradient, as long as the tableau's interpolant is as accurate as its steps.
    Cost     memory N s b d of the forward stages; about two field evaluations a backward stage. Stable where backsolve
             is not: nothing that contracts is solved backwards but the costate, which then decays.
    Source   Massaroli et al. 2020, Prop. 1; Serban and Hindmarsh 2005 (CVODES).
    """
    flag("check", check)
    values = problem.resolved
    forward = solve_forward(problem, values, solver, keep="steps")
    return by_interpolation(BackwardPass(problem, values, forward, solver), check)


def by_interpolation(back: BackwardPass, check: bool) -> GradientResult:
    """The gradient by a backward pass over the dense output of a forward solve that kept its steps."""
    problem, values, forward, solver = back.problem, back.values, back.forward, back.solver
    atol, held = np.asarray(back.costate_atol()), 0

    def sweep(i: int, adj: Array) -> Array:
        nonlocal held
        y_at = back.dense_state(i)
        held += y_at.bytes

        def z_at(t: Array) -> Array:
            return y_at(t)[:, : back.d]

        def rhs(t: Array, adj: Array) -> Array:
            return back.costate_rate(i, t, z_at(t), adj)

        for step in back.steps(i, rhs, adj, atol):
            t = [stage_time(step.t, step.t_new, step.h, c) for c in solver.tableau.c]
            back.gather(i, step, [z_at(t_i) for t_i in t], stages_of_step(step.h, step.y, step.k, solver.tableau))
            adj = step.y_new
        return adj

    grads, adj_t0 = back.run(sweep)
    if check:
        back.check_integrals()
    return gradient_result(
        problem, values, forward, grads, method="interpolating", solver=solver,
        nfe_backward=back.statistics.nfe, peak_bytes=held, adj_t0=adj_t0,
    )  # fmt: skip
