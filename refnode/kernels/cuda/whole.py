"""A whole problem on a device: which design takes it, and its forward solve, part by part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.dynamics import dynamics_of
from refnode.errors import Finished, InvalidArgument, NonFiniteState, NumericalError, StepUnderflow, TooManySteps
from refnode.forward import Forward, Grid, loss_per_sample, right_hand_side
from refnode.integrate import Statistics, Step, prescribed_steps
from refnode.kernels.cuda import problem as threads, tile_solve as tiles
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.own_solve import solve_own
from refnode.kernels.cuda.parts import by_parts, check_room
from refnode.kernels.cuda.run import PartRun, Solved, uniform
from refnode.kernels.cuda.shape import Keep
from refnode.kernels.cuda.shared_solve import shared_grid
from refnode.kernels.cuda.solve import Run
from refnode.kernels.cuda.tile_solve import TileRun
from refnode.kernels.tape import DONE, NOT_FINITE, TOO_MANY, UNDERFLOW
from refnode.problem import Problem
from refnode.segments import segments
from refnode.solver import Solver
from refnode.values import Values, named

OVERFLOWN = 100                                     # beside the words of a forward solve: on the way back
FAULTS: dict[int, tuple[type[NumericalError], str]] = {
    UNDERFLOW: (StepUnderflow, "the step fell below the resolution of t without meeting the tolerance"),
    NOT_FINITE: (NonFiniteState, "the state is NaN or infinite however small the step"),
    TOO_MANY: (TooManySteps, "more than max_steps = {} steps"),
    OVERFLOWN: (NonFiniteState, "the costate a(t) is NaN or infinite"),
}


def refusal(problem: Problem, solver: Solver) -> str:
    """Why no design takes this problem with this solver; "" if one does."""
    if solver.proposal is not None:
        return "proposed steps are not compiled for a card"
    why = threads.refusal(problem, solver)
    if not why:
        return why
    wide = tiles.refusal(problem, solver)
    field = problem.model.field
    small = getattr(field, "depth", 0) == 2 and field.widths[1] <= threads.LARGEST_HIDDEN
    return wide and (why if small else wide)


@dataclass(frozen=True, eq=False)
class Whole:
    """What a problem is solved with: n_steps, own steps or shared ones, or a grid of accepted steps to replay; from
    h_x(x), or from z0 (b, d) on the device.

    chosen    what it cost to choose the grid, if that was the device's work
    """

    problem: Problem
    solver: Solver
    device: Device
    dtype: Any
    grid: Grid | None = None
    z0: Any = None
    chosen: Statistics | None = None

    @property
    def adaptive(self) -> bool:
        """Whether trajectories choose their own steps."""
        return self.solver.adaptive and self.solver.steps == "own" and self.grid is None

    @property
    def unsettled(self) -> bool:
        """Whether trajectories share steps that are still to be chosen."""
        return self.solver.adaptive and self.solver.steps == "shared" and self.grid is None

    def settled(self) -> "Whole":
        """With a grid, if trajectories share steps that are still to be chosen."""
        if not self.unsettled:
            return self
        unknown = [np.array([0.0, 1.0])] * len(self.problem.layout.cells)
        grid, chosen = shared_grid(self._run(slice(0, self.problem.batch), "nothing", unknown))
        return replace(self, grid=grid, chosen=chosen)

    def run(self, part: slice, keep: Keep) -> PartRun:
        """The design for a part of the batch: a thread for each trajectory where it takes the problem, else tiles."""
        if self.unsettled:
            raise InvalidArgument("whole", "shared steps that nobody chose", "settled() first")
        fractions: Sequence[Array] = [np.zeros((1, part.stop - part.start))] * len(self.problem.layout.cells)
        if self.grid is not None:
            fractions = [s if s.ndim == 1 else s[:, part] for s in self.grid.fractions]
        elif not self.solver.adaptive:
            fractions = uniform(self.problem, self.solver)
        return self._run(part, keep, fractions)

    def _run(self, part: slice, keep: Keep, fractions: Sequence[Array]) -> PartRun:
        problem, solver = self.problem, self.solver
        design = TileRun if threads.refusal(problem, solver) else Run
        z0 = None if self.z0 is None else self.z0.rows(part)
        return design(problem, solver, self.device, self.dtype, keep, fractions, part, z0)

    def solve(self, part: slice, keep: Keep) -> tuple[PartRun, Solved]:
        """A part's run and forward solve."""
        run = self.run(part, "states" if self.adaptive else keep)
        return run, solve_own(run) if self.adaptive else run.solve()

    def parts(self, keep: Keep, to: Any = None, *, way_down: bool = False) -> "Parts":
        """All parts that find room, for a way down too if one follows, with their solves; only the solve of a single
        part keeps its tapes. z(T) is copied to rows on the device (b, d).
        """
        def work(part: slice) -> tuple[PartRun, Solved]:
            if way_down:
                run = self.run(part, keep)
                check_room(self.device, run.bytes_held + run.bytes_of_sums)
            run, solved = self.solve(part, keep)
            if to is not None:
                run.leave(solved.end, to.rows(part))
            whole = part.stop - part.start == self.problem.batch
            return run, replace(solved, tapes=solved.tapes if whole else [], end=None)

        return by_parts(work, slice(0, self.problem.batch))

    def joined(self, solved: Sequence[Solved], evaluations_a_step: int) -> Forward:
        """The story's record of the parts' solves; in place of trajectories that failed stands the first that did not.
        """
        at_bounds = [np.concatenate(rows) for rows in zip(*(part.at_bounds for part in solved), strict=True)]
        done = np.concatenate([part.word == DONE for part in solved])
        at_bounds = [np.where(done[:, None], y, y[np.argmax(done)]) for y in at_bounds]
        fractions = [_side_by_side(list(rows)) for rows in zip(*(part.fractions for part in solved), strict=True)]
        accepted, rejected = (np.concatenate([getattr(p, name) for p in solved]) for name in ("accepted", "rejected"))
        attempts = int(np.max(accepted + rejected))
        if all(s.ndim == 1 for s in fractions):
            accepted, rejected = np.array(accepted[0]), np.array(0)
        statistics = Statistics(len(fractions) + attempts * evaluations_a_step, accepted, rejected)
        return Forward(at_bounds, Grid(tuple(fractions)), [], self.chosen or statistics)

    def forward(self, parts: "Parts") -> Forward:
        """The record of all parts' solves.

        Raises the gravest fault, with what the trajectories gave that are done.
        """
        solved, tableau = [one for _, (_, one) in parts], self.solver.tableau
        forward = self.joined(solved, tableau.stages - tableau.fsal)
        word = np.concatenate([one.word for one in solved])
        if error := self.failure(word, np.hstack([one.where for one in solved])):
            error.finished = finished(self.problem, forward, word == DONE) if np.any(word == DONE) else None
            raise error
        return forward

    def failure(self, word: Array, where: Array) -> NumericalError | None:
        """The gravest fault that there was, with its samples, t and h of the first, and the status of all; or None."""
        for fault, (error, message) in FAULTS.items():
            if bad := np.flatnonzero(word == fault).tolist():
                if fault == NOT_FINITE and not self.adaptive:
                    message = "the state is NaN or infinite"
                t, h = (n if np.isfinite(n) else None for n in where[:, bad[0]].tolist())
                found = error(message.format(self.solver.max_steps), t, h, bad)
                found.status = tuple("done" if n == DONE else FAULTS[n][0].__name__ for n in word.tolist())
                return found
        return None


