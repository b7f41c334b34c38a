"""The backward pass of a continuous adjoint: bounds, jumps and Hamiltonians by the story, the costate compiled."""

from dataclasses import replace

import numpy as np

from refnode.arrays import Array
from refnode.control import control_vjp
from refnode.gradients.continuous import BackwardPass
from refnode.kernels.backwards import back, largest_again, largest_on_tape
from refnode.kernels.dense import Dense
from refnode.kernels.extra import extra_stages
from refnode.kernels.integrals import GROUP, Integrals
from refnode.kernels.mlp import transpose_weights
from refnode.kernels.pack import control_of_steps, gathered, varying
from refnode.kernels.run import LEAST_ROOM, Run, from_tiles, to_tiles
from refnode.kernels.solve import Solved, begin_segment, raise_for, rate_of, solve_segment, wish_of
from refnode.kernels.systems import Costate, no_costate, record_size
from refnode.kernels.tape import KEEP_NOTHING, KEEP_STAGES, NOWHERE, Piece, State, Tape
from refnode.kernels.theta import COLUMNS
from refnode.kernels.threads import launch
from refnode.kernels.workspace import WORK
from refnode.segments import like_end


def down(piece: Piece) -> Piece:
    """A segment from its end to its start."""
    return replace(piece, start=piece.end, end=piece.start)


