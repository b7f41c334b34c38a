"""What a kernel is compiled for: numbers that are constants in its machine code."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from refnode.tableau import TABLEAUX, Tableau

Keep = Literal["nothing", "states", "stages"]
Functions = Literal["", "recurrence", "waves", "bells", "lines"]
ACTS = ("tanh", "softplus", "sin", "sigmoid", "relu", "identity")
LARGEST_HIDDEN = 32  # lanes of a warp: in the backward pass each lane owns a neuron
THREADS = 64  # of a block: 2 * 32 * 65 numbers of shared memory stay below 48 KB in float64
MOST_SHARED = 48 * 1024  # bytes of shared memory that a block may have
LANES = 32  # threads of a warp
PITCH = THREADS + 1  # from one neuron's column in shared memory to the next: lanes meet no bank twice
AT_ONCE = 4  # neurons at a turn of the loop over them, so that loads of one overlap with arithmetic of another
U = np.uint64  # of indices: a signed one might be counted from the end, which costs instructions


@dataclass(frozen=True)
class Shape:
    """An MLP with one hidden layer and a state, stepped by one tableau in one precision.

    dtype         "float32" or "float64"
    hidden, out   widths n_1 <= 32 and n_2 of the field; d, controls   widths of z and of the control
    act           activation;  bias   whether layers have one;  timed   whether t enters each of the two layers
    running       whether y has a last column for the running loss c_z |z|^2 + c_f |f|^2 + c_r |z'|^2
    basis         m, coefficients of each weight that theta(t) varies by, or 0
    tableau       name
    keep          what a forward solve leaves for its gradient
    own           whether every trajectory has a grid of its own
    functions     the family of psi (see psi.py) where each trajectory has its own theta(t); "": a table has psi of all
    """

    dtype: Literal["float32", "float64"]
    d: int
    hidden: int
    out: int
    act: str = "tanh"
    controls: int = 0
    bias: bool = True
    timed: tuple[bool, bool] = (False, False)
    running: bool = False
    basis: int = 0
    tableau: str = "rk4"
    keep: Keep = "nothing"
    own: bool = False
    functions: Functions = ""

    @property
    def network(self) -> "Shape":
        """The shape without tableau, what is kept and whose the grid is, on which the field does not depend."""
        return Shape(
            self.dtype, self.d, self.hidden, self.out, self.act, self.controls, self.bias, self.timed, self.running,
            self.basis, functions=self.functions,
        )  # fmt: skip

    @property
    def butcher(self) -> Tableau:
        """The tableau."""
        return TABLEAUX[self.tableau]

    @property
    def width(self) -> int:
        """w, of y = [z, q] or z."""
        return self.d + self.running

    @property
    def real(self) -> Any:
        """The scalar type."""
        return np.dtype(self.dtype).type

    @property
    def rows(self) -> int:
        """Trajectories of a block."""
        return THREADS

    @property
    def threads(self) -> int:
        """Of a block."""
        return THREADS

    # ---- where a neuron's numbers stand: W0[:, j] for z and x, for t, b0[j], W1[j, :]

    @property
    def inputs(self) -> int:
        """Numbers that enter a neuron: z, the control, and t if it enters."""
        return self.d + self.controls + self.timed[0]

    @property
    def numbers(self) -> int:
        """Numbers of a neuron: inputs, bias, outputs."""
        return self.inputs + 1 + self.out

    @property
    def stride(self) -> int:
        """From one neuron to the next: whole 16 bytes, which one instruction loads."""
        at_once = 16 // np.dtype(self.dtype).itemsize
        return -(-self.numbers // at_once) * at_once

    @property
    def neurons(self) -> int:
        """Hidden units in whole turns of the loop over them; those beyond `hidden` have no weights."""
        return -(-self.hidden // AT_ONCE) * AT_ONCE

    @property
    def tail(self) -> int:
        """Numbers behind the neurons: b1, and W1's row for t if it enters."""
        return self.out * (1 + self.timed[1])

    @property
    def size(self) -> int:
        """Numbers of theta as a kernel reads it; a bias that the field has not is zero."""
        return self.neurons * self.stride + self.tail

    @property
    def fits(self) -> bool:
        """Whether shared memory holds theta, a tableau and what neurons and trajectories leave there on a way back."""
        s = self.butcher.stages
        columns = self.d + self.controls + any(self.timed) + self.out + self.basis * bool(self.functions)
        numbers = (1 + self.basis) * self.size + s * s + 3 * s + 2 * self.neurons * PITCH + columns * THREADS
        return numbers * np.dtype(self.dtype).itemsize <= MOST_SHARED

    @property
    def depths(self) -> int:
        """Depths of all trajectories that theta(t) gives a cotangent to: the segment's start and end, t0 and T."""
        return 4 if self.basis and not self.functions else 0

    @property
    def columns(self) -> int:
        """Numbers of a stage's row: psi, psi' and the derivatives of u by the segment's start and end, t0 and T; or by
        t, t0 and T, where each trajectory has its own."""
        return 2 * self.basis + (3 if self.functions else 4) if self.basis else 0
