"""Where one sample's bounds stand, exactly, and what their derivatives are those of: t0, T, t_obs and edges."""

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from refnode.depth import with_edges
from refnode.oracle.taylor.decimals import Decimals, exact
from refnode.problem import Problem


class Bound(NamedTuple):
    """An end of a segment for one sample.

    side    of a break: -1 if it lies before the sample's span, which then starts there, 1 behind its end, else 0
    """

    t: Decimal
    kind: str
    number: int
    side: int


def bounds_of(problem: Problem, i: int, t0: Decimal, T: Decimal) -> list[Bound]:
    """The bounds of sample i, in order."""
    values, found = problem.values, []
    u = exact(with_edges(problem.model.depth, values.edges))
    for kind, k, side in problem.layout.bounds:
        beyond = int(np.broadcast_to(side, problem.batch)[i])
        if kind == "break":
            lo, hi = _interval(problem, t0, T)
            t = (t0, lo + u[k] * (hi - lo), T)[1 + beyond]
        elif kind == "t_obs":
            t = Decimal(float(values.t_obs[k]))
        else:
            t = t0 if kind == "t0" else T
        found.append(Bound(t, kind, k, beyond))
    return found


def _interval(problem: Problem, t0: Decimal, T: Decimal) -> tuple[Decimal, Decimal]:
    """The interval of theta(t)'s basis."""
    interval = problem.model.depth.interval
    return (t0, T) if interval == "span" else (Decimal(interval[0]), Decimal(interval[1]))


class TimeGradient(NamedTuple):
    """Derivatives with respect to one sample's t0 and T, to t_obs (K,) and to edges (m - 1,)."""

    t0: Decimal
    T: Decimal
    t_obs: Decimals
    edges: Decimals


def times_vjp(problem: Problem, bounds: list[Bound], g: list[Decimal], absolute: bool = False) -> TimeGradient:
    """From the derivatives g of the bounds; or sums of sizes from sizes."""
    depth, values = problem.model.depth, problem.values
    u = exact(with_edges(depth, values.edges))
    t0, T = Decimal(0), Decimal(0)
    t_obs, edges = exact(np.zeros(len(values.t_obs))), exact(np.zeros(len(values.edges)))
    for bound, g_t in zip(bounds, g, strict=True):
        if bound.kind == "t0" or bound.side < 0:
            t0 += g_t
        elif bound.kind == "T" or bound.side > 0:
            T += g_t
        elif bound.kind == "t_obs":
            t_obs[bound.number] += g_t
        else:
            if depth.interval == "span":
                t0, T = t0 + (1 - u[bound.number]) * g_t, T + u[bound.number] * g_t
            if depth.learns_edges:
                lo, hi = _interval(problem, bounds[0].t, bounds[-1].t)
                edges[bound.number] += g_t * (abs(hi - lo) if absolute else hi - lo)
    return TimeGradient(t0, T, t_obs, edges)
