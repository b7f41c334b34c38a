"""The drivers: y' = F(t, y) over one segment, as a stream of accepted steps; a prescribed grid or an adaptive one.

Steps are kept as fractions s of their segment, t = (1 - s) start + s end. So a grid moves with its ends: this is the
map that the discrete gradients differentiate and the complex step replays. The end is hit exactly, at s = 1.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from refnode.arrays import Array
from refnode.errors import NonFiniteState, NumericalError, StepUnderflow, TooManySteps
from refnode.solver import Solver
from refnode.span import Span
from refnode.steps import ErrorNorm, Rhs, first_step, rk_step, step_factor
from refnode.tableau import Tableau


@dataclass
class Statistics:
    """What a solve cost, counted as it runs.

    nfe                 evaluations of F for the whole batch
    accepted, rejected  steps, () for shared steps or (b,) for own ones
    next_step           the controller's last wish, |h| in units of t: where the next segment starts
    """

    nfe: int = 0
    accepted: Array = field(default_factory=lambda: np.zeros((), dtype=int))
    rejected: Array = field(default_factory=lambda: np.zeros((), dtype=int))
    attempts: int = 0
    next_step: Array | None = None

    def counting(self, rhs: Rhs) -> Rhs:
        """rhs, counted."""

        def counted(t: Array, y: Array) -> Array:
            self.nfe += 1
            return rhs(t, y)

        return counted


@dataclass(frozen=True, eq=False)
class Step:
    """One accepted step: y_new = y + h sum_i b_i k_i. Samples that did not move have h = 0 and s_new = s.

    s, s_new  fractions of the segment, () or (b,);  t, t_new, h () or (b,);  y, y_new (b, n);  k (s, b, n)
    err       the norm of its estimated error, () or (b,), where steps are adaptive
    """

    s: Array
    s_new: Array
    t: Array
    t_new: Array
    h: Array
    y: Array
    y_new: Array
    k: Array
    err: Array | None = None


def prescribed_steps(rhs: Rhs, span: Span, y: Array, fractions: Array, tableau: Tableau) -> Iterator[Step]:
    """Steps on a given grid of fractions (N + 1,) or (N + 1, b): fixed steps, and replays of accepted ones.

    Raises
    ------
    NonFiniteState     if a step ends in NaN or infinity
    """
    with _quiet():
        k0 = rhs(span.at(fractions[0]), y)
    for s, s_new in itertools.pairwise(fractions):
        t, t_new, h = span.at(s), span.at(s_new), np.asarray((s_new - s) * span.length)
        with _quiet():
            y_new, k = rk_step(rhs, t, t_new, h, y, k0, tableau)
        check_finite(y_new, t, h)
        yield Step(s, s_new, t, t_new, h, y, y_new, k)
        y = y_new
        with _quiet():
            k0 = k[-1] if tableau.fsal else rhs(t_new, y) if np.any(s_new < 1) else k0


def adaptive_steps(
    rhs: Rhs, span: Span, y: Array, solver: Solver, norm: ErrorNorm, statistics: Statistics,
    proposal: Sequence[float] = (),
) -> Iterator[Step]:  # fmt: skip
    """Steps whose estimated error is at most 1 in the given norm, landing on the segment's end.

    Those of a proposal, fractions 0, .., 1, are tried first, until one is rejected.

    With steps="shared" one fraction s serves the batch; with "own" every sample has its own s and controller, and
    those that have arrived wait with h = 0 (a fixed batch shape keeps the bits of each row).

    Raises
    ------
    StepUnderflow      if a step fails that is 16 units in the last place of the segment's larger end, or less
    TooManySteps       after solver.max_steps attempts over the solve
    NonFiniteState     if F is not finite at the start, or steps fail with NaN or infinity however small
    """
    tableau, length = solver.tableau, span.length
    shape = (len(y),) if norm.over == "own" else ()
    s, err_previous, grow = np.zeros(shape), np.ones(shape), np.full(shape, True)
    with _quiet():
        k0 = rhs(span.at(s), y)
    check_finite(k0, span.start, None)
    ds = first_fraction(rhs, span, y, k0, norm, solver, statistics) if not proposal else np.asarray(proposal[1])
    ends = iter(proposal[1:])  # of the steps that are still to be tried
    while np.any(s < 1):
        statistics.attempts += 1
        if statistics.attempts > solver.max_steps:
            where = _where(span.at(s), ds * length, s < 1)
            raise TooManySteps(f"more than max_steps = {solver.max_steps} steps", *where)
        s_old, active = s, s < 1
        s_new = np.asarray(next(ends, np.where(s + 1.01 * ds >= 1, 1.0, s + ds)))
        t, t_new, h = span.at(s), span.at(s_new), np.asarray((s_new - s) * length)
        with _quiet():
            y_new, k = rk_step(rhs, t, t_new, h, y, k0, tableau)
            err = norm.of_step(h, y, y_new, k, tableau)
        good = active & (err <= 1) & (s_new > s)
        failed = active & ~good
        _check_progress(span, s, h, failed, err)
        statistics.accepted, statistics.rejected = statistics.accepted + good, statistics.rejected + failed
        ends = ends if np.any(good) else iter(())
        if np.any(good):
            step = _masked(Step(s, s_new, t, t_new, h, y, y_new, k, err), good)
            yield step
            s, y = step.s_new, step.y_new
            with _quiet():
                k_end = k[-1] if tableau.fsal else rhs(step.t_new, y) if np.any(s < 1) else k0
            k0 = k_end if good.ndim == 0 else np.where(good[:, None], k_end, k0)
        factor = step_factor(solver.controller, err, err_previous, tableau.order_err or tableau.order - 1)
        factor = np.where(grow | failed, factor, np.minimum(factor, 1.0))
        err_previous, grow = np.where(good, err, err_previous), ~failed
        wish = (s_new - s_old) * factor
        wish = np.where(good & (s_new == 1), np.maximum(wish, ds), wish)  # a step cut short to land says little
        ds = np.where(active, wish, ds)
        statistics.next_step = np.max(np.abs(ds * length)) if good.ndim == 0 else np.abs(ds * length)


def _quiet() -> np.errstate:
    """NumPy need not warn of NaN and infinity: they raise below, with t, h and samples, or the step is repeated."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def first_fraction(
    rhs: Rhs, span: Span, y: Array, k0: Array, norm: ErrorNorm, solver: Solver, statistics: Statistics
) -> Array:
    """The first step as a fraction of the segment: what the last segment wished, what was asked, or Hairer's."""
    length = np.abs(span.length)
    if norm.over != "own":
        length = np.max(length)
    known = known_fraction(length, solver, statistics)
    if known is not None:
        return known
    with _quiet():
        ds = first_step(rhs, span.start, span.length, y, k0, norm, solver.tableau.order)
    return np.where(length == 0, 1.0, np.where(np.isfinite(ds) & (ds > 0), ds, 1e-6))


