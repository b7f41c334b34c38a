"""A problem's dynamics as a graph: z' = [z_2, .., z_n, f(t, z, theta(t), x)] and the integrand l of the loss.

theta(t) = sum_j alpha_j psi_j(t) needs no matrix that depends on t: alpha_j acts on psi_j times the layer's input, so
that every layer is a constant matrix M on rows psi_j x_i,

    (sum_j psi_j alpha_j)^T x = M [psi_1 x, .., psi_m x],       dloss/dM = int g_y [psi_1 x, .., psi_m x]^T dt

The trace of df/dz runs a tangent beside the forward pass, as `refnode.divergence` does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from flint import arb, arb_mat

from refnode.arrays import Array, unflatten
from refnode.depth import Constant, Galerkin
from refnode.divergence import Divergence
from refnode.errors import NotProvable
from refnode.field import MLP
from refnode.fields import CosineField
from refnode.maps import Columns
from refnode.oracle.proof import psi
from refnode.oracle.proof.graph import Graph, Node, Weight
from refnode.problem import Problem
from refnode.running import Kinetic, ParameterNorm, SquaredNorm, Tracking

LARGEST = 1e30  # of a leaf's numbers, and of their inverses


@dataclass(frozen=True, eq=False)
class Field:
    """The dynamics of one sample on one piece of theta(t), as a graph.

    z, f, rate       the nodes of z (d,), f (o,) and z' (d,)
    running          the node of l (1,), the loss's factors included, or None
    timed            inputs that are functions of t themselves: "t", "cos t", "beta0", ..
    beta             the paths tracked, by input name
    norm             what |theta|^2 is multiplied by in l
    """

    graph: Graph
    z: Node
    f: Node
    rate: Node
    running: Node | None
    timed: tuple[str, ...]
    beta: dict[str, Any]
    norm: Any


class Leaves:
    """A problem's numbers as matrices of balls, on one piece of theta(t)."""

    def __init__(self, problem: Problem, cell: int) -> None:
        self.depth, self.cell = problem.model.depth, cell
        self.shapes = problem.model.field.shapes
        coefficients = unflatten(problem.values.alpha, self.depth.shapes(self.shapes))
        self.full = dict(zip(self.shapes, coefficients, strict=True))  # W0 -> its full name
        self.value = {name: coefficients[full] for name, full in self.full.items()}
        self.cache: dict[tuple[str, bool, int | None], Weight] = {}

    def varies(self, name: str) -> bool:
        """Whether the leaf has coefficients of a basis."""
        return isinstance(self.depth, Galerkin) and self.depth.varies(name)

    @cached_property
    def active(self) -> slice | None:
        """Which basis functions live on this piece."""
        return psi.active(self.depth.basis, self.cell) if isinstance(self.depth, Galerkin) else None

    def part(self, name: str) -> Array:
        """The coefficients that act here: (m, ..) for a leaf that varies, else (1, ..)."""
        return self.value[name][self.active or slice(None)] if self.varies(name) else self.value[name][None]

    @property
    def functions(self) -> int:
        """How many basis functions live on this piece."""
        names = [name for name in self.shapes if self.varies(name)]
        return len(self.part(names[0])) if names else 1

    def weight(self, name: str, rows: int | None = None, diagonal: bool = False) -> Weight:
        """The leaf W (m, i, o) as a matrix (o, m i), b (m, o) as (o, m); of W only the first `rows` of i."""
        if (name, diagonal, rows) not in self.cache:
            a = self.part(name)
            if diagonal:  # (m, o) as (o, m o)
                M = np.concatenate([np.diag(row) for row in a], axis=1)
            else:
                a = a[:, :rows] if a.ndim == 3 else a[:, None]
                M = a.reshape(-1, a.shape[-1]).T
            where = self.active if self.varies(name) else None
            matrix = arb_mat(M.shape[0], M.shape[1], [arb(float(v)) for v in M.ravel()])
            self.cache[name, diagonal, rows] = Weight(matrix, self.full[name], where, rows, diagonal)
        return self.cache[name, diagonal, rows]


def field_of(problem: Problem, sample: int, leaves: Leaves) -> Field:
    """The graph of one sample."""
    return _Builder(problem, sample, leaves).field()


