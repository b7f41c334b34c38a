"""A problem as shapes and arrays for the kernels, segment by segment, or the reason why it is none."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from refnode.arrays import Array
from refnode.bases import PiecewiseConstant
from refnode.control import control_of
from refnode.depth import Constant, Galerkin, coordinate
from refnode.field import MLP
from refnode.kernels.cuda.device import Device
from refnode.kernels.cuda.layout import packed_theta
from refnode.kernels.cuda.psi import family_of, numbers_of
from refnode.kernels.cuda.shape import LARGEST_HIDDEN, Functions, Keep, Shape
from refnode.kernels.pack import spread
from refnode.problem import Problem
from refnode.running import Kinetic, SquaredNorm
from refnode.segments import segments
from refnode.solver import Solver
from refnode.span import Span
from refnode.tableau import Tableau
from refnode.values import Values


def refusal(problem: Problem, solver: Solver) -> str:
    """Why the kernels do not take this problem with this solver; "" if they do."""
    field, running = problem.model.field, problem.loss.running
    if type(field) is not MLP:
        return f"the field is {type(field).__name__}, not an MLP"
    if field.depth != 2 or field.widths[1] > LARGEST_HIDDEN or field.skip:
        return f"the field has other than one hidden layer of up to {LARGEST_HIDDEN} units, or a skip term"
    for term in running:
        if type(term) not in (SquaredNorm, Kinetic):
            return f"the running loss {type(term).__name__} is not compiled"
    if solver.adaptive and not solver.tableau.fsal:
        return "adaptive steps of a tableau without FSAL are not compiled"
    if why := refusal_of_depth(problem, solver):
        return why
    if not shape_of(problem, solver, np.float64, "nothing", apart(problem, solver)).fits:
        return "theta(t) has more coefficients, or the field more inputs, than shared memory holds"
    return ""


def apart(problem: Problem, solver: Solver) -> bool:
    """Whether trajectories stand at depths of their own."""
    return solver.steps == "own" or spans_differ(problem)


def refusal_of_depth(problem: Problem, solver: Solver) -> str:
    """Why no design takes theta(t); "" if they do."""
    depth = problem.model.depth
    if type(depth) not in (Constant, Galerkin):
        return f"the depth {type(depth).__name__} is not compiled"
    if varies(problem) and apart(problem, solver) and not family_of(depth.basis):
        return f"{type(depth.basis).__name__} at depths that differ between samples is not compiled"
    return ""


def varies(problem: Problem) -> bool:
    """Whether theta(t) changes between the breaks."""
    depth = problem.model.depth
    return type(depth) is Galerkin and type(depth.basis) is not PiecewiseConstant


def functions_of(problem: Problem, own: bool) -> Functions:
    """The family of theta(t)'s functions where trajectories stand at depths of their own; else ""."""
    return family_of(problem.model.depth.basis) if own and varies(problem) else ""


def spans_differ(problem: Problem) -> bool:
    """Whether samples have a t0 or a T of their own."""
    return any(np.ndim(end) for end in problem.span or ())


def shape_of(problem: Problem, solver: Solver, dtype: type, keep: Keep, own: bool) -> Shape:
    """What its kernels are compiled for."""
    model, depth = problem.model, problem.model.depth
    field, control = model.field, control_of(model.control, problem.values.x)
    inputs = [field.shapes[f"W{k}"][0] - field.widths[k] for k in range(2)]
    return Shape(
        np.dtype(dtype).name, model.state_width, field.widths[1], field.widths[2], field.act,
        0 if control is None else control.shape[1], field.bias, (bool(inputs[0]), bool(inputs[1])),
        bool(problem.loss.running), depth.basis.m if varies(problem) else 0, solver.method, keep, own,
        functions_of(problem, own),
    )  # fmt: skip


def factors(problem: Problem) -> Array:
    """c_z, c_f, c_r of the running loss |z|^2, |f|^2, |z'|^2 (3,)."""
    c = np.zeros(3)
    for term in problem.loss.running:
        place = 0 if type(term) is SquaredNorm else 1 if term.of == "field" else 2
        c[place] += term.factor(problem.batch)
    return c


def depth_weights(problem: Problem, values: Values) -> tuple[Array, Array]:
    """still (p,) and A (m, p) of theta(t) = still + sum_j psi_j A_j; A is (0, p) for constant depth."""
    depth, alpha = problem.model.depth, values.alpha
    if type(depth) is Constant:
        return alpha, np.zeros((0, alpha.size))
    return spread(depth, alpha, problem.model.field.shapes)


@dataclass(frozen=True, eq=False)
class Segment:
    """A segment's arrays; N steps, s stages.

    theta              as the kernels read it;  cell   the piece of theta(t), if it is constant here
    t, t_new, h        (N, 1) or (N, b);  s, s_new   their fractions of the segment;  count   steps (1,) or (b,)
    table              (N s, S.columns), or (2 + 3 m, b) each trajectory's (see psi.py)
    """

    theta: Any
    t: Any
    t_new: Any
    h: Any
    s: Any
    s_new: Any
    count: Any
    table: Any

    @property
    def steps(self) -> int:
        """N."""
        return int(self.h.shape[0])

    def on(self, device: Device) -> "Segment":
        """A copy on a device."""
        return Segment(*(device.array(getattr(self, field.name)) for field in fields(self)))


