"""What happens at single depths, on balls: h_x, h_y, the adaptive depth's network, and the point losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flint import arb, arb_mat

from refnode import maps
from refnode.arrays import Array
from refnode.errors import NotProvable
from refnode.field import MLP
from refnode.loss import CrossEntropy, LinearFunctional, SquaredError, StandardNormal
from refnode.oracle.proof import series
from refnode.oracle.proof.dynamics import factor_of, network
from refnode.oracle.proof.gathered import Gathered
from refnode.oracle.proof.graph import Graph, Node, Weight
from refnode.oracle.proof.on_series import pull_series, run_series
from refnode.oracle.proof.series import Series, truncated
from refnode.problem import Problem

Ball = Any


class BallMap:
    """h_x or h_y on balls: forward, then pull the cotangent of the result back."""

    def __init__(self, h: Any, leaves: Mapping[str, Array], prefix: str) -> None:
        self.h, self.leaves, self.prefix = h, leaves, prefix

    def forward(self, u: Sequence[Ball]) -> list[Ball]:
        """h(u)."""
        self.u = list(u)
        match self.h:
            case maps.ZeroAugment():
                return self.u + [arb(0)] * self.h.extra
            case maps.Columns():
                return self.u[self.h.start : self.h.stop]
            case maps.Network():
                return self._network(self.h.mlp)
            case maps.PartialInput():
                return self.u + self._network(self.h.mlp)
            case maps.Identity():
                return self.u
        raise NotProvable(f"a map of type {type(self.h).__name__}: its formula is not known here")

    def vjp(self, g: Sequence[Ball], into: Gathered) -> list[Ball]:
        """The cotangent of u for that of h(u), after `forward`; those of the leaves are gathered."""
        n = len(self.u)
        match self.h:
            case maps.ZeroAugment():
                return list(g[:n])
            case maps.Columns():
                return [arb(0)] * self.h.start + list(g) + [arb(0)] * (n - self.h.stop)
            case maps.Network():
                return self._network_vjp(g, into)
            case maps.PartialInput():
                return [a + b for a, b in zip(g[:n], self._network_vjp(g[n:], into), strict=True)]
        return list(g)

    def _network(self, mlp: MLP) -> list[Ball]:
        self.graph = Graph()
        u = self.graph.input("u")
        self.out, _ = network(self.graph, mlp, u, len(self.u), self._layer)
        with truncated(1):
            self.values = run_series(self.graph, {"u": series.constants(self.u), "one": series.constants([1])})
            return numbers(self.values[self.out])

    def _layer(self, name: str, x: Node, n: int) -> Node:
        a = np.atleast_2d(self.leaves[f"{self.prefix}.{name}"])
        matrix = arb_mat(a.shape[1], a.shape[0], [arb(float(v)) for v in a.T.ravel()])
        return self.graph.linear(Weight(matrix, f"{self.prefix}.{name}"), x)

    def _network_vjp(self, g: Sequence[Ball], into: Gathered) -> list[Ball]:
        with truncated(1):
            back = pull_series(self.values, {self.out: series.constants(g)})
            for node, op in enumerate(self.graph.ops):
                found = back[node]
                if op.kind == "linear" and op.data.leaf and found is not None:
                    x = series.coefficients(self.values[op.args[0]])
                    into.add(op.data, series.coefficients(found) * x.transpose())
            u = back[self.graph.inputs["u"]]
            return [arb(0)] * len(self.u) if u is None else numbers(u)


def numbers(x: Series) -> list[Ball]:
    """The values of series of order 1."""
    return [row.coeffs()[0] if row.coeffs() else arb(0) for row in x.rows]


def point_loss(term: Any, problem: Problem, sample: int, y: list[Ball]) -> tuple[Ball, list[Ball]]:
    """What a sample adds to the loss by a prediction y (k,), and the cotangent of y."""
    factor = factor_of(term, problem)
    match term:
        case SquaredError():
            away = [a - b for a, b in zip(y, _row(term.target, sample), strict=True)]
            value, g = sum((e * e for e in away), arb(0)), [2 * e for e in away]
        case LinearFunctional():
            g = _row(term.c, sample)
            value = sum((a * b for a, b in zip(g, y, strict=True)), arb(0))
        case StandardNormal():
            value, g = sum((a * a for a in y), arb(0)) / 2 + len(y) * (2 * arb.pi()).log() / 2, list(y)
        case CrossEntropy():
            value, g = _cross_entropy(y, int(term.labels[sample]))
        case _:
            raise NotProvable(f"a point loss of type {type(term).__name__}: functions give values, not enclosures")
    return factor * value, [factor * v for v in g]


def _row(a: Array, sample: int) -> list[Ball]:
    return [arb(float(v)) for v in (a if a.ndim == 1 else a[sample])]


def _cross_entropy(y: list[Ball], label: int) -> tuple[Ball, list[Ball]]:
    """log sum_j e^(y_j) - y_label, and the softmax less the label's unit vector."""
    e = [v.exp() for v in y]
    total = sum(e, arb(0))
    return total.log() - y[label], [v / total - (j == label) for j, v in enumerate(e)]


def adaptive_end(problem: Problem, sample: int, t0: Ball) -> tuple[Ball, Any]:
    """T = t0 + softplus(network(x)), and what hands its cotangent to the leaves and returns that of x."""
    depth = problem.model.adaptive
    assert depth is not None
    net = BallMap(maps.Network(depth.network), problem.params, "T")
    (u,) = net.forward([arb(float(v)) for v in problem.x[sample]])
    length, slope = (1 + u.exp()).log(), 1 / (1 + (-u).exp())
    return t0 + length, lambda g, into: net.vjp([g * slope], into)
