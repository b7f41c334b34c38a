"""What a kernel for wide networks is compiled for: a block is a tile of trajectories, a thread a square of it."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from refnode.kernels.cuda.shape import MOST_SHARED, Functions, Keep
from refnode.tableau import TABLEAUX, Tableau

LARGEST_WIDTH = 128
CHUNKS = (32, 16, 8)  # rows of weights in shared memory at a time: the most that fit
ALIGNMENTS = 4 * 16  # bytes that may lie between arrays in shared memory
MOST_TABLEAU = max(tableau.stages * (tableau.stages + 3) for tableau in TABLEAUX.values())  # numbers


@dataclass(frozen=True)
class TileShape:
    """An MLP of any depth with layers up to 128 wide, a state, a tableau and a precision.

    dtype     "float32" or "float64";  d, controls   widths of z and of the control
    widths    n_1 .. n_L of the field;  act, bias   of its layers;  timed   whether t enters each
    running   whether y has a last column for the running loss c_z |z|^2 + c_f |f|^2 + c_r |z'|^2
    basis     m, coefficients of each weight that theta(t) varies by, or 0
    tableau   name
    keep      what a forward solve leaves for its gradient
    own       whether every trajectory has a grid of its own
    functions the family of psi where each trajectory has its own theta(t), as in `refnode.kernels.cuda.shape`
    """

    dtype: Literal["float32", "float64"]
    d: int
    widths: tuple[int, ...]
    act: str = "tanh"
    controls: int = 0
    bias: bool = True
    timed: tuple[bool, ...] = ()
    running: bool = False
    basis: int = 0
    tableau: str = "rk4"
    keep: Keep = "nothing"
    own: bool = False
    functions: Functions = ""

    @property
    def network(self) -> "TileShape":
        """The shape without tableau, running loss and what is kept, on which layers do not depend."""
        return TileShape(
            self.dtype, self.d, self.widths, self.act, self.controls, self.bias, self.timed, basis=self.basis,
            own=self.own, functions=self.functions,
        )  # fmt: skip

    @property
    def butcher(self) -> Tableau:
        """The tableau."""
        return TABLEAUX[self.tableau]

    @property
    def real(self) -> Any:
        """The scalar type."""
        return np.dtype(self.dtype).type

    @property
    def width(self) -> int:
        """w, of y = [z, q] or z."""
        return self.d + self.running

    @property
    def out(self) -> int:
        """n_L."""
        return self.widths[-1]

    @property
    def inputs(self) -> int:
        """n_0, without t."""
        return self.d + self.controls

    @property
    def square(self) -> int:
        """Rows and columns of a layer's output that a thread has in registers: of float64 there is room for half."""
        return 8 if self.dtype == "float32" else 4

    @property
    def hidden(self) -> int:
        """Hidden layers."""
        return len(self.widths) - 1

    @property
    def columns(self) -> int:
        """The widest hidden layer, in whole squares."""
        return -(-max(self.widths[:-1]) // self.square) * self.square

    @property
    def rows(self) -> int:
        """Trajectories of a block: 64, or 32 where 64 do not fit into shared memory."""
        return 64 if self._shared(64, 16) <= MOST_SHARED else 32

    @property
    def chunk(self) -> int:
        """Rows of weights in shared memory at a time."""
        return next((n for n in CHUNKS if self._shared(self.rows, n) <= MOST_SHARED), CHUNKS[-1])

    @property
    def fits(self) -> bool:
        """Whether shared memory holds a tile of 32: not with hundreds of inputs or outputs."""
        return self._shared(self.rows, self.chunk) <= MOST_SHARED

    @property
    def even(self) -> bool:
        """Whether hidden layers are all as wide as the tile, and that in whole chunks: then nothing is ragged."""
        return all(n == self.columns for n in self.widths[:-1]) and self.columns % self.chunk == 0

    @property
    def times_apart(self) -> bool:
        """Whether a t that enters a layer is each trajectory's own."""
        return self.own and any(self.timed)

    @property
    def times_at(self) -> int:
        """Where the trajectories' t begin in shared memory: behind activations, or cotangents."""
        return self.rows * max(self.columns, self.inputs)

    @property
    def own_at(self) -> int:
        """Behind it, psi_0 = 1, psi_1 .. psi_m where they are each trajectory's own."""
        return self.times_at + self.rows * self.times_apart

    @property
    def slopes_at(self) -> int:
        """And psi_1' .. psi_m'."""
        return self.own_at + self.rows * (1 + self.basis)

    @property
    def lines(self) -> int:
        """Sums that a layer consists of: one, or one for each line of theta, weighted by psi."""
        return 1 + self.basis if self.functions else 1

    @property
    def held_size(self) -> int:
        """Numbers of shared memory for all of these."""
        return self._held(self.rows)

    def _held(self, rows: int) -> int:
        own = 1 + 2 * self.basis if self.functions else 0
        return rows * (max(self.columns, self.inputs) + self.times_apart + own)

    @property
    def chunk_size(self) -> int:
        """Numbers of shared memory for rows of weights; the trajectories' inputs, or their cotangents; threads' sums.
        """
        return self._chunk(self.rows, self.chunk)

    def _chunk(self, rows: int, chunk: int) -> int:
        return max(chunk * self.columns, rows * max(self.inputs, self.out), 4 * self._threads(rows))

    def _shared(self, rows: int, chunk: int) -> int:
        """Bytes of shared memory that no kernel of such a tile exceeds: also a tableau's, and a number of each thread.
        """
        numbers = self._held(rows) + self._chunk(rows, chunk) + self._threads(rows) + MOST_TABLEAU
        return numbers * np.dtype(self.dtype).itemsize + ALIGNMENTS

    @property
    def slopes_kept(self) -> bool:
        """Whether the activation's slope is kept beside its value, from which it does not follow."""
        return self.act == "sin"

    @property
    def kept_size(self) -> int:
        """Numbers of a block's memory for what its hidden layers return."""
        return (1 + self.slopes_kept) * self.hidden * self.rows * self.columns

    @property
    def threads(self) -> int:
        """Of a block: one for each square, and no fewer than trajectories."""
        return self._threads(self.rows)

    def _threads(self, rows: int) -> int:
        return max(rows, self.columns * rows // self.square**2)

    @property
    def layers(self) -> tuple[tuple[int, int, int, int, int], ...]:
        """For each layer: inputs, outputs, and where W, its row for t and b begin in theta (-1: none)."""
        found, at, i = [], 0, self.inputs
        for o, timed in zip(self.widths, self.timed or (False,) * len(self.widths), strict=True):
            row, bias = at + i * o, at + (i + timed) * o
            found.append((i, o, at, row if timed else -1, bias if self.bias else -1))
            at, i = bias + o * self.bias, o
        return tuple(found)

    @property
    def size(self) -> int:
        """p."""
        i, o, at, row, bias = self.layers[-1]
        return max(at + i * o, row + o, bias + o)
