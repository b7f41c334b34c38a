"""Fields that are not networks: your own, and one with a closed-form flow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array, Shapes, column, count
from refnode.errors import InvalidArgument


@dataclass(frozen=True)
class UserField:
    """Your own vector field, from three NumPy functions. Check it with `check_field` before you trust a gradient.

    Parameters
    ----------
    forward  forward(t, z, theta, x) -> f (b, o)
    jvp      jvp(t, z, theta, x, dt, dz, dtheta, dx) -> df (b, o)
    vjp      vjp(t, z, theta, x, g) -> cotangents of t (b,), z (b, i), theta (p,) summed over the batch, x (b, n)
    shapes   leaf name -> shape; theta (p,) is these leaves, flattened, in this order (see `refnode.arrays.unflatten`)
    width    o, the width of f
    row_forward, row_vjp    the same for one sample, compiled by numba.njit, or None: then gradients run by kernels

        row_forward(t, z, theta, x, out)                           writes f into out (o,)
        row_vjp(t, z, theta, x, g, g_t, g_z, g_theta, g_x)         adds to g_t (1,), g_z (i,), g_theta (p,), g_x (n,)

    where t is a number, and all are float64, or all float32. They return nothing, and must not raise. They are compiled
    in every process, in a second or so; with njit(cache=True) Numba keeps them.

    t is () or (b,), z (b, i), theta (p,), x (b, n) or None, g (b, o). Row k of f may depend on row k of z, x and t
    only. Under the complex step every argument may be complex128: no abs, no comparison of complex numbers, no cast.
    """

    forward: Callable[..., Array]
    jvp: Callable[..., Array]
    vjp: Callable[..., Any]
    shapes: Shapes
    width: int
    row_forward: Callable[..., None] | None = None
    row_vjp: Callable[..., None] | None = None

    def __post_init__(self) -> None:
        for name in ("row_forward", "row_vjp"):
            row = getattr(self, name)
            if (row is None) != (self.row_forward is None) or not (row is None or hasattr(row, "py_func")):
                raise InvalidArgument(name, row, "a function compiled by numba.njit, like its companion, or None")
        for name in ("forward", "jvp", "vjp"):
            if not callable(getattr(self, name)):
                raise InvalidArgument(name, getattr(self, name), "a function")
        count("width", self.width)
        if not isinstance(self.shapes, Mapping) or not all(isinstance(leaf, str) for leaf in self.shapes):
            raise InvalidArgument("shapes", self.shapes, "a mapping from leaf names to shapes, such as {'W': (2, 2)}")
        for leaf, shape in self.shapes.items():
            if not isinstance(shape, tuple) or any(type(n) is not int or n < 1 for n in shape):
                raise InvalidArgument(f"shapes[{leaf!r}]", shape, "a tuple of integers >= 1, or () for a number")

    @property
    def width_out(self) -> int:
        """The output width o."""
        return self.width

    def width_in(self) -> int | None:
        """Unknown: the functions say."""
        return None


@dataclass(frozen=True)
class CosineField:
    """f = theta cos(t) z, elementwise: the smallest field whose closed-form flow depends on t.

        z(t) = z(t0) exp(theta (sin t - sin t0))

    Parameters
    ----------
    width    d, the width of z and of the single leaf k (d,)
    """

    width: int

    def __post_init__(self) -> None:
        count("width", self.width)

    @property
    def shapes(self) -> Shapes:
        """One leaf, k (d,)."""
        return {"k": (self.width,)}

    @property
    def width_out(self) -> int:
        """d."""
        return self.width

    def width_in(self) -> int | None:
        """d."""
        return self.width

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """Standard normal."""
        return {"k": rng.standard_normal(self.width)}

    def forward(self, t: Array, z: Array, theta: Array, x: Array | None = None) -> Array:
        """f (b, d)."""
        return theta * np.cos(column(t)) * z

    def jvp(
        self,
        t: Array,
        z: Array,
        theta: Array,
        x: Array | None,
        dt: Array,
        dz: Array,
        dtheta: Array,
        dx: Array | None,
    ) -> Array:
        """df (b, d)."""
        c, s = np.cos(column(t)), np.sin(column(t))
        return dtheta * c * z + theta * c * dz - theta * s * z * column(dt)

    def vjp(self, t: Array, z: Array, theta: Array, x: Array | None, g: Array) -> tuple[Array, Array, Array, None]:
        """Cotangents of t (b,), z (b, d), theta (d,) or (b, d)."""
        c, s = np.cos(column(t)), np.sin(column(t))
        g_theta = g * c * z
        return -(theta * s * z * g).sum(axis=1), theta * c * g, g_theta.sum(0) if theta.ndim == 1 else g_theta, None

    def trace(self, t: Array, z: Array, theta: Array, x: Array | None, v: Array) -> Array:  # v (K, b, d)
        """sum_k v_k . (df/dz) v_k = sum_j s_j theta_j cos(t) (b,) with s = sum_k v_k^2 (see `refnode.divergence`)."""
        return ((v**2).sum(axis=0) * theta * np.cos(column(t))).sum(axis=1)

    def trace_jvp(
        self, t: Array, z: Array, theta: Array, x: Array | None, v: Array,
        dt: Array, dz: Array, dtheta: Array, dx: Array | None,
    ) -> Array:  # fmt: skip
        """Its change (b,)."""
        turn = dtheta * np.cos(column(t)) - theta * np.sin(column(t)) * column(dt)
        return ((v**2).sum(axis=0) * turn).sum(axis=1)

    def trace_vjp(
        self, t: Array, z: Array, theta: Array, x: Array | None, v: Array, g: Array
    ) -> tuple[Array, Array, Array, None]:
        """Cotangents of t (b,), z (b, d), theta (d,) or (b, d) for g (b,)."""
        s = column(g) * (v**2).sum(axis=0)
        g_theta = s * np.cos(column(t))
        g_t = -(s * theta * np.sin(column(t))).sum(axis=1)
        return g_t, np.zeros(z.shape), g_theta.sum(axis=0) if theta.ndim == 1 else g_theta, None
