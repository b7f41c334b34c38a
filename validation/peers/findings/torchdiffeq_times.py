"""torchdiffeq: backpropagation's gradients of t0 and T are two digits short of those of everything else."""

# z' = cos(t) z, z(0) = 1, loss = z(T), dopri5. odeint reads z(T) off a quartic interpolant; dloss/dT is the slope of
# that polynomial, worse than its value, and dloss/dt0 is what the step sizes pass on.
# Who is right: z(T) = e^{sin T - sin t0}, so dloss/dT = cos T e^{sin T} and dloss/dt0 = -e^{sin T}. Told to land on T
# (step_t), the same solver's slope is f itself; odeint_adjoint, which uses f, is right too.
import math

import torch
from torchdiffeq import odeint

T, z_T = 2.5, math.exp(math.sin(2.5))
for tol in (1e-5, 1e-7, 1e-9, 1e-11):
    said = []
    for options in ({}, {"step_t": torch.tensor([T], dtype=torch.float64)}):
        times = torch.tensor([0.0, T], dtype=torch.float64, requires_grad=True)
        z = odeint(lambda t, z: torch.cos(t) * z, torch.ones(1).double(), times, rtol=tol, atol=tol, options=options)
        z[-1].sum().backward()
        dt0, dT = times.grad.tolist()
        errors = abs(dt0 / -z_T - 1), abs(dT / (math.cos(T) * z_T) - 1), abs(z[-1].item() / z_T - 1)
        said.append("of t0 {:.0e}, of T {:.0e}, of z {:.0e}".format(*errors))
    print(f"tol {tol:.0e}: relative error got: {said[0]}; landing on T: {said[1]}")
