"""F and its vjp for the whole batch, compiled, between steps that are the story's: the twin of `refnode.dynamics`.

Where each sample has steps of its own, a continuous adjoint gathers its integrals at as many nodes as there are
samples. Steps are then taken in NumPy, by the story; what costs time in them, F and its vjp, is compiled.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.control import control_vjp
from refnode.dynamics import Cotangents
from refnode.forward import Forward
from refnode.gradients.continuous import BackwardPass
from refnode.kernels.adjoint import evaluate_vjp
from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.cpu import cotangents
from refnode.kernels.fill import zero
from refnode.kernels.mlp import mlp_weights_vjp, transpose_weights
from refnode.kernels.pack import gathered
from refnode.kernels.run import run_on, tiles_of
from refnode.kernels.steps import first_of, rows_of, share_step
from refnode.kernels.sweep import gather
from refnode.kernels.systems import evaluate
from refnode.kernels.threads import launch
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.values import Values


@kernel
def place(piece, scratch, t, m, tile):
    """Have the rows of a tile stand at their depths t (b,) in a segment."""
    share_step(piece, scratch.rows, tile, m, 0.0, 0.0)
    for r in range(m):
        scratch.t[tile, r] = t[first_of(scratch, tile) + r]


@kernel
def tile_forward(F, V, kind, piece, scratch, x, batch, t, y, k, tile):
    """k = F(t, y) of one tile; y, k (b w,)."""
    m, at = rows_of(scratch, tile, batch), first_of(scratch, tile)
    place(piece, scratch, t, m, tile)
    slot = scratch.slot[tile]
    evaluate(F, V, kind, 0, scratch, tile, m, y[at * F.w :], x[at * F.controls :], slot, k[at * F.w :])


@kernel
def tile_vjp(F, V, kind, piece, scratch, C, x, batch, weights, t, y, g, g_y, g_t, tile):
    """Cotangents of one tile for g (b w,): g_y (b w,), g_t (b,), C.x, C.t0, C.T, and if `weights` theta's in C."""
    m, at, w = rows_of(scratch, tile, batch), first_of(scratch, tile), F.w
    place(piece, scratch, t, m, tile)
    slot, k, g_k, times, depths = scratch.slot[tile], scratch.total[tile], C.k[tile], C.times[tile], C.depths[tile, 0]
    evaluate(F, V, kind, 0, scratch, tile, m, y[at * w :], x[at * F.controls :], slot, k)
    zero(times.reshape(times.size))
    zero(C.theta[tile, 0])
    for n in range(m * w):
        g_k[n] = g[at * w + n]
    for r in range(m):
        depths[r] = scratch.t[tile, r]
    g_x = C.x[at * F.controls :]
    evaluate_vjp(F.rates, V, kind, scratch, C, tile, m, 0, 0, slot, k, g_y[at * w :], g_x)
    if weights and not kind.by_row:
        slots = scratch.slot[tile : tile + 1]
        mlp_weights_vjp(
            F.rates.net, scratch.theta[0], m, 1, slots, C.layers[tile], C.depths[tile], C.theta[tile, 0],
        )  # fmt: skip
    for r in range(m):
        g_t[at + r], C.t0[at + r], C.T[at + r] = times[3, r], times[4, r], times[5, r]


@kernel
def batch_forward(loop, F, V, kind, piece, scratch, x, batch, t, y, k):
    """`tile_forward` of all tiles."""
    each(loop, scratch.slot.shape[0], tile_forward, (F, V, kind, piece, scratch, x, batch, t, y, k))


@kernel
def batch_vjp(loop, F, V, kind, piece, scratch, C, x, batch, weights, t, y, g, g_y, g_t):
    """`tile_vjp` of all tiles."""
    each(loop, scratch.slot.shape[0], tile_vjp, (F, V, kind, piece, scratch, C, x, batch, weights, t, y, g, g_y, g_t))


