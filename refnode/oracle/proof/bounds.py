"""How far the solution reaches into the complex plane, and how large everything is there.

Theorem (existence by comparison)   Write z = z_k + (t - t_k) s + zeta with a fixed s. On the polydisc |zeta| <= rho,
|t - t_k| <= R, componentwise, let F be analytic with |F(t, z) - s| <= f + g |t - t_k| + B |zeta|, and let v solve
v' = f + g tau + B v, v(0) = 0. If v(R) <= rho then z' = F(t, z) has for every start of the centre one solution in
|t - t_k| < R; it is analytic, and |zeta| <= v(R). (On every ray from t_k the moduli of zeta grow at most as v does, so
that the solution cannot leave before R, and Picard-Lindelof continues it.) With s = 0, g = 0, B = 0 this is Picard's
own condition, R sup |F| <= rho; s takes out the motion, B lets linear growth reach further than 1 / |B|.

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
from refnode.oracle.proof.discs import SLACK, Disc, up
from refnode.oracle.proof.dynamics import Field
from refnode.oracle.proof.graph import Values
from refnode.oracle.proof.inputs import Sample
from refnode.oracle.proof.on_discs import pull_sizes, run_discs

GROW, SHRINK = 1.2, 1.1  # what a radius is tried to grow by from knot to knot, and where that fails to shrink
LEAST = 1e-150  # below what any proof resolves, and far enough above underflow to be multiplied
MOST_GROWTH = 5.0  # of |J| R
SHORTEST = 1e-12  # radii below this, relative to t, are given up


@dataclass(frozen=True)
class Guess:
    """Where the search for a polydisc begins: the radius in t, and rho / R (d,) if one is known."""

    R: float
    rho: Array | None = None


@dataclass(frozen=True, eq=False)
class Reach:
    """A polydisc about (t_k, z_k) in which the solution is proven to live, and bounds of everything there.

    R        radius in t
    moved    bound of |z_i - z_k,i| (d,)
    rate     sup |z_i'| (d,)
    J        sup |dz_i' / dz_j| (d, d)
    running  sup |l|, and l_z = sup |dl / dz_j| (d,)
    values   of `run_discs`, for cotangents' bounds
    zeta     bound of |z - z_k - (t - t_k) s| (d,)
    eager    whether the first guess of R did
    """

    R: float
    moved: Array
    rate: Array
    J: Array
    running: float
    l_z: Array
    values: Values
    zeta: Array
    eager: bool

    @property
    def guess(self) -> Guess:
        """For the next knot: more, unless this knot had to do with less than it tried."""
        return Guess((GROW if self.eager else 1.01) * self.R, 1.2 * self.zeta / self.R)


def reach(field: Field, sample: Sample, cell: int, t: Any, z: list[Any], delta: float, guess: Guess) -> Reach:
    """The widest polydisc that is quickly found, proven.

    Parameters
    ----------
    z, delta    every start within delta of z (d,), in each component, is meant
    guess       what to begin with
    """
    d = len(z)
    centre = discs.disc_constants(z, np.zeros(d + 1))

    def run(R: float, rho: Array, s: Array, f: discs.Elementary) -> Values:
        everything = np.append(rho, R)
        given = inputs.as_discs(field, sample, cell, t, everything, f)
        given["z"] = Disc(centre.c, np.column_stack([np.eye(d), s]), up(centre.r + delta), everything)
        return run_discs(field.graph, given, f)

    def searched(R: float, rho: Array) -> Disc:
        values = run(R, rho, s, discs.searched)
        bounded = field.running is None or np.isfinite(values[field.running].sup).all()
        return _less(values[field.rate] if bounded else values[field.rate].scaled(np.inf), s)

    with np.errstate(all="ignore"):
        s = run(0.0, np.zeros(d), np.zeros(d), discs.searched)[field.rate].c
        R, rho = _searched(searched, guess, discs.upper(t), d)
        values = run(R, rho, s, discs.proven)
        v = displacement(_less(values[field.rate], s), R)
        if not np.all(v <= rho):  # NumPy's rounding turned a choice between two bounds
            return reach(field, sample, cell, t, z, delta, Guess(R / GROW))
        J, running, l_z = _sizes(field, values, d)
    if not (np.isfinite(J).all() and np.isfinite(l_z).all() and np.isfinite(running)):
        raise NotEnoughDigits("no complex disc was found on which the field's derivatives are bounded")
    R = _moderate(R, J)
    return Reach(R, up(v + np.abs(s) * R), values[field.rate].sup, J, running, l_z, values, v, R >= 0.99 * guess.R)


def _sizes(field: Field, values: Values, d: int) -> tuple[Array, float, Array]:
    """sup |dz'/dz| (d, d), sup |l| and sup |dl/dz| (d,)."""
    J = pull_sizes(values, {field.rate: np.eye(d)})[field.z]
    J = np.zeros((d, d)) if J is None else J.T
    if field.running is None:
        return J, 0.0, np.zeros(d)
    back = pull_sizes(values, {field.running: np.ones((1, 1))})[field.z]
    return J, float(values[field.running].sup[0]), np.zeros(d) if back is None else back[:, 0]


