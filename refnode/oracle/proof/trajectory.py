"""The state, step by step, each step proven: a number z_k and how far from it the true z(t_k) can be.

From z_k, which is exact, the Taylor polynomial of the solution through z_k is computed and its remainder bounded
(Picard, Cauchy: `bounds`); the solution through the true z(t_k) parts from it by at most e^(mu h) delta_k (`lognorm`):

    |z(t_{k+1}) - z_{k+1}|_2  <=  e^(mu h) delta_k + |radii of the polynomial's value| + |remainder|  =:  delta_{k+1}

Steps are a fixed share of the radius of the disc of analyticity, as seen from both of their ends: the costate is
expanded about the far end.

Source   Lohner 1987; Nedialkov, Jackson and Corliss 1999, Appl. Math. Comput. 105 (validated Taylor methods); the
         re-centring with a logarithmic norm is Dahlquist's estimate on top of them.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from flint import arb, arb_series, ctx

from refnode.errors import TooManySteps
from refnode.oracle.proof import inputs, jets
from refnode.oracle.proof.bounds import Guess, Reach, grown, reach, tail
from refnode.oracle.proof.discs import upper
from refnode.oracle.proof.dynamics import Field
from refnode.oracle.proof.inputs import Sample
from refnode.oracle.proof.lognorm import growth, largest_eigenvalue, length
from refnode.oracle.proof.on_series import run_series
from refnode.oracle.proof.series import Series, constants, truncated

FAR_END = 1.05  # by how much a step may be longer, seen from its far end: 1.05^60 is one digit and a bit


@dataclass(frozen=True)
class Effort:
    """What a proof is attempted with: `order` coefficients, steps of a `share` of the disc's radius, `bits`."""

    order: int
    share: float
    bits: int
    max_steps: int = 20_000


@dataclass(frozen=True, eq=False)
class Knot:
    """A proven state: the ball t, the exact numbers z (d,), delta >= |z(t) - z|_2, and the polydisc about it."""

    t: Any
    z: list[Any]
    delta: float
    reach: Reach


@dataclass(frozen=True, eq=False)
class Leap:
    """A step between two knots: h, e^(mu |h|), and the state's coefficients about its near end in s = (t - t_k) / h."""

    h: Any
    growth: float
    jets: list[list[Any]]


@dataclass(frozen=True, eq=False)
class Stretch:
    """A segment that was solved: its knots, one more than its steps."""

    knots: list[Knot]
    leaps: list[Leap]


def follow(
    field: Field, sample: Sample, cell: int, ends: tuple[Any, Any], z: list[Any], delta: float, effort: Effort
) -> Stretch:
    """Solve from one end of a segment, a ball, to the other."""
    start, whole = ends[0], ends[1] - ends[0]
    done, total = arb(0), abs(float(whole.mid()))
    guess = Guess(max(total, 1e-300))
    knots, leaps = [knot(field, sample, cell, start, z, delta, guess)], list[Leap]()
    while not (left := whole - done).is_zero():
        now = knots[-1]
        allowed = effort.share * now.reach.R * min(1.0, now.reach.R / knots[-2].reach.R if leaps else 1.0)
        while True:
            h, last = _step(left, allowed)
            leap, z, delta = _leap(field, sample, cell, now, h, effort)
            t = start + whole if last else start + done + h
            ahead = knot(field, sample, cell, t, z, delta, now.reach.guess)
            if upper(h) <= FAR_END * effort.share * ahead.reach.R:
                break
            allowed = min(effort.share * ahead.reach.R, upper(h) / 1.02)
        knots.append(ahead)
        leaps.append(leap)
        done = done + h
        if last:
            break
        if len(leaps) >= effort.max_steps:
            raise TooManySteps(f"the proof needs more than {effort.max_steps} steps", float(t.mid()), float(h.mid()))
    return Stretch(knots, leaps)


