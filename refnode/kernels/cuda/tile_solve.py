"""The forward solve of a whole problem with a wide network, on a grid that trajectories share, tile by tile."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.bases import PiecewiseConstant
from refnode.control import control_of
from refnode.depth import Constant, Galerkin, coordinate
from refnode.dynamics import initial_y
from refnode.field import MLP
from refnode.forward import Forward, Grid
from refnode.integrate import Statistics
from refnode.kernels.cuda.problem import depth_weights, factors
from refnode.kernels.cuda.solve import Launch, Solved
from refnode.kernels.cuda.steps import butcher_of
from refnode.kernels.cuda.tile import tile_forward
from refnode.kernels.cuda.tile_shape import LARGEST_WIDTH, TileShape
from refnode.problem import Problem
from refnode.running import Kinetic, SquaredNorm
from refnode.segments import segments
from refnode.solver import Solver
from refnode.values import Values


def refusal(problem: Problem) -> str:
    """Why tiles do not take this problem; "" if they do."""
    field, depth = problem.model.field, problem.model.depth
    if type(field) is not MLP or field.depth < 2 or max(field.widths[1:-1]) > LARGEST_WIDTH or field.skip:
        return f"the field is no MLP of hidden layers up to {LARGEST_WIDTH} wide without a skip term"
    if any(type(term) not in (SquaredNorm, Kinetic) for term in problem.loss.running):
        return "a running loss is not compiled"
    if type(depth) not in (Constant, Galerkin) or any(np.ndim(end) for end in problem.span or ()):
        return "the depth is not compiled, or differs between samples"
    return ""


def tile_shape_of(problem: Problem, solver: Solver, dtype: Any, keep: Any) -> TileShape:
    """What its kernels are compiled for."""
    field, depth = problem.model.field, problem.model.depth
    control = control_of(problem.model.control, problem.values.x)
    timed = tuple(field.shapes[f"W{k}"][0] > field.widths[k] for k in range(field.depth))
    return TileShape(
        np.dtype(dtype).name, problem.model.state_width, tuple(field.widths[1:]), field.act,
        0 if control is None else control.shape[1], field.bias, timed, bool(problem.loss.running),
        type(depth) is Galerkin and type(depth.basis) is not PiecewiseConstant, solver.method, keep,
    )  # fmt: skip


def thetas(S: TileShape, problem: Problem, values: Values, i: int, s: Array, s_new: Array) -> Array:
    """theta at every stage of segment i (N s, p), or (1, p) where it does not vary within the segment."""
    still, A = depth_weights(problem, values)
    depth, cell = problem.model.depth, problem.layout.cells[i]
    if not S.varies:
        return np.ascontiguousarray(still + A[cell] if len(A) else still, S.real)[None]
    sigma = (s[:, None] + S.butcher.c * (s_new - s)[:, None]).ravel()
    u = coordinate(depth, segments(problem, values)[i].at(sigma), values.t0, values.T)
    return (still + depth.basis.psi(u, cell) @ A).astype(S.real)


def solve_tiles(
    problem: Problem, solver: Solver, launch: Launch, dtype: Any, fractions: Sequence[Array], keep: Any = "nothing"
) -> Solved:
    """Solve from t0 to T on a grid (N + 1,) of each segment; a trajectory that is not finite ends as NaN, by itself."""
    S, values, b = tile_shape_of(problem, solver, dtype, keep), problem.resolved, problem.batch
    control = control_of(problem.model.control, values.x)
    x = np.ascontiguousarray(np.zeros((0, b)) if control is None else control.T, S.real)
    y, tapes, ever = np.ascontiguousarray(initial_y(problem, values).T, S.real), [], np.full(b, -1, np.int32)
    at_bounds = [y.T.astype(np.float64)]
    constants = np.array(S.layers, np.int64), butcher_of(S), factors(problem).astype(S.real)
    for i, (span, grid) in enumerate(zip(segments(problem, values), fractions, strict=True)):
        s, s_new, N = grid[:-1], grid[1:], len(grid) - 1
        times = (a.astype(S.real) for a in (span.at(s), span.at(s_new), (s_new - s) * (span.end - span.start)))
        tape = tuple(
            np.empty((n, S.width, b), S.real)
            for n in (N + 1 if keep != "nothing" else 1, N * S.butcher.stages if keep == "stages" else 1)
        )
        stopped = np.empty(b, np.int32)
        theta = thetas(S, problem, values, i, s, s_new)
        launch(tile_forward, S, -(-b // S.rows), S.threads, (y, x, theta, *constants, *times, *tape, stopped))
        ever = np.where(ever < 0, stopped, ever)
        tapes.append(tape)
        at_bounds.append(y.T.astype(np.float64))
    steps = sum(len(grid) - 1 for grid in fractions)
    nfe = steps * (S.butcher.stages - S.butcher.fsal) + int(S.butcher.fsal) * len(tapes)
    return Solved(
        Forward(at_bounds, Grid(tuple(fractions)), [], Statistics(nfe, np.array(steps), np.array(0))), tapes, ever
    )