Parts = list[tuple[slice, tuple[PartRun, Solved]]]


def _side_by_side(parts: list[Array]) -> Array:
    """Fractions of all trajectories; those that took fewer steps wait at 1."""
    if parts[0].ndim == 1:
        return parts[0]
    longest = max(len(s) for s in parts)
    return np.hstack([np.pad(s, ((0, longest - len(s)), (0, 0)), constant_values=1.0) for s in parts])


def solve_forward(
    problem: Problem, solver: Solver, device: Device, dtype: Any
) -> tuple[Forward, Callable[[], list[list[Step]]]]:
    """The solve's record, and its accepted steps, which the story runs again when they are asked for.

    Raises StepUnderflow, TooManySteps or NonFiniteState with the samples, and what the others gave; MemoryError if the
    device has no room for one block of trajectories.
    """
    whole, values = Whole(problem, solver, device, dtype).settled(), problem.resolved
    forward = whole.forward(whole.parts("nothing"))

    def steps() -> list[list[Step]]:
        found = []
        for i, (span, fractions) in enumerate(zip(segments(problem, values), forward.grid.fractions, strict=True)):
            rhs = right_hand_side(dynamics_of(problem, i), values)
            found.append(list(prescribed_steps(rhs, span, forward.at_bounds[i], fractions, solver.tableau)))
        return found

    return forward, steps


def finished(
    problem: Problem, forward: Forward, done: Array, grads: Values | None = None, adj_t0: Array | None = None
) -> Finished | None:
    """What the samples gave that are done (b,); None if it is not finite."""
    def theirs(name: str, leaf: Array) -> Array:
        return leaf[done] if name == "x" or (name in ("t0", "T") and leaf.ndim) else leaf

    losses = loss_per_sample(problem, problem.resolved, forward.at_bounds)[done]
    leaves = {} if grads is None else {name: theirs(name, g) for name, g in named(grads, problem).items()}
    if not all(np.isfinite(a).all() for a in (losses, *leaves.values())):
        return None
    z_T = forward.at_bounds[-1][done, : problem.model.state_width]
    return Finished(np.flatnonzero(done), z_T, losses, leaves, None if adj_t0 is None else adj_t0[done])
