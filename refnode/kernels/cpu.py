"""The discrete adjoint of a whole problem on the CPU: maps, point losses and bounds by the story, steps compiled."""

from dataclasses import replace
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.dynamics import initial_y
from refnode.forward import Forward, Grid, proposal_of
from refnode.gradients.discrete_adjoint import Store, binomial, check_store, snapshots_in
from refnode.gradients.result import GradientResult, gradient_result
from refnode.integrate import Statistics, check_finite
from refnode.kernels.adjoint import Cotangents
from refnode.kernels.advance import advance
from refnode.kernels.backward import Backward
from refnode.kernels.mlp import transpose_weights
from refnode.kernels.own_solve import OwnSolved, solve_own
from refnode.kernels.own_sweep import own_back
from refnode.kernels.pack import cotangent_numbers
from refnode.kernels.run import Run, from_tiles, pool_edges, run_of, to_tiles
from refnode.kernels.solve import Solved, fixed_fractions, solve
from refnode.kernels.sweep import gather, sweep
from refnode.kernels.tape import (
    KEEP_NOTHING,
    KEEP_STAGES,
    KEEP_STATES,
    NOWHERE,
    State,
    Tape,
)
from refnode.kernels.theta import COLUMNS
from refnode.kernels.threads import ALONE, launch, workers
from refnode.kernels.through import terminal_of, through
from refnode.kernels.workspace import WORK
from refnode.problem import Problem
from refnode.solver import Solver

KEEP: dict[Store, int] = {"stages": KEEP_STAGES, "states": KEEP_STATES, "binomial": KEEP_NOTHING}
ROWS_AT_ONCE = 64  # rows whose weight gradients make one product, where a step has fewer


def discrete_adjoint(
    problem: Problem,
    solver: Solver,
    dtype: Any = np.float64,
    grid: Grid | None = None,
    *,
    store: Store = "stages",
    memory_bytes: int | None = None,
) -> GradientResult:
    """Gradient of the computed solution: the twin of `refnode.gradients.discrete_adjoint`.

    Parameters
    ----------
    problem         Problem that packs (see `refnode.kernels.pack.refusal`)
    solver          Solver
    dtype           of states, parameters and cotangents: np.float64 or np.float32; times are float64
    grid            accepted steps to replay, or None
    store           "stages": all stages of all steps; "states": y_n only, stages are run again; "binomial": as many
                    y_n as fit into memory_bytes.. Own steps keep states
    memory_bytes    limit for "binomial"

    Returns
    -------
    GradientResult    loss (), grads of every leaf in float64, adj_t0 (b, d)

    Raises
    ------
    StepUnderflow, TooManySteps, NonFiniteState    from the forward solve
    InvalidArgument                                if memory_bytes holds less than two states

    Error    exact, to round-off, for the computed solution with its accepted steps frozen.
    Cost     memory N s b (widths + d) on a workspace that the thread keeps, N b d for "states".
    """
    check_store(store, memory_bytes)
    values = problem.resolved
    run = run_of(problem, values, solver, dtype)
    known = by_known_steps(run, grid) if store == "stages" else None
    if solver.steps == "own":
        back = by_own_steps(run, solve_own(run, grid))
    elif known is not None:
        back = known
    else:
        solved = solve(run, KEEP[store], grid)
        back = by_snapshots(run, solved, memory_bytes) if store == "binomial" else by_tape(run, solved)
    grads, adj_t0 = back.finish()
    return gradient_result(
        problem, values, back.forward, grads, method="discrete", solver=solver,
        nfe_backward=back.evaluations, peak_bytes=back.held, adj_t0=adj_t0,
    )  # fmt: skip


