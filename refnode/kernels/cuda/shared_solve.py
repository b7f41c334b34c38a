"""Grids that all trajectories share: the host chooses steps as the story does, kernels take them.

Of a step only its error leaves the device, and of a grid only its fractions stay: it is then a given one, for solves,
gradients and ways down alike.
"""

from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import NonFiniteState, StepUnderflow, TooManySteps
from refnode.forward import Grid
from refnode.integrate import Statistics, check_finite, error_norm, first_fraction
from refnode.kernels.cuda.costate import Costate
from refnode.kernels.cuda.own_solve import limits_of
from refnode.kernels.cuda.problem import segment_of, table_of, way
from refnode.kernels.cuda.run import PartRun
from refnode.kernels.cuda.shape import Shape
from refnode.kernels.cuda.shared import attempt, rates
from refnode.kernels.cuda.solve import Run
from refnode.kernels.cuda.tile_costate import TileCostate
from refnode.kernels.cuda.tile_shape import TileShape
from refnode.kernels.cuda.tile_shared import tile_attempt, tile_rates
from refnode.kernels.cuda.tile_solve import TileRun, TileSegment
from refnode.span import Span
from refnode.steps import step_factor
from refnode.tableau import TABLEAUX


class Stepper:
    """All trajectories of a run on their way along segment i, or down it.

    S, c        what steps, y or u = [z, a], and the factors of its running loss
    adj_atol    the absolute tolerance of a
    """

    def __init__(self, run: Run, S: Shape, c: Any, i: int, down: bool = False, adj_atol: float = 0.0) -> None:
        self.run, self.S, self.c, self.i, self.down = run, S, c, i, down
        self.span = way(run.problem, run.values, i, down)
        self.theta, self.limits = run.segment(i).theta, run.to(limits_of(run.solver, adj_atol))
        self.adj_atol = adj_atol
        self.buffers: list[Any] = []

    @property
    def atol(self) -> Array | None:
        """The absolute tolerance of each number (w,), or None for the solver's."""
        if not isinstance(self.S, Costate | TileCostate):
            return None
        return np.repeat([self.run.solver.atol or 0.0, self.adj_atol], self.S.d)

    def rate(self, t: Array, y: Array) -> Array:
        """y' or u' (b, w)."""
        run, S = self.run, self.S
        out, t = run.device.empty((S.width, run.batch), S.real), np.atleast_1d(t)
        s = np.array([self._fraction(t)])
        row = table_of(S, TABLEAUX["euler"], run.problem, run.values, self.i, s, s, run.part, self.down)
        depths = run.to(np.broadcast_to(t, run.batch if S.own else 1))
        given = (run.x, self.theta, run.neurons, self.c, depths, run.to(row))
        run.device.launch(rates, S, run.blocks, S.threads, (run.to(y.T), out, *given))
        return run.of(out)

    def _fraction(self, t: Array) -> float:
        """Where the first trajectory's t is on its way."""
        start, length = (float(np.ravel(a)[0]) for a in (self.span.start, self.span.length))
        return (float(np.ravel(t)[0]) - start) / (length or 1.0)

    def begin(self, y: Array) -> Array:
        """Stand at y (b, w), the way's start; the rate there."""
        k, room = self.rate(self.span.start, y), (self.S.width, self.run.batch)
        self.buffers = [
            self.run.to(y.T), self.run.device.empty(room, self.S.real), self.run.to(k.T),
            self.run.device.empty(room, self.S.real),
        ]  # fmt: skip
        return k

    def attempt(self, s: float, s_new: float) -> float:
        """The error of a step from s to s_new, by the solver's norm."""
        run, S = self.run, self.S
        errors = run.device.empty((run.blocks, 2), S.real)
        self._launch(s, s_new, errors)
        sums = run.device.host(errors).astype(np.float64)
        if run.solver.norm == "max":
            return float(np.sqrt(sums[:, 1].max() / S.width))
        return float(np.sqrt(sums[:, 0].sum() / (run.batch * S.width)))

    def _launch(self, s: float, s_new: float, errors: Any) -> None:
        """Attempt a step."""
        run, S = self.run, self.S
        step = segment_of(S, run.problem, run.values, self.i, np.array([s, s_new]), run.part, self.down)
        times = [run.to(np.ravel(a)) for a in (step.t, step.t_new, step.h)]
        given = (run.x, self.theta, run.neurons, run.B, self.c, self.limits, *times, run.to(step.table), errors)
        run.device.launch(attempt, S, run.blocks, S.threads, (*self.buffers, *given))

    def accept(self) -> None:
        """The last attempt's end is where the next begins."""
        y, y_new, k_first, k_last = self.buffers
        self.buffers = [y_new, y, k_last, k_first]

    def state(self) -> Array:
        """(b, w)."""
        return self.run.of(self.buffers[0])


