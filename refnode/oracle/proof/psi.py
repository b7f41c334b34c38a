"""The bases psi_j(u) of a depth, written once for power series and for polydiscs.

Constants are exact reals here, sqrt(2j + 1) and pi among them, where `refnode.bases` has them rounded: the truth that
is proven is that of the formula. Only the functions that are not zero on the cell are given, with their place in alpha.

Source   Abramowitz and Stegun, ch. 22 (recurrences of the polynomials).
"""

from collections.abc import Callable
from typing import Any

from flint import arb

from refnode import bases, torchdyn_bases
from refnode.errors import NotProvable


def active(basis: Any, cell: int) -> slice | None:
    """Which functions of the basis live on the cell; None: all."""
    if isinstance(basis, bases.PiecewiseConstant):
        return slice(cell, cell + 1)
    return slice(cell, cell + 2) if isinstance(basis, bases.Hat) else None


def rows(basis: Any, cell: int, u: Any, one: Any, apply: Callable[[str, Any], Any]) -> list[Any]:
    """psi_j(u) for the active j; u and `one` are one-row Series or Discs, apply(name, x) an elementary function."""
    match basis:
        case bases.PiecewiseConstant():
            return [one]
        case bases.Hat():
            nodes = (0.0, *basis.nodes, 1.0)
            left, right = arb(nodes[cell]), arb(nodes[cell + 1])
            w = (u - one.scaled(left)).scaled(1 / (right - left))
            return [one - w, w]
        case bases.Legendre():
            found = _polynomials(u.scaled(2) - one, one, basis.m, legendre=True)
            return [p.scaled(arb(2 * j + 1).sqrt()) for j, p in enumerate(found)]
        case bases.Chebyshev():
            return _polynomials(u.scaled(2) - one, one, basis.m, legendre=False)
        case bases.Monomial():
            return _powers(u, one, basis.m)
        case bases.Fourier():
            angles = [u.scaled(2 * arb.pi() * k) for k in range(1, basis.n + 1)]
            return [one, *(apply(name, a).scaled(arb(2).sqrt()) for name in ("cos", "sin") for a in angles)]
        case bases.GaussianRBF():
            return [apply("exp", (away * away).scaled(arb(-1) / 2)) for away in _away(basis, u, one)]
        case torchdyn_bases.TorchdynFourier():
            angles = [u.scaled(n) for n in _numbers(basis)]
            return [apply(name, a) for name in ("cos", "sin") for a in angles]
        case torchdyn_bases.TorchdynChebychev():
            return _polynomials(u, one, basis.deg, legendre=False)
        case torchdyn_bases.TorchdynGaussianRBF():
            return [apply("exp", (u * u).scaled(-n * n / 4)) for n in _numbers(basis)]
    raise NotProvable(f"theta(t) in the basis {basis!r}: no bound of its functions on complex discs is known here")


def _polynomials(x: Any, one: Any, m: int, legendre: bool) -> list[Any]:
    """P_{k+1} = a_k x P_k - b_k P_{k-1}."""
    values = [one, x]
    for k in range(1, m - 1):
        a, b = (arb(2 * k + 1) / (k + 1), arb(k) / (k + 1)) if legendre else (arb(2), arb(1))
        values.append((x * values[k]).scaled(a) - values[k - 1].scaled(b))
    return values[:m]


def _powers(x: Any, one: Any, m: int) -> list[Any]:
    values = [one]
    while len(values) < m:
        values.append(values[-1] * x)
    return values


def _away(basis: Any, u: Any, one: Any) -> list[Any]:
    """(u - c_j) / width."""
    gap = arb(1) / (basis.m - 1) if basis.m > 1 else arb(1)
    centres = [gap * j for j in range(basis.m)] if basis.m > 1 else [arb(1) / 2]
    width = arb(basis.width) if basis.width else gap
    return [(u - one.scaled(c)).scaled(1 / width) for c in centres]


def _numbers(basis: Any) -> list[Any]:
    """n_k = linspace(0, deg, deg)."""
    return [arb(basis.deg) * k / (basis.deg - 1) for k in range(basis.deg)] if basis.deg > 1 else [arb(0)]
