"""The gate: three runs of two orders and two step sizes, whose disagreement is the radius.

Each run's error is truncation, which another order or step size changes by powers of ten, and round-off, which they
draw anew. Where the runs agree they are right to a few times their disagreement; a floor stands for errors that they
share, which are those of the last bits of every operation. A segment that is short takes the same steps in all runs,
which then share its round-off: the floor is so much for each segment.
"""

from decimal import Context, localcontext
from math import log

import numpy as np

from refnode.arrays import Array
from refnode.errors import InvalidArgument, NotEnoughDigits
from refnode.oracle.taylor.core.double import EPS
from refnode.oracle.taylor.decimals import DIGITS, Decimals, decimals, number, pairs
from refnode.oracle.taylor.gradient import TaylorGradient, taylor_gradient
from refnode.oracle.taylor.refusals import refuse
from refnode.oracle.taylor.solve import Precision, setup
from refnode.oracle.taylor.sweeps import Steps
from refnode.oracle.truth import Truth
from refnode.problem import Problem

TOLERANCE = 2.0**-108  # of a series' last terms: below round-off
RUNS = (
    Precision(36, Steps(log(TOLERANCE), 0.75)),  # the midpoint: the shorter steps
    Precision(36, Steps(log(TOLERANCE), 1.0)),
    Precision(30, Steps(log(TOLERANCE), 1.0)),
)
SAFETY = 4.0  # on the runs' disagreement
SHARED = 8.0  # units of round-off that all runs may share in a segment, of the sizes of what is added up
MOST_DIGITS = 31.0
ROUND_UP = 1 + 2.0**-40  # for the rounding of a radius itself


def verify(problem: Problem, digits: float = 28) -> Truth:
    """A problem's gradient to about 30 digits, in double-double arithmetic by Taylor's method.

    Parameters
    ----------
    problem    any whose parts have Taylor series: no ReLU, no functions of your own
    digits     digits that every leaf must have, against its largest entry

    Returns
    -------
    Truth    kind "verified": midpoints of 32 digits, radii believed, not proven

    Raises
    ------
    NotProvable        for a problem that it does not take, with the reason
    NotEnoughDigits    naming the leaf, what it has, and why
    NumericalError     if the problem cannot be solved

    Cost     2-8-2: a tenth of a second; three solves of order 30 to 36, each out and back.
    Source   Jorba & Zou 2005; for the gate, see `refnode.oracle.taylor.gate`.
    """
    if isinstance(digits, bool) or not isinstance(digits, int | float) or not 0 < digits <= MOST_DIGITS:
        raise InvalidArgument("digits", digits, f"a number > 0, at most {MOST_DIGITS:g}: what a double-double holds")
    refuse(problem)
    with localcontext(Context(prec=DIGITS)):
        made = setup(problem)
        truth = _truth([taylor_gradient(made, run) for run in RUNS], SHARED * len(problem.layout.cells))
    _check(truth, digits)
    return truth


def _truth(runs: list[TaylorGradient], shared: float) -> Truth:
    """The first run's numbers as pairs, with radii; what cannot be told from zero is zero, within a radius that much
    larger."""
    best, others = runs[0], runs[1:]
    mid, radius = {}, {}
    for name, g in best.grads.items():
        r, size = _radius(best, others, shared, name), _largest(g)
        zero = size <= r
        mid[name] = np.zeros((2, *np.shape(g))) if zero else pairs(g)
        radius[name] = np.full(np.shape(g), (r + size) * ROUND_UP if zero else r)
    loss_radius = SAFETY * max(abs(float(run.loss - best.loss)) for run in others) + shared * EPS * best.loss_size
    how = f"double-double Taylor series of {RUNS[0].orders} and {RUNS[2].orders} terms, two step lengths"
    return Truth(
        grads={name: p[0] for name, p in mid.items()},
        radius=radius,
        kind="verified",
        how=how,
        mid={name: decimals(p) for name, p in mid.items()},
        loss=number(pairs(best.loss)),
        loss_radius=loss_radius * ROUND_UP,
    )


def _radius(best: TaylorGradient, others: list[TaylorGradient], shared: float, name: str) -> float:
    """Of a leaf: one number for all entries, as the errors are normwise."""
    spread = max(_largest(other.grads[name] - best.grads[name]) for other in others)
    floor = shared * EPS * max(_largest(best.sizes[name]), _largest(best.grads[name]))
    return (SAFETY * spread + floor) * ROUND_UP


def _largest(a: Array | Decimals) -> float:
    return float(np.max(np.abs(np.asarray(a, dtype=object).astype(np.float64)), initial=0.0))


def _check(truth: Truth, digits: float) -> None:
    have = _digits(truth)
    worst = min(have, key=lambda name: have[name])
    if have[worst] < digits:
        why = "its runs of two orders and two step sizes agree to no more, or cancellation leaves no more"
        raise NotEnoughDigits(f"{digits} digits were asked for; {worst} has {have[worst]:.1f} by {truth.how}: {why}")


def _digits(truth: Truth) -> dict[str, float]:
    """Digits of every leaf, beyond a float's sixteen."""
    scale = truth.scales()
    return {
        name: MOST_DIGITS if r == 0 else float(-np.log10(r / scale[name])) if scale[name] else 0.0
        for name, r in ((name, _largest(r)) for name, r in truth.radius.items())
    }


