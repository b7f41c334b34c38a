"""The complex step: derivatives of the computed solution without subtraction."""

import numpy as np

from refnode.errors import UnreliableGradient
from refnode.forward import Forward, loss_per_sample, replay, solve_forward
from refnode.gradients.finite_difference import leaf_sizes
from refnode.gradients.result import GradientResult, gradient_result, zero_grads
from refnode.model import Problem
from refnode.solver import Solver
from refnode.values import Values, directions

STEP = 2.0**-100  # its square is far below the last digit of anything, and dividing by it is exact


def complex_step(problem: Problem, solver: Solver) -> GradientResult:
    """Gradient of the computed solution, one imaginary perturbation at a time.

        dloss/dv = Im loss(v + i h) / h,   h = 2^-100

    Parameters
    ----------
    problem    Problem, x (b, n); user fields and losses must be complex-safe
    solver     Solver

    Returns
    -------
    GradientResult    loss (), grads of every leaf

    Raises
    ------
    UnreliableGradient    if your own functions are not complex-safe: the gradient contradicts a plain difference

    Error    exact, to round-off, for the computed solution on its accepted grid, which is replayed (O(h^2) = 1e-60).
    Cost     one complex solve for each number of every leaf, about four real ones; samples share a solve for x.
    Not recommended for more than a few hundred parameters: this is the witness, not the engine.
    Source   Squire and Trapp 1998, SIAM Review 40; Martins, Sturdza and Alonso 2003, ACM TOMS 29.
    """
    values = problem.values
    forward = solve_forward(problem, values, solver)
    grads, nfe = zero_grads(values), 0
    for direction in directions(values):
        moved = values.shifted(1j * STEP, direction.along)
        at_bounds = replay(problem, moved, forward.grid, solver.tableau)
        direction.put(grads, np.imag(loss_per_sample(problem, moved, at_bounds)) / STEP)
        nfe += forward.statistics.nfe
    if has_user_code(problem):
        _check_against_difference(problem, values, forward, grads, solver)
        nfe += 2 * forward.statistics.nfe
    return gradient_result(problem, values, forward, grads, method="complex_step", solver=solver, nfe_backward=nfe)


def has_user_code(problem: Problem) -> bool:
    """Whether field, maps or losses are anything but refnode's own."""
    model, loss = problem.model, problem.loss
    observed = loss.observations.terms if loss.observations else ()
    parts = [model.field, model.h_x, model.h_y, loss.terminal, *observed, *loss.running]
    parts += [term.beta for term in loss.running if hasattr(term, "beta")]
    kinds = [type(part) for part in parts if part is not None]
    return any(not kind.__module__.startswith("refnode.") or kind.__name__.startswith("User") for kind in kinds)


def _check_against_difference(
    problem: Problem, values: Values, forward: Forward, grads: Values, solver: Solver
) -> None:
    """Raise if one central difference along a fixed random direction is not what the gradient says.

    A function that drops imaginary parts (abs, a cast, a comparison) makes a gradient that is wrong by its whole size;
    the difference is good to 1e-3 of the sum of absolute contributions, besides round-off in the loss.
    """
    rng = np.random.default_rng(0)
    sizes = leaf_sizes(problem, values)
    along = Values(*(size * rng.choice([-1.0, 1.0], size.shape) for _, size in sizes.items()))
    h = 1e-5
    up, down = (values.shifted(step, along) for step in (h, -h))
    losses = [loss_per_sample(problem, v, replay(problem, v, forward.grid, solver.tableau)).sum() for v in (up, down)]
    contributions = [g * d for (_, g), (_, d) in zip(grads.items(), along.items(), strict=True)]
    said = h * sum(float(np.sum(c)) for c in contributions)
    room = 1e-3 * h * sum(float(np.sum(np.abs(c))) for c in contributions) + 1e-12 * float(np.max(np.abs(losses)))
    seen = float(losses[0] - losses[1]) / 2
    if abs(said - seen) > room:
        message = f"complex step says the loss changes by {said:.3e} along a direction, a difference says {seen:.3e}"
        raise UnreliableGradient(f"{message}: your field or loss is not complex-safe (abs, a cast, a comparison?)")
