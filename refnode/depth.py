"""Depth variance: theta(t) = sum_j alpha_j psi_j(t)                                                      (4)-(6)

A depth turns the coefficients alpha into the parameters theta(t) that the field sees at depth t, and a cotangent
of theta(t) into one of alpha (and of t). Here: the constant depth, psi = 1, whose coefficient is theta itself.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from refnode.arrays import Array


class Depth(Protocol):
    """What the dynamics need of a depth."""

    @property
    def leaf_prefix(self) -> str: ...  # "theta" where alpha is theta itself, else "alpha"

    @property
    def lead(self) -> tuple[int, ...]: ...  # leading shape of every leaf: () or (m,)

    def forward(self, t: Array, alpha: Array) -> Array: ...

    def jvp(self, t: Array, alpha: Array, dt: Array, dalpha: Array) -> Array: ...

    def vjp(self, t: Array, alpha: Array, g: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class Constant:
    """theta(t) = theta: the same parameters at every depth, as in equation (1)."""

    @property
    def leaf_prefix(self) -> str:
        """theta."""
        return "theta"

    @property
    def lead(self) -> tuple[int, ...]:
        """No leading axis."""
        return ()

    def forward(self, t: Array, alpha: Array) -> Array:  # t () or (b,), alpha (p,)
        """theta (p,)."""
        return alpha

    def jvp(self, t: Array, alpha: Array, dt: Array, dalpha: Array) -> Array:
        """dtheta (p,)."""
        return dalpha

    def vjp(self, t: Array, alpha: Array, g: Array) -> tuple[Array, Array]:
        """Cotangents of t () and alpha (p,)."""
        return np.zeros(()), g
