"""One sample's loss and gradient, proven: forward through the segments, backward through them, then to the leaves."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from flint import arb

from refnode.arrays import Array
from refnode.depth import Galerkin
from refnode.oracle.proof import costate, trajectory
from refnode.oracle.proof.costate import Part
from refnode.oracle.proof.discs import upper
from refnode.oracle.proof.dynamics import Field, Leaves, field_of
from refnode.oracle.proof.endpoints import BallMap, adaptive_end, point_loss
from refnode.oracle.proof.gathered import Balls, Gathered
from refnode.oracle.proof.inputs import Sample
from refnode.oracle.proof.lognorm import length
from refnode.oracle.proof.trajectory import Effort, Stretch
from refnode.problem import Problem
from refnode.segments import Bound

WHOLE, TERMINAL, INTEGRAL = (True, True), (True, False), (False, True)


@dataclass(frozen=True, eq=False)
class Piece:
    """A segment of a sample's path: from one bound to the next, balls, on one piece of theta(t)."""

    start: Any
    end: Any
    cell: int
    before: Bound
    behind: Bound


@dataclass(frozen=True, eq=False)
class Contribution:
    """What one sample adds to the loss and to every leaf's gradient, as balls in the leaf's shape; x has one row."""

    loss: Any
    grads: dict[str, Balls]


def contributions(problem: Problem, index: int, which: list[tuple[bool, bool]], effort: Effort) -> list[Contribution]:
    """One sample's contributions: for every pair, that of the point losses, of the running losses, or of both."""
    return _Path(problem, index, effort).contributions(which)


