"""What every gradient method returns."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import NonFiniteState
from refnode.forward import Forward, loss_per_sample
from refnode.problem import Problem
from refnode.solver import Solver
from refnode.values import Values, named

SMALL = 4096  # numbers that are copied in less time than numpy takes to be asked


@dataclass(frozen=True, eq=False)
class Stats:
    """What a gradient cost.

    nfe           evaluations of the dynamics F, for the whole batch, in the forward solve
    nfe_backward  evaluations of F, of its jvp or of its vjp after that
    accepted      accepted steps of the forward solve, an int, or (b,) with own steps; rejected likewise
    grid          its depths t (N + 1,) or (N + 1, b)
    fractions     the same as fractions of each segment, a tuple of (N_i + 1,) or (N_i + 1, b)
    errors        of adaptive steps that the batch shares the error norms, all at most 1, a tuple of (N_i,)
    peak_bytes    bytes of states and stages held at once for the gradient (arrays of the method, not of Python)
    """

    nfe: int
    nfe_backward: int
    accepted: Any
    rejected: Any
    grid: Array
    peak_bytes: int = 0
    fractions: tuple[Array, ...] = ()
    errors: tuple[Array, ...] = ()


@dataclass(frozen=True, eq=False)
class GradientResult:
    """A loss and its gradient.

    loss             the loss
    loss_per_sample  what each sample adds to it (b,)
    grads            leaf name -> gradient, shaped like the leaf; `x` is the total derivative; per-sample T gives (b,)
    adj_t0           dloss/dz(t0) (b, d), from methods that have an adjoint, else None
    z_T              z(T) (b, d)
    stats            Stats
    method, solver   how it was computed
    backend, reason  which code ran, and why
    magnitude        leaf name -> sum over stages of the absolute values of what each adds, itself summed over the batch
                     (discrete adjoint only): large against the gradient where contributions cancel
    estimate         leaf name -> the method's own estimate of its error: all of it (Richardson), the quadrature's part
                     for theta and x and zero elsewhere (quadrature), else empty
    """

    loss: float
    loss_per_sample: Array
    grads: dict[str, Array]
    adj_t0: Array | None
    z_T: Array
    stats: Stats
    method: str
    solver: Solver
    backend: str = "numpy"
    reason: str = ""
    magnitude: dict[str, Array] = field(default_factory=dict)
    estimate: dict[str, Array] = field(default_factory=dict)

    def __repr__(self) -> str:
        leaves = ", ".join(f"{name} {g.shape}" for name, g in self.grads.items())
        cost = f"nfe {self.stats.nfe} + {self.stats.nfe_backward}"
        return f"GradientResult({self.method}, {self.solver.method}: loss {self.loss!r}, {cost}, grads: {leaves})"


def gradient_result(
    problem: Problem,
    values: Values,
    forward: Forward,
    grads: Values,
    *,
    method: str,
    solver: Solver,
    nfe_backward: int,
    peak_bytes: int = 0,
    adj_t0: Array | None = None,
    magnitude: Values | None = None,
    estimate: Values | None = None,
) -> GradientResult:
    """Assemble a result from its parts, raising NonFiniteState rather than return a NaN.

    values are the resolved ones; grads, magnitude and estimate are with respect to the raw ones.
    """
    per_sample = loss_per_sample(problem, values, forward.at_bounds)
    leaves = named(grads, problem)
    if not all_finite([per_sample, *(g for _, g in grads.items() if g.size)]):
        bad = [name for name, g in leaves.items() if not np.isfinite(g).all()]
        raise NonFiniteState(f"NaN or infinity in {', '.join(bad) or 'the loss'}", float(np.max(values.T)))
    return GradientResult(
        float(per_sample.sum()),
        per_sample,
        leaves,
        adj_t0,
        forward.at_bounds[-1][:, : problem.model.state_width],
        stats_of(problem, forward, values, nfe_backward, peak_bytes),
        method,
        solver,
        magnitude={} if magnitude is None else named(magnitude, problem),
        estimate={} if estimate is None else named(estimate, problem),
    )


def stats_of(problem: Problem, forward: Forward, values: Values, nfe_backward: int, peak_bytes: int) -> Stats:
    """The statistics of a forward solve and of what came after it."""
    run = forward.statistics
    grid, times = forward.grid, forward.grid.times(problem, values)
    counts = run.nfe, nfe_backward, _plain(run.accepted), _plain(run.rejected)
    return Stats(*counts, times, peak_bytes, grid.fractions, grid.errors)


def _plain(n: Array) -> Any:
    return int(n) if np.ndim(n) == 0 else n


def all_finite(arrays: list[Array]) -> bool:
    """Whether no number is NaN or infinite: one question for all small arrays, and one for each large one."""
    small = np.concatenate([np.zeros(0), *(a.ravel() for a in arrays if a.size <= SMALL)])
    return bool(np.isfinite(small).all() and all(np.isfinite(a).all() for a in arrays if a.size > SMALL))


def zero_grads(values: Values) -> Values:
    """A gradient record to add to."""
    return values.like(0.0)
