"""A problem with a wide network on its way through the kernels, tile by tile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.control import control_of
from refnode.field import MLP
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.problem import (
    Steps,
    apart,
    depth_weights,
    functions_of,
    refusal_of_depth,
    steps_of,
    table_of,
    varies,
)
from refnode.kernels.cuda.run import PartRun, Solved, Swept, System, shares, steps_apart
from refnode.kernels.cuda.shape import Keep
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_gradient import tile_gradient
from refnode.kernels.cuda.tile_own import tile_own
from refnode.kernels.cuda.tile_shape import LARGEST_WIDTH, TileShape
from refnode.problem import Problem
from refnode.running import Kinetic, SquaredNorm
from refnode.solver import Solver


def refusal(problem: Problem, solver: Solver) -> str:
    """Why tiles do not take this problem with this solver; "" if they do."""
    field = problem.model.field
    if type(field) is not MLP or field.depth < 2 or max(field.widths[1:-1]) > LARGEST_WIDTH or field.skip:
        return f"the field is no MLP of hidden layers up to {LARGEST_WIDTH} wide without a skip term"
    for term in problem.loss.running:
        if type(term) not in (SquaredNorm, Kinetic):
            return f"the running loss {type(term).__name__} is not compiled"
    if solver.adaptive and not solver.tableau.fsal:
        return "adaptive steps of a tableau without FSAL are not compiled"
    if why := refusal_of_depth(problem, solver):
        return why
    if not tile_shape_of(problem, solver, np.float64, "nothing", apart(problem, solver)).fits:
        return "the field has more inputs, outputs or coefficients than shared memory holds"
    return ""


def tile_shape_of(problem: Problem, solver: Solver, dtype: Any, keep: Keep, own: bool = False) -> TileShape:
    """What its kernels are compiled for."""
    field, depth = problem.model.field, problem.model.depth
    control = control_of(problem.model.control, problem.values.x)
    timed = tuple(field.shapes[f"W{k}"][0] > field.widths[k] for k in range(field.depth))
    return TileShape(
        np.dtype(dtype).name, problem.model.state_width, tuple(field.widths[1:]), field.act,
        0 if control is None else control.shape[1], field.bias, timed, bool(problem.loss.running),
        depth.basis.m if varies(problem) else 0, solver.method, keep, own, functions_of(problem, own),
    )  # fmt: skip


def turned(S: TileShape, theta: Array) -> Array:
    """theta (n, p) with every layer's W (i, o) as (o, i)."""
    out = np.array(theta)
    for i, o, at, _, _ in S.layers:
        out[:, at : at + i * o] = np.swapaxes(theta[:, at : at + i * o].reshape(-1, i, o), 1, 2).reshape(-1, i * o)
    return out


@dataclass(frozen=True, eq=False)
class TileSegment:
    """A segment's arrays, as `refnode.kernels.cuda.tile_gradient` has them; N steps, s stages.

    theta, turned    (N s, p), or (1, p) where theta is constant;  slopes   dtheta/du (N s, p), or (1, 1)
    table            (N s, 2 m + 4)
    apart            table (2 + 3 m, b), where each trajectory has its own theta(t); then theta, turned are (1 + m, p).
                     Else (0, 0)
    t, t_new, h      (N, 1) or (N, b);  s, s_new   their fractions of the segment;  count   steps (1,) or (b,)
    """

    theta: Any
    turned: Any
    slopes: Any
    table: Any
    apart: Any
    t: Any
    t_new: Any
    h: Any
    s: Any
    s_new: Any
    count: Any

    @property
    def steps(self) -> int:
        """N."""
        return int(self.h.shape[0])


