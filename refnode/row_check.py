"""A user's compiled row functions as functions of a batch, so that `check_field` compares them like any others."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array, Shapes
from refnode.fields import UserField


@dataclass(frozen=True)
class Rows:
    """forward and vjp of a batch, row by row, by `row_forward` and `row_vjp`."""

    field: UserField

    @property
    def shapes(self) -> Shapes:
        """The field's."""
        return self.field.shapes

    @property
    def width_out(self) -> int:
        """The field's."""
        return self.field.width

    def forward(self, t: Array, z: Array, theta: Array, x: Array | None) -> Array:
        """f (b, o); NaN where row_forward writes nothing."""
        f = np.full((len(z), self.width_out), np.nan)
        for t_k, z_k, x_k, out in zip(*_rows(t, z, x), f, strict=True):
            self.field.row_forward(t_k, z_k, theta, x_k, out)  # type: ignore[misc]
        return f

    def vjp(self, t: Array, z: Array, theta: Array, x: Array | None, g: Array) -> tuple[Array, Array, Array, Any]:
        """What a second call adds to the cotangents that the first one left: the same, if row_vjp adds."""
        t, z, controls = _rows(t, z, x)
        parts = g_t, g_z, g_theta, g_x = [np.zeros(a.shape) for a in (t[:, None], z, theta, controls)]
        for _ in range(2):
            before = [part.copy() for part in parts]
            for k in range(len(z)):
                self.field.row_vjp(  # type: ignore[misc]
                    t[k], z[k], theta, controls[k], np.ascontiguousarray(g[k]), g_t[k], g_z[k], g_theta, g_x[k]
                )
        g_t, g_z, g_theta, g_x = (part - was for part, was in zip(parts, before, strict=True))
        return g_t[:, 0], g_z, g_theta, None if x is None else g_x


def _rows(t: Array, z: Array, x: Array | None) -> tuple[Array, Array, Array]:
    """t (b,), z (b, i) and the control (b, n), n = 0 if there is none."""
    return np.broadcast_to(t, len(z)), z, np.zeros((len(z), 0)) if x is None else x
