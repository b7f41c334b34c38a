"""torchdiffeq's gradients of a refnode problem: its adjoint, with and without the seminorm, and backpropagation.

The running loss is one more state, since torchdiffeq has no integral loss. rtol = atol = tol, forwards and backwards.
"""

import torchdiffeq

from validation.peers.torch_problem import TorchProblem


def gradient_and_nfe(problem, tol, solve=torchdiffeq.odeint, method="dopri5", **options):
    """Gradients by refnode's leaf names, and evaluations of the field, forwards and backwards."""
    mine = TorchProblem(problem)
    y = mine.solve(lambda *given: solve(*given, rtol=tol, atol=tol, method=method, **options))
    return mine.gradients(mine.loss(y)), mine.nfe


def adjoint(problem, tol):
    """odeint_adjoint with dopri5."""
    return gradient_and_nfe(problem, tol, torchdiffeq.odeint_adjoint)[0]


def adjoint_seminorm(problem, tol):
    """odeint_adjoint with dopri5; parameters' adjoints are left out of the error norm (Kidger et al. 2021)."""
    return gradient_and_nfe(problem, tol, torchdiffeq.odeint_adjoint, adjoint_options={"norm": "seminorm"})[0]


def adjoint_dopri8(problem, tol):
    """odeint_adjoint with dopri8."""
    return gradient_and_nfe(problem, tol, torchdiffeq.odeint_adjoint, method="dopri8")[0]


def backprop(problem, tol):
    """Backpropagation through odeint with dopri5."""
    return gradient_and_nfe(problem, tol)[0]


def backprop_dopri8(problem, tol):
    """Backpropagation through odeint with dopri8."""
    return gradient_and_nfe(problem, tol, method="dopri8")[0]
