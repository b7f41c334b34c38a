"""A problem's right-hand side on a tape: field, theta(t), the order's shift and the running losses.      (3)(4)(9)(10)

Constants of the tape are what the field sees of x, then the directions of a divergence. Its weights are alpha and the
two numbers of u = w_0 t + w_1, where the basis follows the span, and |theta|^2 in parts, for the parameter norm.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import prod

import numpy as np

from refnode.arrays import Array
from refnode.depth import Constant, Galerkin
from refnode.divergence import Divergence
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.oracle.taylor.decimals import PI, Decimals, exact, pairs
from refnode.oracle.taylor.expansions import basis_on
from refnode.oracle.taylor.networks import Theta, cosine, network, places, tangent
from refnode.oracle.taylor.tape import Program, Tape
from refnode.problem import Problem
from refnode.running import Kinetic, ParameterNorm, SquaredNorm, Tracking


@dataclass(frozen=True)
class Norm:
    """A part of |theta(t)|^2: `times` alpha_i . alpha_j psi_i psi_j; of the leaves that do not vary, if i is None.

    at     its weight;  leaves   (start, size) of the leaves summed over, j counted in sizes
    """

    at: int
    i: int | None
    j: int
    times: int
    leaves: tuple[tuple[int, int], ...]

    def blocks(self) -> list[tuple[slice, slice]]:
        """Where alpha_i and alpha_j stand, leaf by leaf."""
        i, j = self.i or 0, self.j
        return [(slice(s + i * n, s + (i + 1) * n), slice(s + j * n, s + (j + 1) * n)) for s, n in self.leaves]

    def value(self, alpha: Decimals) -> Decimal:
        """The weight."""
        return self.times * sum((alpha[a] * alpha[b]).sum() for a, b in self.blocks())

    def vjp(self, alpha: Decimals, g: Decimal) -> Decimals:
        """Its gradient in alpha, times g."""
        out = np.full(alpha.shape, Decimal(0), dtype=object)
        for a, b in self.blocks():
            out[a] += g * self.times * alpha[b]
            out[b] += g * self.times * alpha[a]
        return out


@dataclass(frozen=True)
class Dynamics:
    """The right-hand side on one cell of theta(t).

    follows   where the weights (w_0, w_1) of u = w_0 t + w_1 stand, or None
    norms     the parts of the parameter norm
    width     how many weights there are
    """

    program: Program
    follows: int | None
    norms: tuple[Norm, ...]
    width: int


def dynamics_on(problem: Problem, cell: int) -> Dynamics:
    """The tape of a problem's dynamics on one cell."""
    return _Writer(problem, cell).dynamics()