def segment_of(
    S: Shape, problem: Problem, values: Values, i: int, fractions: Array, part: slice, down: bool = False
) -> Segment:
    """Segment i for the samples of a part, on a grid of fractions (N + 1,), or (N + 1, b) of the part's own, where a
    sample that has arrived waits at 1; of its way down they begin at its end."""
    grid, cell = steps_of(problem, values, i, fractions, part if S.own else None, down), problem.layout.cells[i]
    still, A = depth_weights(problem, values)
    theta = np.vstack([still, A]) if S.basis else still + A[cell] if len(A) else still
    table = table_of(S, S.butcher, problem, values, i, grid.s[:, 0], grid.s_new[:, 0], part, down)
    arrays = (np.ascontiguousarray(a, S.real) for a in grid[:5])
    return Segment(packed_theta(S, theta), *arrays, grid.count, table.astype(S.real))


class Steps(NamedTuple):
    """A segment's steps: t, t_new, h and their fractions (N, 1) or (N, b);  count   of each trajectory (1,) or (b,)."""

    t: Array
    t_new: Array
    h: Array
    s: Array
    s_new: Array
    count: Array


def steps_of(problem: Problem, values: Values, i: int, fractions: Array, part: slice | None, down: bool) -> Steps:
    """Segment i's steps on a grid of fractions (N + 1,) or (N + 1, b): those that all share, or of the part's own."""
    span, grid = way(problem, values, i, down), fractions if fractions.ndim == 2 else fractions[:, None]
    if part is not None:
        grid = _moves_first(np.broadcast_to(grid, (len(grid), part.stop - part.start)))
        span = Span(*(np.broadcast_to(end, problem.batch)[part] for end in (span.start, span.end)))
    s, s_new = grid[:-1], grid[1:]
    length = np.atleast_1d(span.end - span.start)
    t, t_new, h = (np.atleast_2d(a) for a in (span.at(s), span.at(s_new), (s_new - s) * length))
    return Steps(t, t_new, h, s, s_new, np.sum(s_new > s, axis=0, dtype=np.int32))


def way(problem: Problem, values: Values, i: int, down: bool) -> Span:
    """Segment i from its start to its end, or down from its end to its start."""
    span = segments(problem, values)[i]
    return Span(span.end, span.start) if down else span


def _moves_first(grid: Array) -> Array:
    """Fractions (N + 1, b) with the steps that a sample waited put behind its last."""
    return np.sort(np.where(np.diff(grid, axis=0, prepend=-1) > 0, grid, 1.0), axis=0)


def table_of(
    S: Any, tableau: Tableau, problem: Problem, values: Values, i: int, s: Array, s_new: Array, part: slice,
    down: bool = False,
) -> Array:  # fmt: skip
    """What the kernels have of theta(t) on segment i: of each stage, or of each trajectory of a part."""
    if not S.functions:
        return stage_table(S.basis, tableau, problem, values, i, s, s_new, down)
    depth = problem.model.depth
    ends = (values.t0, values.T) if depth.interval == "span" else depth.interval
    start, end = (np.broadcast_to(t, problem.batch)[part] for t in ends)
    numbers = numbers_of(depth.basis, problem.layout.cells[i]).ravel()
    return np.stack([start, 1 / (end - start), *np.broadcast_to(numbers[:, None], (len(numbers), len(start)))])


def stage_table(
    m: int, tableau: Tableau, problem: Problem, values: Values, i: int, s: Array, s_new: Array, down: bool = False
) -> Array:
    """psi, psi' and the derivatives of u by where the segment's way begins and ends, t0 and T, at every stage
    (N s, 2 m + 4)."""
    rows = np.zeros((len(s) * tableau.stages, 2 * m + 4 if m else 0))
    if not m:
        return rows
    depth, span, cell = problem.model.depth, way(problem, values, i, down), problem.layout.cells[i]
    sigma = (s[:, None] + tableau.c * (s_new - s)[:, None]).ravel()
    u = coordinate(depth, span.at(sigma), values.t0, values.T)
    if depth.interval == "span":
        by_t, by_t0, by_T = 1 / (values.T - values.t0), -(1 - u) / (values.T - values.t0), -u / (values.T - values.t0)
    else:
        lo, hi = depth.interval
        by_t, by_t0, by_T = 1 / (hi - lo), 0.0, 0.0
    rows[:, :m] = depth.basis.psi(u, cell)
    rows[:, m : 2 * m] = depth.basis.slope(u, cell)
    for column, value in enumerate(((1 - sigma) * by_t, sigma * by_t, by_t0, by_T)):
        rows[:, 2 * m + column] = value
    return rows
