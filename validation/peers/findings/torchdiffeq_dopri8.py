"""torchdiffeq: with dopri8 the tolerance is not reached, because the end point is read off a quartic interpolant."""

# z' = cos(t) z, z(0) = 1. The solver steps beyond T and interpolates back with a polynomial of degree 4 through the
# last step. An order 8 method takes long steps, over which that polynomial errs by far more than the tolerance.
# Who is right: z(T) = e^{sin T}. Told to land on T (step_t), the same solver returns it to many more digits.
import math

import torch
from torchdiffeq import odeint

T = 2.5
z0, times = torch.ones(1, dtype=torch.float64), torch.tensor([0.0, T], dtype=torch.float64)
for tol in (1e-5, 1e-7, 1e-9, 1e-11, 1e-13):
    errors = []
    for options in ({}, {"step_t": times[1:]}):
        z = odeint(lambda t, z: torch.cos(t) * z, z0, times, rtol=tol, atol=tol, method="dopri8", options=options)
        errors.append(abs(z[-1].item() / math.exp(math.sin(T)) - 1))
    print(f"tol {tol:.0e}: relative error got {errors[0]:.0e}; landing on T it is {errors[1]:.0e}")
