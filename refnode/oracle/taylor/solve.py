"""One gradient by Taylor steps: the tapes and numbers of a problem, and one sample's way out and back.

Maps, losses and bounds are in Decimals; every segment's steps are compiled. At a bound

    dloss/dt = H before it less H behind it,      H = a . f + g l                                 (the Hamiltonian)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from refnode.arrays import Array
from refnode.loss import PointLoss
from refnode.oracle.taylor.core.cotangents import Gathered, nothing_gathered
from refnode.oracle.taylor.core.series import Work, expand, work_of
from refnode.oracle.taylor.decimals import decimals, exact, number, pair, pairs
from refnode.oracle.taylor.dynamics import Dynamics, directions, dynamics_on, weights
from refnode.oracle.taylor.maps import Point, point
from refnode.oracle.taylor.networks import depth_program, map_program
from refnode.oracle.taylor.points import point_loss
from refnode.oracle.taylor.sweeps import Flow, Node, Steps, advance, retreat
from refnode.oracle.taylor.tape import Weights, weights_of
from refnode.oracle.taylor.times import Bound
from refnode.problem import Problem


@dataclass(frozen=True, eq=False)
class Setup:
    """What of a problem is the same for all samples and all runs.

    cells         cell -> its tape and its weights (2, p)
    directions    those of divergences, for each sample
    """

    problem: Problem
    cells: dict[int, tuple[Dynamics, Array]]
    h_x: Point
    h_y: Point
    depth: Point | None
    directions: Array


def setup(problem: Problem) -> Setup:
    """Write all tapes."""
    model, values, cells = problem.model, problem.values, {}
    for cell in sorted(set(problem.layout.cells)):
        dynamics = dynamics_on(problem, cell)
        cells[cell] = dynamics, weights(problem, dynamics)
    depth = None if model.adaptive is None else point(depth_program(model.adaptive.network), values.w_T)
    h_x = point(map_program(model.h_x, problem.x.shape[1]), values.w_x)
    h_y = point(map_program(model.h_y, model.state_width), values.w_y)
    return Setup(problem, cells, h_x, h_y, depth, directions(problem))


class Precision(NamedTuple):
    """How a run steps: the number of coefficients, and the steps' tolerance and factor."""

    orders: int
    steps: Steps


@dataclass(frozen=True, eq=False)
class Room:
    """What a run writes to: work and sums of every cell, those of the maps, and the nodes of one sample's way out."""

    cells: dict[int, tuple[Work, Work, Gathered]]  # of steps, of single points, the gradient of weights and constants
    h_x: Gathered
    h_y: Gathered
    depth: Gathered


def room(setup: Setup, orders: int) -> Room:
    """Zeros."""
    cells = {}
    for cell, (dynamics, _) in setup.cells.items():
        P = dynamics.program
        steps, point = work_of(P.n_slots, P.d, orders), work_of(P.n_slots, P.d, 1)
        cells[cell] = steps, point, nothing_gathered(dynamics.width, P.n_const)
    values = setup.problem.values
    return Room(cells, *(nothing_gathered(len(w), 0) for w in (values.w_x, values.w_y, values.w_T)))


