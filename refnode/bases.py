"""Bases psi_1, .., psi_m of depth functions, on the interval 0 <= u <= 1: values and slopes.                    (6)

theta(t) = sum_j alpha_j psi_j(u), where `refnode.depth` says how u follows t. u is (), or (b,) with one row per sample;
psi and its slope are (m,) or (b, m). Bases with kinks or jumps are told the cell, the number of kinks passed, so that
a step that ends on a kink sees the limit from its own side. Outside the interval the formulas simply continue.

Source   Massaroli et al. 2020, section 3.1; Abramowitz and Stegun, ch. 22 (recurrences of the polynomials).
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refnode.arrays import Array, count, float64, positive
from refnode.errors import InvalidArgument


class Basis(Protocol):
    """What a depth needs of its basis."""

    @property
    def m(self) -> int: ...  # number of functions

    @property
    def kinks(self) -> Array: ...  # (c - 1,) ascending inside (0, 1): where psi or its slope jumps

    @property
    def jumps(self) -> bool: ...  # whether psi itself jumps there

    def psi(self, u: Array, cell: int) -> Array: ...  # (m,) or (b, m)

    def slope(self, u: Array, cell: int) -> Array: ...  # d psi / du


class NoKinks:
    """What the bases without kinks share: one cell."""

    @property
    def kinks(self) -> Array:
        """None."""
        return np.zeros(0)

    @property
    def jumps(self) -> bool:
        """False."""
        return False


@dataclass(frozen=True)
class Smooth(NoKinks):
    """m functions without kinks."""

    m: int

    def __post_init__(self) -> None:
        count("m", self.m)


def polynomials(x: Array, m: int, legendre: bool) -> tuple[Array, Array]:
    """Legendre or Chebyshev polynomials of degree 0 .. m - 1 and their slopes at x: (m,) or (b, m) each.

        P_{k+1} = a_k x P_k - b_k P_{k-1},   P'_{k+1} = a_k (P_k + x P'_k) - b_k P'_{k-1}

    with a_k = (2k + 1) / (k + 1), b_k = k / (k + 1) for Legendre, and 2, 1 (a_0 = 1) for Chebyshev.
    """
    one, zero = np.ones_like(x), np.zeros_like(x)
    values, slopes = [one, x], [zero, one]
    for k in range(1, m - 1):
        a, b = ((2 * k + 1) / (k + 1), k / (k + 1)) if legendre else (2.0, 1.0)
        slopes.append(a * (values[k] + x * slopes[k]) - b * slopes[k - 1])
        values.append(a * x * values[k] - b * values[k - 1])
    return np.stack(values[:m], axis=-1), np.stack(slopes[:m], axis=-1)


@dataclass(frozen=True)
class Legendre(Smooth):
    """Legendre polynomials of degree 0 .. m - 1, orthonormal: int_0^1 psi_j psi_k du = delta_jk."""

    def psi(self, u: Array, cell: int = 0) -> Array:
        """sqrt(2j + 1) P_j(2u - 1)."""
        return self._size * polynomials(2 * np.asarray(u) - 1, self.m, True)[0]

    def slope(self, u: Array, cell: int = 0) -> Array:
        """2 sqrt(2j + 1) P_j'(2u - 1)."""
        return 2 * self._size * polynomials(2 * np.asarray(u) - 1, self.m, True)[1]

    @property
    def _size(self) -> Array:
        return np.sqrt(2 * np.arange(self.m) + 1.0)


@dataclass(frozen=True)
class Chebyshev(Smooth):
    """Chebyshev polynomials T_0 .. T_{m-1} of 2u - 1."""

    def psi(self, u: Array, cell: int = 0) -> Array:
        """T_j(2u - 1)."""
        return polynomials(2 * np.asarray(u) - 1, self.m, False)[0]

    def slope(self, u: Array, cell: int = 0) -> Array:
        """2 T_j'(2u - 1)."""
        return 2 * polynomials(2 * np.asarray(u) - 1, self.m, False)[1]


@dataclass(frozen=True)
class Monomial(Smooth):
    """1, u, u^2, .., u^(m-1). Not recommended beyond m = 4: the Gram matrix for m = 10 has condition 1.6e13."""

    def psi(self, u: Array, cell: int = 0) -> Array:
        """u^j."""
        return np.asarray(u)[..., None] ** np.arange(self.m)

    def slope(self, u: Array, cell: int = 0) -> Array:
        """j u^(j-1)."""
        j = np.arange(self.m)
        return j * np.asarray(u)[..., None] ** np.maximum(j - 1, 0)


@dataclass(frozen=True)
class Fourier(NoKinks):
    """1, sqrt(2) cos(2 pi k u), sqrt(2) sin(2 pi k u), k = 1 .. n: orthonormal; over the span 2 pi k / (T - t0)."""

    n: int

    def __post_init__(self) -> None:
        count("n", self.n)

    @property
    def m(self) -> int:
        """2n + 1."""
        return 2 * self.n + 1

    def psi(self, u: Array, cell: int = 0) -> Array:
        """The constant, the n cosines, the n sines."""
        angle = np.asarray(u)[..., None] * self._frequencies
        one = np.ones_like(angle[..., :1])
        return np.concatenate([one, np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)], axis=-1)

    def slope(self, u: Array, cell: int = 0) -> Array:
        """0, -omega sqrt(2) sin, omega sqrt(2) cos."""
        omega = self._frequencies
        angle = np.asarray(u)[..., None] * omega
        sines = np.sqrt(2) * np.concatenate([-omega * np.sin(angle), omega * np.cos(angle)], axis=-1)
        return np.concatenate([np.zeros_like(angle[..., :1]), sines], axis=-1)

    @property
    def _frequencies(self) -> Array:
        return 2 * np.pi * np.arange(1, self.n + 1)


