"""A part of a batch with a wide network on its way down, tile by tile."""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.kernels.cuda.costate_solve import Gathered, PartDown
from refnode.kernels.cuda.problem import table_of
from refnode.kernels.cuda.tile_backsolve import tile_backsolve
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_largest import tile_largest
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_solve import TileRun
from refnode.kernels.pack import varying
from refnode.kernels.tape import DONE, NOT_FINITE
from refnode.tableau import TABLEAUX


class TileDown(PartDown):
    """A part's ways down, after its forward solve: the twin of `refnode.kernels.cuda.costate_solve.Down`."""

    def __init__(self, run: TileRun, estimates: bool) -> None:
        shape = {f.name: getattr(run.S, f.name) for f in fields(TileShape)} | {"keep": "nothing"}
        super().__init__(run, TileCostate(**shape, estimates=estimates))
        varies = varying(run.problem)
        self.mask = run.to(np.array([1 - varies, *[varies] * self.S.basis] if self.S.basis else [np.ones(self.S.size)]))

    def gather(self, i: int, u: Array, fractions: Array, nfe: int = 0) -> Gathered:
        """Down a grid of fractions, with the integrals."""
        run, S, device, blocks, b = self.run, self.S, self.run.device, self.run.blocks, self.run.batch
        segment, whole = run.segment(i, fractions, down=True), (blocks, 1 + S.basis, S.size)
        on_u, g_x, kept = run.to(u.T), run.to(np.zeros((S.controls, b))), device.empty((blocks, S.kept_size), S.real)
        part, of_errors = device.empty(whole, S.real), whole if S.estimates else (1, 1, 1)
        sizes, missed = device.empty(of_errors, S.real), device.empty(of_errors, S.real)
        ends = run.to(np.zeros((2, blocks, S.threads)))
        worst = device.empty((blocks, S.threads) if S.estimates else (1, 1), S.real)
        grid = (segment.t, segment.t_new, segment.h, segment.count, segment.table)
        given = (
            run.x, segment.theta, segment.turned, segment.slopes, run.layers, run.B, self.c, *grid,
            device.array(np.full(b, -1, np.int32)), self.mask, kept, part, sizes, missed,
        )  # fmt: skip
        device.launch(tile_backsolve, S, blocks, S.threads, (on_u, g_x, *given, ends, worst))
        end, to_x, total, of_ends = (device.host(a).astype(np.float64) for a in (on_u, g_x, part, ends))
        size, error = np.zeros(whole[1:]), 0.0
        if S.estimates:
            size = device.host(sizes).astype(np.float64).sum(axis=0)
            error = float(device.host(worst).astype(np.float64).max(axis=1).sum())
        of_depths = np.broadcast_to(of_ends.sum(axis=(1, 2))[:, None] / b, (2, b))
        if S.functions:
            of_depths = of_ends[:, :, : S.rows].reshape(2, -1)[:, :b]
        stages = S.butcher.stages - (S.butcher.fsal and not S.estimates)
        word = np.where(np.isfinite(end).all(axis=0), DONE, NOT_FINITE)
        return Gathered(
            end.T, to_x, total.sum(axis=0), size, of_depths, error, word,
            nfe + stages * segment.steps,
        )  # fmt: skip

    def largest_slope(self, i: int, tape_y: Any) -> float:
        """The largest entry of g dl/dz at the ends of segment i's steps up, whose states are on a tape."""
        run, S, grid = self.run, replace(self.S, estimates=False), self.run.grid(i, self.run.fractions[i])
        s, t = (np.concatenate([a, b[-1:]]) for a, b in ((grid.s, grid.s_new), (grid.t, grid.t_new)))
        euler = TABLEAUX["euler"]
        table = table_of(S, euler, self.problem, run.values, i, s[:, 0], s[:, 0], self.part)
        (theta, over, _), apart = run.lines(i, table), table if S.functions else np.zeros((0, 0))
        found, count = run.device.empty((run.batch,), S.real), run.device.array(grid.count)
        given = (run.x, theta, over, run.layers, run.kept_by(S), run.to(apart), self.c, run.to(t), tape_y, count)
        run.device.launch(tile_largest, S, run.blocks, S.threads, (found, *given))
        return float(np.max(run.device.host(found)))