class CostatePass(BackwardPass):
    """The story's backward pass, with F, the costate's steps and the parameter integrals compiled.

    run      the forward solve's;  solved, what it left
    S        the costate's system;  under, the run that steps it: its tape has room for one step
    beside   whether z is solved beside a
    """

    def __init__(self, run: Run, solved: Solved, beside: bool) -> None:
        super().__init__(run.problem, run.values, solved.forward, run.solver)
        self.run_up, self.solved, self.pieces = run, solved, run.pieces
        self.S, self.I = costate(run, beside), integrals(run, run.packed.B.c.size)
        self.at_bound = replace(run, place="bound ", room=1).tape(KEEP_NOTHING, for_vjps=False)
        self.state, self.wish = State(np.zeros(3), np.zeros(9, np.int64)), run.solver.first_step
        self.under, self.dense = self._under(self.S), dict[int, Dense]()
        self.tape = self.under.tape(KEEP_NOTHING)
        atol = np.full(self.S.w, max(self.costate_atol(), float(np.finfo(run.dtype).tiny)), run.dtype)
        atol[: self.S.w - self.d] = run.solver.atol or 0.0
        control = control_of_steps(run.solver, atol)
        self.under.packed = self.under.packed._replace(control=control)

    def _under(self, S: Costate) -> Run:
        """The run of the costate, with the forward run's theta and scratch of its own width."""
        run, record = self.run_up, int(record_size(self.run_up.packed.F.rates))
        width, rows = (run.tiles, run.tile * S.w), run.rows
        room = {name: np.zeros(width, run.dtype) for name in ("h", "total", "stage", "y_new")}
        scratch = replace(run.scratch, slot=np.zeros((run.tiles, rows * record), run.dtype), **room)
        F = replace(run.packed.F, costate=S, backwards=1, w=S.w, left=record)
        packed = run.packed._replace(F=F)
        return replace(run, packed=packed, scratch=scratch, slot=rows * record, room=1, place="costate ")

    def enter(self, i: int) -> None:
        """What holds for all of segment i: its theta if it has one, with transposed weights, and the state's output."""
        lengths = down(self.pieces[i]).end - self.pieces[i].end
        longest = float(lengths[np.argmax(np.abs(lengths))]) or 1.0
        self.S = replace(self.S, longest=longest)
        if not self.S.beside:
            if i not in self.dense:
                self.dense[i] = self._dense_state(i)
            self.S = replace(self.S, dense=self.dense[i])
        self.under.packed = self.under.packed._replace(F=replace(self.under.packed.F, costate=self.S))
        self.run_up.enter(self.pieces[i])
        if not (self.run_up.packed.kind.by_stage or self.run_up.packed.kind.by_row):
            transpose_weights(self.run_up.packed.F.rates.net, self.run_up.scratch.theta[0], self.S.transposed[0])

    def _dense_state(self, i: int) -> Dense:
        """The state's dense output on segment i of the forward tape."""
        self.run_up.enter(self.pieces[i])
        return self.dense_output(self.run_up, self.solved.tape, self.pieces[i], *self.solved.first_steps[i : i + 2])

    def dense_output(self, run: Run, tape: Tape, piece: Piece, first: int, last: int) -> Dense:
        """Dense output on steps first .. last - 1 of a tape; the interpolant's extra stages are counted."""
        P, tableau = run.packed, run.solver.tableau
        c, a = tableau.extra
        extra = WORK.get(f"{run.place}extra", (run.tiles, tape.y.shape[1], len(c), run.tile * P.F.w), run.dtype)
        if len(c):
            E = replace(P.B, a=a.astype(run.dtype), c=c.astype(run.dtype))
            with launch(run.loop):
                extra_stages(
                    run.loop, P.F, P.V, E, P.kind, piece, tape, extra, run.scratch, P.x, self.problem.batch, first, last
                )
            self.statistics.nfe += len(c) * (last - first)
        return Dense(tape.y, tape.k, extra, tape.base, tape.s, tape.s_new, np.copy(tableau.dense_rows), first, last)

    def rate_at(self, i: int, bound: int) -> Array:
        """F (b, d + r) at a bound, as segment i sees it."""
        self.run_up.enter(self.pieces[i])
        to_tiles(self.forward.at_bounds[bound], self.at_bound.y[:, 0])
        t = np.array(np.broadcast_to(self.times[bound], (self.problem.batch,)), np.float64)
        return rate_of(self.run_up, self.at_bound, self.pieces[i], 0, 0, t)

    def largest_slope(self) -> float:
        """The largest entry of g dl/dz along the solution, whose steps are run again unless they were kept."""
        return max(self._largest_slope(i) for i in range(len(self.pieces)))

    def _largest_slope(self, i: int) -> float:
        """That of segment i."""
        P, under, up, batch = self.run_up.packed, self.under, self.pieces[i], self.problem.batch
        self.enter(i)
        first, last = self.solved.first_steps[i : i + 2]
        self.statistics.nfe += last - first + 1
        if not self.S.beside:
            F, tape = under.packed.F, self.solved.tape
            return float(largest_on_tape(F, P.V, P.kind, down(up), tape, under.scratch, P.x, batch, first, last))
        state = State(np.array([0.0, 0.0, 1.0]), np.array([0, 1, 0, 0, 0, 0, NOWHERE, 0, 0]))
        to_tiles(self.forward.at_bounds[i], self.at_bound.y[:, 0])
        with launch(self.run_up.loop):
            largest = largest_again(
                self.run_up.loop, P.F, under.packed.F, P.V, P.B, P.kind, replace(P.control, adaptive=0), up, down(up),
                self.at_bound, self.run_up.scratch, under.scratch, state, P.x, batch, self.forward.grid.fractions[i],
            )  # fmt: skip
        self.statistics.nfe += int(state.whole[5])
        return float(largest)

    def steps_down(self, i: int, u: Array) -> Array:
        """u (b, w) from the end of segment i to its start; the parameter integrals are gathered on the way."""
        self.enter(i)
        under, tape, piece, batch = self.under, self.tape, down(self.pieces[i]), self.problem.batch
        P, accepted, nfe = under.packed, int(self.state.whole[3]), int(self.state.whole[5])
        to_tiles(u, tape.y[:, 0])
        self.state.whole[0] = tape.base[0] = 0
        control, fractions = begin_segment(under, tape, self.state, piece, i, self.wish)
        with launch(under.loop):
            word = back(
                under.loop, P.F, P.V, P.B, P.kind, control, piece, tape, under.scratch, self.state, P.x, batch,
                fractions, self.I,
            )  # fmt: skip
        raise_for(word, under, tape, piece, self.state)
        self.wish = wish_of(under, self.state, i)
        counted = sum(bool(b or e or e3) for b, e, e3 in zip(P.B.b, P.B.b_err, P.B.b_err3, strict=True))
        self.statistics.nfe += int(self.state.whole[5]) - nfe + (int(self.state.whole[3]) - accepted) * counted
        self.take_integrals()
        return from_tiles(tape.y[:, 0], batch)

    def kept_steps_down(self, i: int, adj: Array) -> tuple[Tape, Array]:
        """A tape of the steps from the end of segment i to its start, and a (b, d) there."""
        run, state, piece = replace(self.under, room=LEAST_ROOM, place="kept "), self.state, down(self.pieces[i])
        self.enter(i)
        run.packed = self.under.packed
        tape, nfe = run.tape(KEEP_STAGES, for_vjps=False), int(state.whole[5])
        to_tiles(adj, tape.y[:, 0])
        state.whole[0] = tape.base[0] = 0
        tape, self.wish = solve_segment(run, tape, state, piece, i, self.wish)
        self.statistics.nfe += int(state.whole[5]) - nfe
        return tape, from_tiles(tape.y[:, state.whole[0]], self.problem.batch)

    def take_integrals(self) -> None:
        """Move what was gathered to the gradients."""
        problem, values, total = self.problem, self.values, self.I
        x = total.x[0].reshape(problem.batch, -1)
        self.add(
            alpha=gathered(problem, total.total[0], total.total[1:]),
            x=control_vjp(problem.model.control, values.x, x) if x.size else np.zeros(values.x.shape),
            t0=like_end(total.ends[0, 0], values.t0), T=like_end(total.ends[0, 1], values.T),
        )  # fmt: skip
        self.integral_size = self.integral_size + gathered(problem, total.size[0], total.size[1:])
        self.integral_error = max(self.integral_error, float(total.error[0]))
        for part in (total.total, total.size, total.x, total.ends):
            part[:] = 0.0

    def bytes(self) -> int:
        """Memory of the forward tape, of a step down, and of its cotangents of theta."""
        up, under, steps = self.solved.tape, self.tape, self.solved.first_steps[-1]
        kept = up.y[:, : steps + 1].nbytes + up.k[:, : up.base[steps] + self.run_up.packed.B.c.size].nbytes
        kept += sum(dense.extra[:, dense.first : dense.last].nbytes for dense in self.dense.values())
        return kept + under.y.nbytes + under.k.nbytes + under.slots.nbytes + self.I.groups.nbytes


