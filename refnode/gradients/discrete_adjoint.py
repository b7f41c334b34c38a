"""The discrete adjoint: reverse-mode differentiation of the very steps that were taken."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb
from typing import Literal

import numpy as np

from refnode.arrays import Array, count, one_of
from refnode.dynamics import Cotangents, dynamics_of
from refnode.errors import InvalidArgument
from refnode.forward import Forward, Keep, point_terms, right_hand_side, solve_forward
from refnode.gradients.result import GradientResult, gradient_result
from refnode.objective import point_loss_vjp
from refnode.problem import Problem
from refnode.segments import bounds, bounds_vjp, like_end, segments
from refnode.solver import Solver
from refnode.span import Span
from refnode.steps import Rhs, rk_step, rk_step_vjp
from refnode.values import Values, resolved_magnitude, resolved_vjp

Store = Literal["stages", "states", "binomial"]
KEEP: dict[Store, Keep] = {"stages": "steps", "states": "states", "binomial": "nothing"}


def discrete_adjoint(
    problem: Problem, solver: Solver, *, store: Store = "stages", memory_bytes: int | None = None
) -> GradientResult:
    """Gradient of the computed solution: every accepted step is differentiated backwards.

        g_k_i = h (b_i g + sum_{j>i} a_ji g_Y_j),   g_Y_i = (dF/dy)^T g_k_i,   g_n = g_{n+1} + sum_i g_Y_i
        dloss/dtheta = sum_n sum_i (dF/dtheta)^T g_k_i

    Parameters
    ----------
    problem       Problem, x (b, n)
    solver        Solver
    store         "stages": all stages of all steps; "states": y_n only, stages are recomputed; "binomial": as many
                  y_n as fit into memory_bytes, segments recomputed by the binomial schedule. The bits are the same
    memory_bytes  limit for "binomial"

    Returns
    -------
    GradientResult    loss (), grads of every leaf, adj_t0 (b, d), magnitude

    Raises
    ------
    StepUnderflow, TooManySteps, NonFiniteState    from the forward solve
    InvalidArgument                                if memory_bytes holds less than two states

    Error    exact, to round-off, for the computed solution with its accepted steps frozen; against the ODE's gradient
             the discretisation error, O(h^p), which no tolerance controls directly.
    Cost     memory N s b d for "stages", N b d for "states"; time one vjp per stage, and one more forward evaluation
             per stage for "states"; "binomial" repeats steps the fewest times that its memory allows.
    Source   Hager 2000, Numer. Math. 87; Griewank and Walther 2000, Algorithm 799 (the binomial schedule).
    """
    check_store(store, memory_bytes)
    values = problem.resolved
    forward = solve_forward(problem, values, solver, keep=KEEP[store])
    tape = Tape.of(problem, values, forward, solver)
    sweep = ReverseSweep(problem, values, tape, forward)
    if store == "stages":
        held = sum(step.y.nbytes + step.k.nbytes for steps in forward.steps for step in steps)
        kept = [step for steps in forward.steps for step in steps]
        for n in reversed(range(len(tape.steps))):
            sweep.back(n, kept[n].y, kept[n].k)
    elif store == "states":
        states = [step.y for steps in forward.steps for step in steps]
        held = sum(y.nbytes for y in states)
        for n in reversed(range(len(tape.steps))):
            sweep.back(n, states[n], tape.run(n, states[n])[1])
    else:
        y0 = forward.at_bounds[0]
        snapshots = snapshots_in(memory_bytes, y0.nbytes)
        held = min(snapshots, len(tape.steps)) * y0.nbytes
        binomial(len(tape.steps), y0, snapshots, tape.advance, lambda n, y: sweep.back(n, y, tape.run(n, y)[1]))
    grads, magnitude, adj_t0 = sweep.finish()
    return gradient_result(
        problem, values, forward, grads, method="discrete", solver=solver, nfe_backward=sweep.nfe + tape.nfe,
        peak_bytes=held, adj_t0=adj_t0, magnitude=magnitude,
    )  # fmt: skip


def check_store(store: Store, memory_bytes: int | None) -> None:
    """Raise InvalidArgument for an unknown store, or a limit of memory that it does not use."""
    one_of("store", store, ("stages", "states", "binomial"))
    if memory_bytes is not None and store != "binomial":
        raise InvalidArgument("memory_bytes", f"{memory_bytes!r} with store={store!r}", "None unless store='binomial'")


def snapshots_in(memory_bytes: int | None, state_bytes: int) -> int:
    """How many states of state_bytes fit into memory_bytes, at least two."""
    if memory_bytes is None:
        raise InvalidArgument("memory_bytes", None, "given with store='binomial': bytes for snapshots of the state")
    snapshots = count("memory_bytes", memory_bytes) // state_bytes
    if snapshots < 2:
        raise InvalidArgument("memory_bytes", memory_bytes, f">= {2 * state_bytes}, two states of {state_bytes} bytes")
    return snapshots


@dataclass
class Tape:
    """The accepted steps as a flat list of (segment, s, s_new), each of which can be run again."""

    rhs: list[Rhs]  # of every segment
    spans: list[Span]
    steps: list[tuple[int, Array, Array]]
    solver: Solver
    nfe: int = 0

    @staticmethod
    def of(problem: Problem, values: Values, forward: Forward, solver: Solver) -> "Tape":
        """The tape of a forward solve."""
        steps = [
            (i, s, s_new)
            for i, grid in enumerate(forward.grid.fractions)
            for s, s_new in itertools.pairwise(grid)
        ]
        spans = segments(problem, values)
        rhs = [right_hand_side(dynamics_of(problem, i), values) for i in range(len(spans))]
        return Tape(rhs, spans, steps, solver)

    def when(self, n: int) -> tuple[Array, Array, Array]:
        """t, t_new, h of step n, in the bits of the forward solve."""
        i, s, s_new = self.steps[n]
        span = self.spans[i]
        return span.at(s), span.at(s_new), np.asarray((s_new - s) * span.length)

    def run(self, n: int, y: Array) -> tuple[Array, Array]:
        """y_{n+1} and the stages of step n, from y_n."""
        t, t_new, h = self.when(n)
        rhs = self.rhs[self.steps[n][0]]
        self.nfe += self.solver.tableau.stages
        return rk_step(rhs, t, t_new, h, y, rhs(t, y), self.solver.tableau)

    def advance(self, lo: int, hi: int, y: Array) -> Array:
        """y_hi from y_lo."""
        for n in range(lo, hi):
            y = self.run(n, y)[0]
        return y


class ReverseSweep:
    """The cotangent g of y on its way from T to t0, and the gradients it gathers: `back(n, ..)` for n = N - 1 .. 0."""

    def __init__(self, problem: Problem, values: Values, tape: Tape, forward: Forward) -> None:
        self.problem, self.values, self.tape, self.forward = problem, values, tape, forward
        self.d, self.times = problem.model.state_width, bounds(problem, values)
        self.dynamics = [dynamics_of(problem, i) for i in range(len(tape.spans))]
        self.nfe, self.waiting = 0, problem.layout.waiting
        self.sum, self.magnitude = values.like(0.0), values.like(0.0)
        self.bounds = [np.zeros(problem.batch) for _ in self.times]
        self.bound_magnitude = [np.zeros(problem.batch) for _ in self.times]
        self.g = np.zeros_like(forward.at_bounds[-1])
        self.g[:, self.d :] = problem.loss.scale
        self._meet_point_loss(len(self.bounds) - 1)

    def _add(self, **parts: Array) -> None:
        self.sum = replace(self.sum, **{name: getattr(self.sum, name) + part for name, part in parts.items()})
        self.magnitude = replace(
            self.magnitude, **{name: getattr(self.magnitude, name) + np.abs(part) for name, part in parts.items()}
        )

    def _add_bound(self, i: int, part: Array) -> None:
        self.bounds[i] = self.bounds[i] + part
        self.bound_magnitude[i] = self.bound_magnitude[i] + np.abs(part)

    def _meet_point_loss(self, i: int) -> None:
        """At bound i the cotangent jumps by dL_i/dz."""
        term, d = point_terms(self.problem)[i], self.d
        if term is None:
            return
        t, z = self.times[i], self.forward.at_bounds[i][:, :d]
        g_w, g_t, g_z = point_loss_vjp(term, self.problem.model.h_y, self.values.w_y, t, z, self.problem.loss.scale)
        self.g = self.g.copy()
        self.g[:, :d] += g_z
        self._add(w_y=g_w)
        self._add_bound(i, g_t)

    def back(self, n: int, y: Array, k: Array) -> None:
        """Take the cotangent from y_{n+1} to y_n."""
        i, s, s_new = self.tape.steps[n]

        def vjp(t: Array, y_i: Array, g: Array) -> Cotangents:
            self.nfe += 1
            return self.dynamics[i].vjp(t, y_i, self.values, g)

        step = rk_step_vjp(vjp, self.tape.when(n), y, k, self.g, self.tape.solver.tableau)
        for stage in step.stages:
            t0, T = like_end(stage.t0, self.values.t0), like_end(stage.T, self.values.T)
            self._add(alpha=stage.alpha, x=stage.x, t0=t0, T=T)
        step = step._replace(h=np.where(self.waiting[i], 0.0, step.h))
        self._add_bound(i, (1 - s) * step.t + (1 - s_new) * step.t_new - (s_new - s) * step.h)
        self._add_bound(i + 1, s * step.t + s_new * step.t_new + (s_new - s) * step.h)
        self.g = step.y
        if n > 0 and self.tape.steps[n - 1][0] != i:
            self._meet_point_loss(i)

    def finish(self) -> tuple[Values, Values, Array]:
        """Gradients, their magnitudes and adj_t0, once y_0 is reached."""
        problem, values, adj_t0 = self.problem, self.values, self.g[:, : self.d]
        g_w, g_x = problem.model.initial_state_vjp(values.w_x, values.x, adj_t0)
        self._add(w_x=g_w, x=g_x)
        grads = self.sum.plus(bounds_vjp(problem, values, self.bounds))
        magnitude = self.magnitude.plus(bounds_vjp(problem, values, self.bound_magnitude, magnitude=True))
        return resolved_vjp(values, grads, problem), resolved_magnitude(values, magnitude, problem), adj_t0


def binomial(
    steps: int,
    y: Array,
    snapshots: int,
    advance: Callable[[int, int, Array], Array],
    back: Callable[[int, Array], None],
) -> None:
    """Reverse steps steps - 1 .. 0 from y = y_0, holding at most `snapshots` states, y among them.

    advance(lo, hi, y_lo) returns y_hi; back(n, y_n) reverses step n. The last snapshot stands before what is yet to be
    reversed. If there are more steps behind it, and room, another snapshot is set at the binomial point; without room
    the way to the last step is run again.
    """
    held = [(0, y)]
    hi = steps
    while held:
        lo, y = held[-1]
        free = snapshots - len(held) + 1
        middle = hi - 1 if free == 1 or hi - lo == 1 else lo + best_split(hi - lo, free)
        y = advance(lo, middle, y)
        if free > 1 and hi - lo > 1:
            held.append((middle, y))
            continue
        back(middle, y)
        hi = middle
        if hi == lo:
            held.pop()


def best_split(steps: int, snapshots: int) -> int:
    """Where the right part of `steps` steps begins, for the fewest repeated steps with `snapshots` states.

    With c snapshots and at most r repetitions, beta(c, r) = binom(c + r, c) steps can be reversed, for the smallest r
    that will do. The right part, with c - 1 and r, takes as many as it can; the left part, with c and r - 1, the rest,
    and no less than it takes with r - 2.
    """
    r = 1
    while beta(snapshots, r) < steps:
        r += 1
    return max(1, beta(snapshots, r - 2), steps - beta(snapshots - 1, r))


def beta(c: int, r: int) -> int:
    """binom(c + r, c): steps that c snapshots and r repetitions reverse.

    >>> [beta(3, r) for r in range(4)]
    [1, 4, 10, 20]
    """
    return comb(c + r, c)
