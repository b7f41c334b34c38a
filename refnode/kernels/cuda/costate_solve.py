"""A part of a batch on its way down: steps are chosen, and then integrals gathered.

On a given grid one kernel does all. Steps of a trajectory's own are first chosen by the error of z and a, and nothing
but their fractions is kept; then the same kernel goes down the grid that they are, and gathers the integrals.
"""

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from refnode.arrays import Array
from refnode.kernels.cuda.backsolve import backsolve
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.largest import largest
from refnode.kernels.cuda.layout import places, unpacked_gradient
from refnode.kernels.cuda.own_solve import fractions_of, limits_of, own_steps
from refnode.kernels.cuda.problem import factors, table_of
from refnode.kernels.cuda.shape import LANES, Shape
from refnode.kernels.cuda.solve import Run
from refnode.kernels.pack import varying
from refnode.kernels.tape import DONE, NOT_FINITE
from refnode.problem import Problem
from refnode.segments import segments
from refnode.span import Span
from refnode.tableau import TABLEAUX


class Gathered(NamedTuple):
    """What a way down a segment gives: u = [z, a] at its start (b, 2 d), the control's cotangent (n_x, b), integrals
    for theta and their absolute terms (rows, p), those for t0 and T (2, b), the largest error, words (b,), evaluations.
    """

    u: Array
    x: Array
    total: Array
    size: Array
    ends: Array
    error: float
    word: Array
    nfe: int


class PartDown(ABC):
    """A part's ways down, after its forward solve: what all designs share.

    S    the costate's shape
    """

    def __init__(self, run: Any, S: Any) -> None:
        self.run, self.S, self.part, self.problem = run, S, run.part, run.problem
        self.c = run.to(np.append(factors(run.problem), run.problem.loss.scale))
        self.wish = np.full(run.batch, run.solver.first_step or 0.0)

    @abstractmethod
    def gather(self, i: int, u: Array, fractions: Array, nfe: int = 0) -> Gathered:
        """Down a grid of fractions, with the integrals."""

    @abstractmethod
    def largest_slope(self, i: int, tape_y: Any) -> float:
        """The largest entry of g dl/dz at the ends of segment i's steps up, whose states are on a tape."""

    def down(self, i: int, u: Array, adj_atol: float) -> Gathered:
        """From u = [z, a] (b, 2 d) at the end of segment i, by fixed steps or by each trajectory's own."""
        if not self.run.solver.adaptive:
            return self.gather(i, u, self.run.fractions[i])
        fractions, word, nfe = self.choose(i, u, adj_atol)
        if np.any(word != DONE):
            nothing = np.zeros((1, 1))
            return Gathered(u, nothing, nothing, nothing, np.zeros((2, len(u))), 0.0, word, nfe)
        return self.gather(i, u, fractions, nfe)

    def choose(self, i: int, u: Array, adj_atol: float) -> tuple[Array, Array, int]:
        """Fractions (N + 1, b) of each trajectory's own steps, words, evaluations."""
        run, S = self.run, self.S
        span = segments(self.problem, run.values)[i]
        start, end = (np.broadcast_to(t, self.problem.batch)[self.part] for t in (span.end, span.start))
        length = np.abs(end - start)
        ds = np.where(length > 0, self.wish / np.where(length > 0, length, 1.0), 1.0)
        limits = run.to(limits_of(run.solver, adj_atol))
        system = run.system(i, S, self.c, limits)
        _, tape, count, rejected, word, ds = own_steps(run, system, run.to(u.T), ds, start, end)
        self.wish = ds * length
        attempts = int(np.max(count + rejected))
        return fractions_of(run.device.host(tape[1]), count), word, 1 + attempts * (S.butcher.stages - 1)


class Down(PartDown):
    """The same, a thread for each trajectory.

    estimates    whether the integrals' errors are estimated
    """

    def __init__(self, run: Run, estimates: bool) -> None:
        shape = {f.name: getattr(run.S, f.name) for f in fields(Shape)} | {"keep": "nothing"}
        super().__init__(run, Costate(**shape, estimates=estimates))
        self.mask = run.to(mask_of(self.S, run.problem))

    def gather(self, i: int, u: Array, fractions: Array, nfe: int = 0) -> Gathered:
        """Down a grid of fractions, with the integrals."""
        run, S, device, b = self.run, self.S, self.run.device, self.run.batch
        segment = run.segment(i, fractions, down=True)
        numbers, on_u = (1 + S.basis) * S.size, run.to(u.T)
        g_x = run.to(np.zeros((S.controls + 2 * bool(S.functions), b)))
        part = run.to(np.zeros((run.blocks, numbers + 2)))              # neurons that are none stay zero
        sizes = run.to(np.zeros((run.blocks, numbers) if S.estimates else (1, 1)))
        worst = run.to(np.zeros(run.blocks * S.threads if S.estimates else 1))
        grid = (segment.t, segment.t_new, segment.h, segment.table)
        given = (run.x, segment.theta, run.neurons, run.B, self.c, *grid, device.array(np.full(b, -1, np.int32)))
        device.launch(backsolve, S, run.blocks, S.threads, (on_u, g_x, *given, self.mask, part, sizes, worst))
        end, to_x, total = (device.host(a).astype(np.float64) for a in (on_u, g_x, part))
        word = np.where(np.isfinite(end).all(axis=0), DONE, NOT_FINITE)
        size, error = np.zeros(numbers), 0.0
        if S.estimates:
            size = device.host(sizes).astype(np.float64).sum(axis=0)
            error = float(device.host(worst).astype(np.float64).reshape(-1, LANES).max(axis=1).sum())
        stages = S.butcher.stages - (S.butcher.fsal and not S.estimates)
        total = total.sum(axis=0)
        ends = to_x[S.controls :] if S.functions else np.broadcast_to(total[numbers:, None] / b, (2, b))
        return Gathered(
            end.T, to_x[: S.controls], self._rows(total[:numbers]), self._rows(size), ends, error, word,
            nfe + stages * segment.steps,
        )  # fmt: skip

    def _rows(self, sums: Array) -> Array:
        """A kernel's sums as the field's theta has them (1 + m, p)."""
        size = sum(int(np.prod(shape)) for shape in self.problem.model.field.shapes.values())
        return unpacked_gradient(self.S, sums.reshape(1 + self.S.basis, self.S.size), size)

    def largest_slope(self, i: int, tape_y: Any) -> float:
        """The largest entry of g dl/dz at the ends of segment i's steps up, whose states are on a tape."""
        run, S, problem = self.run, self.S, self.problem
        s = run.fractions[i] if run.fractions[i].ndim == 2 else run.fractions[i][:, None]
        segment = run.segment(i)
        span = segments(problem, run.values)[i]
        ends = [np.broadcast_to(t, problem.batch)[self.part] if S.own else t for t in (span.start, span.end)]
        t = np.atleast_2d(Span(*ends).at(s))
        table = table_of(S, TABLEAUX["euler"], problem, run.values, i, s[:, 0], s[:, 0], self.part)
        found = run.device.empty((run.batch,), S.real)
        given = (run.x, segment.theta, run.neurons, self.c, run.to(t), run.to(table), tape_y, segment.count)
        run.device.launch(largest, S, run.blocks, S.threads, (found, *given))
        return float(np.max(run.device.host(found)))


def mask_of(S: Costate, problem: Problem) -> Array:
    """1 for numbers of a kernel's theta whose error counts, still and then coefficients ((1 + m) size,), else 0."""
    at, there = places(S)
    varies = varying(problem)[at] if S.basis else np.zeros(S.size)
    return np.concatenate([there * (1 - varies), *[there * varies] * S.basis])