@dataclass(frozen=True)
class GaussianRBF(Smooth):
    """exp(-(u - c_j)^2 / (2 width^2)) with m centres c_j spread evenly over [0, 1].

    width    None: the distance of the centres (1 for a single one)
    """

    width: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width is not None:
            positive("width", self.width)

    def psi(self, u: Array, cell: int = 0) -> Array:
        """The bells."""
        return np.exp(-(self._away(u) ** 2) / 2)

    def slope(self, u: Array, cell: int = 0) -> Array:
        """-(u - c) / width^2 times the bells."""
        return -self._away(u) / self._width * self.psi(u)

    @property
    def _width(self) -> float:
        return self.width or (1.0 / (self.m - 1) if self.m > 1 else 1.0)

    def _away(self, u: Array) -> Array:
        centres = np.linspace(0, 1, self.m) if self.m > 1 else np.array([0.5])
        return (np.asarray(u)[..., None] - centres) / self._width


def ascending(name: str, value: Any, start: float, end: float) -> tuple[float, ...]:
    """Ascending floats strictly between start and end, or InvalidArgument."""
    a = float64(name, value, (None,))
    if not np.all(np.diff([start, *a, end]) > 0):
        raise InvalidArgument(name, a.tolist(), f"ascending numbers strictly between {start:g} and {end:g}")
    return tuple(a.tolist())


@dataclass(frozen=True)
class Hat:
    """Piecewise linear functions on nodes 0 = u_1 < .. < u_m = 1, psi_j(u_k) = delta_jk: coefficients are nodal values.

    nodes    how many, evenly spaced, or the nodes between 0 and 1 themselves (the ends are added)
    """

    nodes: Any

    def __post_init__(self) -> None:
        if isinstance(self.nodes, int | np.integer) and not isinstance(self.nodes, bool):
            inner = np.linspace(0, 1, count("nodes", self.nodes, 2))[1:-1]
        else:
            inner = self.nodes
        object.__setattr__(self, "nodes", ascending("nodes", inner, 0.0, 1.0))

    @property
    def m(self) -> int:
        """The inner nodes and the two ends."""
        return len(self.nodes) + 2

    @property
    def kinks(self) -> Array:
        """The inner nodes."""
        return np.array(self.nodes)

    @property
    def jumps(self) -> bool:
        """False: only the slope jumps."""
        return False

    def psi(self, u: Array, cell: int) -> Array:
        """(u_{c+1} - u) / h at node c, (u - u_c) / h at node c + 1, for the cell c."""
        left, h = self._cell(cell)
        w = (np.asarray(u) - left) / h
        psi = np.zeros((*w.shape, self.m), dtype=w.dtype)
        psi[..., cell], psi[..., cell + 1] = 1 - w, w
        return psi

    def slope(self, u: Array, cell: int) -> Array:
        """-1/h and 1/h."""
        slope = np.zeros((*np.shape(u), self.m))
        slope[..., cell], slope[..., cell + 1] = -1 / self._cell(cell)[1], 1 / self._cell(cell)[1]
        return slope

    def _cell(self, cell: int) -> tuple[float, float]:
        nodes = (0.0, *self.nodes, 1.0)
        return nodes[cell], nodes[cell + 1] - nodes[cell]


@dataclass(frozen=True)
class PiecewiseConstant:
    """psi_j = 1 on cell j and 0 elsewhere. The stacked depth's basis.                                              (4)

    edges    how many cells, of equal length, or the m - 1 edges between 0 and 1
    """

    edges: Any

    def __post_init__(self) -> None:
        if isinstance(self.edges, int | np.integer) and not isinstance(self.edges, bool):
            inner = np.linspace(0, 1, count("edges", self.edges) + 1)[1:-1]
        else:
            inner = self.edges
        object.__setattr__(self, "edges", ascending("edges", inner, 0.0, 1.0))

    @property
    def m(self) -> int:
        """One more than edges."""
        return len(self.edges) + 1

    @property
    def kinks(self) -> Array:
        """The edges."""
        return np.array(self.edges)

    @property
    def jumps(self) -> bool:
        """True."""
        return True

    def psi(self, u: Array, cell: int) -> Array:
        """1 for the cell."""
        psi = np.zeros((*np.shape(u), self.m))
        psi[..., cell] = 1.0
        return psi

    def slope(self, u: Array, cell: int) -> Array:
        """0."""
        return np.zeros((*np.shape(u), self.m))


def constant_coefficients(basis: Basis) -> Array:
    """c (m,) with sum_j c_j psi_j = 1, or as near to 1 as the basis comes in the least-squares sense on [0, 1].

    >>> constant_coefficients(Fourier(2)).round(12) + 0.0
    array([1., 0., 0., 0., 0.])
    """
    ends = np.concatenate([[0.0], basis.kinks, [1.0]])
    nodes, weights = np.polynomial.legendre.leggauss(16 + 4 * basis.m // (len(ends) - 1))
    u = (ends[:-1, None] + ends[1:, None]) / 2 + np.diff(ends)[:, None] / 2 * nodes  # (cells, points)
    if all(np.allclose(basis.psi(u_c, cell).sum(axis=-1), 1, rtol=0, atol=1e-12) for cell, u_c in enumerate(u)):
        return np.ones(basis.m)  # hats and pieces, however many
    size = np.sqrt(np.multiply.outer(np.diff(ends) / 2, weights)).ravel()
    rows = [basis.psi(u_c, cell) for cell, u_c in enumerate(u)]
    c = np.linalg.lstsq(size[:, None] * np.concatenate(rows), size, rcond=None)[0]
    return np.where(np.abs(c - np.rint(c)) < 1e-9, np.rint(c) + 0.0, c)  # bases that hold 1 do so in whole numbers
