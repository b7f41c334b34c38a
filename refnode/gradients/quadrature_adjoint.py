"""The quadrature adjoint: the costate first, then the parameter integrals by Gauss-Kronrod with error control."""

import heapq
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from refnode.arrays import Array, column, count, positive
from refnode.dense import DenseSegment
from refnode.errors import UnreliableGradient
from refnode.forward import solve_forward
from refnode.gradients.continuous import TINY, BackwardPass, integrals
from refnode.gradients.result import GradientResult, gradient_result
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.span import Span

EPS = float(np.finfo(np.float64).eps)

# Nodes and weights on [-1, 1]: 15-point Kronrod, whose odd entries are the 7-point Gauss rule.
# Source: Piessens et al. 1983, QUADPACK, routine qk15.
KRONROD_NODES = np.array([
    0.991455371120812639206854697526329, 0.949107912342758524526189684047851, 0.864864423359769072789712788640926,
    0.741531185599394439863864773280788, 0.586087235467691130294144691693013, 0.405845151377397166906606412076961,
    0.207784955007898467600689403773245, 0.000000000000000000000000000000000,
])  # fmt: skip
KRONROD_WEIGHTS = np.array([
    0.022935322010529224963732008058970, 0.063092092629978553290700663189204, 0.104790010322250183839876322541518,
    0.140653259715525918745189590510238, 0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
    0.204432940075298892414161999234649, 0.209482141084727828012999174891714,
])  # fmt: skip
GAUSS_WEIGHTS = np.array([
    0.129484966168869693270611432679082, 0.279705391489276667901467771423780,
    0.381830050505118944950369775488975, 0.417959183673469387755102040816327,
])  # fmt: skip

# All 15 nodes in order, and both weights of each; Gauss's are 0 at Kronrod's own nodes.
NODES = np.concatenate([-KRONROD_NODES, KRONROD_NODES[-2::-1]])
KRONROD = np.concatenate([KRONROD_WEIGHTS, KRONROD_WEIGHTS[-2::-1]])
GAUSS = np.zeros(15)
GAUSS[1::2] = np.concatenate([GAUSS_WEIGHTS, GAUSS_WEIGHTS[-2::-1]])


class Panel(NamedTuple):
    """Fractions [lo, hi] of a segment, the integrals for alpha, x, t0 and T, and how far Gauss is from Kronrod."""

    lo: float
    hi: float
    integrals: list[Array]
    errors: Array  # (4,), the largest entry of each


class Segment(NamedTuple):
    """What is integrated over: segment i of a backward pass, with dense state and costate."""

    back: BackwardPass
    i: int
    span: Span
    y_at: DenseSegment
    adj_at: DenseSegment


def quadrature_adjoint(
    problem: Problem, solver: Solver, *, rtol: float | None = None, max_panels: int = 20_000
) -> GradientResult:
    """Gradient of the loss from dense costate and dense state, integrated by Gauss nodes with controlled error.

        dloss/dalpha_j = int psi_j (df/dtheta)^T (a + g dl/df) + g dl/dtheta dt,   each panel by Kronrod's 15 points,
        halved until the sum of |K15 - G7| is below rtol |integral|

    Parameters
    ----------
    problem      Problem, x (b, n)
    solver       Solver, used forwards and backwards
    rtol         of the quadrature, relative to the largest entry of each integral; None: the solver's tol, or 1e-10
    max_panels   panels in one segment before UnreliableGradient is raised

    Returns
    -------
    GradientResult    loss (), grads of every leaf, adj_t0 (b, d); estimate of the quadrature's error for theta and x

    Raises
    ------
    UnreliableGradient                             if the quadrature does not converge
    StepUnderflow, TooManySteps, NonFiniteState    from the solves

    Error    O(tol) for the ODE's gradient, quadrature error controlled on its own; limited by the interpolants.
    Cost     memory of both dense outputs; 15 vjps a panel.
    Source   Massaroli et al. 2020, Prop. 1; Kim et al. 2021 (arXiv 2103.15341) on quadrature adjoints; QUADPACK.
    """
    values = problem.resolved
    count("max_panels", max_panels)
    quad_rtol = positive("rtol", rtol) if rtol is not None else solver.tolerance or 1e-10
    forward = solve_forward(problem, values, solver, keep="steps")
    return by_quadrature(BackwardPass(problem, values, forward, solver), quad_rtol, max_panels)


