"""A gradient that others are held to: midpoints, radii, and what the radii are worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Literal

import numpy as np

from refnode.arrays import Array
from refnode.oracle.decimals import exact

Kind = Literal["closed form", "proven", "verified", "estimated"]

PRECISION = 60  # decimal digits of |g - mid|: its own rounding is nothing beside a radius


@dataclass(frozen=True, eq=False)
class Truth:
    """A reference gradient.

    grads    leaf name -> the float64 nearest to the midpoint, shaped like the leaf
    radius   leaf name -> radius, shaped like the leaf, about the midpoint and rounded up: the true value is within it
             (proven kinds), or is believed to be
    kind     "closed form", "proven", "verified" or "estimated"
    how      what was computed
    mid      leaf name -> midpoint as Decimals (dtype object), for leaves known beyond float64; else grads are midpoints
    loss     midpoint of the loss, if it was computed, and its radius
    passed   better rung of the ladder -> why the truth does not stand on it
    """

    grads: Mapping[str, Array]
    radius: Mapping[str, Array]
    kind: Kind
    how: str
    mid: Mapping[str, Array] = field(default_factory=dict)
    loss: Decimal | None = None
    loss_radius: float = np.inf
    passed: Mapping[str, str] = field(default_factory=dict)

    def gap(self, leaf: str, g: Array) -> Array:
        """|g - mid|, entry by entry, subtracted before anything is rounded to float64; infinite for NaN."""
        if leaf not in self.mid:
            off = np.abs(g - self.grads[leaf])
            return np.where(np.isnan(off), np.inf, off)
        with localcontext() as context:
            context.prec = PRECISION
            pairs = zip(np.asarray(g, dtype=np.float64).ravel().tolist(), self.mid[leaf].ravel(), strict=True)
            off = [float(abs(Decimal(v) - mid)) if np.isfinite(v) else np.inf for v, mid in pairs]
        return np.array(off).reshape(self.grads[leaf].shape)

    def midpoints(self, leaf: str) -> Array:
        """The midpoints of a leaf as Decimals, shaped like it; of one known in float64 those exact numbers."""
        return np.asarray(self.mid[leaf], dtype=object) if leaf in self.mid else exact(self.grads[leaf])

    def midpoint(self, leaf: str, index: tuple[int, ...]) -> Decimal:
        """The midpoint of one number."""
        return self.midpoints(leaf).item(*index)

    def words(self, leaf: str, index: tuple[int, ...], digits: int = 17) -> str:
        """The midpoint of one number, to so many digits."""
        return f"{self.midpoint(leaf, index):.{digits}g}"

    def scales(self, faint: Sequence[str] = ()) -> dict[str, float]:
        """What an error in a leaf is measured against: its largest entry; all leaves' for zero and faint ones."""
        own = {leaf: float(np.max(np.abs(g), initial=0.0)) for leaf, g in self.grads.items()}
        largest = max(own.values())
        return {leaf: largest if leaf in faint else size or largest for leaf, size in own.items()}

    def digits(self, faint: Sequence[str] = ()) -> dict[str, float]:
        """Digits of every leaf that the radius leaves, however many; infinite where it is zero."""
        scale = self.scales(faint)
        return {leaf: known_digits(float(np.max(r, initial=0.0)), scale[leaf]) for leaf, r in self.radius.items()}


def known_digits(radius: float, scale: float) -> float:
    """-log10(radius / scale), at least zero: unlike `digits_left` it goes beyond float64.

    >>> known_digits(1e-24, 1.0), known_digits(0.0, 0.0)
    (24.0, inf)
    """
    if radius == 0:
        return float(np.inf)
    if not np.isfinite(radius) or scale == 0:
        return 0.0
    return max(0.0, float(np.log10(scale) - np.log10(radius))) + 0.0  # not -0.0


def place(leaf: str, index: tuple[int, ...]) -> str:
    """One number by its name.

    >>> place("theta.W0", (1, 0)), place("T", ())
    ('theta.W0[1, 0]', 'T')
    """
    return f"{leaf}{list(index) if index else ''}"


def location(k: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of entry k of a flat leaf.

    >>> location(3, (2, 2)), location(0, ())
    ((1, 1), ())
    """
    return tuple(int(i) for i in np.unravel_index(k, shape))


def farthest(a: Array) -> tuple[int, ...]:
    """The index of the largest entry.

    >>> farthest(np.array([[1.0, 3.0], [2.0, 0.0]]))
    (0, 1)
    """
    return location(int(np.argmax(a)), a.shape)
