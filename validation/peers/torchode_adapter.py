"""torchode's gradients of a refnode problem: backpropagation through its batched solver, and its joint backsolve.

torchode steps every sample by itself, and takes a span per sample. The running loss is one more state; joint backsolve
gives no gradient of times. rtol = atol = tol, dopri5 with an integral controller.
"""

import torchode

from validation.peers.torch_problem import TorchProblem


def _gradient(problem, tol, adjoint_of):
    mine = TorchProblem(problem, own_span=True, own_times=adjoint_of is _autodiff)

    def odeint(field, start, times):
        times = times.expand(problem.batch, -1)
        between = times if times.shape[1] > 2 else None
        initial = torchode.InitialValueProblem(start, times[:, 0], times[:, -1], between)
        solution = adjoint_of(torchode.ODETerm(field), tol).solve(initial)
        require_success(solution.status)
        return solution.ys.transpose(0, 1) if between is not None else [start, solution.ys[:, -1]]

    return mine.gradients(mine.loss(mine.solve(odeint)))


def require_success(status):
    """torchode returns a status where others raise."""
    if bool((status != 0).any()):
        raise RuntimeError(f"torchode's status is {status.tolist()}")


def _parts(term, tol):
    controller = torchode.IntegralController(atol=tol, rtol=tol, term=term)
    return torchode.Dopri5(term=term), controller


def _autodiff(term, tol):
    return torchode.AutoDiffAdjoint(*_parts(term, tol))


def _joint_backsolve(term, tol):
    return torchode.JointBacksolveAdjoint(term, *_parts(term, tol))


def autodiff(problem, tol):
    """AutoDiffAdjoint: backpropagation through the solver, its step size control included."""
    return _gradient(problem, tol, _autodiff)


def joint_backsolve(problem, tol):
    """JointBacksolveAdjoint: one backward solve for the whole batch."""
    return _gradient(problem, tol, _joint_backsolve)
