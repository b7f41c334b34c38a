"""The two verbs: solve a problem, differentiate a problem. The backend is chosen here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from refnode.arrays import Array, finite, float64, one_of, rectangular
from refnode.backend import Backend, DType, choose, compiled, compiled_for_a_card, why_no_kernels
from refnode.dense import DenseSegment, by_row, segment_of
from refnode.errors import InvalidArgument, NonFiniteState
from refnode.forward import Forward, dense_segment, loss_per_sample, solve_forward
from refnode.gradients import METHODS, MethodName
from refnode.gradients.result import GradientResult, Stats, stats_of
from refnode.integrate import Statistics, Step
from refnode.problem import Problem
from refnode.solver import Solver


@dataclass(frozen=True, eq=False)
class Solution:
    """A solved problem.

    z_T              z(T) (b, d)
    y_T              h_y(z(T)) (b, k)
    loss             the loss; loss_per_sample (b,) sums to it
    stats            Stats
    backend, reason  which code ran, "numpy", "cpu" or "cuda", and why
    """

    problem: Problem
    z_T: Array
    y_T: Array
    loss: float
    loss_per_sample: Array
    stats: Stats
    solver: Solver
    forward: Forward
    steps: Callable[[], list[list[Step]]]
    backend: str
    reason: str

    @cached_property
    def dense(self) -> tuple[DenseSegment, ...]:
        """y(t) on every segment; built at the first question."""
        values, tableau, extra = self.problem.resolved, self.solver.tableau, Statistics()
        forward = replace(self.forward, steps=self.steps())
        count = len(forward.steps)
        return tuple(dense_segment(self.problem, values, forward, i, tableau, extra) for i in range(count))

    def z(self, t: Any) -> Array:
        """z(t) for t () -> (b, d), or for t (K,) -> (K, b, d), by the tableau's interpolant.

        Raises InvalidArgument for t outside the span.
        """
        times = float64("t", t)
        if times.ndim > 1:
            raise InvalidArgument("t", f"shape {times.shape}", "of shape () or (K,)")
        if times.ndim == 1:
            return np.array([self.z(one) for one in times]).reshape(len(times), *self.z_T.shape)
        segment = segment_of([dense.span for dense in self.dense], times, "before", self.problem.batch)
        d = self.problem.model.state_width
        return by_row(segment, lambda i: self.dense[i](times)[:, :d])

    def y(self, t: Any) -> Array:
        """yhat(t) = h_y(z(t)), shaped like z(t) with the readout's width."""
        z, h_y, w_y = self.z(t), self.problem.model.h_y, self.problem.values.w_y
        if z.ndim == 2:
            return h_y.forward(w_y, z)
        return np.array([h_y.forward(w_y, row) for row in z]).reshape(len(z), *self.y_T.shape)


def solve(
    problem: Problem, solver: Solver = Solver(), *, backend: Backend = "auto", dtype: DType = "float64"
) -> Solution:
    """Solve a problem forwards: z(t), yhat(t), loss and statistics.                                        (2)

    Parameters
    ----------
    problem, solver    Problem, Solver
    backend            "numpy", the story; "cpu", compiled kernels; "auto", these if they take the problem; "cuda",
                       kernels for an NVIDIA card, from whose accepted steps dense output is computed by the story
    dtype              "float64", or "float32" for states and parameters in the kernels; the solution is float64

    Raises StepUnderflow, TooManySteps or NonFiniteState, with t, h and samples, rather than return a wrong number;
    InvalidArgument and BackendUnavailable as `gradient` does.
    """
    _check(problem, solver)
    chosen, reason = choose(backend, dtype, lambda kernels: why_no_kernels(kernels, problem, solver))
    values = problem.resolved
    forward, steps = _solved(problem, solver, chosen, dtype)
    per_sample = loss_per_sample(problem, values, forward.at_bounds)
    if bad := np.flatnonzero(~np.isfinite(per_sample)).tolist():
        raise NonFiniteState("the loss is NaN or infinite", float(np.max(values.T)), None, bad)
    z_T = forward.at_bounds[-1][:, : problem.model.state_width]
    held = sum(step.y.nbytes + step.k.nbytes for steps in forward.steps for step in steps)
    stats = stats_of(problem, forward, values, 0, held)
    y_T = problem.model.h_y.forward(values.w_y, z_T)
    if bad := np.flatnonzero(~np.isfinite(y_T).all(axis=1)).tolist():
        raise NonFiniteState("the readout h_y(z(T)) is NaN or infinite", float(np.max(values.T)), None, bad)
    loss = float(per_sample.sum())
    return Solution(problem, z_T, y_T, loss, per_sample, stats, solver, forward, steps, chosen, reason)


def _solved(
    problem: Problem, solver: Solver, backend: str, dtype: str
) -> tuple[Forward, Callable[[], list[list[Step]]]]:
    """The forward solve, and its steps."""
    if backend == "numpy":
        forward = solve_forward(problem, problem.resolved, solver, keep="steps")
        return forward, lambda: forward.steps
    if backend == "cuda":
        from refnode.kernels.cuda.card import the_card
        from refnode.kernels.cuda.whole import solve_forward as on_card

        return on_card(problem, solver, the_card(), np.dtype(dtype).type)
    from refnode.kernels.forward import solve_forward as by_kernels
    from refnode.kernels.workspace import WORK

    with WORK:
        forward, put_together = by_kernels(problem, solver, np.dtype(dtype).type)

    def steps() -> list[list[Step]]:
        with WORK:
            return put_together()

    return forward, steps


