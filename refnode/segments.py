"""Where the segments begin and end: t0, the observation times, the breaks of theta(t), T.

Steps land on every bound. A break is an edge of a stacked depth or a kink of a basis; it stands at the fraction u of
the depth's interval, so that it may move with the span. For a sample whose span ends before a break, the bound is that
sample's T, and the segments behind it have length zero: their gradients telescope into that of T.

The order of the bounds is read once from a problem's numbers and then kept, so that the computed loss is a smooth map
of the numbers, which differences and the complex step may follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from refnode.arrays import Array
from refnode.depth import Depth, with_edges
from refnode.errors import InvalidArgument
from refnode.span import Span
from refnode.values import Values

if TYPE_CHECKING:
    from refnode.problem import Problem


class Bound(NamedTuple):
    """An end of a segment: its kind, its number among its kind, and for breaks on which side of the span it lies.

    side    -1 before t0, 0 inside, 1 behind T: () or (b,)
    """

    kind: Literal["t0", "t_obs", "break", "T"]
    number: int = 0
    side: Array = np.zeros((), dtype=int)


@dataclass(frozen=True, eq=False)
class Layout:
    """The bounds in the order in which depth passes them, and the depth's cell on every segment between them."""

    bounds: tuple[Bound, ...]
    cells: tuple[int, ...]

    @cached_property
    def waiting(self) -> tuple[Array, ...]:
        """For every segment, which samples, () or (b,), have not begun or have ended: it lies at one end of their span.

        What the segment hands to its two bounds would cancel there. It is left out: theta of a cell that the sample
        never sees may be large, for hats continue beyond their cell, and would leave its round-off.
        """
        at = [{"t0": np.array(-1), "T": np.array(1), "t_obs": np.array(0)}.get(b.kind, b.side) for b in self.bounds]
        return tuple((one == other) & (one != 0) for one, other in pairwise(at))


def break_time(depth: Depth, u: Array, t0: Array, T: Array) -> Array:
    """The depth t of a break at the fraction u of the depth's interval."""
    lo, hi = (t0, T) if depth.interval == "span" else depth.interval
    return np.asarray(lo + u * (hi - lo))


def layout(problem: "Problem") -> Layout:
    """The layout of a problem.

    Raises
    ------
    InvalidArgument    if samples pass the bounds in different orders, or an observation stands on a jump of theta(t)
    """
    (t0, T), depth, observed = problem.span, problem.model.depth, problem.loss.observations  # type: ignore[misc]
    u = with_edges(depth, problem.params.get("edges", depth.breaks))  # a single cell has no such leaf
    found = [(Bound("t_obs", k), np.asarray(t)) for k, t in enumerate(observed.times)] if observed else []
    cells = [0]
    if len(u):
        sign = _direction(t0, T)
        rising = sign if depth.interval != "span" else 1.0
        passed, start = _breaks(depth, u, t0, T, sign)
        found += passed[:: int(rising)]  # as they are passed: where two stand at one t, the sort keeps this order
        cells[0] = start if rising > 0 else len(u) - start
        found = _in_order(found, t0, T, sign)
        _check_jumps(depth, found)
        for bound, _ in found:
            cells.append(cells[-1] + (int(rising) if bound.kind == "break" else 0))
    else:
        cells += [0] * len(found)
    return Layout((Bound("t0"), *(bound for bound, _ in found), Bound("T")), tuple(cells))


def _direction(t0: Array, T: Array) -> float:
    """1 or -1: the way that all samples go through depth."""
    signs = {float(s) for s in np.ravel(np.sign(T - t0))} - {0.0}
    if len(signs) > 1:
        was = "T > t0 for some samples and T < t0 for others"
        raise InvalidArgument("span", was, "the same direction for all where theta(t) has edges or kinks")
    return signs.pop() if signs else 1.0


def _breaks(depth: Depth, u: Array, t0: Array, T: Array, sign: float) -> tuple[list[tuple[Bound, Array]], int]:
    """The breaks that some sample passes, with their times, and how many all have passed before they start."""
    passed, before = [], 0
    for j, u_j in enumerate(u):
        t = break_time(depth, u_j, t0, T)
        if depth.interval == "span":  # 0 < u < 1 is inside, where t rounds to an end too
            passed.append((Bound("break", j), t))
            continue
        early, late = sign * (t - t0) <= 0, sign * (t - T) >= 0
        if np.all(early):
            before += 1
        elif not np.all(late):
            side = np.where(early, -1, np.where(late, 1, 0))
            passed.append((Bound("break", j, side if side.any() else np.zeros((), dtype=int)), t))
    return passed, before


