"""Depth variance: theta(t) = sum_j alpha_j psi_j(u(t))                                                      (4)-(6)

A depth turns the coefficients alpha into the parameters theta(t) that the field sees at depth t. Constant, stacked and
Galerkin differ in nothing but psi, so that dloss/dalpha_j = int psi_j (df/dtheta)^T a dt is written once.

The basis lives on [0, 1]; u says where on it a depth t is. It follows the span, u = (t - t0) / (T - t0), or stays on
an interval of its own, u = (t - lo) / (hi - lo). In the first case T and t0 move theta(t), and their gradients have a
term for it.

Source   Massaroli et al. 2020, Theorem 1 and its corollaries; docs/depth.md derives what is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from refnode.arrays import Array, Shapes, float64, unflatten
from refnode.bases import Basis, Hat, PiecewiseConstant, ascending, constant_coefficients
from refnode.errors import InvalidArgument, describe

Interval = Literal["span"] | tuple[float, float]


class Depth(Protocol):
    """What the dynamics need of a depth. `leaves` are the shapes of the field's leaves, cell counts breaks passed."""

    @property
    def interval(self) -> Interval: ...

    @property
    def learns_edges(self) -> bool: ...  # whether `edges` is a leaf

    @property
    def breaks(self) -> Array: ...  # (c - 1,) in u: where theta or its slope jumps

    @property
    def jumps(self) -> bool: ...

    def shapes(self, leaves: Shapes) -> Shapes: ...  # of the coefficients, by full name

    def init(self, leaves: Mapping[str, Array]) -> dict[str, Array]: ...  # coefficients, from a field's parameters

    def forward(self, u: Array, cell: int, alpha: Array, leaves: Shapes) -> Array: ...

    def jvp(self, u: Array, cell: int, alpha: Array, leaves: Shapes, du: Array, dalpha: Array) -> Array: ...

    def vjp(self, u: Array, cell: int, alpha: Array, leaves: Shapes, g: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class Constant:
    """theta(t) = theta: the same parameters at every depth, as in equation (1)."""

    @property
    def interval(self) -> Interval:
        """Any: nothing depends on u."""
        return (0.0, 1.0)

    @property
    def learns_edges(self) -> bool:
        """False."""
        return False

    @property
    def breaks(self) -> Array:
        """None."""
        return np.zeros(0)

    @property
    def jumps(self) -> bool:
        """False."""
        return False

    def shapes(self, leaves: Shapes) -> Shapes:
        """theta.W0, .."""
        return {f"theta.{name}": shape for name, shape in leaves.items()}

    def init(self, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """The field's own."""
        return {f"theta.{name}": leaf for name, leaf in leaves.items()}

    def forward(self, u: Array, cell: int, alpha: Array, leaves: Shapes) -> Array:  # alpha (p,)
        """theta (p,)."""
        return alpha

    def jvp(self, u: Array, cell: int, alpha: Array, leaves: Shapes, du: Array, dalpha: Array) -> Array:
        """dtheta (p,)."""
        return dalpha

    def vjp(self, u: Array, cell: int, alpha: Array, leaves: Shapes, g: Array) -> tuple[Array, Array]:
        """Cotangents of u () and alpha (p,)."""
        return np.zeros(()), g


@dataclass(frozen=True)
class Galerkin:
    """theta(t) = sum_j alpha_j psi_j(u(t)).                                                                        (6)

    Parameters
    ----------
    basis           psi: rn.Legendre(m), rn.Fourier(n), rn.Chebyshev(m), rn.Monomial(m), rn.GaussianRBF(m), rn.Hat(m),
                    rn.PiecewiseConstant(m)
    interval        "span": [0, 1] of the basis is [t0, T] and moves with it; or (lo, hi) in units of t
    layers          names of the field's leaves that vary with depth, such as ("W1", "b1"); None: all. The others stay
                    constant, and keep their names theta.*
    learns_edges    whether the basis's edges are a leaf, `edges` (m - 1,), as fractions of the interval

    theta is (p,) for u (), and (b, p), a row per sample, for u (b,).
    """

    basis: Basis
    interval: Interval = "span"
    layers: tuple[str, ...] | None = None
    learns_edges: bool = False

    def __post_init__(self) -> None:
        members = ("m", "kinks", "jumps", "psi", "slope")
        if isinstance(self.basis, type) or not all(hasattr(self.basis, m) for m in members):
            raise InvalidArgument("basis", describe(self.basis), "a basis, such as rn.Fourier(5)")
        ascending("basis.kinks", self.basis.kinks, 0.0, 1.0)
        object.__setattr__(self, "interval", checked_interval(self.interval))
        if self.layers is not None:
            object.__setattr__(self, "layers", checked_layers(self.layers))
        if self.learns_edges and not isinstance(self.basis, PiecewiseConstant):
            raise InvalidArgument("learns_edges", f"True with {describe(self.basis)}", "False: only a stacked depth's")

    @property
    def breaks(self) -> Array:
        """The basis's kinks."""
        return self.basis.kinks

    @property
    def jumps(self) -> bool:
        """Whether theta(t) jumps there."""
        return self.basis.jumps

    def varies(self, name: str) -> bool:
        """Whether a leaf of the field varies with depth."""
        return self.layers is None or name in self.layers

    def shapes(self, leaves: Shapes) -> Shapes:
        """alpha.W0 (m, i, o), .. for leaves that vary, theta.W0 (i, o) for those that do not."""
        if unknown := sorted(set(self.layers or ()) - set(leaves)):
            raise InvalidArgument("layers", f"unknown leaves {unknown}", f"among the field's, {list(leaves)}")
        m = self.basis.m
        return {
            f"alpha.{name}" if self.varies(name) else f"theta.{name}": (m, *shape) if self.varies(name) else shape
            for name, shape in leaves.items()
        }

    def init(self, leaves: Mapping[str, Array]) -> dict[str, Array]:
        """Coefficients with which theta(t) is, at every depth, the field's own random parameters.

        Nothing is zero that gradients pass through: dloss/dalpha_j does not vanish for any psi_j, whereas two layers
        whose coefficients all start at zero never move.
        """
        c = constant_coefficients(self.basis)
        return {
            f"alpha.{name}" if self.varies(name) else f"theta.{name}":
            c.reshape(-1, *[1] * leaf.ndim) * leaf if self.varies(name) else leaf
            for name, leaf in leaves.items()
        }  # fmt: skip

    def forward(self, u: Array, cell: int, alpha: Array, leaves: Shapes) -> Array:
        """theta (p,) or (b, p) for u () or (b,)."""
        return self._expand(self.basis.psi(u, cell), alpha, leaves)

    def jvp(self, u: Array, cell: int, alpha: Array, leaves: Shapes, du: Array, dalpha: Array) -> Array:
        """psi dalpha + psi' alpha du."""
        turn = self.basis.slope(u, cell) * np.asarray(du)[..., None]
        return self._expand(self.basis.psi(u, cell), dalpha, leaves) + self._expand(turn, alpha, leaves, still=0)

    def vjp(self, u: Array, cell: int, alpha: Array, leaves: Shapes, g: Array) -> tuple[Array, Array]:
        """Cotangents of u, () or (b,), and of alpha, summed over the batch, for g (p,) or (b, p)."""
        psi, slope = self.basis.psi(u, cell), self.basis.slope(u, cell)
        g_u, parts = np.zeros(np.shape(u), dtype=g.dtype), []
        parts_g, parts_alpha = unflatten(g, leaves), unflatten(alpha, self.shapes(leaves))
        for name, coefficients in zip(leaves, parts_alpha.values(), strict=True):
            g_leaf = parts_g[name].reshape(*np.shape(u), -1)  # (n,) or (b, n)
            if self.varies(name):
                g_u = g_u + ((slope @ coefficients.reshape(len(coefficients), -1)) * g_leaf).sum(axis=-1)
                parts.append((np.multiply.outer(psi, g_leaf) if g_leaf.ndim == 1 else psi.T @ g_leaf).ravel())
            else:
                parts.append(g_leaf if g_leaf.ndim == 1 else g_leaf.sum(axis=0))
        return g_u, np.concatenate(parts)

    def _expand(self, psi: Array, alpha: Array, leaves: Shapes, still: float = 1.0) -> Array:
        """sum_j psi_j alpha_j of the leaves that vary, beside `still` times those that do not: (p,) or (b, p)."""
        parts = []
        for name, leaf in zip(leaves, unflatten(alpha, self.shapes(leaves)).values(), strict=True):
            if self.varies(name):
                parts.append(psi @ leaf.reshape(len(leaf), -1))
            else:
                parts.append(np.broadcast_to(still * leaf.ravel(), (*psi.shape[:-1], leaf.size)))
        return np.concatenate(parts, axis=-1)


def Stacked(m: Any, interval: Interval = "span", layers: tuple[str, ...] | None = None) -> Galerkin:
    """theta(t) = alpha_j on the j-th piece: the Galerkin depth of the piecewise constant basis.                    (4)

    Parameters
    ----------
    m           how many pieces, of equal length, or the edges between 0 and 1, as fractions of the interval. They are
                a leaf, `edges`, with a gradient of its own; steps land on them
    interval    "span", or (lo, hi) in units of t
    layers      leaves that vary, or None for all
    """
    return Galerkin(PiecewiseConstant(m), interval, layers, learns_edges=True)


def FunctionSpace(nodes: Any, interval: Interval = "span", layers: tuple[str, ...] | None = None) -> Galerkin:
    """theta(t) by its values at nodes, linear in between: the paper's infinite-dimensional theta on a grid.        (5)

    Descend along the Riesz representer (`rn.riesz`), not along the coefficients' gradient: the latter is the former
    times the nodes' quadrature weights, and shrinks with the mesh.

    Parameters
    ----------
    nodes       how many, evenly spaced, or those strictly between 0 and 1, as fractions of the interval
    interval    "span", or (lo, hi) in units of t
    layers      leaves that vary, or None for all
    """
    return Galerkin(Hat(nodes), interval, layers)


def checked_interval(interval: Any) -> Interval:
    """ "span" or (lo, hi) with lo < hi, or InvalidArgument."""
    if isinstance(interval, str) and interval == "span":
        return "span"
    allowed = "'span' or a pair (lo, hi) with lo < hi"
    if not isinstance(interval, tuple | list):
        raise InvalidArgument("interval", describe(interval), allowed)
    lo, hi = float64("interval", interval, (2,)).tolist()
    if not lo < hi:
        raise InvalidArgument("interval", (lo, hi), allowed)
    return (lo, hi)


def checked_layers(layers: Any) -> tuple[str, ...]:
    """A tuple of names, or InvalidArgument."""
    if not isinstance(layers, tuple | list) or not layers or not all(isinstance(name, str) for name in layers):
        raise InvalidArgument("layers", layers, "names of leaves, such as ('W1', 'b1'), or None for all")
    if len(set(layers)) < len(layers):
        raise InvalidArgument("layers", layers, "distinct names of leaves")
    return tuple(layers)


def with_edges(depth: Depth, edges: Array) -> Array:
    """The breaks in u: the leaf `edges` where they are learned, else the basis's own."""
    return edges if depth.learns_edges else depth.breaks


def coordinate(depth: Depth, t: Array, t0: Array, T: Array) -> Array:
    """u(t), () or (b,)."""
    if depth.interval == "span":
        return (t - t0) / (T - t0)
    lo, hi = depth.interval
    return (t - lo) / (hi - lo)


def coordinate_jvp(depth: Depth, t: Array, t0: Array, T: Array, dt: Array, dt0: Array, dT: Array) -> Array:
    """du = [dt - (1 - u) dt0 - u dT] / (T - t0), or dt / (hi - lo)."""
    if depth.interval == "span":
        u = coordinate(depth, t, t0, T)
        return (dt - (1 - u) * dt0 - u * dT) / (T - t0)
    lo, hi = depth.interval
    return dt / (hi - lo)


def coordinate_vjp(depth: Depth, t: Array, t0: Array, T: Array, g: Array) -> tuple[Array, Array, Array]:
    """Cotangents of t, t0 and T for the cotangent g of u."""
    if depth.interval == "span":
        u = coordinate(depth, t, t0, T)
        g_t = g / (T - t0)
        return g_t, -(1 - u) * g_t, -u * g_t
    lo, hi = depth.interval
    return g / (hi - lo), np.zeros(()), np.zeros(())