class Evaluations:
    """F and its vjp on every segment at one set of values, for samples that need not stand at one depth."""

    def __init__(self, problem: Problem, values: Values, solver: Solver, dtype: Any) -> None:
        self.run = run_on(tiles_of(problem.batch), problem, values, solver, dtype)
        self.C, self.segment = cotangents(self.run, 1), -1

    def enter(self, i: int) -> None:
        """Go to segment i."""
        if i == self.segment:
            return
        self.segment, P = i, self.run.packed
        self.run.enter(self.run.pieces[i])
        if not P.kind.by_row:
            transpose_weights(P.F.rates.net, self.run.scratch.theta[0], self.C.transposed[0])

    def rounded(self, a: Array) -> Array:
        """A flat copy in the kernels' precision; what overflows there is found by the steps."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array(a, self.run.dtype).ravel()

    def forward(self, i: int, t: Array, y: Array) -> Array:
        """F (b, w) on segment i at t () or (b,)."""
        self.enter(i)
        run, P, own_y = self.run, self.run.packed, self.rounded(y)
        times, k = np.array(np.broadcast_to(t, (len(y),)), np.float64), np.empty_like(own_y)
        with launch(run.loop):
            batch_forward(
                run.loop, P.F, P.V, P.kind, run.pieces[i], run.scratch, P.x, len(y), times, own_y, k,
            )  # fmt: skip
        return k.reshape(y.shape).astype(np.float64)

    def vjp(self, i: int, t: Array, y: Array, g: Array, weights: bool = True) -> Cotangents:
        """Cotangents for g (b, w); alpha's are 0 without `weights`, which costs half as much."""
        self.enter(i)
        run, P, C, problem = self.run, self.run.packed, self.C, self.run.problem
        own_y, own_g = self.rounded(y), self.rounded(g)
        times, g_y, g_t = np.array(np.broadcast_to(t, (len(y),)), np.float64), np.empty_like(own_y), np.empty(len(y))
        for part in (C.x, C.still, C.A):
            part.fill(0)
        with launch(run.loop):
            batch_vjp(
                run.loop, P.F, P.V, P.kind, run.pieces[i], run.scratch, C, P.x, len(y), weights, times, own_y, own_g,
                g_y, g_t,
            )  # fmt: skip
        still, A = np.zeros(P.F.rates.net.size), np.zeros(P.V.A.shape)
        if weights:
            gather(P.V, P.kind, run.scratch, C, still, A)
        x = run.values.x
        g_x = control_vjp(problem.model.control, x, C.x.reshape(len(y), -1)) if C.x.size else np.zeros(x.shape)
        back = g_y.reshape(y.shape).astype(np.float64)
        return Cotangents(g_t, back, gathered(problem, still, A), g_x, C.t0.copy(), C.T.copy())


@dataclass(frozen=True)
class OnSegment:
    """What `refnode.dynamics.Dynamics` is to the story, on segment i. The values are those of the evaluations."""

    evaluations: Evaluations
    i: int
    d: int
    width: int

    def forward(self, t: Array, y: Array, values: Values) -> Array:
        """F (b, d + r) at t () or (b,)."""
        return self.evaluations.forward(self.i, t, y)

    def vjp(self, t: Array, y: Array, values: Values, g: Array) -> Cotangents:
        """Cotangents of t, y, alpha, x, t0 and T for g (b, d + r)."""
        return self.evaluations.vjp(self.i, t, y, g)


class EvaluatedPass(BackwardPass):
    """The story's backward pass with compiled evaluations."""

    def __init__(self, problem: Problem, values: Values, forward: Forward, solver: Solver, dtype: Any) -> None:
        super().__init__(problem, values, forward, solver)
        self.evaluations = Evaluations(problem, values, solver, dtype)
        self.on_segment = [OnSegment(self.evaluations, i, self.d, self.width) for i in range(len(self.spans))]

    def costate_rate(self, i: int, t: Array, z: Array, adj: Array) -> Array:
        """a' (b, d) on segment i."""
        return -self.evaluations.vjp(i, t, self.y_of(z), self.full(adj), weights=False).y[:, : self.d]
