"""Gradients of a problem's leaves while they are gathered: sums of matrices of balls, and bounds of what they miss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flint import arb

from refnode.arrays import Array
from refnode.oracle.proof.discs import up
from refnode.oracle.proof.graph import Weight

Balls = Array  # of dtype object, holding balls


class Gathered:
    """dloss/dM for the weights of a graph, summed over steps, then dealt to the leaves."""

    def __init__(self) -> None:
        self.sums: dict[tuple[Any, ...], tuple[Weight, Any]] = {}
        self.errors: dict[tuple[Any, ...], Array] = {}
        self.leaves: dict[str, list[tuple[Any, Balls]]] = {}

    def add(self, weight: Weight, g: Any, error: Array | float = 0.0) -> None:
        """g (o, i), known up to error (o, i)."""
        old = self.sums.get(weight.key)
        self.sums[weight.key] = (weight, g if old is None else old[1] + g)
        self.errors[weight.key] = up(np.asarray(self.errors.get(weight.key, 0.0) + error))

    def add_to(self, leaf: str, index: Any, balls: Balls) -> None:
        """Balls for a part of a leaf."""
        self.leaves.setdefault(leaf, []).append((index, balls))

    def deal(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Balls]:
        """Every leaf's gradient in its own shape."""
        found = {leaf: np.full(shape, arb(0), dtype=object) for leaf, shape in shapes.items()}
        for weight, g in self.sums.values():
            error = self.errors[weight.key]
            wide = with_error(g, error)
            _place(found[weight.leaf], weight, wide)
        for leaf, parts in self.leaves.items():
            for index, balls in parts:
                found[leaf][index] = found[leaf][index] + balls
        return found


def with_error(matrix: Any, error: Array | float) -> Balls:
    """A matrix of balls, widened."""
    shape = (matrix.nrows(), matrix.ncols())
    wide = np.broadcast_to(error, shape).ravel().tolist()
    flat = np.empty(len(wide), dtype=object)
    flat[:] = [v + arb(0, e) if e else v for v, e in zip(matrix.entries(), wide, strict=True)]
    return flat.reshape(shape)


def _place(leaf: Balls, weight: Weight, g: Balls) -> None:
    """Add g (o, m i) to the part of a leaf that the weight holds: (m, i, o), (i, o), (m, o) or (o,)."""
    part = leaf[weight.where] if weight.where is not None else leaf
    if weight.diagonal:  # (o, m o) -> (m, o)
        o = g.shape[0]
        g = np.array([[g[j, m * o + j] for j in range(o)] for m in range(g.shape[1] // o)], dtype=object)
        part += g.reshape(part.shape)
    elif weight.rows is not None and part.ndim >= 2:
        part = part[..., : weight.rows, :]
        part += g.T.reshape(part.shape)
    else:
        part += g.T.reshape(part.shape)
