"""What enters the dynamics from outside beside z: t, cos t, psi(t), paths to track, the control; and one sample's path.

Each is given as power series about a depth, in the variable s of t = t_k + h s, and as sets over |t - t_k| <= R.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb, arb_series

from refnode.arrays import Array
from refnode.depth import Galerkin
from refnode.oracle.proof import discs, psi, series
from refnode.oracle.proof.discs import Disc
from refnode.oracle.proof.dynamics import Field
from refnode.oracle.proof.series import Series
from refnode.problem import Problem


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a problem: its row of x, and the ends of its span as balls (an adaptive T is no float64)."""

    problem: Problem
    index: int
    t0: Any
    T: Any

    @property
    def interval(self) -> tuple[Any, Any]:
        """Where u = 0 and u = 1 of the depth's basis are."""
        interval = self.problem.model.depth.interval
        return (self.t0, self.T) if interval == "span" else (arb(interval[0]), arb(interval[1]))

    @property
    def x(self) -> Array:
        """The row of x."""
        return self.problem.x[self.index]


@dataclass(frozen=True, eq=False)
class Kind:
    """How the inputs are made: a one-row `one`, and an elementary function of a row; `constants` of many rows."""

    one: Any
    apply: Callable[[str, Any], Any]
    constants: Callable[[Any], Any]
    stack: Callable[[Any], Any]


def as_series(field: Field, sample: Sample, cell: int, t: Any, h: Any) -> dict[str, Series]:
    """The inputs as power series in s, t = t_k + h s; without "z"."""
    kind = Kind(series.constants([1]), lambda f, x: series.derivatives(f, x, 0)[0], series.constants, series.stacked)
    return _inputs(field, sample, cell, Series([arb_series([arb(t), arb(h)])]), kind)


def as_discs(field: Field, sample: Sample, cell: int, t: Any, rho: Array, f: discs.Elementary) -> dict[str, Disc]:
    """The inputs over |t - t_k| <= rho[-1]; without "z"."""
    apply = lambda name, x: discs.apply(discs.on_disc(name, x, f), x, 0)  # noqa: E731
    one = discs.disc_constants([1], rho)
    kind = Kind(one, apply, lambda v: discs.disc_constants(v, rho), discs.disc_stacked)
    return _inputs(field, sample, cell, disc_variable([t], len(rho) - 1, rho), kind)


def disc_variable(centre: Any, first: int, rho: Array, r: float = 0.0) -> Disc:
    """Rows c_v + xi_v for consecutive variables, each uncertain by r and by its ball's radius."""
    at = discs.disc_constants(centre, rho)
    A = np.eye(len(rho))[first : first + len(at)]
    return Disc(at.c, A, discs.up(at.r + r), rho)


def _inputs(field: Field, sample: Sample, cell: int, t: Any, kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in field.graph.inputs:
        match name:
            case "t":
                found[name] = t
            case "one":
                found[name] = kind.one
            case "cos t":
                found[name] = kind.apply("cos", t)
            case "x":
                found[name] = kind.constants(sample.x.tolist())
            case "psi":
                found[name] = _psi(sample, cell, t, kind)
            case "z":
                continue
            case _:
                found[name] = _harmonic(field.beta[name], t, kind, slope=False)
    return found


def _psi(sample: Sample, cell: int, t: Any, kind: Kind) -> Any:
    depth = sample.problem.model.depth
    assert isinstance(depth, Galerkin)
    lo, hi = sample.interval
    u = (t - kind.one.scaled(lo)).scaled(1 / (hi - lo))
    return kind.stack(psi.rows(depth.basis, cell, u, kind.one, kind.apply))


def _harmonic(beta: Any, t: Any, kind: Kind, slope: bool) -> Any:
    """amplitude cos(2 pi frequency t + phase), or its derivative in t."""
    rows = []
    for amplitude, frequency, phase in zip(beta.amplitude, beta.frequency, beta.phase, strict=True):
        omega = 2 * arb.pi() * float(frequency)
        angle = t.scaled(omega) + kind.one.scaled(float(phase))
        size = -omega * float(amplitude) if slope else arb(float(amplitude))
        rows.append(kind.apply("sin" if slope else "cos", angle).scaled(size))
    return kind.stack(rows)


def rates(field: Field, t: Any, kind: Kind) -> Mapping[str, Any]:
    """d/dt of the inputs that are functions of t alone."""
    found = {}
    for name in field.timed:
        if name == "t":
            found[name] = kind.one
        elif name == "cos t":
            found[name] = kind.apply("sin", t).scaled(-1)
        else:
            found[name] = _harmonic(field.beta[name], t, kind, slope=True)
    return found


def rates_as_series(field: Field, t: Any, h: Any) -> Mapping[str, Series]:
    """`rates` as power series in s."""
    kind = Kind(series.constants([1]), lambda f, x: series.derivatives(f, x, 0)[0], series.constants, series.stacked)
    return rates(field, Series([arb_series([arb(t), arb(h)])]), kind)


def rates_as_discs(field: Field, t: Any, rho: Array) -> Mapping[str, Disc]:
    """`rates` over |t - t_k| <= rho[-1]."""
    apply = lambda name, x: discs.apply(discs.on_disc(name, x, discs.proven), x, 0)  # noqa: E731
    kind = Kind(discs.disc_constants([1], rho), apply, lambda v: discs.disc_constants(v, rho), discs.disc_stacked)
    return rates(field, disc_variable([t], len(rho) - 1, rho), kind)