class _Path:
    """One sample's way through depth."""

    def __init__(self, problem: Problem, index: int, effort: Effort) -> None:
        self.problem, self.index, self.effort, self.model = problem, index, effort, problem.model
        values = problem.values
        t0 = arb(float(values.t0 if values.t0.ndim == 0 else values.t0[index]))
        self.end_vjp = None
        if self.model.adaptive is not None:
            T, self.end_vjp = adaptive_end(problem, index, t0)
        else:
            T = arb(float(values.T if values.T.ndim == 0 else values.T[index]))
        self.sample = Sample(problem, index, t0, T)
        self.pieces = self._pieces()
        self.fields: dict[int, tuple[Leaves, Field]] = {}
        self.h_x = BallMap(self.model.h_x, problem.params, "h_x")

    def _pieces(self) -> list[Piece]:
        """The segments, those left out for which this sample waits at an end of its span."""
        layout = self.problem.layout
        ways = [bool(w if w.ndim == 0 else w[self.index]) for w in layout.waiting]
        steps = zip(pairwise(layout.bounds), layout.cells, ways, strict=True)
        kept = [(before, behind, cell) for (before, behind), cell, waits in steps if not waits]
        found = []
        for i, (before, behind, cell) in enumerate(kept):
            start = Bound("t0") if i == 0 else before
            end = Bound("T") if i == len(kept) - 1 else behind
            found.append(Piece(self._time(start), self._time(end), cell, start, end))
        return found

    def _time(self, bound: Bound) -> Any:
        """The depth of a bound, exact up to the radius of its ball."""
        if bound.kind in ("t0", "T"):
            return self.sample.t0 if bound.kind == "t0" else self.sample.T
        if bound.kind == "t_obs":
            return arb(float(self.problem.values.t_obs[bound.number]))
        lo, hi = self.sample.interval
        return lo + self._fraction(bound) * (hi - lo)

    def _fraction(self, bound: Bound) -> Any:
        depth = self.model.depth
        u = self.problem.values.edges if depth.learns_edges else depth.breaks
        return arb(float(u[bound.number]))

    def field(self, cell: int) -> tuple[Leaves, Field]:
        """The graph on one piece of theta(t)."""
        if cell not in self.fields:
            leaves = Leaves(self.problem, cell)
            self.fields[cell] = leaves, field_of(self.problem, self.index, leaves)
        return self.fields[cell]

    # ------------------------------------------------------------ forward

    def contributions(self, which: list[tuple[bool, bool]]) -> list[Contribution]:
        """See the function of this name."""
        u = self.h_x.forward([arb(float(v)) for v in self.problem.x[self.index]])
        block = self.model.block
        start = [arb(0)] * block.start + u + [arb(0)] * (self.model.state_width - block.stop)
        z, delta = [v.mid() for v in start], _radius(start)
        stretches = []
        for piece in self.pieces:
            _, field = self.field(piece.cell)
            ends = (piece.start, piece.end)
            stretches.append(trajectory.follow(field, self.sample, piece.cell, ends, z, delta, self.effort))
            z, delta = stretches[-1].knots[-1].z, stretches[-1].knots[-1].delta
        return self._backward(stretches, which)

    # ------------------------------------------------------------ backward

    def _backward(self, stretches: list[Stretch], which: list[tuple[bool, bool]]) -> list[Contribution]:
        d, n = self.model.state_width, self.problem.x.shape[1]
        zero = arb(0)
        parts = [Part(*w, [zero] * d, 0.0, Gathered(), [zero] * n, [zero] * 3) for w in which]
        points, running = zero, zero
        for piece, stretch in reversed(list(zip(self.pieces, stretches, strict=True))):
            far, (leaves, field) = stretch.knots[-1], self.field(piece.cell)
            z = [v + arb(0, far.delta) for v in far.z]
            points = points + self._point_losses(piece.behind, z, parts)
            self._hamiltonians(piece, piece.behind, piece.end, z, parts, 1)
            running = running + costate.sweep(field, self.sample, piece.cell, stretch, parts, self.effort)
            near = stretch.knots[0]
            z = [v + arb(0, near.delta) for v in near.z]
            self._hamiltonians(piece, piece.before, piece.start, z, parts, -1)
            self._parameter_norm(leaves, field, piece, stretch, parts)
        return [
            Contribution(points * int(part.points) + running * int(part.integral), self._leaves(part))
            for part in parts
        ]

    def _point_losses(self, bound: Bound, z: list[Any], parts: list[Part]) -> Any:
        """The loss at a bound; its gradient goes to the costates and to h_y."""
        loss = self.problem.loss
        seen = loss.observations.terms[bound.number] if bound.kind == "t_obs" and loss.observations else None
        term = loss.terminal if bound.kind == "T" else seen
        if term is None:
            return arb(0)
        h_y = BallMap(self.model.h_y, self.problem.params, "h_y")
        value, g_y = point_loss(term, self.problem, self.index, h_y.forward(z))
        for part in parts:
            if part.points:
                part.add(h_y.vjp(g_y, part.gathered))
        return value

    def _hamiltonians(
        self, piece: Piece, bound: Bound, t: Any, z: list[Any], parts: list[Part], sign: int
    ) -> None:
        """Each bound's derivative: H on the side before it less H on the side behind it."""
        _, field = self.field(piece.cell)
        key = (bound.kind, bound.number)
        for part in parts:
            H = costate.hamiltonian(field, self.sample, piece.cell, t, z, part.balls, part.integral)
            part.jumps[key] = part.jumps.get(key, arb(0)) + sign * H

    def _parameter_norm(
        self, leaves: Leaves, field: Field, piece: Piece, stretch: Stretch, parts: list[Part]
    ) -> None:
        """2 c int theta(t) psi_j dt, the gradient of c int |theta(t)|^2 dt, in every leaf of the field."""
        if field.norm.is_zero():
            return
        varying = "psi" in field.graph.inputs
        products = (
            costate.psi_products(field, self.sample, piece.cell, stretch, self.effort)
            if varying and stretch.leaps else None
        )  # fmt: skip
        span = piece.end - piece.start
        for name in leaves.shapes:
            a = leaves.part(name)
            m = len(a)
            balls = np.vectorize(lambda v: arb(float(v)), otypes=[object])(a)
            if leaves.varies(name):
                if products is None:
                    continue
                P = np.array(products, dtype=object).reshape(m, m)
                g, index = np.tensordot(P, balls, axes=1), leaves.active or Ellipsis
            else:
                g, index = span * balls[0], Ellipsis
            for part in parts:
                if part.integral:
                    part.gathered.add_to(leaves.full[name], index, 2 * field.norm * g)

    # ------------------------------------------------------------ to the leaves

    def _leaves(self, part: Part) -> dict[str, Balls]:
        """Costate, integrals and jumps of H as gradients of the leaves."""
        block, into = self.model.block, part.gathered
        x = [a + b for a, b in zip(self.h_x.vjp(part.balls[block], into), part.x, strict=True)]
        t0, T, found = self._times(part)
        if self.end_vjp is not None:
            x = [a + b for a, b in zip(x, self.end_vjp(T, into), strict=True)]
            t0 = t0 + T
        values = self.problem.values
        grads = into.deal({**self.model.shapes, "edges": values.edges.shape, "t_obs": values.t_obs.shape})
        for (kind, k), g in found.items():
            grads["edges" if kind == "break" else "t_obs"][k] = g
        grads |= {"x": _array(x), "t0": _array(t0), "T": _array(T)}
        return {name: grads[name] for name in self.problem.leaves()}

    def _times(self, part: Part) -> tuple[Any, Any, dict[tuple[str, int], Any]]:
        """dloss/dt0, dloss/dT, and those of observation times and edges.

        On a basis that follows the span everything is a function of u = (t - t0) / tau, tau = T - t0, and with H_t the
        derivative of H in t at fixed u,

            dloss/dT = 1/tau int H + (t - t0) H_t dt - sum_k u_k dloss/dt_k
            dloss/dt0 = int H_t dt - 1/tau int H + (t - t0) H_t dt - sum_k (1 - u_k) dloss/dt_k

        for observations stay where they are and so move in u. Otherwise these are H(T) and -H(t0).
        """
        depth, zero, jumps = self.model.depth, arb(0), part.jumps
        t0, T = jumps.get(("t0", 0), zero), jumps.get(("T", 0), zero)
        lo, hi = self.sample.interval
        found = {key: g for key, g in jumps.items() if key[0] == "t_obs"}
        if depth.learns_edges:
            found |= {key: g * (hi - lo) for key, g in jumps.items() if key[0] == "break"}
        if isinstance(depth, Galerkin) and depth.interval == "span":
            tau = self.sample.T - self.sample.t0
            H, H_t, since = part.turn
            T, t0 = (H + since) / tau, H_t - (H + since) / tau
            for (kind, k), g in jumps.items():
                if kind == "t_obs":
                    u = (arb(float(self.problem.values.t_obs[k])) - self.sample.t0) / tau
                    T, t0 = T - u * g, t0 - (1 - u) * g
        return t0, T, found


def _array(value: Any) -> Array:
    found = np.empty(len(value) if isinstance(value, list) else (), dtype=object)
    found[...] = value
    return found


def _radius(balls: list[Any]) -> float:
    return length(np.array([upper(v.rad()) for v in balls]))