def gradient(
    problem: Problem,
    method: MethodName = "discrete",
    solver: Solver = Solver(),
    *,
    backend: Backend = "auto",
    dtype: DType = "float64",
    **options: Any,
) -> GradientResult:
    """The gradient of a problem's loss with respect to every leaf, by one of `refnode.gradients.METHODS`.

    Parameters
    ----------
    problem    Problem
    method     "discrete", "backsolve", "interpolating", "quadrature", "forward_discrete", "forward_continuous",
               "complex_step", "central" or "richardson"; print(refnode.method_table()) tells them apart
    solver     Solver
    backend    "numpy", the story; "cpu", compiled kernels; "auto", these if they take the problem, else the story;
               "cuda", kernels for an NVIDIA card: "discrete" and "backsolve" for an MLP (see docs/cuda.md).
               The environment variable REFNODE_BACKEND=numpy makes "auto" the story. The result says which ran, and why
    dtype      "float64", or "float32" for states and parameters in the kernels; the result is float64
    options    of the method, such as store="states" for "discrete"

    Raises
    ------
    InvalidArgument       for an unknown method, backend, dtype or option
    BackendUnavailable    for a backend that does not take this problem, method or solver, with the reason
    NumericalError        for a computation that would have returned a wrong number (see refnode.errors); from a card
                          with the status of each sample, and with the results of those that are done
    """
    _check(problem, solver)
    one_of("method", method, tuple(METHODS))
    unknown = sorted(set(options) - set(METHODS[method].options))
    if unknown:
        allowed = ", ".join(METHODS[method].options) or "no option"
        raise InvalidArgument("options", f"{', '.join(unknown)} for method {method!r}", f"among: {allowed}")
    chosen, reason = choose(backend, dtype, lambda kernels: why_no_kernels(kernels, problem, solver, method, options))
    if chosen == "numpy":
        return replace(METHODS[method].function(problem, solver, **options), backend="numpy", reason=reason)
    if chosen == "cuda":
        from refnode.kernels.cuda.card import the_card

        card = the_card()
        on_card = compiled_for_a_card(method)(problem, solver, card, np.dtype(dtype).type, **options)  # type: ignore[misc]
        return replace(on_card, backend="cuda", reason=f"{reason}, on {card.name}")
    from refnode.kernels.workspace import WORK

    with WORK:
        result: GradientResult = compiled(method)(problem, solver, np.dtype(dtype).type, **options)  # type: ignore[misc]
    return replace(result, backend="cpu", reason=reason)


def _check(problem: object, solver: object) -> None:
    if not isinstance(problem, Problem):
        raise InvalidArgument("problem", problem, "an rn.Problem")
    if not isinstance(solver, Solver):
        raise InvalidArgument("solver", solver, "an rn.Solver, such as rn.Solver('dopri5', tol=1e-8)")


def digits(got: Array, truth: Array, scale: float | None = None) -> float:
    """Correct digits of a leaf: -log10(max |got - truth| / max |truth|), between 0 and 16.

    A leaf whose true gradient is zero is measured against `scale`, the largest entry of any leaf.

    >>> round(digits(np.array([1.0, 2.002]), np.array([1.0, 2.0])), 2)
    3.0
    """
    mine, true = _leaf("got", got), _leaf("truth", truth)
    if mine.shape != true.shape:
        raise InvalidArgument("got", f"shape {mine.shape}", f"of shape {true.shape}, that of the truth")
    size = float(np.max(np.abs(true), initial=0.0)) or (0.0 if scale is None else abs(finite("scale", scale)))
    return digits_left(float(np.max(np.abs(mine - true), initial=0.0)), size)


def _leaf(name: str, value: Any) -> Array:
    """A leaf of any float dtype, NaN included: what another library returned is measured, not refused."""
    a = rectangular(name, value)
    if a.dtype.kind not in "iufc":
        raise InvalidArgument(name, f"dtype {a.dtype}", "an array of numbers")
    return a


def digits_left(error: float, size: float) -> float:
    """Digits that an error leaves of something of a given size: -log10(error / size), between 0 and 16.

    >>> digits_left(1e-3, 10.0)
    4.0
    """
    if not np.isfinite(error) or not np.isfinite(size):
        return 0.0
    if error <= 1e-16 * size:
        return 16.0
    if size == 0:
        return 0.0
    return float(np.clip(-np.log10(error / size), 0.0, 16.0)) + 0.0  # not -0.0


def compare(got: GradientResult | Mapping[str, Array], truth: Any) -> dict[str, float]:
    """Correct digits of every leaf of `truth` that `got` has; both are results, or mappings from leaf to array.

    Raises InvalidArgument if a leaf has another shape, or nothing is shared.
    """
    mine, other = _leaves("got", got), _leaves("truth", truth)
    shared = [name for name in other if name in mine]
    if not shared:
        raise InvalidArgument("got", f"leaves {list(mine)}", f"among {list(other)}")
    for name in shared:
        if mine[name].shape != other[name].shape:
            raise InvalidArgument(name, f"shape {mine[name].shape}", f"of shape {other[name].shape}")
    largest = max(float(np.max(np.abs(g[np.isfinite(g)]), initial=0.0)) for g in other.values())
    return {name: digits(mine[name], other[name], largest) for name in shared}


def _leaves(name: str, result: Any) -> dict[str, Array]:
    """Leaf name -> array, of a result or of a mapping."""
    grads = result if isinstance(result, Mapping) else getattr(result, "grads", None)
    if not isinstance(grads, Mapping):
        raise InvalidArgument(name, result, "a result with grads, or a mapping from leaf name to array")
    return {leaf: _leaf(f"{name}[{leaf!r}]", g) for leaf, g in grads.items()}
