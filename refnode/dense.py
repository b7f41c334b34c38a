"""Dense output: the solution between steps, by each tableau's interpolant.

Order and coefficients stand in the tableau; y(theta) = y_n + h sum_i w_i(theta) k_i over the stages and extra ones.

Source   Hairer, Norsett, Wanner, Solving ODEs I, sec. II.6.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from refnode.arrays import Array, column
from refnode.errors import InvalidArgument
from refnode.integrate import Step
from refnode.span import Span
from refnode.steps import Rhs, stage_time
from refnode.tableau import Tableau

Side = Literal["before", "after"]


def with_extra_stages(rhs: Rhs, step: Step, tableau: Tableau) -> Array:
    """The stages of a step and those that only the interpolant needs: (S, b, n)."""
    c, a = tableau.extra
    k = np.empty((tableau.dense_stages, *step.y.shape))
    k[: tableau.stages] = step.k
    for i in range(len(c)):
        n = tableau.stages + i
        y_i = step.y + column(step.h) * np.tensordot(a[i, :n], k[:n], axes=1)
        k[n] = rhs(stage_time(step.t, step.t_new, step.h, c[i]), y_i)
    return k


class DenseSegment:
    """y(t) on one segment: a function of t () or (b,) that returns (b, n).

    Parameters
    ----------
    rhs      F(t, y), called for the interpolant's extra stages
    span     the segment
    steps    its accepted steps, in order
    """

    def __init__(self, rhs: Rhs, span: Span, steps: Sequence[Step], tableau: Tableau) -> None:
        self.span, self.tableau = span, tableau
        self.s = np.array([step.s for step in steps])  # (N,) or (N, b)
        self.s_new = np.array([step.s_new for step in steps])
        self.h = np.array([step.h for step in steps])
        self.y = np.array([step.y for step in steps])  # (N, b, n)
        self.k = np.array([with_extra_stages(rhs, step, tableau) for step in steps])  # (N, S, b, n)

    @property
    def bytes(self) -> int:
        """Memory held."""
        return self.y.nbytes + self.k.nbytes

    def fractions(self) -> Array:
        """The grid (N + 1,): that of the batch, or of the sample that took the most steps."""
        moved = self.s_new > self.s
        busiest = moved.sum(axis=0).argmax() if moved.ndim == 2 else None
        s_new = self.s_new if busiest is None else self.s_new[moved[:, busiest], busiest]
        return np.concatenate([[0.0], s_new])

    def __call__(self, t: Array) -> Array:
        """y(t) (b, n)."""
        length = self.span.length
        s = np.clip((t - self.span.start) / np.where(length == 0, 1, length), 0, 1)
        if s.ndim == 0 and self.s.ndim == 1:
            n = min(int(np.searchsorted(self.s_new, s, side="right")), len(self.s) - 1)
            w = self.tableau.dense_weights(np.asarray((s - self.s[n]) / (self.s_new[n] - self.s[n])))
            return self.y[n] + column(self.h[n]) * np.tensordot(w, self.k[n], axes=1)
        rows = np.arange(self.y.shape[1])
        s = np.broadcast_to(s, rows.shape)
        s_low, s_high, h = (_per_sample(v, len(rows)) for v in (self.s, self.s_new, self.h))
        n = np.minimum((s_high <= s).sum(axis=0), len(s_low) - 1)  # (b,)
        ds = s_high[n, rows] - s_low[n, rows]
        theta = np.where(ds > 0, (s - s_low[n, rows]) / np.where(ds > 0, ds, 1), 1.0)
        w = self.tableau.dense_weights(theta)  # (b, S)
        return self.y[n, rows] + column(h[n, rows]) * np.einsum("bs,bsn->bn", w, self.k[n, :, rows])


def _per_sample(v: Array, batch: int) -> Array:
    """v (N,) or (N, b) as (N, b)."""
    return v if v.ndim == 2 else np.broadcast_to(v[:, None], (len(v), batch))


def segment_of(spans: Sequence[Span], t: Array, side: Side, batch: int) -> Array:
    """The segment (b,) that holds t, () or (b,), of every sample; where two do, the one on the given side.

    A segment of length zero, behind the end of a sample's span, holds nothing, unless the whole span has no length.
    """
    low = np.array([np.broadcast_to(np.minimum(span.start, span.end), (batch,)) for span in spans])
    high = np.array([np.broadcast_to(np.maximum(span.start, span.end), (batch,)) for span in spans])
    long = high > low
    holds = (low <= t) & (t <= high) & (long | ~long.any(axis=0))
    if not holds.any(axis=0).all():
        allowed = f"inside every sample's span, from {spans[0].start.tolist()} to {spans[-1].end.tolist()}"
        raise InvalidArgument("t", str(t.tolist()), allowed)
    return holds.argmax(axis=0) if side == "before" else len(spans) - 1 - holds[::-1].argmax(axis=0)


def by_row(segment: Array, on: Callable[[int], Array]) -> Array:
    """on(i) (b, n) or (b,) with every row taken from the segment that its sample is on."""
    parts = {int(i): on(int(i)) for i in np.unique(segment)}
    return np.array([parts[int(i)][row] for row, i in enumerate(segment)])
