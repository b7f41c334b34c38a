"""Losses of a prediction at one time, in Decimals: value and gradient."""

from decimal import Decimal

import numpy as np

from refnode.loss import CrossEntropy, LinearFunctional, PointLoss, SquaredError, StandardNormal
from refnode.oracle.taylor.decimals import PI, Decimals, exact
from refnode.oracle.taylor.dynamics import factor

LOSSES = SquaredError, LinearFunctional, StandardNormal, CrossEntropy


def point_loss(term: PointLoss, sample: int, batch: int, y: Decimals) -> tuple[Decimal, Decimals]:
    """The weighted loss of a sample's prediction y (k,), and its gradient (k,)."""
    c = factor(term, batch)
    if isinstance(term, SquaredError):
        e = y - _row(term.target, sample)
        return c * (e * e).sum(), 2 * c * e
    if isinstance(term, LinearFunctional):
        row = _row(term.c, sample)
        return c * (row * y).sum(), c * row
    if isinstance(term, StandardNormal):
        return c * ((y * y).sum() + len(y) * (2 * PI).ln()) / 2, c * y
    assert isinstance(term, CrossEntropy)
    label = int(term.labels[sample])
    e = np.array([(v - max(y)).exp() for v in y], dtype=object)
    hot = np.array([Decimal(int(j == label)) for j in range(len(y))], dtype=object)
    return c * (max(y) + e.sum().ln() - y[label]), c * (e / e.sum() - hot)


def _row(a: np.ndarray, sample: int) -> Decimals:
    return exact(a[sample] if a.ndim == 2 else a)
