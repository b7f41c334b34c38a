"""The dynamics as a graph of elementary operations, to be run on anything that has them.

One description of z' = f(t, z, x, theta(t)) and of l serves four purposes, in forward and in reverse mode:

    Series   power series of balls     Taylor coefficients of z, of every layer, of the costate and of the cotangents
    Series   of order 1                values at a point, or over a whole tube of states if the balls are wide
    Disc     affine sets               how large every node gets on a complex polydisc
    Sizes    non-negative numbers      bounds of |df/dz| and of every cotangent on that polydisc (reverse mode only)

An operation says what it computes and what its cotangent hands to its arguments, as in `refnode.layers`.

Source   Griewank and Walther 2008, Evaluating Derivatives, ch. 3 (reverse mode) and ch. 13 (Taylor coefficients).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flint import arb, arb_mat

from refnode.arrays import Array
from refnode.oracle.proof import discs, series
from refnode.oracle.proof.discs import Disc, OnDisc, up
from refnode.oracle.proof.series import Series

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


def run_series(graph: Graph, inputs: Mapping[str, Series]) -> Values:
    """Every node as power series, from those of the inputs."""
    at: list[Any] = []
    slopes: dict[tuple[str, Node], list[Series]] = {}
    for op in graph.ops:
        at.append(_series(op, graph, at, slopes, inputs))
    return Values(graph, at, slopes)


def _series(
    op: Op, graph: Graph, at: list[Any], slopes: dict[Any, list[Series]], inputs: Mapping[str, Series]
) -> Series:
    x = [at[a] for a in op.args]
    match op.kind:
        case "input":
            return inputs[op.data]
        case "linear":
            return series.linear(op.data.matrix, x[0])
        case "plus":
            return x[0] + x[1]
        case "times":
            return x[0] * x[1]
        case "outer":
            return series.stacked([x[1] * x[0][j : j + 1] for j in range(len(x[0]))])
        case "activation":
            key = (op.data[0], op.args[0])
            if key not in slopes:
                slopes[key] = series.derivatives(op.data[0], x[0], graph.orders[key])
            return slopes[key][op.data[1]]
        case "stack":
            return series.stacked(x)
        case "take":
            return x[0][op.data[0] : op.data[1]]
    raise AssertionError(op.kind)


def run_discs(graph: Graph, inputs: Mapping[str, Disc], f: discs.Elementary) -> Values:
    """Every node as sets of complex numbers, from those of the inputs."""
    at: list[Any] = []
    on: dict[tuple[str, Node], OnDisc] = {}
    for op in graph.ops:
        at.append(_disc(op, at, on, inputs, f))
    return Values(graph, at, on)


def _disc(op: Op, at: list[Any], on: dict[Any, OnDisc], inputs: Mapping[str, Disc], f: discs.Elementary) -> Disc:
    x = [at[a] for a in op.args]
    match op.kind:
        case "input":
            return inputs[op.data]
        case "linear":
            return discs.disc_linear(op.data.rounded, op.data.size, op.data.off, x[0])
        case "plus":
            return x[0] + x[1]
        case "times":
            return x[0] * x[1]
        case "outer":
            return discs.disc_stacked([x[1] * x[0][j : j + 1] for j in range(len(x[0]))])
        case "activation":
            key = (op.data[0], op.args[0])
            if key not in on:
                on[key] = discs.on_disc(op.data[0], x[0], f)
            return discs.apply(on[key], x[0], op.data[1])
        case "stack":
            return discs.disc_stacked(x)
        case "take":
            return x[0][op.data[0] : op.data[1]]
    raise AssertionError(op.kind)


def pull_series(values: Values, seeds: Mapping[Node, Series]) -> list[Series | None]:
    """The cotangent of every node, for cotangents of some; None is zero."""
    g: list[Series | None] = [None] * len(values.at)
    for node, seed in seeds.items():
        g[node] = seed
    for node in reversed(range(len(values.at))):
        mine = g[node]
        if mine is not None:
            for arg, part in _series_vjp(values.graph.ops[node], values, mine):
                old = g[arg]
                g[arg] = part if old is None else old + part
    return g


def _series_vjp(op: Op, values: Values, g: Series) -> list[tuple[Node, Series]]:
    match op.kind:
        case "linear":
            return [(op.args[0], series.linear(op.data.transposed, g))]
        case "plus":
            return [(a, g) for a in op.args]
        case "times":
            a, b = op.args
            return [(a, _like(values[a], values[b] * g)), (b, _like(values[b], values[a] * g))]
        case "outer":
            m, n = op.data
            psi, parts = values[op.args[0]], [g[j * n : (j + 1) * n] for j in range(m)]
            return [(op.args[1], _sum([part * psi[j : j + 1] for j, part in enumerate(parts)]))]
        case "activation":
            name, k = op.data
            return [(op.args[0], values.slopes[name, op.args[0]][k + 1] * g)]
        case "stack":
            starts = np.cumsum([0, *op.data])
            return [(a, g[i:j]) for a, i, j in zip(op.args, starts[:-1], starts[1:], strict=True)]
        case "take":
            start, stop, of = op.data
            return [(op.args[0], g.padded(start, of - stop))]
    return []


def _like(x: Series, g: Series) -> Series:
    """The cotangent of a factor: summed over the rows if the factor has one row that multiplied many."""
    return Series([_sum([g[j : j + 1] for j in range(len(g))]).rows[0]]) if len(x) == 1 < len(g) else g


def _sum(parts: Sequence[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def pull_sizes(values: Values, seeds: Mapping[Node, Array]) -> list[Array | None]:
    """Bounds of every node's cotangent over the polydisc, for bounds of some nodes' cotangents (rows, K).

    The transposed Jacobians' moduli are below the products of the moduli: triangle inequality, operation by operation.
    `values` are those of `run_discs`.
    """
    g: list[Array | None] = [None] * len(values.at)
    for node, seed in seeds.items():
        g[node] = seed
    for node in reversed(range(len(values.at))):
        mine = g[node]
        if mine is not None:
            for arg, part in _size_vjp(values.graph.ops[node], values, mine):
                old = g[arg]
                g[arg] = part if old is None else up(old + part)
    return g


def _size_vjp(op: Op, values: Values, g: Array) -> list[tuple[Node, Array]]:
    match op.kind:
        case "linear":
            return [(op.args[0], up(op.data.size.T @ g))]
        case "plus":
            return [(a, g) for a in op.args]
        case "times":
            a, b = op.args
            parts = [(a, up(values[b].sup[:, None] * g)), (b, up(values[a].sup[:, None] * g))]
            return [(n, up(p.sum(0, keepdims=True)) if len(values[n]) == 1 < len(p) else p) for n, p in parts]
        case "outer":
            m, n = op.data
            psi = values[op.args[0]].sup
            return [(op.args[1], up((psi[:, None, None] * g.reshape(m, n, -1)).sum(axis=0)))]
        case "activation":
            name, k = op.data
            return [(op.args[0], up(values.slopes[name, op.args[0]].sup[k + 1][:, None] * g))]
        case "stack":
            starts = np.cumsum([0, *op.data])
            return [(a, g[i:j]) for a, i, j in zip(op.args, starts[:-1], starts[1:], strict=True)]
        case "take":
            start, stop, of = op.data
            whole = np.zeros((of, g.shape[1]))
            whole[start:stop] = g
            return [(op.args[0], whole)]
    return []