class _Builder:
    """What the pieces of a graph share while it is built."""

    def __init__(self, problem: Problem, sample: int, leaves: Leaves) -> None:
        self.problem, self.sample, self.leaves, self.model = problem, sample, leaves, problem.model
        self.graph, self.beta = Graph(), dict[str, Any]()
        self.d, self.o = problem.model.state_width, problem.model.field.width_out
        self.z = self.graph.input("z")
        self.norm = arb(0)
        self.pre: list[Node] = []

    def field(self) -> Field:
        network = self.model.field
        f = self._mlp(network) if type(network) is MLP else self._cosine()
        rate = f
        if self.model.order > 1:
            shifted = self.graph.take(self.z, self.o, self.d, self.d)
            rate = self.graph.stack((shifted, self.d - self.o), (f, self.o))
        running = self._running(f, rate)
        timed = tuple(name for name in self.graph.inputs if name in ("t", "cos t") or name in self.beta)
        return Field(self.graph, self.z, f, rate, running, timed, self.beta, self.norm)

    # ------------------------------------------------------------ theta(t) and layers

    def _layer(self, name: str, x: Node, n: int, rows: int | None = None, diagonal: bool = False) -> Node:
        """theta_name(t)^T x."""
        weight = self.leaves.weight(name, rows, diagonal)
        if self.leaves.varies(name):
            x = self.graph.outer(self.graph.input("psi"), x, self.leaves.functions, n)
        return self.graph.linear(weight, x)

    def _mlp(self, mlp: MLP) -> Node:
        h0, n0 = self._beside_control()
        f, self.pre = network(self.graph, mlp, h0, n0, self._layer)
        return f

    def _beside_control(self) -> tuple[Node, int]:
        width = self.problem.x.shape[1]
        beside = self.model.control_width(width)
        if not beside:
            return self.z, self.d
        x, control = self.graph.input("x"), self.model.control
        if isinstance(control, Columns):
            x = self.graph.take(x, control.start, control.stop, width)
        return self.graph.stack((self.z, self.d), (x, beside)), self.d + beside

    def _cosine(self) -> Node:
        return self._layer("k", self.graph.times(self.graph.input("cos t"), self.z), self.o, diagonal=True)

    # ------------------------------------------------------------ running losses

    def _running(self, f: Node, rate: Node) -> Node | None:
        loss, total = self.problem.loss, None
        for r, term in enumerate(loss.running):
            factor = factor_of(term, self.problem)
            seen, width = (rate, self.d) if getattr(term, "of", "field") == "state" else (f, self.o)
            value = self._scaled(self._term(r, term, seen, width, factor), factor)
            total = value if total is None else self.graph.plus(total, value)
        return total

    def _scaled(self, x: Node, factor: Any) -> Node:
        return self.graph.linear(Weight(arb_mat(1, 1, [factor])), x)

    def _term(self, r: int, term: Any, seen: Node, width: int, factor: Any) -> Node:
        g = self.graph
        match term:
            case SquaredNorm():
                return g.total(g.times(self.z, self.z), self.d)
            case Kinetic():
                return g.total(g.times(seen, seen), width)
            case Tracking():
                self.beta[f"beta{r}"] = term.beta
                minus = Weight(arb_mat(self.d, self.d, [arb(-(i == j)) for i in range(self.d) for j in range(self.d)]))
                away = g.plus(self.z, g.linear(minus, g.input(f"beta{r}")))
                return g.total(g.times(away, away), self.d)
            case ParameterNorm():
                self.norm = self.norm + factor
                return self._parameter_norm()
            case Divergence():
                return self._trace(term)
        raise NotProvable(f"running[{r}], a {type(term).__name__}: its formula is not known here")

    def _parameter_norm(self) -> Node:
        """|theta(t)|^2 = psi^T (sum alpha alpha^T) psi + what does not vary; its gradient is added by `integrals`."""
        g, leaves, m = self.graph, self.leaves, self.leaves.functions
        still = sum((sum((arb(v) ** 2 for v in leaves.part(name).ravel().tolist()), arb(0)) for name in leaves.shapes
                     if not leaves.varies(name)), arb(0))  # fmt: skip
        value = g.linear(Weight(arb_mat(1, 1, [still])), g.input("one"))
        if names := [name for name in leaves.shapes if leaves.varies(name)]:
            rows = [[arb(float(v)) for name in names for v in leaves.part(name)[j].ravel()] for j in range(m)]
            gram = [sum((a * b for a, b in zip(p, q, strict=True)), arb(0)) for p in rows for q in rows]
            along = g.linear(Weight(arb_mat(m, m, gram)), g.input("psi"))
            value = g.plus(value, g.total(g.times(along, g.input("psi")), m))
        return value

    def _trace(self, term: Divergence) -> Node:
        """sum_k v_k . (df/dz_n) v_k, averaged over noises."""
        o, mlp = self.o, self.model.field
        noise = np.eye(o) if term.noise is None else term.noise[:, self.sample]
        total: Node | None = None
        for v in noise:
            along = Weight(arb_mat(1, o, [arb(float(a)) for a in v]))
            image = self._tangent(mlp, v) if type(mlp) is MLP else self._cosine_tangent(v)
            value = self.graph.linear(along, image)
            total = value if total is None else self.graph.plus(total, value)
        assert total is not None
        return total if term.noise is None else self._scaled(total, arb(1) / len(noise))

    def _tangent(self, mlp: MLP, v: Array) -> Node:
        """(df/dz_n) v: w_0 = W_0^T v, w_k = W_k^T (act'(u_{k-1}) w_{k-1})."""
        g, n = self.graph, mlp.widths[0]
        before = self.d - self.o
        entries = [arb(0)] * before + [arb(float(a)) for a in v] + [arb(0)] * (n - self.d)
        s0 = s = g.linear(Weight(arb_mat(n, 1, entries)), g.input("one"))
        w = s
        for k in range(mlp.depth):
            if k > 0:
                s, n = g.times(g.activation(mlp.act, self.pre[k - 1], 1), w), mlp.widths[k]
            w = self._layer(f"W{k}", s, n, rows=n)
        return g.plus(w, self._layer("A", s0, mlp.widths[0])) if mlp.skip else w

    def _cosine_tangent(self, v: Array) -> Node:
        g = self.graph
        column = g.linear(Weight(arb_mat(self.o, 1, [arb(float(a)) for a in v])), g.input("cos t"))
        return self._layer("k", column, self.o, diagonal=True)