class Sample:
    """One sample's solution and costate.

    z, nodes       states at the bounds (2, d), steps of every segment
    g_t, size_t    dloss/dt of every bound, and the size of its terms
    a              the costate (2, d)
    """

    def __init__(self, setup: Setup, room: Room, precision: Precision, i: int, bounds: list[Bound]) -> None:
        self.setup, self.room, self.precision, self.i = setup, room, precision, i
        self.problem, self.bounds = setup.problem, bounds
        self.scale = Decimal(float(self.problem.loss.scale))
        self.x = pairs(exact(self.problem.x[i]))
        seen = self.problem.model.control_of(self.problem.x[i : i + 1])
        const = np.concatenate([np.zeros(0) if seen is None else seen[0], setup.directions[i]])
        consts = np.stack([const, np.zeros(len(const))])
        self.flows = {
            cell: Flow(dynamics.program, self._weights(cell), consts, room.cells[cell][0])
            for cell, (dynamics, _) in setup.cells.items()
        }
        self.z, self.nodes, self.loss = [self._start()], list[list[Node]](), Decimal(0)
        self.a = np.zeros((2, self.problem.model.state_width))
        self.g_t, self.size_t = [Decimal(0)] * len(bounds), [0.0] * len(bounds)

    def _weights(self, cell: int) -> Weights:
        dynamics, w = self.setup.cells[cell]
        if dynamics.follows is not None:
            w, k = w.copy(), dynamics.follows
            t0, T = self.bounds[0].t, self.bounds[-1].t
            w[:, k : k + 2] = pairs([1 / (T - t0), -t0 / (T - t0)])
        return weights_of(dynamics.program, w)

    def _start(self) -> Array:
        model = self.problem.model
        z = np.zeros((2, model.state_width))
        z[:, model.block] = self.setup.h_x.forward(self.x)
        return z

    def out(self) -> None:
        """The way out: states at bounds, nodes, the running loss."""
        for s, cell in enumerate(self.problem.layout.cells):
            ends = self.bounds[s].t, self.bounds[s + 1].t
            nodes, z, q = advance(self.flows[cell], *ends, self.z[s], self.precision.steps)
            self.nodes.append(nodes)
            self.z.append(z)
            self.loss += self.scale * q

    def back(self) -> None:
        """The way back: the costate from T to t0, with what losses and bounds add on it."""
        waiting = self.problem.layout.waiting
        for b in reversed(range(len(self.bounds))):
            for term in self._terms(self.bounds[b]):
                self._jump(term, self.z[b])
            if b == 0:
                break
            waits = bool(np.broadcast_to(waiting[b - 1], self.problem.batch)[self.i])
            if not waits:
                self._turn(b, b - 1, 1)
            self._retreat(b - 1)
            if not waits:
                self._turn(b - 1, b - 1, -1)

    def _terms(self, bound: Bound) -> Iterator[PointLoss]:
        """Losses at a bound."""
        loss = self.problem.loss
        if bound.kind == "T" and loss.terminal is not None:
            yield loss.terminal
        if bound.kind == "t_obs" and loss.observations is not None:
            yield loss.observations.terms[bound.number]

    def _jump(self, term: PointLoss, z: Array) -> None:
        """What a loss at one depth adds to the costate, to the readout's weights and to the loss."""
        h_y = self.setup.h_y
        value, g_y = point_loss(term, self.i, self.problem.batch, decimals(h_y.forward(z)))
        self.loss += self.scale * value
        g_z, _ = h_y.vjp(z, pairs(self.scale * g_y), self.room.h_y)
        self.a = pairs(decimals(self.a) + decimals(g_z))

    def _turn(self, b: int, s: int, sign: int) -> None:
        """Add the Hamiltonian of segment s at bound b."""
        cell = self.problem.layout.cells[s]
        P, w, const, _ = self.flows[cell]
        K = self.room.cells[cell][1]
        expand(P, w, const[0], const[1], *pair(self.bounds[b].t), self.z[b][0], self.z[b][1], K)
        terms = list(decimals(self.a) * decimals(np.stack([K.S.h[0, P.out], K.S.l[0, P.out]])))
        if P.loss >= 0:
            terms.append(self.scale * number((K.S.h[0, P.loss], K.S.l[0, P.loss])))
        self.g_t[b] += sign * sum(terms)
        self.size_t[b] += float(sum(map(abs, terms)))

    def _retreat(self, s: int) -> None:
        """The costate over segment s."""
        cell, end = self.problem.layout.cells[s], self.bounds[s + 1].t
        how = self.precision.steps, self.room.cells[cell][2]
        self.a = retreat(self.flows[cell], self.nodes[s], end, self.a, np.array(pair(self.scale)), *how)

    def start_vjp(self) -> tuple[Array, Array]:
        """dloss/dx (2, n) through h_x, and the sizes of its terms; h_x's weights get theirs."""
        return self.setup.h_x.vjp(self.x, np.ascontiguousarray(self.a[:, self.problem.model.block]), self.room.h_x)
