"""A graph on power series of balls: forward, and the cotangents of all nodes in reverse.

With series of one coefficient these are numbers; with wide balls, all numbers of a tube of states at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refnode.oracle.proof import series
from refnode.oracle.proof.graph import Graph, Node, Op, Values
from refnode.oracle.proof.series import Series


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