def _less(rate: Disc, s: Array) -> Disc:
    """F - s."""
    return Disc(rate.c - s, rate.A, up(rate.r + SLACK * (np.abs(rate.c) + np.abs(s))), rate.rho)


def _moderate(R: float, J: Array) -> float:
    """R, or less where the costate's bound e^(|J| R) would cost more digits than longer steps save terms."""
    norm = float(np.max(J.sum(axis=0), initial=0.0))
    return min(R, MOST_GROWTH / norm) if norm > 0 else R


def displacement(rate: Disc, R: float) -> Array:
    """v(R) for v' = f + g tau + B v, v(0) = 0. F - s is c + A xi + e: f = |c| + r, g = |A_t|, B = |A_z|.

        v(R) = R sum_k (B R)^k f / (k + 1)! + R^2 sum_k (B R)^k g / (k + 2)!
    """
    d = rate.A.shape[1] - 1
    B = np.abs(rate.A[:, :d]) * R
    still, turning = up(np.abs(rate.c) + rate.r), np.abs(rate.A[:, d])
    return up(R * exponential_sum(B, still, 1) + R * R / 2 * exponential_sum(B, turning, 2))


def _searched(rate_at: Any, guess: Guess, t: float, d: int) -> tuple[float, Array]:
    """R and rho with v(R) <= rho up to rounding: the guess if it will do, else the first smaller radius that does."""
    R = guess.R
    while (rho := _contracts(rate_at, R, guess.rho, d)) is None:
        R /= SHRINK
        if SHORTEST * (1e-3 + t) > R:
            raise NotEnoughDigits("the disc on which the solution is proven to be analytic shrinks to nothing", t, R)
    return R, rho


def _contracts(rate_at: Any, R: float, start: Array | None, d: int) -> Array | None:
    """rho with v(R) <= rho, by iteration from R `start` or from the linear part at z_k; None if it does not settle."""
    at_centre = 1.2 * displacement(rate_at(R, np.zeros(d)), R) if start is None else R * start
    rho = at_centre
    for _ in range(4):
        v = displacement(rate_at(R, rho), R)
        if not np.all(v < 2 * rho + 1e-300):
            return None
        if np.all(v * (1 + 1e-9) <= rho):
            return rho
        rho = 1.1 * np.maximum(v, rho / 2)
    return None


def grown(B: Array, R: float, v: Array) -> Array:
    """A bound of e^(BR) v for B >= 0, v >= 0."""
    return exponential_sum(B * R, v, 0)


def exponential_sum(B: Array, v: Array, shift: int) -> Array:
    """A bound of sum_k B^k v shift! / (k + shift)!, B and v >= 0; its remainder by a geometric series.

    All terms are positive: rounding loses at most k (d + 2) 2^-53 of the sum in k terms, below 16 SLACK for k d < 2^16.
    """
    norm = float(np.max(up(B.sum(axis=1)), initial=0.0))
    if not (norm < 600 and np.all(np.isfinite(v))):
        return np.full(v.shape, np.inf)
    term, total, k = v, v, 0
    while True:
        for _ in range(4):
            k += 1
            term = B @ term / (k + shift)
            total = total + term
        if norm / (k + 1) < 0.5 and term.max(initial=0.0) <= SLACK * total.max(initial=0.0):
            return (total + term.max(initial=0.0)) * (1 + 16 * SLACK)  # the rest is at most max term (1/2 + 1/4 + ..)


def tail(x: float, n: int) -> float:
    """x^n / (1 - x), rounded up: what Cauchy's estimate leaves behind n terms. LEAST keeps it from underflowing."""
    return max(x**n / (1 - x) * (1 + SLACK), LEAST * (x > 0)) if x < 1 else np.inf