def costate(run: Run, beside: bool) -> Costate:
    """The costate's system, with room for one evaluation."""
    F, kind, dtype = run.packed.F.rates, run.packed.kind, run.dtype
    width = (run.tiles, run.tile * F.w)
    thetas = run.tiles if kind.by_row else len(run.scratch.psi)
    return Costate(
        F, 2 * F.d if beside else F.d, int(beside), run.problem.loss.scale, 1.0, np.zeros((thetas, F.net.size), dtype),
        *np.zeros((4, *width), dtype), np.zeros((run.tiles, run.tile), dtype),
        np.zeros((run.tiles, run.tile * (F.d + int(F.net.widths[0]))), dtype), no_costate(dtype).dense,
    )  # fmt: skip


def integrals(run: Run, stages: int) -> Integrals:
    """Room for the parameter integrals of steps with so many stages."""
    F, m, batch = run.packed.F.rates, len(run.packed.V.A), run.problem.batch
    groups, blocks, thetas = -(-run.tiles // GROUP), -(-F.net.size // COLUMNS), m + 1 if run.packed.kind.by_row else 1
    return Integrals(
        WORK.get("integrals", (groups, stages, thetas, F.net.size), run.dtype),
        *np.zeros((4, m + 1, F.net.size)), varying(run.problem), np.zeros((blocks, stages)), np.zeros((blocks, 2)),
        np.zeros((2, batch * F.controls)), np.zeros((2, 2, batch)), np.zeros(1),
    )  # fmt: skip
