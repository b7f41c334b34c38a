"""The backsolve adjoint on a card: state and costate compiled; maps, point losses, bounds and H by the story."""

from typing import Any

import numpy as np

from refnode.arrays import Array, flag
from refnode.control import control_vjp
from refnode.gradients.backsolve_adjoint import allowed_miss, with_state
from refnode.gradients.continuous import BackwardPass
from refnode.gradients.result import GradientResult
from refnode.kernels.cuda.costate_solve import Down, Gathered
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.run import PartRun
from refnode.kernels.cuda.shared_solve import shared_fractions, stepper_of
from refnode.kernels.cuda.tile_costate_solve import TileDown
from refnode.kernels.cuda.tile_solve import TileRun
from refnode.kernels.cuda.whole import Whole
from refnode.kernels.pack import gathered
from refnode.problem import Problem
from refnode.segments import like_end
from refnode.solver import Solver


def backsolve_adjoint(
    problem: Problem, solver: Solver, device: Device, dtype: Any = np.float32, *, check: bool = True,
    limit: float | None = None,
) -> GradientResult:  # fmt: skip
    """Gradient of the loss by solving state and costate backwards: the twin of `refnode.gradients.backsolve_adjoint`.

    Parameters
    ----------
    problem, solver    that `refnode.kernels.cuda.whole.refusal` has nothing against
    device             that runs kernels
    dtype              np.float32 or np.float64, times and integrals included
    check, limit       as in the story

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64, adj_t0 (b, d)

    Raises
    ------
    UnreliableGradient                             as the story does, with errors summed over warps: see docs/cuda.md
    StepUnderflow, TooManySteps, NonFiniteState    from the forward solve
    MemoryError                                    if the device has no room for one block of trajectories

    Error    O(tol) for the ODE's gradient, and what rounding leaves of it.
    Cost     a backward stage costs a vjp, and one more where steps are chosen; memory N b for their own steps.
    """
    flag("check", check)
    allowed = allowed_miss(solver, limit)
    whole = Whole(problem, solver, device, dtype).settled()
    back = CardPass(whole, check and solver.adaptive)
    held = 2 * sum(y.nbytes for y in back.forward.at_bounds)
    return with_state(back, back.down, check, allowed, lambda: held)


def down_of(run: PartRun, estimates: bool) -> Down | TileDown:
    """A part's ways down, by its design."""
    return TileDown(run, estimates) if isinstance(run, TileRun) else Down(run, estimates)


class CardPass(BackwardPass):
    """The story's backward pass, with the ways down segments and their integrals by kernels, part by part.

    estimates    whether the errors of the integrals are estimated
    """

    def __init__(self, whole: Whole, estimates: bool) -> None:
        problem, solver = whole.problem, whole.solver
        self.whole = whole
        self.parts = whole.parts("states" if solver.adaptive and problem.loss.running else "nothing", way_down=True)
        forward = whole.forward(self.parts)
        super().__init__(problem, problem.resolved, forward, solver)
        self.ways = [down_of(run, estimates) for _, (run, _) in self.parts]
        self.adj_atol = max(self.costate_atol(), float(np.finfo(whole.dtype).tiny)) if solver.adaptive else 0.0
        self.parts = []                                             # and with them the tapes

    def largest_slope(self) -> float:
        """The largest entry of g dl/dz along the solution."""
        largest = 0.0
        for (part, (_, solved)), way in zip(self.parts, self.ways, strict=True):
            tapes = solved.tapes or self.whole.solve(part, "states")[1].tapes
            largest = max(largest, *(way.largest_slope(i, tape[0]) for i, tape in enumerate(tapes)))
        self.statistics.nfe += max(sum(len(s) for s in run.fractions) for _, (run, _) in self.parts)
        return largest

    def down(self, i: int, u: Array) -> Array:
        """u = [z, a] (b, 2 d) from the end of segment i to its start; the parameter integrals are gathered.

        Raises NonFiniteState, StepUnderflow or TooManySteps, with the samples.
        """
        found = self._down(i, u)
        if error := self.whole.failure(np.concatenate([one.word for one in found]), self._where(i)):
            raise error
        self._take(i, found)
        self.statistics.nfe += max(one.nfe for one in found)
        return np.concatenate([one.u for one in found])

    def _down(self, i: int, u: Array) -> list[Gathered]:
        """The parts' ways down segment i, by fixed steps, by own ones, or by shared ones, which all choose together."""
        if self.whole.adaptive or not self.solver.adaptive:
            return [way.down(i, u[way.part], self.adj_atol) for way in self.ways]
        everyone = down_of(self.whole.run(slice(0, len(u)), "nothing"), False)
        stepper = stepper_of(everyone.run, everyone.S, everyone.c, i, True, self.adj_atol)
        fractions, _ = shared_fractions(stepper, u, self.statistics)
        return [way.gather(i, u[way.part], fractions) for way in self.ways]

    def _where(self, i: int) -> Array:
        """The t of segment i's end, from which all samples came down, and no h (2, b)."""
        t = np.broadcast_to(self.times[i + 1], self.problem.batch)
        return np.array([t, np.full(len(t), np.nan)])

    def _take(self, i: int, found: list[Gathered]) -> None:
        """Move what was gathered on segment i to the gradients."""
        problem, values = self.problem, self.values
        total = sum(one.total for one in found)
        t0, T = np.concatenate([one.ends for one in found], axis=1) * (problem.model.depth.interval == "span")
        x = np.concatenate([one.x for one in found], axis=1).T
        self.add(
            alpha=self._leaves(i, total),
            x=control_vjp(problem.model.control, values.x, x) if x.size else np.zeros(values.x.shape),
            t0=like_end(t0, values.t0), T=like_end(T, values.T),
        )  # fmt: skip
        self.integral_size = self.integral_size + self._leaves(i, sum(one.size for one in found))
        self.integral_error = max(self.integral_error, sum(one.error for one in found))

    def _leaves(self, i: int, rows: Any) -> Array:
        """Sums for theta (1, p), or for still and coefficients (1 + m, p), as alpha."""
        problem, depth = self.problem, self.problem.model.depth
        m = depth.basis.m if hasattr(depth, "basis") else 0
        of_coefficients = np.zeros((m, rows.shape[1]))
        if len(rows) > 1:
            of_coefficients[:] = rows[1:]
        elif m:                                                     # a piece of its own
            of_coefficients[problem.layout.cells[i]] = rows[0]
        return gathered(problem, rows[0], of_coefficients)
