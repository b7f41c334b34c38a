"""A tape: the right-hand side as a list of operations on power series, each coefficient from those before it.

    linear     out += W^T in              products of a matrix of numbers
    product    out += c a b               Cauchy's product
    plus       out += c a
    chain      out = fn(u), out' = d u'   with the series d = fn'(u): m out_m = sum_k k u_k d_{m-k}

Every model here is made of these four. A slot is a place for one series; slots that stand together are named by the
first. theta(t) needs no operation of its own: W(t) h = sum_j alpha_j^T (psi_j h), a linear map of products. All numbers
that are differentiated are weights of linear operations.

Source   Moore 1966; Jorba & Zou 2005 (Taylor's method); Griewank & Walther 2008, ch. 10 and 13 (recurrences, reversal).
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from refnode.arrays import Array
from refnode.oracle.taylor.core import functions
from refnode.oracle.taylor.core.table import CHAIN, KIND, LINEAR, LIVE, PLUS, PRODUCT, ROWS, TURNED, N, W
from refnode.oracle.taylor.decimals import pairs


class Op(NamedTuple):
    """An operation: n results from slot `out` on.

    a, b           first slots of what it reads (chain: u and d)
    rows, w        linear: how many it reads, and where its weights (rows, n) start
    s_out, s_b     0 where the n results are summed into one slot, or one b serves them all; else 1
    s_a            plus: 0 where one a serves all
    function       chain: see `functions`
    c              a number, as a pair
    """

    kind: int
    out: int
    n: int
    a: int
    b: int = 0
    rows: int = 1
    w: int = 0
    s_out: int = 1
    s_a: int = 1
    s_b: int = 1
    function: int = 0
    c: Decimal = Decimal(1)


class Program(NamedTuple):
    """A tape as arrays, for compiled code.

    ops       (operations, 13) integers as in `Op`; then whether it has a cotangent to hand on, and where the weights
              of a linear one start in the transposed copy
    c_h, c_l  (operations,) the numbers c
    out       (d,) slots of z', or of a map's result
    loss      slot of the running loss, or -1
    groups    (g, 3) slots whose series are of one size: first, count, and whether they have cotangents
    d, n_const, n_slots    slots of the state, of constants behind them, and of all
    """

    ops: Array
    c_h: Array
    c_l: Array
    out: Array
    loss: int
    groups: Array
    d: int
    n_const: int
    n_slots: int


@dataclass
class Tape:
    """A tape being written. Slots: the state z (d), constants (n), then the numbers one, t and zero.

    d, n_const    widths of the state and of the constants
    """

    d: int
    n_const: int
    ops: list[Op] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.one, self.t, self.zero = (self.d + self.n_const + k for k in range(3))
        self.n_slots = self.d + self.n_const + 3

    def slots(self, n: int) -> int:
        """n new slots."""
        self.n_slots += n
        return self.n_slots - n

    def linear(self, a: int, rows: int, out: int, n: int, w: int) -> None:
        """out += W^T a for the weights (rows, n) from w on."""
        self.ops.append(Op(LINEAR, out, n, a, rows=rows, w=w))

    def product(self, a: int, b: int, n: int, out: int, c: object = 1, s_out: int = 1, s_b: int = 1) -> None:
        """out += c a b."""
        self.ops.append(Op(PRODUCT, out, n, a, b, s_out=s_out, s_b=s_b, c=Decimal(c)))  # type: ignore[arg-type]

    def plus(self, a: int, n: int, out: int, c: object = 1, s_out: int = 1, s_a: int = 1) -> None:
        """out += c a."""
        self.ops.append(Op(PLUS, out, n, a, s_out=s_out, s_a=s_a, c=Decimal(c)))  # type: ignore[arg-type]

    def number(self, c: object, out: int) -> None:
        """out += c."""
        self.plus(self.one, 1, out, c)

    def chain(self, function: int, u: int, d: int, n: int, out: int) -> None:
        """out = function(u) with the slope d."""
        self.ops.append(Op(CHAIN, out, n, u, d, function=function))

    def exp(self, u: int, n: int) -> int:
        """e^u: its own slope."""
        out = self.slots(n)
        self.chain(functions.EXP, u, out, n, out)
        return out

    def sin_cos(self, u: int, n: int) -> tuple[int, int]:
        """sin u and cos u."""
        sine, cosine, less = self.slots(n), self.slots(n), self.slots(n)
        self.chain(functions.SIN, u, cosine, n, sine)
        self.chain(functions.COS, u, less, n, cosine)
        self.plus(sine, n, less, -1)
        return sine, cosine

    def activation(self, act: str, u: int, n: int) -> tuple[int, int]:
        """act(u) and act'(u)."""
        if act == "identity":
            slope = self.slots(n)
            self.plus(self.one, n, slope, s_a=0)
            return u, slope
        if act == "sin":
            return self.sin_cos(u, n)
        h, d = self.slots(n), self.slots(n)
        self.chain(functions.TANH if act == "tanh" else functions.SIGMOID, u, d, n, h)
        if act == "tanh":  # 1 - h^2
            self.plus(self.one, n, d, s_a=0)
        else:  # h - h^2
            self.plus(h, n, d)
        self.product(h, h, n, d, -1)
        if act != "softplus":
            return h, d
        soft = self.slots(n)
        self.chain(functions.SOFTPLUS, u, h, n, soft)
        return soft, h

    def program(self, out: list[int], loss: int = -1) -> Program:
        """The tape as arrays."""
        live = _live(self, out, loss)
        turned = np.cumsum([0, *(op.rows * op.n if op.kind == LINEAR else 0 for op in self.ops)])
        rows = [[*op[:LIVE], on, start] for op, on, start in zip(self.ops, live, turned[:-1], strict=True)]
        table = np.array(rows, dtype=np.int64).reshape(-1, TURNED + 1)
        c = pairs([op.c for op in self.ops]) if self.ops else np.zeros((2, 0))
        written: dict[int, tuple[int, int]] = {}
        for op, on in zip(self.ops, live, strict=True):
            n, before = op.n if op.s_out else 1, written.get(op.out, (0, 0))
            written[op.out] = max(n, before[0]), max(int(on), before[1])
        groups = [(0, self.d, 1)] * (self.d > 0) + [(a, n, on) for a, (n, on) in written.items()]
        slots, sized = np.array(out, dtype=np.int64), np.array(groups, dtype=np.int64).reshape(-1, 3)
        return Program(table, c[0].copy(), c[1].copy(), slots, loss, sized, self.d, self.n_const, self.n_slots)


