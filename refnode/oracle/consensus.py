"""The float64 consensus: what methods that share nothing but the problem agree about.

An adjoint and a complex step of one discretisation agree about its error too; only another discretisation can tell.
"""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from refnode.field import MLP
from refnode.gradients.discrete_adjoint import discrete_adjoint
from refnode.gradients.forward_sensitivity import forward_continuous
from refnode.gradients.interpolating_adjoint import interpolating_adjoint
from refnode.gradients.quadrature_adjoint import quadrature_adjoint
from refnode.gradients.result import GradientResult
from refnode.layers import ACTIVATIONS
from refnode.oracle.truth import Truth
from refnode.problem import Problem
from refnode.solver import Solver

EPS = float(np.finfo(np.float64).eps)


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
    off = max(abs(run.loss - middle.loss) for run in runs) + 4 * EPS * float(np.abs(middle.loss_per_sample).sum())
    return Truth(middle.grads, radius, "estimated", how, loss=Decimal(middle.loss), loss_radius=off)


def _smooth(problem: Problem) -> bool:
    """Whether the field has no kinks, as far as is known. Across a kink a discrete gradient errs by the step's size."""
    field = problem.model.field
    return not isinstance(field, MLP) or ACTIVATIONS[field.act].smooth


def _spread(name: str, middle: GradientResult, others: Sequence[GradientResult]) -> float:
    g = middle.grads[name]
    spread = max(float(np.max(np.abs(other.grads[name] - g), initial=0.0)) for other in others)
    return spread + 4 * EPS * float(np.max(middle.magnitude.get(name, np.abs(g)), initial=0.0))