class _Writer:
    """Writes the tape, in the order in which values are known."""

    def __init__(self, problem: Problem, cell: int) -> None:
        self.problem, self.model, self.cell = problem, problem.model, cell
        self.n_x = self.model.control_width(problem.x.shape[1])
        self.tape = Tape(self.model.state_width, self.n_x + directions(problem).shape[1])
        self.width, self.norms = len(problem.values.alpha), list[Norm]()
        self.follows: int | None = None
        self.theta = self._theta()

    def dynamics(self) -> Dynamics:
        """The field, the running losses, the table."""
        field, d, o = self.model.field, self.model.state_width, self.model.field.width_out
        if isinstance(field, CosineField):
            f, slopes = cosine(self.theta, d), list[int]()
        else:
            assert isinstance(field, MLP)
            f, slopes = network(self.theta, field, 0)
        out = [*range(o, d), *range(f, f + o)]
        loss = self._running(f, slopes) if self.problem.loss.running else -1
        return Dynamics(self.tape.program(out, loss), self.follows, tuple(self.norms), self.width)

    def _weights(self, n: int) -> int:
        """n more weights."""
        self.width += n
        return self.width - n

    def _theta(self) -> Theta:
        depth, leaves, tape = self.model.depth, self.model.field.shapes, self.tape
        if isinstance(depth, Constant):
            return Theta(tape, places(leaves))
        assert isinstance(depth, Galerkin)
        at, start = {}, 0
        for name, shape in leaves.items():
            at[name] = start, tuple(shape), depth.varies(name)
            start += prod(shape) * (depth.basis.m if depth.varies(name) else 1)
        u = tape.slots(1)
        if depth.interval == "span":
            w = self.follows = self._weights(2)
            tape.linear(tape.t, 1, u, 1, w)
            tape.linear(tape.one, 1, u, 1, w + 1)
        else:
            lo, hi = map(Decimal, depth.interval)
            tape.plus(tape.t, 1, u, 1 / (hi - lo))
            tape.number(-lo / (hi - lo), u)
        return Theta(tape, at, basis_on(tape, depth.basis, u, self.cell))

    def _running(self, f: int, slopes: list[int]) -> int:
        """The slot of sum_r c_r l_r."""
        tape, d, o = self.tape, self.model.state_width, self.model.field.width_out
        loss = tape.slots(1)
        for term in self.problem.loss.running:
            c = factor(term, self.problem.batch)
            if isinstance(term, SquaredNorm):
                tape.product(0, 0, d, loss, c, s_out=0)
            elif isinstance(term, Kinetic):
                tape.product(f, f, o, loss, c, s_out=0)
                if term.of == "state" and d > o:
                    tape.product(o, o, d - o, loss, c, s_out=0)
            elif isinstance(term, Tracking):
                e = self._distance(term)
                tape.product(e, e, d, loss, c, s_out=0)
            elif isinstance(term, ParameterNorm):
                tape.plus(self._norm(), 1, loss, c)
            else:
                assert isinstance(term, Divergence)
                self._divergence(term, slopes, loss, c)
        return loss

    def _distance(self, term: Tracking) -> int:
        """z - beta(t)."""
        tape, d, beta = self.tape, self.model.state_width, term.beta
        angle, e = tape.slots(d), tape.slots(d)
        for j, (frequency, phase) in enumerate(zip(beta.frequency, beta.phase, strict=True)):
            tape.plus(tape.t, 1, angle + j, 2 * PI * Decimal(float(frequency)))
            tape.number(Decimal(float(phase)), angle + j)
        cosine = tape.sin_cos(angle, d)[1]
        tape.plus(0, d, e)
        for j, amplitude in enumerate(beta.amplitude):
            tape.plus(cosine + j, 1, e + j, -Decimal(float(amplitude)))
        return e

    def _norm(self) -> int:
        """|theta(t)|^2 = sum_ij psi_i psi_j alpha_i . alpha_j and the norm of what does not vary."""
        tape, total, psi = self.tape, self.tape.slots(1), self.theta.psi
        leaves = self.theta.at.values()
        still = tuple((start, prod(shape)) for start, shape, varies in leaves if not varies)
        moving = tuple((start, prod(shape)) for start, shape, varies in leaves if varies)
        if still:
            self._add_norm(tape.one, total, None, 0, 1, still)
        for p, (one, i) in enumerate(psi if moving else ()):
            for other, j in psi[p:]:
                both = tape.slots(1)
                tape.product(one or tape.one, tape.one if other is None else other, 1, both)
                self._add_norm(both, total, i, j, 1 if i == j else 2, moving)
        return total

    def _add_norm(
        self, slot: int, total: int, i: int | None, j: int, times: int, leaves: tuple[tuple[int, int], ...]
    ) -> None:
        self.norms.append(Norm(self._weights(1), i, j, times, leaves))
        self.tape.linear(slot, 1, total, 1, self.norms[-1].at)

    def _divergence(self, term: Divergence, slopes: list[int], loss: int, c: Decimal) -> None:
        """sum_k v_k . (df/dz_n) v_k."""
        o, field = self.model.field.width_out, self.model.field
        assert isinstance(field, MLP)
        count = o if term.noise is None else len(term.noise)
        first = self.model.state_width + self.n_x + _behind(self.problem, term)
        for k in range(count):
            v = first + k * o
            w = tangent(self.theta, field, slopes, v, self.model.state_width - o)
            self.tape.product(v, w, o, loss, c / (1 if term.noise is None else count), s_out=0)


def factor(term: object, batch: int) -> Decimal:
    """What a term's numbers are multiplied by before the sum over the batch."""
    weight = Decimal(float(term.weight))  # type: ignore[attr-defined]
    return weight / batch if term.reduction == "mean" else weight  # type: ignore[attr-defined]


def directions(problem: Problem) -> Decimals:
    """The directions of all divergences, (b, ..)."""
    o, batch = problem.model.field.width_out, problem.batch
    rows = [np.zeros((batch, 0))]
    for term in problem.loss.running:
        if isinstance(term, Divergence):
            v = np.broadcast_to(np.eye(o)[:, None], (o, batch, o)) if term.noise is None else term.noise
            rows.append(v.transpose(1, 0, 2).reshape(batch, -1))
    return np.concatenate(rows, axis=1)


def _behind(problem: Problem, term: Divergence) -> int:
    """Where a divergence's directions begin among all."""
    width, o = 0, problem.model.field.width_out
    for other in problem.loss.running:
        if other is term:
            return width
        if isinstance(other, Divergence):
            width += o * (o if other.noise is None else len(other.noise))
    return width


def weights(problem: Problem, dynamics: Dynamics) -> Array:
    """All weights but those of u, as pairs (2, width)."""
    alpha = exact(problem.values.alpha)
    w = np.zeros((2, dynamics.width))
    w[0, : len(alpha)] = problem.values.alpha
    for norm in dynamics.norms:
        w[:, norm.at] = pairs(norm.value(alpha))
    return w
