"""The dynamics as a graph of elementary operations, to be run on anything that has them.

One description of z' = f(t, z, x, theta(t)) and of l serves four purposes, in forward and in reverse mode:

    Series   power series of balls     Taylor coefficients of z, of every layer, of the costate and of the cotangents
    Series   of order 1                values at a point, or over a whole tube of states if the balls are wide
    Disc     affine sets               how large every node gets on a complex polydisc
    Sizes    non-negative numbers      bounds of |df/dz| and of every cotangent on that polydisc (reverse mode only)

Here the graph is built; `on_series` and `on_discs` say what every operation computes, and what its cotangent hands to
its arguments.

Source   Griewank and Walther 2008, Evaluating Derivatives, ch. 3 (reverse mode) and ch. 13 (Taylor coefficients).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flint import arb, arb_mat

from refnode.arrays import Array
from refnode.oracle.proof import discs

Node = int


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant matrix M (o, i), as balls and as float64, and the leaf whose entries it holds, if any.

    leaf      full name, such as "theta.W0", or "" for a matrix that is no parameter
    where     the part of the leaf: a slice of its first axis (a stacked depth's piece), or None for all of it
    rows      how many of the leaf's last-but-one axis the matrix has: a trace leaves the row of t out
    diagonal  whether M holds the leaf's numbers on diagonals: y_j = sum_m k_mj x_mj
    """

    matrix: Any
    leaf: str = ""
    where: slice | None = None
    rows: int | None = None
    diagonal: bool = False
    transposed: Any = field(init=False)
    rounded: Array = field(init=False)
    size: Array = field(init=False)
    off: Array = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.matrix.nrows(), self.matrix.ncols())
        entries = self.matrix.entries()
        object.__setattr__(self, "transposed", self.matrix.transpose())
        object.__setattr__(self, "rounded", np.array([float(v.mid()) for v in entries]).reshape(shape))
        object.__setattr__(self, "size", np.array([discs.upper(v) for v in entries]).reshape(shape))
        object.__setattr__(self, "off", np.array([discs.upper(v.rad()) for v in entries]).reshape(shape))

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells places in leaves apart."""
        where = (self.where.start, self.where.stop) if self.where else None
        return self.leaf, where, self.rows, self.diagonal


@dataclass(frozen=True)
class Op:
    """An operation on nodes: its kind, its arguments, and what else it needs."""

    kind: str
    args: tuple[Node, ...] = ()
    data: Any = None


class Graph:
    """Operations in the order in which they are computed; built by the methods below, each of which returns a node."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.inputs: dict[str, Node] = {}
        self.orders: dict[tuple[str, Node], int] = {}  # which derivatives of activations are needed

    def _add(self, kind: str, *args: Node, data: Any = None) -> Node:
        self.ops.append(Op(kind, args, data))
        return len(self.ops) - 1

    def input(self, name: str) -> Node:
        """A function of t given from outside; the same node for the same name."""
        if name not in self.inputs:
            self.inputs[name] = self._add("input", data=name)
        return self.inputs[name]

    def linear(self, weight: Weight, x: Node) -> Node:
        """M x."""
        return self._add("linear", x, data=weight)

    def plus(self, a: Node, b: Node) -> Node:
        """a + b."""
        return self._add("plus", a, b)

    def times(self, a: Node, b: Node) -> Node:
        """a b, row by row."""
        return self._add("times", a, b)

    def outer(self, psi: Node, x: Node, m: int, n: int) -> Node:
        """All products psi_j x_i, j slowest (m n,); psi gets no cotangent."""
        return self._add("outer", psi, x, data=(m, n))

    def activation(self, name: str, u: Node, k: int = 0) -> Node:
        """The k-th derivative of an activation at u."""
        self.orders[name, u] = max(self.orders.get((name, u), 0), k + 1)
        return self._add("activation", u, data=(name, k))

    def stack(self, *parts: tuple[Node, int]) -> Node:
        """Nodes with their numbers of rows, one above the other."""
        return self._add("stack", *(node for node, _ in parts), data=tuple(rows for _, rows in parts))

    def take(self, x: Node, start: int, stop: int, of: int) -> Node:
        """Rows start .. stop - 1 of x (of,)."""
        return self._add("take", x, data=(start, stop, of))

    def total(self, x: Node, rows: int) -> Node:
        """The sum of the rows."""
        return self.linear(Weight(arb_mat(1, rows, [arb(1)] * rows)), x)


@dataclass(frozen=True, eq=False)
class Values:
    """A graph that was run: a value for every node, and the activations' derivatives, which reverse mode needs."""

    graph: Graph
    at: list[Any]
    slopes: Mapping[tuple[str, Node], Any]

    def __getitem__(self, node: Node) -> Any:
        return self.at[node]
