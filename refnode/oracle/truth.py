"""A gradient that others are held to: midpoints, radii, and what the radii are worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import numpy as np

from refnode.api import digits_left
from refnode.arrays import Array

Kind = Literal["closed form", "proven", "verified", "estimated"]


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
    """

    grads: Mapping[str, Array]
    radius: Mapping[str, Array]
    kind: Kind
    how: str
    mid: Mapping[str, Array] = field(default_factory=dict)
    loss: Decimal | None = None
    loss_radius: float = np.inf

    def scales(self, faint: Sequence[str] = ()) -> dict[str, float]:
        """What an error in a leaf is measured against: its largest entry; all leaves' for zero and faint ones."""
        own = {leaf: float(np.max(np.abs(g), initial=0.0)) for leaf, g in self.grads.items()}
        largest = max(own.values())
        return {leaf: largest if leaf in faint else size or largest for leaf, size in own.items()}

    def digits(self, faint: Sequence[str] = ()) -> dict[str, float]:
        """Digits of every leaf that the radius leaves."""
        scale = self.scales(faint)
        return {leaf: digits_left(float(np.max(r, initial=0.0)), scale[leaf]) for leaf, r in self.radius.items()}