class Weights(NamedTuple):
    """The weights of all linear operations, flat, as highs and lows; and each operation's own, transposed."""

    h: Array
    l: Array
    turned_h: Array
    turned_l: Array


def weights_of(program: Program, w: Array) -> Weights:
    """Weights (2, p) for a program."""
    turned = [np.zeros((2, 0))]
    for op in program.ops[program.ops[:, KIND] == LINEAR]:
        block = w[:, op[W] : op[W] + op[ROWS] * op[N]].reshape(2, op[ROWS], op[N])
        turned.append(block.transpose(0, 2, 1).reshape(2, -1))
    return Weights(*map(np.ascontiguousarray, (*w, *np.concatenate(turned, axis=1))))


def _live(tape: Tape, out: list[int], loss: int) -> list[bool]:
    """Whether an operation passes a cotangent on: it reaches a result, and something that has a gradient reaches it."""
    moved = set(range(tape.d + tape.n_const))
    reached = []
    for op in tape.ops:
        reached.append(op.kind == LINEAR or bool(moved & _reads(op)))
        moved |= _writes(op) if reached[-1] else set()
    wanted, live = {*out, loss}, []
    for op, moving in zip(reversed(tape.ops), reversed(reached), strict=True):
        live.append(moving and bool(wanted & _writes(op)))
        wanted |= _reads(op) if live[-1] else set()
    return live[::-1]


def _writes(op: Op) -> set[int]:
    return set(range(op.out, op.out + op.n)) if op.s_out else {op.out}


def _reads(op: Op) -> set[int]:
    """The slots it reads, slopes left out."""
    if op.kind == LINEAR:
        return set(range(op.a, op.a + op.rows))
    first = set(range(op.a, op.a + op.n)) if op.s_a else {op.a}
    if op.kind != PRODUCT:
        return first
    return first | (set(range(op.b, op.b + op.n)) if op.s_b else {op.b})