class TileRun(PartRun):
    """Some trajectories of a problem with a wide network; one that is not finite ends as NaN, by itself."""

    forward = staticmethod(tile_forward)

    def __init__(
        self, problem: Problem, solver: Solver, device: Device, dtype: Any, keep: Keep, fractions: Sequence[Array],
        part: slice | None = None, z0: Any = None,
    ):  # fmt: skip
        S = tile_shape_of(problem, solver, dtype, keep, steps_apart(problem, fractions))
        super().__init__(problem, solver, device, S, fractions, part, z0)
        self.layers = device.array(np.array(self.S.layers, np.int64))

    def segment(self, i: int, fractions: Array | None = None, down: bool = False) -> TileSegment:
        """Segment i's arrays, on the device; or those of its way down, or on other fractions."""
        S, problem, values = self.S, self.problem, self.values
        grid = self.grid(i, self.fractions[i] if fractions is None else fractions, down)
        table = table_of(S, S.butcher, problem, values, i, grid.s[:, 0], grid.s_new[:, 0], self.part, down)
        apart = table if S.functions else np.zeros((0, 0))
        arrays = (self.to(a) for a in (table, apart, *grid[:5]))
        return TileSegment(*self.lines(i, table), *arrays, self.device.array(grid.count))

    def grid(self, i: int, fractions: Array, down: bool = False) -> Steps:
        """Segment i's steps, or those of its way down, on a grid."""
        return steps_of(self.problem, self.values, i, fractions, self.part if self.S.own else None, down)

    def lines(self, i: int, table: Array) -> tuple[Any, Any, Any]:
        """theta, turned and slopes for the rows of a table, on the device."""
        m, cell, (still, A) = self.S.basis, self.problem.layout.cells[i], depth_weights(self.problem, self.values)
        theta, slopes = (still + A[cell] if len(A) else still)[None], np.zeros((1, 1))
        if self.S.functions:
            theta = np.vstack([still, A])
        elif m:
            theta, slopes = still + table[:, :m] @ A, table[:, m : 2 * m] @ A
        return self.to(theta), self.to(turned(self.S, theta)), self.to(slopes)

    def given(self, segment: TileSegment) -> tuple[Any, ...]:
        """What the forward kernel reads of a segment."""
        grid = (segment.t, segment.t_new, segment.h, segment.count, segment.apart)
        return (self.x, segment.theta, self.layers, self.B, self.c, *grid)

    def kept_by(self, S: TileShape) -> Any:
        """Room for what hidden layers return, where a costate's slopes need it."""
        return self.device.empty((self.blocks, S.kept_size) if isinstance(S, TileCostate) else (1, 1), S.real)

    def system(self, i: int, S: Any, c: Any, limits: Any) -> System:
        """What takes steps along segment i."""
        segment = self.segment(i)
        given = (self.x, segment.theta, segment.turned, self.layers, self.kept_by(S), segment.apart)
        return System(tile_own, S, given, c, limits)

    @property
    def bytes_held(self) -> int:
        """Of tapes, of theta at all stages, and of the blocks' own memory where a sweep follows."""
        S, rows = self.S, sum(sum(self.kept(steps)) for steps in self.steps)
        lines = S.lines if S.functions else max(self.steps) * S.butcher.stages if S.basis else 1
        numbers = self.batch * (S.width * (rows + 4) + 5 * sum(self.steps) * S.own) + 3 * S.size * lines
        return numbers * np.dtype(S.real).itemsize + (self.bytes_of_sums if S.keep != "nothing" else 0)

    @property
    def bytes_of_sums(self) -> int:
        """Of what hidden layers return, of the blocks' gradients, and of numbers of their threads."""
        S = self.S
        return self.blocks * (S.kept_size + 3 * (1 + S.basis) * S.size + 3 * S.threads) * np.dtype(S.real).itemsize

    def sweep(self, i: int, g: Any, solved: Solved) -> Swept:
        """Segment i backwards, from the cotangent g (w, b) of y at its end."""
        S, device, segment, b = self.S, self.device, self.segment(i), self.batch
        g_x = self.to(np.zeros((S.controls, b)))
        kept = device.empty((self.blocks, S.kept_size), S.real)
        part = device.empty((self.blocks, 1 + S.basis, S.size), S.real)
        depths = device.empty((4, b) if S.own else (self.blocks, 4), S.real)
        x, theta, *rest, _ = self.given(segment)
        given = (
            x, theta, segment.turned, segment.slopes, *rest, segment.table, segment.s, segment.s_new,
            *solved.tapes[i], self.stopped(solved), kept, part, depths,
        )  # fmt: skip
        device.launch(tile_gradient, S, self.blocks, S.threads, (g, g_x, *given))
        to_x, theta, ends = (device.host(a).astype(np.float64) for a in (g_x, part, depths))
        ends = ends if S.own else np.broadcast_to(shares(ends.sum(axis=0), b), (4, b))
        return Swept(g, to_x, ends, theta.sum(axis=0))
