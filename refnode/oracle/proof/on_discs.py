"""A graph on a complex polydisc: sets that hold every node, and bounds of all cotangents in reverse."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.oracle.proof import discs
from refnode.oracle.proof.discs import Disc, OnDisc, up
from refnode.oracle.proof.graph import Graph, Node, Op, Values


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