class TileStepper(Stepper):
    """The same for a wide network, tile by tile."""

    def __init__(self, run: TileRun, S: TileShape, c: Any, i: int, down: bool = False, adj_atol: float = 0.0) -> None:
        super().__init__(run, S, c, i, down, adj_atol)
        self.kept = run.kept_by(S)

    def _segment(self, s: float, s_new: float) -> tuple[TileSegment, tuple[Any, ...]]:
        segment = self.run.segment(self.i, np.array([s, s_new]), self.down)
        return segment, (self.run.x, segment.theta, segment.turned, self.run.layers, self.kept, segment.apart)

    def rate(self, t: Array, y: Array) -> Array:
        """y' or u' (b, w)."""
        run, S, s = self.run, self.S, self._fraction(t)
        out, (_, given) = run.device.empty((S.width, run.batch), S.real), self._segment(s, s)
        depths = run.to(np.broadcast_to(t, run.batch if S.own else 1))
        run.device.launch(tile_rates, S, run.blocks, S.threads, (run.to(y.T), out, *given, self.c, depths))
        return run.of(out)

    def _launch(self, s: float, s_new: float, errors: Any) -> None:
        """Attempt a step."""
        run, S, (step, given) = self.run, self.S, self._segment(s, s_new)
        rest = (run.B, self.c, self.limits, step.t, step.t_new, step.h, errors)
        run.device.launch(tile_attempt, S, run.blocks, S.threads, (*self.buffers, *given, *rest))


def stepper_of(run: PartRun, S: Any, c: Any, i: int, down: bool = False, adj_atol: float = 0.0) -> Stepper:
    """The design's stepper."""
    design = TileStepper if isinstance(run, TileRun) else Stepper
    return design(run, S, c, i, down, adj_atol)


def shared_fractions(stepper: Stepper, y: Array, statistics: Statistics) -> tuple[Array, Array]:
    """Fractions (N + 1,) of the steps from y (b, w), and y where they arrive: the twin of `adaptive_steps`.

    Raises StepUnderflow, TooManySteps or NonFiniteState.
    """
    span, solver, k, rejected = stepper.span, stepper.run.solver, stepper.begin(y), 0
    tableau = solver.tableau
    check_finite(k, span.start, None)
    norm = error_norm(solver, stepper.atol)
    ds = float(first_fraction(statistics.counting(stepper.rate), span, y, k, norm, solver, statistics))
    fractions, err_previous, grow = [0.0], 1.0, True
    while fractions[-1] < 1:
        s = fractions[-1]
        s_new = 1.0 if s + 1.01 * ds >= 1 else s + ds
        statistics.attempts += 1
        if statistics.attempts > solver.max_steps:
            raise TooManySteps(f"more than max_steps = {solver.max_steps} steps", *_where(span, s, s_new), [])
        err = stepper.attempt(s, s_new)
        good = err <= 1 and s_new > s
        factor = float(step_factor(solver.controller, err, err_previous, tableau.order_err or tableau.order - 1))
        factor = factor if grow or not good else min(factor, 1.0)
        wish = (s_new - s) * factor
        ds, grow = max(wish, ds) if good and s_new == 1 else wish, good
        if good:
            stepper.accept()
            fractions.append(s_new)
            err_previous = err
        else:
            rejected += 1
            _check_progress(stepper, s, s_new, err)
    accepted = len(fractions) - 1
    statistics.accepted, statistics.rejected = statistics.accepted + accepted, statistics.rejected + rejected
    statistics.nfe += 1 + (accepted + rejected) * (tableau.stages - 1)
    statistics.next_step = np.max(np.abs(ds * span.length))
    return np.array(fractions), stepper.state()


def _where(span: Span, s: float, s_new: float) -> tuple[float, float]:
    """t and h of a step, of the first trajectory."""
    return float(np.ravel(span.at(np.asarray(s)))[0]), float(np.ravel((s_new - s) * span.length)[0])


def _check_progress(stepper: Stepper, s: float, s_new: float, err: float) -> None:
    """Raise if a step that failed cannot be made smaller in the kernels' precision."""
    span = stepper.span
    size = max(float(np.max(np.abs(end))) for end in (span.start, span.end))
    if (s_new - s) * np.max(np.abs(span.length)) > 16 * np.finfo(stepper.S.real).eps * size:
        return
    where = (*_where(span, s, s_new), [])
    if np.isfinite(err):
        raise StepUnderflow("the step fell below the resolution of t without meeting the tolerance", *where)
    raise NonFiniteState("the state is NaN or infinite however small the step", *where)


def shared_grid(run: PartRun) -> tuple[Grid, Statistics]:
    """The grid of a forward solve by steps that all trajectories share, and what it cost to choose it."""
    statistics, grids, (y, _) = Statistics(), [], run.start()
    check_finite(y, run.values.t0, None)
    for i in range(len(run.fractions)):
        fractions, y = shared_fractions(stepper_of(run, run.S, run.c, i), y, statistics)
        grids.append(fractions)
    return Grid(tuple(grids)), statistics
