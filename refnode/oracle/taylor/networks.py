"""Fields and maps on a tape: MLPs with any theta(t), the cosine field, tangents for a divergence, h_x and h_y."""

from dataclasses import dataclass
from math import prod

from refnode.arrays import Shapes
from refnode.field import MLP
from refnode.maps import Columns, Identity, Map, Network, PartialInput, ZeroAugment
from refnode.oracle.taylor.tape import Program, Tape


@dataclass(frozen=True)
class Theta:
    """theta(t) as weights on a tape: leaf -> where its coefficients start, its shape, and whether it varies.

    psi    (slot, j) of every basis function that is not zero; slot None stands for the function 1
    """

    tape: Tape
    at: dict[str, tuple[int, tuple[int, ...], bool]]
    psi: tuple[tuple[int | None, int], ...] = ()

    def linear(self, name: str, a: int, rows: int, out: int, n: int, row: int = 0) -> None:
        """out += a^T theta_name(t)[row : row + rows]: sum_j alpha_j^T (psi_j a) where the leaf varies."""
        start, shape, varies = self.at[name]
        if not varies:
            self.tape.linear(a, rows, out, n, start + row * n)
            return
        for slot, j in self.psi:
            self.tape.linear(self._times(slot, a, rows), rows, out, n, start + j * prod(shape) + row * n)

    def _times(self, slot: int | None, a: int, rows: int) -> int:
        """psi a."""
        if slot is None:
            return a
        if a == self.tape.one:
            return slot
        out = self.tape.slots(rows)
        self.tape.product(a, slot, rows, out, s_b=0)
        return out


def places(shapes: Shapes, start: int = 0) -> dict[str, tuple[int, tuple[int, ...], bool]]:
    """Leaves that do not vary, one behind the other."""
    at = {}
    for name, shape in shapes.items():
        at[name] = start, tuple(shape), False
        start += prod(shape)
    return at


def network(theta: Theta, mlp: MLP, h: int) -> tuple[int, list[int]]:
    """The MLP's result for the input h, and the slopes act'(u_k) of its hidden layers."""
    tape, start, slopes = theta.tape, h, list[int]()
    for k in range(mlp.depth):
        i, o = mlp.widths[k], mlp.widths[k + 1]
        u = tape.slots(o)
        theta.linear(f"W{k}", h, i, u, o)
        if mlp.takes_time(k):
            theta.linear(f"W{k}", tape.t, 1, u, o, row=i)
        if mlp.bias:
            theta.linear(f"b{k}", tape.one, 1, u, o)
        if k < mlp.depth - 1:
            h, slope = tape.activation(mlp.act, u, o)
            slopes.append(slope)
    if mlp.skip:
        theta.linear("A", start, mlp.widths[0], u, o)
    return u, slopes


def tangent(theta: Theta, mlp: MLP, slopes: list[int], v: int, before: int) -> int:
    """(df/dz_n) v for a direction v (o,) in the columns of z that begin at `before`."""
    tape, s, rows = theta.tape, v, mlp.width_out
    for k in range(mlp.depth):
        n = mlp.widths[k + 1]
        w = tape.slots(n)
        theta.linear(f"W{k}", s, rows, w, n, row=before if k == 0 else 0)
        if k < mlp.depth - 1:
            s, rows = tape.slots(n), n
            tape.product(w, slopes[k], n, s)
    if mlp.skip:
        theta.linear("A", v, mlp.width_out, w, mlp.width_out, row=before)
    return w


def cosine(theta: Theta, d: int) -> int:
    """k cos(t) z."""
    tape = theta.tape
    turned, f = tape.slots(d), tape.slots(d)
    tape.product(0, tape.sin_cos(tape.t, 1)[1], d, turned, s_b=0)
    for j in range(d):
        elementwise(theta, "k", j, turned + j, f + j)
    return f


def elementwise(theta: Theta, name: str, j: int, a: int, out: int) -> None:
    """out += a theta_name(t)[j]."""
    start, shape, varies = theta.at[name]
    alone = Theta(theta.tape, {name: (start + j, shape, varies)}, theta.psi)
    alone.linear(name, a, 1, out, 1)


def map_program(h: Map, n: int) -> Program:
    """A map of n inputs, which are the tape's constants."""
    tape = Tape(0, n)
    u = list(range(n))
    if isinstance(h, ZeroAugment):
        u += [tape.zero] * h.extra
    elif isinstance(h, Columns):
        u = u[h.start : h.stop]
    elif isinstance(h, Network | PartialInput):
        theta = Theta(tape, places(h.shapes))
        out = network(theta, h.mlp, 0)[0]
        u = (u if isinstance(h, PartialInput) else []) + list(range(out, out + h.mlp.width_out))
    else:
        assert type(h) is Identity
    return tape.program(u)


def depth_program(mlp: MLP) -> Program:
    """softplus(network(x)): the length of a sample's span."""
    tape = Tape(0, mlp.widths[0])
    out, _ = network(Theta(tape, places(mlp.shapes)), mlp, 0)
    return tape.program([tape.activation("softplus", out, 1)[0]])