def by_known_steps(run: Run, grid: Grid | None) -> Backward | None:
    """Both passes, tile by tile, where the steps of the only segment are known; None where they are not, or not good.

    What comes instead starts anew; what it throws away is not counted.
    """
    problem, P, batch = run.problem, run.packed, run.problem.batch
    fractions, adaptive = known_fractions(run, grid)
    if len(run.pieces) != 1 or P.kind.by_stage or P.kind.by_row or not 1 < len(fractions) <= P.control.max_steps:
        return None
    L = terminal_of(problem, run.values, run.tiles)
    if L is None:
        return None
    control = P.control if P.control.adaptive == adaptive else replace(P.control, adaptive=adaptive)
    N, places = len(fractions) - 1, 1 if run.loop == ALONE else min(run.tiles, workers())
    tape = run.tape(KEEP_STAGES, places=places, room=N)
    C = cotangents(run, N, places)
    y0, ends = (WORK.get(name, C.g.shape, run.dtype) for name in ("y0", "ends"))
    errors = WORK.get("errors", (N if adaptive else 1, *run.scratch.errors.shape), np.float64)
    at_t0 = initial_y(problem, run.values)
    check_finite(at_t0, run.values.t0, None)
    to_tiles(at_t0, y0)
    run.enter(run.pieces[0])
    g_still, g_A, useful = np.zeros(P.V.A.shape[1]), np.zeros(P.V.A.shape), P.B.c.size - P.B.fsal
    with launch(run.loop):
        good = through(
            run.loop, P.F, P.V, P.B, P.kind, control, run.pieces[0], tape, run.scratch, C, L, g_still, g_A, P.x, batch,
            fractions, y0, ends, errors,
        )  # fmt: skip
    if not good:
        return None
    steps = Grid((fractions,), (tape.err[:N].copy(),) if adaptive else ())
    counts = Statistics(N * useful + P.B.fsal, np.array(N), np.array(0))
    back = Backward(run, Forward([at_t0, from_tiles(ends, batch)], steps, [], counts))
    back.jump(1)
    back.g, back.g_still, back.g_A, back.evaluations = from_tiles(C.g, batch), g_still, g_A, N * useful
    back.take(0, C, np.zeros(4))
    back.held = tape.y.nbytes + tape.k.nbytes + tape.slots.nbytes
    return back


def known_fractions(run: Run, grid: Grid | None) -> tuple[Array, int]:
    """The steps of the first segment (N + 1,), or none, and whether they are to be judged."""
    if grid is not None:
        return grid.fractions[0] if grid.fractions[0].ndim == 1 else np.zeros(0), 0
    if run.solver.adaptive:
        return np.array(proposal_of(run.problem, run.solver, 0)), 1
    return fixed_fractions(run, 0), 0


def by_tape(run: Run, solved: Solved) -> Backward:
    """The backward pass over a tape of stages or states."""
    back, tape, starts = Backward(run, solved.forward), solved.tape, solved.first_steps
    C = cotangents(run, starts[-1] if tape.keep == KEEP_STAGES else 1)
    for i in reversed(range(len(back.pieces))):
        back.jump(i + 1)
        _steps(back, C, i, tape, starts[i], starts[i + 1])
    back.take_depth(C)
    count = tape.base[starts[-1]] + run.packed.B.c.size if tape.keep == KEEP_STAGES else 0
    back.held = tape.y[:, : starts[-1] + 1].nbytes + tape.k[:, :count].nbytes + tape.slots[:, :count].nbytes
    return back


def by_snapshots(run: Run, solved: Solved, memory_bytes: int | None) -> Backward:
    """The backward pass from states that fit into memory_bytes, with the steps between them run again."""
    back, tape, starts = Backward(run, solved.forward), solved.tape, solved.first_steps
    C, y0 = cotangents(run, 1), np.empty_like(tape.y[:, 0])
    to_tiles(solved.forward.at_bounds[0], y0)
    count = snapshots_in(memory_bytes, y0.nbytes)
    segment_of = np.repeat(np.arange(len(back.pieces)), np.diff(starts))

    def forward(lo: int, hi: int, y: Array) -> Array:
        while lo < hi:
            i = int(segment_of[lo])
            end = min(hi, starts[i + 1])
            y, lo = _again(back, solved, i, lo, end, y), end
        return y

    def one_back(n: int, y: Array) -> None:
        i = int(segment_of[n])
        if n + 1 == starts[i + 1]:
            back.jump(i + 1)
        tape.y[:, 0] = y
        one = replace(tape, base=tape.base[:1], s=tape.s[n : n + 1], s_new=tape.s_new[n : n + 1], keep=KEEP_STATES)
        _steps(back, C, i, one, 0, 1)

    binomial(starts[-1], y0, count, forward, one_back)
    back.take_depth(C)
    back.held = min(count, starts[-1]) * y0.nbytes
    return back


def _again(back: Backward, solved: Solved, i: int, lo: int, hi: int, y: Array) -> Array:
    """y_hi from y_lo, both (tiles, T w), along steps of segment i that were taken before."""
    run, P, tape = back.run, back.run.packed, solved.tape
    tape.y[:, 0] = y
    whole = np.array([lo, 1, 0, 0, 0, 0, NOWHERE, lo - solved.first_steps[i], 0])
    state = State(np.array([tape.s[lo], 0.0, 1.0]), whole)
    upto = replace(tape, base=tape.base[: hi + 1], s=tape.s[: hi + 1], s_new=tape.s_new[: hi + 1])
    control, fractions = replace(P.control, adaptive=0), solved.forward.grid.fractions[i]
    run.enter(back.pieces[i])
    with launch(run.loop):
        advance(
            run.loop, P.F, P.V, P.B, P.kind, control, back.pieces[i], upto, run.scratch, state, P.x, run.problem.batch,
            fractions,
        )  # fmt: skip
    back.evaluations += (hi - lo) * P.B.c.size
    return np.copy(tape.y[:, 0])


