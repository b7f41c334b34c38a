"""A truth taken apart: what the loss's point terms and its integral contribute, and what each sample does.

The gradient is linear in the loss, and the loss is a sum over samples, so each part is the gradient of another problem:
of some terms, or of one sample. An engine is any function from a problem to a Truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from refnode.loss import Loss
from refnode.oracle.decimals import EXACT, exact, float_above
from refnode.oracle.truth import Truth
from refnode.problem import Problem

Engine = Callable[[Problem], Truth]
DATA = ("target", "c", "labels", "w")  # what a term may hold for each sample


def terminal_part(problem: Problem, engine: Engine) -> Truth | None:
    """What the losses at T and at observation times contribute; None if there are none."""
    loss = problem.loss
    if loss.terminal is None and loss.observations is None:
        return None
    return _part(problem, replace(loss, running=()), engine)


def integral_part(problem: Problem, engine: Engine) -> Truth | None:
    """What the running losses contribute; None if there are none."""
    if not problem.loss.running:
        return None
    return _part(problem, replace(problem.loss, terminal=None, observations=None), engine)


def sample_parts(problem: Problem, engine: Engine) -> tuple[Truth, ...]:
    """What each sample contributes.

    The problem of one sample counts it whole where a term averages: averaged and summed terms are taken one after the
    other, and the first divided by the batch, so that no weight is rounded.
    """
    return tuple(_sample(problem, i, engine) for i in range(problem.batch))


def _part(problem: Problem, loss: Loss, engine: Engine) -> Truth:
    return placed(problem, [(engine(replace(problem, loss=loss)), 1)])


def _sample(problem: Problem, i: int, engine: Engine) -> Truth:
    terms = [
        (engine(_alone(problem, i, loss)), share)
        for reduction, share in (("mean", problem.batch), ("sum", 1))
        if (loss := _reduced(problem.loss, reduction)) is not None
    ]
    return placed(problem, terms, i)


def _reduced(loss: Loss, reduction: str) -> Loss | None:
    """The terms of one reduction; None if there are none. Observations stay where they are, some with weight zero."""
    terminal = loss.terminal if _is(loss.terminal, reduction) else None
    running = tuple(term for term in loss.running if _is(term, reduction))
    seen = loss.observations
    if seen is not None and not any(_is(term, reduction) for term in seen.terms):
        seen = None
    if seen is not None:
        seen = replace(seen, terms=tuple(_only(term, reduction) for term in seen.terms))
    if terminal is None and not running and seen is None:
        return None
    return replace(loss, terminal=terminal, observations=seen, running=running)


def _is(term: Any, reduction: str) -> bool:
    return term is not None and term.reduction == reduction


def _only(term: Any, reduction: str) -> Any:
    return term if _is(term, reduction) else 0.0 * term


def _alone(problem: Problem, i: int, loss: Loss) -> Problem:
    """The problem of sample i, with its own rows of x, of the terms' data, of t0 and of T."""
    terminal, seen = loss.terminal and _row(loss.terminal, i), loss.observations
    observed = seen and replace(seen, terms=tuple(_row(term, i) for term in seen.terms))
    mine = replace(loss, terminal=terminal, observations=observed, running=tuple(_row(t, i) for t in loss.running))
    t0, T = (end[i : i + 1] if end.ndim else end for end in problem.span)  # type: ignore[union-attr]
    span = (t0, None if problem.model.adaptive else T)
    return Problem(problem.model, problem.params, problem.x[i : i + 1], mine, span)


def _row(term: Any, i: int) -> Any:
    """A term with the data of sample i alone; what is the same for all samples stays."""
    data = {name: getattr(term, name) for name in DATA if hasattr(term, name)}
    data = {name: a[i : i + 1] for name, a in data.items() if a.ndim == 2 or name == "labels"}
    if getattr(term, "noise", None) is not None:
        data["noise"] = term.noise[:, i : i + 1]
    return replace(term, **data)


def total(problem: Problem, parts: Sequence[Truth]) -> Truth:
    """The sum of truths, the loss with it; one alone stays as it is."""
    if len(parts) == 1:
        return parts[0]
    whole = placed(problem, [(part, 1) for part in parts])
    losses, radii = [part.loss for part in parts], [Decimal(part.loss_radius) for part in parts]
    if any(loss is None for loss in losses):
        return whole
    with localcontext(EXACT):
        loss = sum((loss for loss in losses if loss is not None), Decimal(0))
        return replace(whole, loss=loss, loss_radius=float_above(sum(radii, Decimal(0))))


def placed(problem: Problem, terms: Sequence[tuple[Truth, int]], i: int | None = None) -> Truth:
    """The sum of truths, each divided by an integer, in the shapes of the problem's leaves.

    i    the sample whose truths they are: of leaves with a row for each sample they have one row. Leaves that a truth
         does not have, as observation times, get an exact zero
    """
    leaves, first = problem.leaves(), terms[0][0]
    mid = {name: np.full(leaf.shape, Decimal(0), dtype=object) for name, leaf in leaves.items()}
    radius = {name: np.full(leaf.shape, Decimal(0), dtype=object) for name, leaf in leaves.items()}
    with localcontext(EXACT) as context:
        context.prec = 100  # a division's rounding is far below any radius, and covered by rounding that up
        for truth, share in terms:
            for name in truth.grads:
                at = slice(i, i + 1) if i is not None and _own(problem, name) else ...
                mid[name][at] = mid[name][at] + truth.midpoints(name) / share
                radius[name][at] = radius[name][at] + exact(truth.radius[name]) / share
        up = {name: np.array([float_above(r) for r in a.ravel()]).reshape(a.shape) for name, a in radius.items()}
    grads = {name: np.array(a.astype(np.float64)) for name, a in mid.items()}
    return Truth(grads, up, first.kind, first.how, mid)


def _own(problem: Problem, leaf: str) -> bool:
    """Whether every sample has a row of its own in a leaf."""
    return leaf == "x" or (leaf in ("t0", "T") and problem.leaves()[leaf].ndim == 1)