def knot(field: Field, sample: Sample, cell: int, t: Any, z: list[Any], delta: float, guess: Guess) -> Knot:
    """A proven state with the polydisc about it."""
    return Knot(t, z, delta, reach(field, sample, cell, t, z, delta, guess))


def _step(left: Any, allowed: float) -> tuple[Any, bool]:
    """A step of at most `allowed`, an equal part of what is left of the segment, and whether it is the last."""
    far = float(left.mid())
    parts = ceil(abs(far) / allowed)
    return (left, True) if parts <= 1 else (arb(far / parts), False)


def _leap(
    field: Field, sample: Sample, cell: int, near: Knot, h: Any, effort: Effort
) -> tuple[Leap, list[Any], float]:
    """One step: the polynomial, the next z and its delta."""
    with truncated(effort.order):
        given = inputs.as_series(field, sample, cell, near.t, h)
        found = jets.state_jets(field, given, near.z, h, effort.order)
    size = upper(h)
    left_out = tail(size / near.reach.R, effort.order) * near.reach.moved
    ends = [sum(reversed(row), arb(0)) for row in found]
    factor = growth(log_norm(field, sample, cell, near, h), size)
    off = np.array([upper(v.rad()) for v in ends]) + left_out
    return Leap(h, factor, found), [v.mid() for v in ends], factor * near.delta * (1 + 1e-12) + length(off)


def log_norm(field: Field, sample: Sample, cell: int, near: Knot, h: Any) -> float:
    """mu over the tube of all states between t_k and t_k + h: boxes that hold |z - z_k| <= delta + |h| sup |z'|."""
    if h.contains(0):  # a step between two bounds that are equal up to rounding has no sign
        return float(np.sqrt(near.reach.J.sum(axis=0).max() * near.reach.J.sum(axis=1).max())) * (1 + 1e-9)
    radius = (near.delta + upper(h) * near.reach.rate) * (1 + 1e-12)
    with ctx.workprec(64), truncated(1):
        box = [v + arb(0, float(r)) for v, r in zip(near.z, radius, strict=True)]
        given = inputs.as_series(field, sample, cell, near.t.union(near.t + h), arb(0))
        J = jets.jacobian(field, run_series(field.graph, {**given, "z": constants(box)}))
        sign = 1 if h > 0 else -1
        return largest_eigenvalue([[sign * _number(v) for v in row.rows] for row in J])


def _number(row: Any) -> Any:
    return row.coeffs()[0] if row.coeffs() else arb(0)


def about(field: Field, sample: Sample, cell: int, at: Knot, h: Any, ahead: Leap | None, effort: Effort) -> Series:
    """The true state's series about a knot in s = (t - t_k) / h, as balls that hold the true coefficients.

    They are those of the solution through z_k, computed before, or now, widened by how far the true solution is from
    it: two solutions in the polydisc part by at most eta = e^(|J| R) delta (comparison), so that their coefficients
    differ by at most eta / R^n (Cauchy).
    """
    if ahead is None or ahead.h.contains(0):
        given = inputs.as_series(field, sample, cell, at.t, h)
        rows = jets.state_jets(field, given, at.z, h, effort.order)
    else:
        rows = _rescaled(ahead.jets, h / ahead.h)
    eta = grown(at.reach.J, at.reach.R, np.full(len(at.z), at.delta))
    share, powers = arb(upper(h)) / at.reach.R, [arb(0, 1)]
    for _ in range(1, effort.order):
        powers.append(powers[-1] * share)
    return Series([
        arb_series([c + p * e for c, p in zip(row, powers, strict=True)])
        for row, e in zip(rows, map(arb, eta.tolist()), strict=True)
    ])


def _rescaled(rows: list[list[Any]], factor: Any) -> list[list[Any]]:
    """Coefficients in s for those in s' = s factor."""
    powers = [arb(1)]
    for _ in range(len(rows[0]) - 1):
        powers.append(powers[-1] * factor)
    return [[c * p for c, p in zip(row, powers, strict=True)] for row in rows]
