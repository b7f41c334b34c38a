"""A part of a batch with a wide network on its way down, tile by tile, on a grid that trajectories share."""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.kernels.cuda.costate_solve import Gathered
from refnode.kernels.cuda.problem import factors
from refnode.kernels.cuda.shared_solve import TileStepper
from refnode.kernels.cuda.tile_backsolve import tile_backsolve
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_solve import TileRun
from refnode.kernels.pack import varying
from refnode.kernels.tape import DONE, NOT_FINITE


class TileDown:
    """A part's ways down, after its forward solve: the twin of `refnode.kernels.cuda.costate_solve.Down`."""

    def __init__(self, run: TileRun, estimates: bool) -> None:
        self.run, self.part, self.problem = run, run.part, run.problem
        shape = {f.name: getattr(run.S, f.name) for f in fields(TileShape)} | {"keep": "nothing"}
        self.S = TileCostate(**shape, estimates=estimates)
        self.c = run.to(np.append(factors(run.problem), run.problem.loss.scale))
        varies = varying(run.problem)
        self.mask = run.to(np.array([1 - varies, *[varies] * self.S.basis] if self.S.basis else [np.ones(self.S.size)]))

    def down(self, i: int, u: Array, adj_atol: float) -> Gathered:
        """From u = [z, a] (b, 2 d) at the end of segment i, by fixed steps."""
        return self.gather(i, u, self.run.fractions[i])

    def gather(self, i: int, u: Array, fractions: Array) -> Gathered:
        """Down a grid of fractions (N + 1,), with the integrals."""
        run, S, device, blocks, b = self.run, self.S, self.run.device, self.run.blocks, self.run.batch
        segment, whole = run.segment(i, fractions, down=True), (blocks, 1 + S.basis, S.size)
        on_u, g_x, kept = run.to(u.T), run.to(np.zeros((S.controls, b))), device.empty((blocks, S.kept_size), S.real)
        part, of_errors = device.empty(whole, S.real), whole if S.estimates else (1, 1, 1)
        sizes, missed = device.empty(of_errors, S.real), device.empty(of_errors, S.real)
        ends = run.to(np.zeros((2, blocks, S.threads)))
        worst = device.empty((blocks, S.threads) if S.estimates else (1, 1), S.real)
        given = (
            run.x, segment.theta, segment.turned, segment.slopes, run.layers, run.B, self.c, segment.t, segment.t_new,
            segment.h, segment.table, device.array(np.full(b, -1, np.int32)), self.mask, kept, part, sizes, missed,
        )  # fmt: skip
        device.launch(tile_backsolve, S, blocks, S.threads, (on_u, g_x, *given, ends, worst))
        end, to_x, total, of_ends = (device.host(a).astype(np.float64) for a in (on_u, g_x, part, ends))
        size, error = np.zeros(whole[1:]), 0.0
        if S.estimates:
            size = device.host(sizes).astype(np.float64).sum(axis=0)
            error = float(device.host(worst).astype(np.float64).max(axis=1).sum())
        stages = S.butcher.stages - (S.butcher.fsal and not S.estimates)
        word = np.where(np.isfinite(end).all(axis=0), DONE, NOT_FINITE)
        return Gathered(
            end.T, to_x, total.sum(axis=0), size, of_ends.sum(axis=(1, 2)), error, word, stages * segment.steps
        )  # fmt: skip

    def largest_slope(self, i: int, tape_y: Any) -> float:
        """The largest entry of g dl/dz at the ends of segment i's steps up, whose states are on a tape."""
        run, d, grid = self.run, self.S.d, self.run.fractions[i]
        stepper, largest = TileStepper(run, replace(self.S, estimates=False), self.c, i), 0.0
        for s, y in zip(grid, run.device.host(tape_y), strict=True):
            u = np.concatenate([y[:d], np.zeros((d, run.batch))]).T
            largest = max(largest, float(np.abs(stepper.rate(stepper.span.at(s), u)[:, d:]).max()))
        return largest
