"""torchode's gradients of a refnode problem: backpropagation through its batched solver, and its joint backsolve.

torchode steps every sample by itself, and takes a span per sample. The running loss is one more state; joint backsolve
gives no gradient of times. rtol = atol = tol, dopri5 with an integral controller.
"""

import torchode

from validation.peers.torch_problem import TorchProblem


def _gradient(problem, tol, adjoint_of):
    mine = TorchProblem(problem, own_span=True)
    times = mine.times().expand(problem.batch, -1)
    observed = problem.loss.observations is not None
    initial = torchode.InitialValueProblem(mine.start(), times[:, 0], times[:, -1], times if observed else None)
    solution = adjoint_of(torchode.ODETerm(mine.field), tol).solve(initial)
    require_success(solution.status)
    y = solution.ys.transpose(0, 1)
    return mine.gradients(mine.loss(y if observed else [mine.start(), y[-1]]))


def require_success(status):
    """torchode returns a status where others raise."""
    if bool((status != 0).any()):
        raise RuntimeError(f"torchode's status is {status.tolist()}")


def _parts(term, tol):
    controller = torchode.IntegralController(atol=tol, rtol=tol, term=term)
    return torchode.Dopri5(term=term), controller


def autodiff(problem, tol):
    """AutoDiffAdjoint: backpropagation through the solver, its step size control included."""
    return _gradient(problem, tol, lambda term, tol: torchode.AutoDiffAdjoint(*_parts(term, tol)))


def joint_backsolve(problem, tol):
    """JointBacksolveAdjoint: one backward solve for the whole batch."""
    return _gradient(problem, tol, lambda term, tol: torchode.JointBacksolveAdjoint(term, *_parts(term, tol)))
