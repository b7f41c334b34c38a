"""torchdyn's gradients of a refnode problem: autograd, adjoint and interpolated adjoint, dopri5.

`gather` carries the running loss as one more state; without it, torchdyn's own integral_loss is used, which adds the
integral's gradient in the backward pass of the adjoints (autograd ignores it). The upstream factor of the loss
multiplies everything that the loss is built from, as a user would write it; torchdyn cannot see it in integral_loss.
"its own layers": see torchdyn_layers.py. rtol = atol = tol, forwards and backwards.
"""

import torch
from torchdyn.core import ODEProblem
from torchdyn.numerics.solvers.ode import DormandPrince45

from validation.peers.support import require
from validation.peers.torch_problem import TorchProblem
from validation.peers.torchdyn_layers import at, own_layers


def _gradient(problem, tol, sensitivity, gather=True, solver="dopri5", seminorm=False):
    two = len(problem.leaves().get("t_obs", ())) == 0
    # the interpolated adjoint has no gradient of times, that of the adjoint has two entries, whatever their number
    mine = TorchProblem(problem, gather, own_times=sensitivity == "autograd" or (sensitivity == "adjoint" and two))
    options = {"rtol": tol, "atol": tol, "rtol_adjoint": tol, "atol_adjoint": tol, "seminorm": seminorm}

    def odeint(field, start, times):
        own = None if gather else field.integrand
        ode = ODEProblem(field, sensitivity=sensitivity, solver=solver, integral_loss=own, **options)
        times = times if mine.own_times else times.detach()
        return at(times, *ode.odeint(start, times))

    return mine.gradients(mine.loss(mine.solve(odeint)))


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


def adjoint_seminorm(problem, tol):
    """The adjoint with the flag `seminorm`, which should leave the parameters out of the error norm."""
    return _gradient(problem, tol, "adjoint", seminorm=True)


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


def autograd_own_layers(problem, tol):
    """Backpropagation through a NeuralODE of torchdyn's own layers."""
    return own_layers(problem, tol, "autograd")


def adjoint_own_layers(problem, tol):
    """The adjoint of a NeuralODE of torchdyn's own layers."""
    return own_layers(problem, tol, "adjoint")
