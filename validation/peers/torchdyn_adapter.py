"""torchdyn's gradients of a refnode problem: autograd, adjoint and interpolated adjoint, dopri5.

`gather` carries the running loss as one more state; without it, torchdyn's own integral_loss is used, which adds the
integral's gradient in the backward pass of the adjoints (autograd ignores it). The upstream factor of the loss
multiplies everything that the loss is built from, as a user would write it; torchdyn cannot see it in integral_loss.
rtol = atol = tol, forwards and backwards.
"""

import torch
from torchdyn.core import ODEProblem
from torchdyn.numerics.solvers.ode import DormandPrince45

from validation.peers.support import require
from validation.peers.torch_problem import TorchProblem


def _gradient(problem, tol, sensitivity, gather=True, solver="dopri5"):
    mine = TorchProblem(problem, gather)
    tolerances = {"rtol": tol, "atol": tol, "rtol_adjoint": tol, "atol_adjoint": tol}

    def integral_loss(t, z):
        return mine.field.running(t, z, mine.field.rate(t, z))

    own = None if gather else integral_loss
    ode = ODEProblem(mine.field, sensitivity=sensitivity, solver=solver, integral_loss=own, **tolerances)
    times = mine.times()
    if sensitivity == "adjoint" and len(times) > 2:  # its gradient of times has two entries, whatever their number
        times = times.detach()
    steps, y = ode.odeint(mine.start(), times)
    return mine.gradients(mine.loss(at(times, steps, y)))


def at(times, steps, y):
    """The states at `times`. The interpolated adjoint returns every step, and times of a reversed span are negated."""
    steps = steps if steps[0] == times[0] else -steps
    return y[[int(torch.argmin((steps - t).abs())) for t in times]]


def float64_solver():
    """dopri5 in float64. By name, its tableau is float32; even so its controller is, and with it every step's dt."""
    solver = DormandPrince45(dtype=torch.float64)
    solver.safety, solver.min_factor, solver.max_factor = (
        factor.double() for factor in (solver.safety, solver.min_factor, solver.max_factor)
    )
    return solver


def autograd(problem, tol):
    """Backpropagation through the solver; the running loss is one more state."""
    return _gradient(problem, tol, "autograd")


def autograd_float64(problem, tol):
    """The same with a solver repaired to float64 throughout."""
    return _gradient(problem, tol, "autograd", solver=float64_solver())


def adjoint(problem, tol):
    """The adjoint; the running loss is one more state."""
    return _gradient(problem, tol, "adjoint")


def adjoint_integral_loss(problem, tol):
    """The adjoint with torchdyn's integral_loss."""
    require(bool(problem.loss.running), "there is no running loss, so no integral_loss")
    return _gradient(problem, tol, "adjoint", gather=False)


def interpolated(problem, tol):
    """The interpolated adjoint; the running loss is one more state."""
    return _gradient(problem, tol, "interpolated_adjoint")


def interpolated_integral_loss(problem, tol):
    """The interpolated adjoint with torchdyn's integral_loss."""
    require(bool(problem.loss.running), "there is no running loss, so no integral_loss")
    return _gradient(problem, tol, "interpolated_adjoint", gather=False)
