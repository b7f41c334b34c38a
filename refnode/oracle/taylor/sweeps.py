"""The way out and the way back over one segment, by Taylor steps.

On the way out the series of the state are kept, so that z is known everywhere. On the way back the costate takes steps
of its own, each as long as the series of the state and of the costate both allow: a stiff field's fast modes have died
out in z but not in a, whose series they dominate.
"""

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from refnode.arrays import Array
from refnode.errors import NonFiniteState, TooManySteps
from refnode.oracle.taylor.core.cotangents import Gathered, expand_back, gather
from refnode.oracle.taylor.core.series import Work, expand
from refnode.oracle.taylor.core.steps import evaluate, integrate, longest, to_unit_step
from refnode.oracle.taylor.decimals import number, pair
from refnode.oracle.taylor.tape import Program, Weights

NEARLY_THERE = Decimal("1.01")  # a step may be longer by this factor, to land on the end
MOST_STEPS = 100_000


class Steps(NamedTuple):
    """How steps are chosen: the log of what a series' last terms may be of its largest, and a factor on the length."""

    log_tol: float
    factor: float


class Flow(NamedTuple):
    """What moves one sample over one segment: the tape, its weights, constants (2, n), and room for series."""

    program: Program
    weights: Weights
    const: Array
    work: Work


class Node(NamedTuple):
    """Where a step starts, and the series of the state there (orders, d), highs and lows."""

    t: Decimal
    z_h: Array
    z_l: Array

    def at(self, t: Decimal) -> Array:
        """z(t) (2, d)."""
        return series_at(self.z_h, self.z_l, t - self.t)


def series_at(x_h: Array, x_l: Array, h: Decimal) -> Array:
    """Series (orders, d) at h: (2, d)."""
    out = np.empty((2, x_h.shape[1]))
    evaluate(x_h, x_l, *pair(h), out[0], out[1])
    return out


def advance(flow: Flow, t: Decimal, end: Decimal, z: Array, steps: Steps) -> tuple[list[Node], Array, Decimal]:
    """Steps of the state z (2, d) from t to the end: their nodes, z there, and the running loss's integral.

    Raises
    ------
    NonFiniteState, TooManySteps
    """
    P, w, const, K = flow
    nodes, q = list[Node](), Decimal(0)
    while t != end:
        expand(P, w, const[0], const[1], *pair(t), z[0], z[1], K)
        nodes.append(Node(t, K.S.h[:, : P.d].copy(), K.S.l[:, : P.d].copy()))
        h = _forward(longest(K.S, P.groups, False, _room(t, end, steps), steps.log_tol), t, end, steps)
        z = nodes[-1].at(t + h)
        if P.loss >= 0:
            q += number(integrate(K.S.h[:, P.loss].copy(), K.S.l[:, P.loss].copy(), *pair(h)))
        _check(z, t, h, len(nodes))
        t += h
    return nodes, z, q


def retreat(flow: Flow, nodes: list[Node], t: Decimal, a: Array, g: Array, steps: Steps, into: Gathered) -> Array:
    """Steps of the costate a (2, d) from t back to the first node: a there. What weights gain is added to `into`.

    g (2,) is the cotangent of the running loss's integral.
    """
    P, w, const, K = flow
    count, ahead = 0, list(nodes)
    while ahead:
        start, z = nodes[0].t, ahead[-1].at(t)
        expand(P, w, const[0], const[1], *pair(t), z[0], z[1], K)
        expand_back(P, w, a, g, K)
        length = longest(K.S, P.groups, False, _room(t, start, steps), steps.log_tol)
        h = _forward(longest(K.R, P.groups, True, length, steps.log_tol), t, start, steps)
        a, count = series_at(K.a.h, K.a.l, h), count + 1
        to_unit_step(K.S, *pair(h))
        to_unit_step(K.R, *pair(h))
        gather(P, K, *pair(-h), into)
        _check(a, t, h, count)
        t += h
        while ahead and abs(ahead[-1].t - start) >= abs(t - start):
            ahead.pop()  # t is not beyond this node
    return a


def _room(t: Decimal, end: Decimal, steps: Steps) -> float:
    """The longest step worth finding: with the factor it reaches the end."""
    return float(abs(end - t)) / steps.factor


def _forward(length: float, t: Decimal, end: Decimal, steps: Steps) -> Decimal:
    """The step towards the end, or onto it."""
    h, left = Decimal(length * steps.factor), end - t
    return left if h * NEARLY_THERE >= abs(left) else h.copy_sign(left)


def _check(x: Array, t: Decimal, h: Decimal, count: int) -> None:
    if not np.isfinite(x).all() or not h.is_finite():
        raise NonFiniteState("a Taylor series left the floats", float(t), float(h))
    if count > MOST_STEPS:
        raise TooManySteps(f"more than {MOST_STEPS} Taylor steps", float(t), float(h))