def known_fraction(length: Array, solver: Solver, statistics: Statistics) -> Array | None:
    """The first step as a fraction of the length, () or (b,), where the last segment left a wish or it was asked."""
    wish = statistics.next_step if statistics.next_step is not None else solver.first_step
    if not np.any(length):
        return np.ones(np.shape(length))
    if wish is not None and np.all((np.asarray(wish) > 0) | (length == 0)):  # a segment of length zero leaves no wish
        return np.asarray(wish / np.where(length == 0, np.inf, length) + (length == 0))
    return None


def _masked(step: Step, good: Array) -> Step:
    """The step with samples that did not accept held still."""
    if good.ndim == 0:
        return step
    row = good[:, None]
    return Step(
        step.s,
        np.where(good, step.s_new, step.s),
        step.t,
        np.where(good, step.t_new, step.t),
        np.where(good, step.h, 0.0),
        step.y,
        np.where(row, step.y_new, step.y),
        np.where(row, step.k, 0.0),
        step.err,
    )


def _check_progress(span: Span, s: Array, h: Array, failed: Array, err: Array) -> None:
    """Raise if a failed step cannot be made smaller."""
    small = np.abs(h) <= 16 * np.spacing(np.maximum(np.abs(span.start), np.abs(span.end)))
    stuck = failed & (small if failed.ndim else np.all(small))
    if np.any(stuck):
        where = _where(span.at(s), h, stuck)
        if np.any(stuck & ~np.isfinite(err)):
            raise NonFiniteState("the state is NaN or infinite however small the step", *where)
        raise StepUnderflow("the step fell below the resolution of t without meeting the tolerance", *where)


def check_finite(y: Array, t: Array, h: Array | None) -> None:
    """Raise NonFiniteState, with t, h and the samples, if y (b, n) is not finite."""
    finite = np.isfinite(y)
    if not finite.all():
        bad = ~finite.all(axis=1)
        raise NonFiniteState("the state or the field is NaN or infinite", *_where(t, h, bad))


def _where(t: Array, h: Array | None, mask: Any) -> tuple[float, float | None, list[int]]:
    """t, h and the samples of the first True in mask; all samples if it is ()."""
    samples = np.flatnonzero(mask).tolist() if np.ndim(mask) else []
    i = samples[0] if samples else 0

    def pick(v: Array) -> float:
        v = np.real(v)
        return float(v if np.ndim(v) == 0 else v[min(i, len(v) - 1)])

    return pick(t), None if h is None else pick(h), samples


def uniform_fractions(span: Span, whole: Array, n_steps: int) -> Array:
    """Fractions (N + 1,) of a segment of a span of length `whole`: its share of n_steps, rounded up, at least one."""
    whole = np.abs(np.real(whole))
    share = np.max(np.abs(np.real(span.length)) / np.where(whole == 0, 1, whole))
    return np.linspace(0, 1, max(1, int(np.ceil(n_steps * share * (1 - 1e-12)))) + 1)


def error_norm(solver: Solver, atol: Array | None = None) -> ErrorNorm:
    """The solver's norm, with another absolute tolerance if one is given."""
    over: Literal["batch", "max", "own"] = "own" if solver.steps == "own" else solver.norm
    if solver.rtol is None or solver.atol is None:
        raise NumericalError("a solver with fixed steps has no error norm")
    return ErrorNorm(solver.rtol, np.asarray(solver.atol if atol is None else atol), over)


def segment_steps(
    rhs: Rhs, span: Span, whole: Array, y: Array, solver: Solver, statistics: Statistics, atol: Array | None = None,
    proposal: Sequence[float] = (),
) -> Iterator[Step]:  # fmt: skip
    """Steps over one segment of a span of length `whole`, fixed or adaptive as the solver says; counted."""
    counted = statistics.counting(rhs)
    if solver.adaptive:
        yield from adaptive_steps(counted, span, y, solver, error_norm(solver, atol), statistics, proposal)
        return
    fractions = uniform_fractions(span, whole, solver.n_steps or 1)
    for step in prescribed_steps(counted, span, y, fractions, solver.tableau):
        statistics.accepted = statistics.accepted + 1
        yield step
