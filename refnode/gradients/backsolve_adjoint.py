"""The backsolve adjoint: state and costate together, backwards from T."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from refnode.arrays import Array, flag, positive
from refnode.errors import NumericalError, UnreliableGradient
from refnode.forward import solve_forward
from refnode.gradients.continuous import TINY, BackwardPass
from refnode.gradients.result import GradientResult, gradient_result
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.steps import stages_of_step


def backsolve_adjoint(
    problem: Problem, solver: Solver, *, check: bool = True, limit: float | None = None
) -> GradientResult:
    """Gradient of the loss by solving state and costate backwards together.

        [z, a]' = [f, -(df/dz)^T (a + g dl/df) - g dl/dz],   a(T) = dL/dz(T)                                    (3)
        dloss/dalpha_j = int psi_j [(df/dtheta)^T (a + g dl/df) + g dl/dtheta] dt                               (6)

    Parameters
    ----------
    problem    Problem, x (b, n)
    solver     Solver, used forwards and backwards; parameter integrals stay outside the error norm
    check      compare the returned z with the forward solve's at t0 and at every observation, and hold the parameter
               integrals' estimated error to 100 rtol
    limit      how far z may be off, relative to atol / rtol + |z|; None: 100 rtol. For fixed steps relative to the
               largest |z|; None: 1e-3

    Returns
    -------
    GradientResult    loss (), grads of every leaf, adj_t0 (b, d)

    Raises
    ------
    UnreliableGradient    if z does not come back within the limit, the parameter integrals are too coarse, or the
                          backward solve fails

    Error    O(tol) for the ODE's gradient; not the gradient of the computed solution (see discrete_adjoint).
    Cost     memory independent of the steps; about three field evaluations a backward stage.
    Not recommended for contracting fields: the state's backward solve grows like exp(|lambda| (T - t0)).
    Source   Massaroli et al. 2020, Prop. 1; Chen et al. 2018; on its failure Gholami et al. 2019 (arXiv 1902.10298).
    """
    values = problem.resolved
    flag("check", check)
    allowed = allowed_miss(solver, limit)
    forward = solve_forward(problem, values, solver)
    return by_backsolve(BackwardPass(problem, values, forward, solver), check, allowed)


def by_backsolve(back: BackwardPass, check: bool, allowed: float) -> GradientResult:
    """The gradient by a backward pass that solves the state again, by steps of the two together."""
    solver, d = back.solver, back.d
    atol = np.concatenate([np.full(d, solver.atol or 0.0), np.full(d, back.costate_atol())])

    def down(i: int, u: Array) -> Array:
        def rhs(t: Array, u: Array) -> Array:
            z, adj = u[:, :d], u[:, d:]
            return np.concatenate([back.rate(i, t, z), back.costate_rate(i, t, z, adj)], axis=1)

        for step in back.steps(i, rhs, u, atol):
            stages = stages_of_step(step.h, step.y, step.k, solver.tableau)
            back.gather(i, step, [stage[:, :d] for stage in stages], [stage[:, d:] for stage in stages])
            u = step.y_new
        return u

    held = 2 * sum(y.nbytes for y in back.forward.at_bounds)
    return with_state(back, down, check, allowed, lambda: held)


def with_state(
    back: BackwardPass, down: Callable[[int, Array], Array], check: bool, allowed: float, held: Callable[[], int]
) -> GradientResult:
    """The gradient, where down(i, u) takes u = [z, a] (b, 2 d) from the end of segment i to its start."""
    problem, values, forward, solver, d = back.problem, back.values, back.forward, back.solver, back.d

    def sweep(i: int, adj: Array) -> Array:
        u = down(i, np.concatenate([forward.at_bounds[i + 1][:, :d], adj], axis=1))
        if check:
            check_return(u[:, :d], forward.at_bounds[i][:, :d], back.times[i], solver, allowed)
        return u[:, d:]

    with unreliable_if_it_fails():
        grads, adj_t0 = back.run(sweep)
    if check:
        back.check_integrals()
    return gradient_result(
        problem, values, forward, grads, method="backsolve", solver=solver, nfe_backward=back.statistics.nfe,
        peak_bytes=held(), adj_t0=adj_t0,
    )  # fmt: skip


def allowed_miss(solver: Solver, limit: float | None) -> float:
    """How far z may be off: as given, or 100 rtol, or 1e-3 for fixed steps."""
    if limit is not None:
        return positive("limit", limit)
    return 1e-3 if solver.rtol is None else 100 * solver.rtol


def check_return(z: Array, z_true: Array, t: Array, solver: Solver, allowed: float) -> None:
    """Raise UnreliableGradient for samples whose z came back further off than allowed."""
    size = np.abs(z_true) + solver.atol / solver.rtol if solver.atol and solver.rtol else np.max(np.abs(z_true))
    off = np.max(np.abs(z - z_true) / np.maximum(size, TINY), axis=1)
    bad = ~(off <= allowed)
    if np.any(bad):
        missed = f"z solved backwards missed the forward solve's z by {np.max(off):.1e}"
        message = f"{missed} of its size, more than the limit {allowed:.1e}"
        samples = np.flatnonzero(bad).tolist()
        raise UnreliableGradient(message, float(np.ravel(t)[0]), None, samples)


@contextmanager
def unreliable_if_it_fails() -> Iterator[None]:
    """Raise UnreliableGradient where a solve of state and costate backwards raises another error."""
    try:
        yield
    except UnreliableGradient:
        raise
    except NumericalError as error:
        message = f"the backward solve of state and costate failed: {error.args[0]}"
        raise UnreliableGradient(message, error.t, error.h, error.samples) from error
