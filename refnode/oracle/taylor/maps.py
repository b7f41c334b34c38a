"""Maps h_x, h_y and the depth network at a point: a tape's series of one coefficient, and its cotangents."""

from dataclasses import dataclass

import numpy as np

from refnode.arrays import Array
from refnode.oracle.taylor.core.cotangents import Gathered, expand_back, gather, nothing_gathered
from refnode.oracle.taylor.core.series import Work, expand, work_of
from refnode.oracle.taylor.tape import Program, Weights, weights_of


@dataclass(frozen=True, eq=False)
class Point:
    """A map with its numbers; all arrays are pairs (2, ..)."""

    program: Program
    weights: Weights
    work: Work

    def forward(self, u: Array) -> Array:
        """The map of u (2, n)."""
        S, out = self.work.S, self.program.out
        expand(self.program, self.weights, u[0], u[1], 0.0, 0.0, *np.zeros((2, 0)), self.work)
        return np.stack([S.h[0, out], S.l[0, out]])

    def vjp(self, u: Array, g: Array, into: Gathered) -> tuple[Array, Array]:
        """The cotangent of u (2, n) for g (2, o), and the sizes of what it is a sum of; the weights' are added."""
        self.forward(u)
        expand_back(self.program, self.weights, g, np.zeros(2), self.work)
        alone = into._replace(**nothing_gathered(0, self.program.n_const)._asdict() | _weights(into))
        gather(self.program, self.work, 1.0, 0.0, alone)
        return np.stack([alone.c_h, alone.c_l]), alone.c_size


def _weights(G: Gathered) -> dict[str, Array]:
    return {name: getattr(G, name) for name in ("w_h", "w_l", "w_size")}


def point(program: Program, w: Array) -> Point:
    """A map's program with its weights (p,), floats."""
    weights = weights_of(program, np.stack([w, np.zeros(len(w))]))
    return Point(program, weights, work_of(program.n_slots, len(program.out), 1))