def network(
    g: Graph, mlp: MLP, h0: Node, n0: int, layer: Callable[[str, Node, int], Node]
) -> tuple[Node, list[Node]]:
    """An MLP of the node h0 (n0,) and its pre-activations; layer(name, x, n) is the leaf's matrix times x (n,)."""
    h, n, u, pre = h0, n0, h0, []
    for k in range(mlp.depth):
        if k > 0:
            h, n = g.activation(mlp.act, u), mlp.widths[k]
        if mlp.takes_time(k):
            h, n = g.stack((h, n), (g.input("t"), 1)), n + 1
        u = layer(f"W{k}", h, n)
        if mlp.bias:
            u = g.plus(u, layer(f"b{k}", g.input("one"), 1))
        pre.append(u)
    return (g.plus(u, layer("A", h0, n0)) if mlp.skip else u), pre


def factor_of(term: Any, problem: Problem) -> Any:
    """What a sample's number is multiplied by in the loss, as a ball: scale, weight, and 1 / batch for a mean."""
    factor = arb(float(problem.loss.scale)) * arb(float(term.weight))
    return factor / problem.batch if term.reduction == "mean" else factor


def refuse(problem: Problem) -> None:
    """Raise NotProvable, with the reason, for what no formula is known of here."""
    model, loss = problem.model, problem.loss
    if type(model.field) not in (MLP, CosineField):
        raise NotProvable(f"a field of type {type(model.field).__name__}: functions give values, not enclosures")
    for name, network in (("field", model.field), ("h_x", model.h_x), ("h_y", model.h_y), ("T", model.adaptive)):
        mlp = getattr(network, "mlp", getattr(network, "network", network))
        if type(mlp) is MLP and mlp.act == "relu" and mlp.depth > 1:
            why = "is not analytic: at its kinks Taylor series do not converge to it, and no disc bounds it"
            raise NotProvable(f"{name} has act='relu', which {why}")
    if type(model.depth) not in (Constant, Galerkin):
        raise NotProvable(f"a depth of type {type(model.depth).__name__}: its formula is not known here")
    for name, leaf in problem.leaves().items():
        sizes = np.abs(leaf[leaf != 0]) if name not in ("t0", "T", "t_obs") else np.ones(1)
        if np.any(sizes < 1 / LARGEST) or np.any(sizes > LARGEST):
            raise NotProvable(f"{name} has numbers beyond 1e-30 .. 1e30: bounds in float64 may overflow or underflow")
    for r, term in enumerate(loss.running):
        known = (SquaredNorm, Kinetic, ParameterNorm, Divergence, Tracking)
        if type(term) not in known or (type(term) is Tracking and type(term.beta).__name__ != "Harmonic"):
            raise NotProvable(f"running[{r}], a {type(term).__name__}: functions give values, not enclosures")
