"""The ladder of truth: the best gradient of a problem that is to be had, with its radius and its kind.

1. closed form      rounded once; radius half a unit in the last place
2. consensus        float64: two tolerances, two tableaux and the quadrature adjoint; their spread is the estimate

An adjoint and a complex step of one discretisation agree about its error too; only another discretisation can tell.
"""

from collections.abc import Sequence

import numpy as np

from refnode.arrays import Array
from refnode.errors import InvalidArgument, NotEnoughDigits
from refnode.field import MLP
from refnode.gradients.discrete_adjoint import discrete_adjoint
from refnode.gradients.forward_sensitivity import forward_continuous
from refnode.gradients.interpolating_adjoint import interpolating_adjoint
from refnode.gradients.quadrature_adjoint import quadrature_adjoint
from refnode.gradients.result import GradientResult
from refnode.layers import ACTIVATIONS
from refnode.oracle.closed_forms import closed_form
from refnode.oracle.truth import Truth
from refnode.problem import Problem
from refnode.solver import Solver


def reference(problem: Problem, digits: float | None = None) -> Truth:
    """The best truth about a problem's gradient.

    Parameters
    ----------
    problem    Problem
    digits     digits that every leaf must have, or NotEnoughDigits is raised; None: take what there is

    Returns
    -------
    Truth    grads, radius, kind

    Raises
    ------
    NotEnoughDigits    naming the leaf, what it has and by which rung of the ladder
    NumericalError     if the problem cannot be solved

    Cost     a closed form: milliseconds; a consensus: four gradients at tolerances 1e-12 and 1e-13.
    """
    if digits is not None and (isinstance(digits, bool) or not isinstance(digits, int | float) or not digits > 0):
        raise InvalidArgument("digits", digits, "a number > 0, or None")
    exact = closed_form(problem)
    truth = consensus(problem) if exact is None else _rounded(exact)
    have = truth.digits()
    worst = min(have, key=lambda name: have[name])
    if digits is not None and have[worst] < digits:
        message = f"{digits} digits were asked for; {worst} has {have[worst]:.1f} by {truth.kind} ({truth.how})"
        raise NotEnoughDigits(message)
    return truth


def _rounded(grads: dict[str, Array]) -> Truth:
    radius = {name: np.spacing(np.abs(g)) / 2 for name, g in grads.items()}
    return Truth(grads, radius, "closed form", "decimal arithmetic, rounded once to float64")


def consensus(problem: Problem) -> Truth:
    """The float64 consensus: the tightest gradient, and how far three others are from it.

    The radius of a leaf is the largest difference in any of its entries, plus the round-off that its contributions
    can carry. Fields with kinks (ReLU) are left to continuous methods, whose error the tolerance controls.
    """
    dop853, looser, tsit5 = Solver("dop853", tol=1e-13), Solver("dop853", tol=1e-12), Solver("tsit5", tol=1e-12)
    if _smooth(problem):
        middle = discrete_adjoint(problem, dop853)
        runs = [discrete_adjoint(problem, solver) for solver in (looser, tsit5)]
        runs.append(quadrature_adjoint(problem, looser))
        how = "spread of the discrete adjoint (dop853 at 1e-13 and 1e-12, tsit5 at 1e-12) and the quadrature adjoint"
    else:
        middle = interpolating_adjoint(problem, dop853)
        runs = [interpolating_adjoint(problem, solver) for solver in (looser, tsit5)]
        runs.append(forward_continuous(problem, looser))
        how = "spread of the interpolating adjoint (dop853 at 1e-13 and 1e-12, tsit5 at 1e-12) and forward sensitivity"
    radius = {name: np.full(np.shape(g), _spread(name, middle, runs)) for name, g in middle.grads.items()}
    return Truth(middle.grads, radius, "estimated", how)


def _smooth(problem: Problem) -> bool:
    """Whether the field has no kinks, as far as is known. Across a kink a discrete gradient errs by the step's size."""
    field = problem.model.field
    return not isinstance(field, MLP) or ACTIVATIONS[field.act].smooth


def _spread(name: str, middle: GradientResult, others: Sequence[GradientResult]) -> float:
    g = middle.grads[name]
    spread = max(float(np.max(np.abs(other.grads[name] - g), initial=0.0)) for other in others)
    return spread + 4 * np.finfo(np.float64).eps * float(np.max(middle.magnitude.get(name, np.abs(g)), initial=0.0))
