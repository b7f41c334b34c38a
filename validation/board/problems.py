"""The scoreboard's problems: refnode's catalogue, and a few that show what is known of one library.

The latter have the bases of torchdyn's Galerkin layers, start where those start, or hold a parameter without effect.
"""

from dataclasses import dataclass

import numpy as np

import refnode as rn
from refnode.oracle.entry import BATCH, Entry, draw_params, drawn_problem, normal

ON_ONE = (0.0, 1.0)  # an interval on which u = t, the argument of torchdyn's bases


@dataclass(frozen=True)
class SpareField(rn.CosineField):
    """f = k cos(t) z, and a leaf `spare` (2, 2) that it does not use."""

    @property
    def shapes(self):
        """k and spare."""
        return super().shapes | {"spare": (2, 2)}

    def forward(self, t, z, theta, x=None):
        """f (b, d)."""
        return super().forward(t, z, theta[..., : self.width], x)

    def jvp(self, t, z, theta, x, dt, dz, dtheta, dx):
        """df (b, d)."""
        return super().jvp(t, z, theta[..., : self.width], x, dt, dz, dtheta[..., : self.width], dx)

    def vjp(self, t, z, theta, x, g):
        """Cotangents; zero for spare."""
        g_t, g_z, g_k, g_x = super().vjp(t, z, theta[..., : self.width], x, g)
        return g_t, g_z, np.concatenate([g_k, np.zeros((*g_k.shape[:-1], 4))], axis=-1), g_x


def _galerkin(basis, seed):
    """z' = z A(t) + b(t), spanned by a basis of torchdyn's."""
    model = rn.NeuralODE(rn.Linear(2, 2), theta=rn.Galerkin(basis, interval=ON_ONE))
    return drawn_problem(model, seed)


def torchdyn_fourier():
    """cos(n t), sin(n t) for n = 0, 1.25, 2.5, 3.75, 5: no harmonics of the span, and sin(0 t) is nothing."""
    problem = _galerkin(rn.TorchdynFourier(5), 500)
    return Entry("torchdyn_fourier", "torchdyn's Fourier(5): ten functions, rank 9", problem)


def torchdyn_bells():
    """exp(-(n t / 2)^2): five widths, all centred at t = 0."""
    return Entry("torchdyn_bells", "torchdyn's GaussianRBF(5): one centre", _galerkin(rn.TorchdynGaussianRBF(5), 510))


def torchdyn_rbf():
    """|t| n / 2: five multiples of one function."""
    problem = _galerkin(rn.TorchdynVanillaRBF(5), 520)  # f = 0 at t0, so that dloss/dt0 is
    return Entry("torchdyn_rbf", "torchdyn's VanillaRBF(5): rank 1", problem, faint=("t0",))


def torchdyn_start():
    """Two Galerkin layers with coefficients of zero, as torchdyn makes them: only the last bias has a gradient."""
    model = rn.NeuralODE(rn.MLP(2, 3, 2), theta=rn.Galerkin(rn.TorchdynFourier(2), interval=ON_ONE))
    params = {name: np.zeros(shape) for name, shape in model.shapes.items()}
    wave = rn.Tracking(rn.Harmonic([1.0, 1.0], [1.0, 1.0], [0.0, 1.0]))  # without it one step would do for all
    loss = rn.Loss(rn.SquaredError(normal((BATCH, 2), 532)), running=wave)
    problem = rn.Problem(model, params, normal((BATCH, 2), 531), loss)
    return Entry("torchdyn_start", "two Galerkin layers of zeros", problem)


def spare():
    """z' = k cos(t) z, and a parameter that the field does not use: its gradient is zero."""
    model = rn.NeuralODE(SpareField(2), span=(0.25, 1.5))
    params = draw_params(rn.NeuralODE(rn.MLP(2, 2)), 540)
    params = {"theta.k": params["theta.b0"], "theta.spare": params["theta.W0"]}
    problem = rn.Problem(model, params, normal((BATCH, 2), 541), rn.Loss(rn.SquaredError(normal((BATCH, 2), 542))))
    return Entry("spare", "a parameter that the field does not use", problem)


OWN = {build.__name__: build for build in (torchdyn_fourier, torchdyn_bells, torchdyn_rbf, torchdyn_start, spare)}


def entries(*names):
    """The entries of these names, the catalogue's or our own; all of them, in order, if there are none."""
    if not names:
        return (*rn.catalogue(), *(build() for build in OWN.values()))
    return tuple(OWN[name]() if name in OWN else rn.catalogue(name)[0] for name in names)