def by_quadrature(back: BackwardPass, quad_rtol: float, max_panels: int, eps: float = EPS) -> GradientResult:
    """The gradient by a backward pass that integrates over dense output, in numbers rounded to eps."""
    problem, values, forward, solver = back.problem, back.values, back.forward, back.solver
    atol, held = np.asarray(back.costate_atol()), 0
    errors: list[Array] = []

    def sweep(i: int, adj: Array) -> Array:
        nonlocal held
        span, y_at = back.spans[i], back.dense_state(i)
        backwards = Span(span.end, span.start)

        def rhs(t: Array, adj: Array) -> Array:
            return back.costate_rate(i, t, y_at(t)[:, : back.d], adj)

        steps = list(back.steps(i, rhs, adj, atol))
        adj_at = DenseSegment(back.statistics.counting(rhs), backwards, steps, solver.tableau)
        held += y_at.bytes + adj_at.bytes
        knots, segment = np.union1d(y_at.fractions(), 1 - adj_at.fractions()), Segment(back, i, span, y_at, adj_at)
        errors.append(integrate(lambda lo, hi: _panel(segment, lo, hi), back, span, knots, quad_rtol, max_panels, eps))
        return steps[-1].y_new

    grads, adj_t0 = back.run(sweep)
    estimate = problem.values.like(0.0)
    estimate.alpha[...], estimate.x[...] = np.sum(errors, axis=0)[:2]
    return gradient_result(
        problem, values, forward, grads, method="quadrature", solver=solver, nfe_backward=back.statistics.nfe,
        peak_bytes=held, adj_t0=adj_t0, estimate=estimate,
    )  # fmt: skip


def integrate(
    panel_of: Callable[[float, float], Panel],
    back: BackwardPass,
    span: Span,
    knots: Array,
    rtol: float,
    max_panels: int,
    eps: float = EPS,
) -> Array:
    """Add the integrals of (dF/d(alpha, x, t0, T))^T [a, g] over a segment; return their error estimates (4,).

    The panel with the largest error is halved until the sum of errors is below rtol of the integrals, or below what
    rounding, to eps, does to their panels: t is known to eps |t|, which is much of a very short segment.
    """
    panels = [panel_of(lo, hi) for lo, hi in pairwise(knots) if hi > lo]
    total = [np.sum(parts, axis=0) for parts in zip(*(panel.integrals for panel in panels), strict=True)]
    errors = np.sum([panel.errors for panel in panels], axis=0)
    floor = np.sum([[largest(part) for part in panel.integrals] for panel in panels], axis=0)
    unit = np.maximum(floor, TINY)
    rounding = 64 * eps * (1 + _reach(span))
    heap = [(-float(np.max(panel.errors / unit)), n, panel) for n, panel in enumerate(panels)]
    heapq.heapify(heap)
    count = len(heap)
    while np.any(errors > np.maximum(rtol * np.array([largest(part) for part in total]), rounding * floor + TINY)):
        if len(heap) >= max_panels:
            message = f"the quadrature of the parameter gradient did not reach {rtol:.1e} with {max_panels} panels"
            t = span.at(np.asarray(heap[0][2].lo))
            raise UnreliableGradient(message, float(np.ravel(t)[0]))
        worst = heapq.heappop(heap)[2]
        middle = (worst.lo + worst.hi) / 2
        halves = [panel_of(*ends) for ends in ((worst.lo, middle), (middle, worst.hi))]
        for half in halves:
            heapq.heappush(heap, (-float(np.max(half.errors / unit)), count, half))
            count += 1
        total = [t + a + b - w for t, a, b, w in zip(total, *(p.integrals for p in (*halves, worst)), strict=True)]
        errors = np.maximum(errors - worst.errors, 0) + halves[0].errors + halves[1].errors
    for _, _, panel in heap:
        back.add(**dict(zip(("alpha", "x", "t0", "T"), panel.integrals, strict=True)))
    return errors


def _panel(segment: Segment, lo: float, hi: float) -> Panel:
    """Kronrod's rule on [lo, hi], and how far Gauss's is from it."""
    back, i, span, y_at, adj_at = segment
    half = (hi - lo) / 2
    total, difference = [np.zeros(())] * 4, [np.zeros(())] * 4
    for node, w, w_gauss in zip(NODES, KRONROD, GAUSS, strict=True):
        t = span.at(np.asarray(lo + (1 + node) * half))
        weight = np.asarray(half * span.length)
        back_t = back.vjp(i, t, y_at(t)[:, : back.d], column(weight) * back.full(adj_at(t)))
        for k, part in enumerate(integrals(back_t, back.values).values()):
            total[k], difference[k] = total[k] + w * part, difference[k] + (w - w_gauss) * part
    return Panel(lo, hi, total, np.array([largest(e) for e in difference]))


def _reach(span: Span) -> float:
    """max |t| over the length of a segment, that of its longest sample."""
    length = largest(span.length)
    return max(largest(span.start), largest(span.end)) / length if length > 0 else 0.0


def largest(a: Array) -> float:
    """max |a|."""
    return float(np.max(np.abs(a), initial=0.0))
