"""torchdyn: float64 problems are solved with float32 coefficients: no tolerance gives more than about 8 digits."""

# z' = k cos(t) z. Two causes. A solver given by name has its tableau rounded to float32, then cast to float64. And the
# controller's factors are float32 tensors of shape (1,), beside which a float64 scalar dt counts as a mere number: from
# the second step on dt is float32, and so are the products dt * a[i][j] that the stages are formed with.
# Who is right: z(T) = e^{k sin T}. With both repaired from outside, the same solver follows its tolerance.
import math

import torch
from torchdyn.core import ODEProblem
from torchdyn.numerics.solvers.ode import DormandPrince45


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.tensor([0.75], dtype=torch.float64))

    def forward(self, t, x):
        return self.k * torch.cos(t) * x


def repaired():
    solver = DormandPrince45(dtype=torch.float64)
    for name in ("safety", "min_factor", "max_factor"):
        setattr(solver, name, getattr(solver, name).double())
    return solver


x, span = torch.ones(1, 1, dtype=torch.float64), torch.tensor([0.0, 2.5], dtype=torch.float64)
for tol in (1e-5, 1e-7, 1e-9, 1e-11):
    errors = []
    for solver in ("dopri5", DormandPrince45(dtype=torch.float64), repaired()):
        z = ODEProblem(Field(), solver=solver, rtol=tol, atol=tol).odeint(x, span)[1][-1]
        errors.append(abs(z.item() / math.exp(0.75 * math.sin(2.5)) - 1))
    got, tableau, both = (f"{error:.0e}" for error in errors)
    print(f"tol {tol:.0e}: relative error got {got}; with a float64 tableau {tableau}, and a float64 controller {both}")
