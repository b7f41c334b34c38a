"""How far the solution reaches into the complex plane, and how large everything is there.

Theorem (Picard-Lindelof in the complex plane)   Let F be analytic on |z - z_k| <= rho, |t - t_k| <= R, componentwise,
and R sup |F_i| <= rho_i there. Then z' = F(t, z) has for every z(t_k) of the centre one solution in |t - t_k| < R; it
is analytic and stays in the polydisc.

Theorem (Cauchy)   A function analytic and at most M in |t - t_k| < R has Taylor coefficients |c_n| <= M / R^n, so that
what follows the first N terms is at most M x^N / (1 - x) for |t - t_k| <= x R, x < 1.

Theorem (comparison, Muller and Kamke)   If v' <= B v + b componentwise with B >= 0 then v(R) <= e^(BR) (v(0) + R b).

Source   Hille 1976, Ordinary Differential Equations in the Complex Domain, sec. 2.3; Walter 1998, Ordinary Differential
         Equations, sec. 10; Corliss and Chang 1982, ACM TOMS 8 (step sizes from radii of convergence).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import NotEnoughDigits
from refnode.oracle.proof import discs, inputs
from refnode.oracle.proof.discs import SLACK, up
from refnode.oracle.proof.dynamics import Field
from refnode.oracle.proof.graph import Values, pull_sizes, run_discs
from refnode.oracle.proof.inputs import Sample

GROW = 1.2  # what a radius is tried to grow by
SHORTEST = 1e-12  # radii below this, relative to t, are given up


@dataclass(frozen=True, eq=False)
class Reach:
    """A polydisc about (t_k, z_k) in which the solution is proven to live, and bounds of everything there.

    R        radius in t
    rate     sup |z_i'| (d,)
    J        sup |dz_i' / dz_j| (d, d)
    running  sup |l|, and l_z = sup |dl / dz_j| (d,)
    values   of `run_discs`, for cotangents' bounds
    """

    R: float
    rate: Array
    J: Array
    running: float
    l_z: Array
    values: Values


def reach(field: Field, sample: Sample, cell: int, t: Any, z: list[Any], delta: float, guess: float) -> Reach:
    """The widest polydisc that is quickly found, proven.

    Parameters
    ----------
    z, delta    every start within delta of z (d,), in each component, is meant
    guess       a radius to begin with
    """
    d = len(z)

    def sup(R: float, rho: Array, f: discs.Elementary) -> tuple[Array, Values]:
        everything = np.append(rho, R)
        given = inputs.as_discs(field, sample, cell, t, everything, f)
        given["z"] = inputs.disc_variable(z, 0, everything, delta)
        values = run_discs(field.graph, given, f)
        return values[field.rate].sup, values

    with np.errstate(all="ignore"):
        R, rho = _searched(lambda R, rho: sup(R, rho, discs.searched)[0], d, guess, discs.upper(t))
        rate, values = sup(R, rho, discs.proven)
    R = _picard(R, rho, rate)
    if not R > 0:
        raise NotEnoughDigits("no complex disc was found on which the field is bounded", float(t), None)
    unit = np.eye(d)
    J = pull_sizes(values, {field.rate: unit})[field.z]
    running, l_z = 0.0, np.zeros(d)
    if field.running is not None:
        running = float(values[field.running].sup[0])
        back = pull_sizes(values, {field.running: np.ones((1, 1))})[field.z]
        l_z = l_z if back is None else back[:, 0]
    return Reach(R, rate, np.zeros((d, d)) if J is None else J.T, running, l_z, values)


def _picard(R: float, rho: Array, rate: Array) -> float:
    """The largest radius up to R with R sup |F_i| <= rho_i."""
    if not np.all(np.isfinite(rate)):
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        allowed = np.where(rate > 0, rho / rate, np.inf)
    return min(R, float(np.min(allowed)) * (1 - SLACK))


def _searched(sup: Any, d: int, guess: float, t: float) -> tuple[float, Array]:
    """R and rho with R sup |F| <= rho up to rounding, R as large as a few trials find."""
    at_centre = sup(1e-9 * guess, np.zeros(d))
    best = _contracts(sup, guess, at_centre)
    if best is not None:
        R = guess
        for _ in range(3):
            wider = _contracts(sup, GROW * R, at_centre)
            if wider is None:
                break
            R, best = GROW * R, wider
        return R, best
    R = guess
    while best is None:
        R /= GROW
        if R < SHORTEST * (1e-3 + t):
            raise NotEnoughDigits("the disc on which the solution is proven to be analytic shrinks to nothing", t, R)
        best = _contracts(sup, R, at_centre)
    return R, best


def _contracts(sup: Any, R: float, at_centre: Array) -> Array | None:
    """rho with R sup |F| <= rho, by Picard's iteration from R |F(z_k)|; None if it does not settle."""
    rho = 1.3 * R * at_centre
    for _ in range(7):
        rate = sup(R, rho)
        if not np.all(np.isfinite(rate)):
            return None
        if np.all(R * rate <= rho):
            return rho
        rho = 1.15 * R * rate
    return None


def grown(B: Array, R: float, v: Array) -> Array:
    """A bound of e^(BR) v for B >= 0, v >= 0: the exponential series, its remainder by a geometric one."""
    rows = up(B.sum(axis=1) * R)
    norm = float(np.max(rows, initial=0.0))
    if not norm < 600:
        return np.full(v.shape, np.inf)
    term, total, k = v, v, 0
    while True:
        k += 1
        term = up(B @ term * (R / k))
        total = up(total + term)
        if norm / (k + 1) < 0.5 and np.max(term) <= SLACK * np.max(total):
            return up(total + np.max(term))  # sum of the rest <= max term (1/2 + 1/4 + ..)


def tail(x: float, n: int) -> float:
    """x^n / (1 - x), rounded up: what Cauchy's estimate leaves behind n terms."""
    return x**n / (1 - x) * (1 + SLACK) if x < 1 else np.inf