def _in_order(found: list[tuple[Bound, Array]], t0: Array, T: Array, sign: float) -> list[tuple[Bound, Array]]:
    """The bounds sorted by depth, if all samples pass them in one order."""
    ends = sign * np.asarray(t0), sign * np.asarray(T)
    places = [np.clip(sign * t, *ends) for _, t in found]  # a break outside a sample's span waits at its end
    order = sorted(range(len(found)), key=lambda i: (float(np.mean(places[i])), found[i][0].kind))
    for i, j in pairwise(order):
        if np.any(places[i] > places[j]):
            names = " and ".join(f"{found[n][0].kind} {found[n][0].number}" for n in (i, j))
            was = f"{names} in one order for some samples and in the other for others"
            raise InvalidArgument("observations.times", was, "passed in the same order by all samples")
    return [found[i] for i in order]


def _check_jumps(depth: Depth, found: Sequence[tuple[Bound, Array]]) -> None:
    for (one, t), (other, s) in pairwise(found):
        if depth.jumps and one.kind != other.kind and np.any(t == s):
            was = f"an observation at {float(np.ravel(t)[0]):g}, where theta(t) jumps"
            raise InvalidArgument("observations.times", was, "off the edges: the gradient in t_obs is undefined there")


def bounds(problem: "Problem", values: Values) -> list[Array]:
    """The depths of the bounds, () or (b,) each, at resolved values."""
    t0, T = values.t0, values.T
    u = with_edges(problem.model.depth, values.edges)
    times = []
    for kind, k, side in problem.layout.bounds:
        t = {"t0": t0, "T": T}.get(kind)
        if kind == "t_obs":
            t = values.t_obs[k]
        elif kind == "break":
            t = _at_end(side, break_time(problem.model.depth, u[k], t0, T), t0, T)
        times.append(np.asarray(t))
    return times


def _at_end(side: Array, t: Array, t0: Array, T: Array) -> Array:
    """t for samples inside their span, else the end it lies beyond."""
    return t if side.ndim == 0 else np.where(side == 0, t, np.where(side < 0, t0, T))


def bounds_jvp(problem: "Problem", values: Values, along: Values) -> list[Array]:
    """Their changes for a perturbation of resolved values."""
    depth, moves = problem.model.depth, []
    u, learned = with_edges(depth, values.edges), depth.learns_edges
    for kind, k, side in problem.layout.bounds:
        dt = {"t0": along.t0, "T": along.T}.get(kind)
        if kind == "t_obs":
            dt = along.t_obs[k]
        elif kind == "break":
            moved = (1 - u[k]) * along.t0 + u[k] * along.T if depth.interval == "span" else np.zeros(())
            if learned:
                moved = moved + along.edges[k] * _interval_length(depth, values)
            dt = _at_end(side, np.asarray(moved), along.t0, along.T)
        moves.append(np.asarray(dt))
    return moves


def bounds_vjp(problem: "Problem", values: Values, g: Sequence[Array], magnitude: bool = False) -> Values:
    """Gradient with respect to t0, T, t_obs and edges, zero elsewhere, for the bounds' derivatives g, (b,) each.

    With `magnitude` the absolute values of all that is added.
    """
    return replace(values.like(0.0), **ends_vjp(problem, values, g, magnitude))


def ends_vjp(problem: "Problem", values: Values, g: Sequence[Array], magnitude: bool = False) -> dict[str, Array]:
    """The same, t0, T, t_obs and edges alone."""
    depth, t_obs, edges = problem.model.depth, np.zeros(values.t_obs.shape), np.zeros(values.edges.shape)
    u = with_edges(depth, values.edges)
    g_t0 = g_T = np.zeros(())
    for (kind, k, side), g_i in zip(problem.layout.bounds, g, strict=True):
        if kind == "t0":
            g_t0 = g_t0 + g_i
        elif kind == "T":
            g_T = g_T + g_i
        elif kind == "t_obs":
            t_obs[k] = g_i.sum()
        else:
            inside = np.where(side == 0, g_i, 0.0)
            g_t0, g_T = g_t0 + np.where(side < 0, g_i, 0.0), g_T + np.where(side > 0, g_i, 0.0)
            if depth.interval == "span":
                g_t0, g_T = g_t0 + (1 - u[k]) * inside, g_T + u[k] * inside
            if depth.learns_edges:
                length = _interval_length(depth, values)
                edges[k] = (inside * (np.abs(length) if magnitude else length)).sum()
    return {"t0": like_end(g_t0, values.t0), "T": like_end(g_T, values.T), "t_obs": t_obs, "edges": edges}


def _interval_length(depth: Depth, values: Values) -> Array:
    lo, hi = (values.t0, values.T) if depth.interval == "span" else depth.interval
    return np.asarray(hi - lo)


def like_end(per_sample: Array, end: Array) -> Array:
    """A derivative per sample (b,) with respect to an end of the span: summed if the end is shared by the batch."""
    return np.asarray(per_sample.sum()) if end.ndim == 0 else per_sample


def segments(problem: "Problem", values: Values) -> list[Span]:
    """The segments between the bounds, at resolved values."""
    return [Span(a, b) for a, b in pairwise(bounds(problem, values))]


def segments_jvp(problem: "Problem", values: Values, along: Values) -> list[Span]:
    """Their changes."""
    return [Span(a, b) for a, b in pairwise(bounds_jvp(problem, values, along))]