def _steps(back: Backward, C: Cotangents, i: int, tape: Tape, first: int, last: int) -> None:
    """The cotangent over steps last - 1 .. first of segment i, as this tape counts them."""
    run, P, of_theta = back.run, back.run.packed, np.zeros(4)
    to_tiles(back.g, C.g)
    run.enter(back.pieces[i])
    with launch(run.loop):
        sweep(
            run.loop, P.F, P.V, P.B, P.kind, back.pieces[i], tape, run.scratch, C, back.g_still, back.g_A, of_theta,
            P.x, run.problem.batch, first, last,
        )  # fmt: skip
    back.evaluations += (last - first) * (P.B.c.size - P.B.fsal)  # the FSAL stage has no vjp
    if tape.keep != KEEP_STAGES:
        back.evaluations += (last - first) * P.B.c.size
    back.g = from_tiles(C.g, run.problem.batch)
    back.take(i, C, of_theta)


def by_own_steps(run: Run, solved: OwnSolved) -> Backward:
    """The backward pass over steps of each sample's own, whose stages are run again."""
    back, P, edges = Backward(run, solved.forward), run.packed, pool_edges(run.problem.batch)
    C, S, counts = cotangents(run, 1), solved.samples, solved.counts
    for i in reversed(range(len(back.pieces))):
        back.jump(i + 1)
        run.enter(back.pieces[i])
        if not P.kind.by_row:
            transpose_weights(P.F.rates.net, run.scratch.theta[0], C.transposed[0])
        begin, end, g = counts[i], counts[i + 1], back.g.astype(run.dtype)
        with launch(run.loop):
            own_back(
                run.loop, P.F, P.V, P.B, P.kind, back.pieces[i], S, solved.lanes, run.scratch, C, P.x, g, edges, begin,
                end,
            )  # fmt: skip
        gather(P.V, P.kind, run.scratch, C, back.g_still, back.g_A)
        longest = int(np.max(end - begin))
        back.evaluations += longest * (2 * P.B.c.size - P.B.fsal)
        back.g = g.astype(np.float64)
        back.take(i, C, np.zeros(4))
    back.held = int(counts[-1].sum() + run.problem.batch) * S.y[0, 0].nbytes
    return back


def cotangents(run: Run, steps: int, places: int | None = None) -> Cotangents:
    """Room for a sweep over a tape of so many steps, of one tile after the other in so many places, if not of all."""
    P, tiles, dtype, batch, rows = run.packed, run.tiles, run.dtype, run.problem.batch, run.rows
    F, stages, width = P.F.rates, P.B.c.size, run.tile * P.F.w
    blocks, thetas, m, own = stages, len(run.scratch.psi), len(P.V.A), P.kind.by_row
    if not (P.kind.by_stage or P.kind.by_row):
        blocks *= max(1, min(steps, ROWS_AT_ONCE // (rows * stages)))
    own_tiles, size, controls = tiles if own else 0, F.net.size, batch * F.controls
    layers, spare = rows * cotangent_numbers(F.net), run.tile * (F.d + int(F.net.widths[0]))
    useful, columns = (stages - P.B.fsal, -(-size // COLUMNS)) if P.kind.by_stage else (0, 0)
    turned = own_tiles or len(run.scratch.theta)
    places = places or tiles
    sizes = tiles, places, width, stages, batch, controls, thetas, turned, own_tiles, size, m, blocks, layers, spare

    def room(name: str, *shape: int) -> Array:
        return WORK.get(f"cotangents {name}", shape, dtype)

    def make() -> Cotangents:
        return Cotangents(
            room("g", tiles, width), room("stages", tiles, stages, width), room("k", tiles, width),
            np.zeros((tiles, 6, run.tile)), np.zeros(controls, dtype), *np.zeros((4, batch)),
            room("theta", tiles, thetas, size), np.zeros((own_tiles, size)), np.zeros((own_tiles, m, size)),
            room("depth", useful and 1 + m, size), np.zeros((columns, useful), dtype),
            *np.zeros((2, columns, useful * COLUMNS), dtype), np.zeros((useful, 1 + m), dtype),
            np.zeros((useful, m), dtype),
            room("layers", places, blocks, layers), room("depths", places, blocks, run.tile),
            room("spare", tiles, spare), room("transposed", turned, size),
        )  # fmt: skip

    C: Cotangents = WORK.record(("cotangents", *sizes, useful, dtype), make)
    of_theta = C.depth if useful else C.theta
    for part in (C.x, C.start, C.end, C.t0, C.T, of_theta, C.still, C.A):
        part.fill(0)
    return C
