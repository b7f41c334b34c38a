"""A problem with a wide network on its way through the kernels, tile by tile, on a grid that trajectories share."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.bases import PiecewiseConstant
from refnode.control import control_of
from refnode.depth import Constant, Galerkin
from refnode.field import MLP
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.problem import depth_weights, stage_table, way
from refnode.kernels.cuda.run import PartRun, Solved, Swept
from refnode.kernels.cuda.shape import Keep
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_gradient import tile_gradient
from refnode.kernels.cuda.tile_shape import LARGEST_WIDTH, TileShape
from refnode.problem import Problem
from refnode.running import Kinetic, SquaredNorm
from refnode.solver import Solver


def refusal(problem: Problem, solver: Solver) -> str:
    """Why tiles do not take this problem with this solver; "" if they do."""
    field, depth = problem.model.field, problem.model.depth
    if type(field) is not MLP or field.depth < 2 or max(field.widths[1:-1]) > LARGEST_WIDTH or field.skip:
        return f"the field is no MLP of hidden layers up to {LARGEST_WIDTH} wide without a skip term"
    for term in problem.loss.running:
        if type(term) not in (SquaredNorm, Kinetic):
            return f"the running loss {type(term).__name__} is not compiled"
    if type(depth) not in (Constant, Galerkin):
        return f"the depth {type(depth).__name__} is not compiled"
    if any(np.ndim(end) for end in problem.span or ()):
        return "a wide network on spans that differ between samples is not compiled"
    if solver.adaptive and (solver.steps == "own" or not solver.tableau.fsal):
        return "adaptive steps of a wide network that trajectories do not share, or without FSAL, are not compiled"
    if not tile_shape_of(problem, solver, np.float64, "nothing").fits:
        return "the field has more inputs or outputs than shared memory holds"
    return ""


def tile_shape_of(problem: Problem, solver: Solver, dtype: Any, keep: Keep) -> TileShape:
    """What its kernels are compiled for."""
    field, depth = problem.model.field, problem.model.depth
    control = control_of(problem.model.control, problem.values.x)
    timed = tuple(field.shapes[f"W{k}"][0] > field.widths[k] for k in range(field.depth))
    varies = type(depth) is Galerkin and type(depth.basis) is not PiecewiseConstant
    return TileShape(
        np.dtype(dtype).name, problem.model.state_width, tuple(field.widths[1:]), field.act,
        0 if control is None else control.shape[1], field.bias, timed, bool(problem.loss.running),
        depth.basis.m if varies else 0, solver.method, keep,
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
    table            (N s, 2 m + 4);  t, t_new, h, s, s_new   (N,)
    """

    theta: Any
    turned: Any
    slopes: Any
    table: Any
    t: Any
    t_new: Any
    h: Any
    s: Any
    s_new: Any

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
        super().__init__(problem, solver, device, tile_shape_of(problem, solver, dtype, keep), fractions, part, z0)
        self.layers = device.array(np.array(self.S.layers, np.int64))

    def segment(self, i: int, fractions: Array | None = None, down: bool = False) -> TileSegment:
        """Segment i's arrays, on the device; or those of its way down, or on other fractions."""
        S, problem, values = self.S, self.problem, self.values
        span, cell, m = way(problem, values, i, down), problem.layout.cells[i], S.basis
        grid = self.fractions[i] if fractions is None else fractions
        s, s_new = grid[:-1], grid[1:]
        still, A = depth_weights(problem, values)
        table = stage_table(m, S.butcher, problem, values, i, s, s_new, down)
        theta, slopes = (still + A[cell] if len(A) else still)[None], np.zeros((1, 1))
        if m:
            theta, slopes = still + table[:, :m] @ A, table[:, m : 2 * m] @ A
        times = span.at(s), span.at(s_new), (s_new - s) * span.length
        arrays = TileSegment(theta, turned(S, theta), slopes, table, *times, s, s_new)
        return TileSegment(*(self.to(getattr(arrays, field.name)) for field in fields(arrays)))

    def given(self, segment: TileSegment) -> tuple[Any, ...]:
        """What the forward kernel reads of a segment."""
        return (self.x, segment.theta, self.layers, self.B, self.c, segment.t, segment.t_new, segment.h)

    @property
    def bytes_held(self) -> int:
        """Of tapes, of theta at all stages, and of the blocks' own memory."""
        S, rows = self.S, sum(sum(self.kept(steps)) for steps in self.steps)
        lines = max(self.steps) * S.butcher.stages if S.basis else 1
        numbers = self.batch * S.width * (rows + 4) + 3 * S.size * lines
        if S.keep != "nothing":
            numbers += self.blocks * (S.kept_size + (1 + S.basis) * S.size + 4)
        return numbers * np.dtype(S.real).itemsize

    def sweep(self, i: int, g: Any, solved: Solved) -> Swept:
        """Segment i backwards, from the cotangent g (w, b) of y at its end."""
        S, device, segment, b = self.S, self.device, self.segment(i), self.batch
        g_x = self.to(np.zeros((S.controls, b)))
        kept = device.empty((self.blocks, S.kept_size), S.real)
        part, depths = (device.empty((self.blocks, *rest), S.real) for rest in ((1 + S.basis, S.size), (4,)))
        x, theta, *rest = self.given(segment)
        given = (
            x, theta, segment.turned, segment.slopes, *rest, segment.table, segment.s, segment.s_new,
            *solved.tapes[i], self.stopped(solved), kept, part, depths,
        )  # fmt: skip
        device.launch(tile_gradient, S, self.blocks, S.threads, (g, g_x, *given))
        to_x = device.host(g_x).astype(np.float64)
        theta, ends = (device.host(a).astype(np.float64).sum(axis=0) for a in (part, depths))
        return Swept(g, to_x, np.zeros((2, b)), theta, ends)
