"""Model: the structure of a Neural ODE, without arrays.

    z' = f(t, z, x, theta(t)),   z(t0) = h_x(x),   yhat(t) = h_y(z(t)),   t in [t0, T]                     (1)(4)(8)(10)

A model of order n stacks its state z = [z_1, .., z_n] with z_i' = z_{i+1} and z_n' = f(t, z)                    (9)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from refnode.adaptive import AdaptiveDepth
from refnode.arrays import Array, Shapes, count, float64, one_of
from refnode.control import Control, check_control, control_of, control_vjp, control_width
from refnode.depth import Constant, Depth
from refnode.errors import InvalidArgument, describe
from refnode.field import MLP, Field
from refnode.maps import Identity, Map, as_map

Initial = Literal["position", "velocity", "full"]


@dataclass(frozen=True)
class Model:
    """A Neural ODE's structure. Built by `NeuralODE` and its kin.

    Parameters
    ----------
    field    f(t, z, theta, x): an MLP, or any object with a Field's members
    depth    how theta depends on t
    h_x, h_y input map and readout
    order    n of equation (9); field.width_out is the width of one block
    initial  where h_x(x) goes when order > 1: "position" (first block), "velocity" (second) or "full" (all blocks)
    control  "x": the field sees the input x beside z; rn.Columns(a, b): it sees these columns of x          (10)
    span     (t0, T), either of them the larger; T may be an rn.AdaptiveDepth
    """

    field: Field
    depth: Depth = Constant()
    h_x: Map = Identity()
    h_y: Map = Identity()
    order: int = 1
    initial: Initial = "position"
    control: Control = "none"
    span: tuple[float, float | AdaptiveDepth] = (0.0, 1.0)

    def __post_init__(self) -> None:
        members = ("shapes", "width_out", "width_in", "forward", "jvp", "vjp")
        if missing := [m for m in members if isinstance(self.field, type) or not hasattr(self.field, m)]:
            allowed = f"a field; it lacks {', '.join(missing)} (see refnode.field.Field)"
            raise InvalidArgument("field", self.field, allowed)
        of_depth = ("interval", "learns_edges", "breaks", "jumps", "shapes", "init", "forward", "jvp", "vjp")
        if isinstance(self.depth, type) or not all(hasattr(self.depth, m) for m in of_depth):
            raise InvalidArgument("theta", describe(self.depth), "a depth, such as rn.Constant()")
        self.depth.shapes(self.field.shapes)
        object.__setattr__(self, "h_x", as_map("h_x", self.h_x))
        object.__setattr__(self, "h_y", as_map("h_y", self.h_y))
        count("order", self.order)
        one_of("initial", self.initial, ("position", "velocity", "full"))
        if self.order == 1 and self.initial == "velocity":
            raise InvalidArgument("initial", "'velocity' with order 1", "'position': there is no second block")
        check_control(self.control)
        object.__setattr__(self, "span", _checked_model_span(self.span))

    @property
    def state_width(self) -> int:
        """d, the width of z: order times the field's output width."""
        return self.order * self.field.width_out

    @cached_property
    def parts(self) -> dict[str, Shapes]:
        """The shapes of the parameter leaves, by full name, in each flat part of `refnode.values.Values`."""
        edges, adaptive = self.edges, {} if self.adaptive is None else self.adaptive.shapes
        return {
            "alpha": self.depth.shapes(self.field.shapes),
            "edges": {"edges": edges.shape} if len(edges) else {},
            "w_x": {f"h_x.{name}": shape for name, shape in self.h_x.shapes.items()},
            "w_y": {f"h_y.{name}": shape for name, shape in self.h_y.shapes.items()},
            "w_T": {f"T.{name}": shape for name, shape in adaptive.items()},
        }

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes of all parameter leaves by their full names: theta.W0, alpha.W0, edges, h_x.W0, h_y.b0, T.W0, .."""
        return {name: tuple(shape) for part in self.parts.values() for name, shape in part.items()}

    @property
    def adaptive(self) -> AdaptiveDepth | None:
        """The network that gives T, or None."""
        return self.span[1] if isinstance(self.span[1], AdaptiveDepth) else None

    @property
    def edges(self) -> Array:
        """The edges that `init` gives the leaf `edges`; (0,) where there is no such leaf."""
        return self.depth.breaks if self.depth.learns_edges else np.zeros(0)

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """Random parameters: every leaf by its full name."""
        if not isinstance(rng, np.random.Generator):
            raise InvalidArgument("rng", rng, "a np.random.Generator, such as np.random.default_rng(0)")
        if not hasattr(self.field, "init"):
            raise InvalidArgument("field", self.field, "a field with a method init(rng), to draw random parameters")
        leaves = dict(self.depth.init(self.field.init(rng)))
        if len(self.edges):
            leaves["edges"] = self.edges
        networks: dict[str, Any] = {"h_x": self.h_x, "h_y": self.h_y, "T": self.adaptive or Identity()}
        return leaves | {f"{p}.{name}": leaf for p, part in networks.items() for name, leaf in part.init(rng).items()}

    def control_of(self, x: Array) -> Array | None:
        """What the field sees beside z: x (b, n), columns of it, or None."""
        return control_of(self.control, x)

    def control_vjp(self, x: Array, g: Array | None) -> Array:
        """Cotangent of x (b, n) for the cotangent g of the control."""
        return control_vjp(self.control, x, g)

    def control_width(self, n: int) -> int:
        """The width of the control for inputs of width n."""
        return control_width(self.control, n)

    def initial_state(self, w_x: Array, x: Array) -> Array:
        """z(t0) (b, d) from x (b, n)."""
        return self._place(self.h_x.forward(w_x, x))

    def initial_state_jvp(self, w_x: Array, x: Array, dw_x: Array, dx: Array) -> Array:
        """dz(t0) (b, d)."""
        return self._place(self.h_x.jvp(w_x, x, dw_x, dx))

    def initial_state_vjp(self, w_x: Array, x: Array, g: Array) -> tuple[Array, Array]:
        """Cotangents of w_x and x (b, n) for g (b, d)."""
        return self.h_x.vjp(w_x, x, g[:, self.block])

    @property
    def block(self) -> slice:
        """The columns of z that h_x fills."""
        if self.order == 1 or self.initial == "full":
            return slice(0, self.state_width)
        w = self.field.width_out
        return slice(0, w) if self.initial == "position" else slice(w, 2 * w)

    def _place(self, u: Array) -> Array:
        z = np.zeros((len(u), self.state_width), dtype=u.dtype)
        z[:, self.block] = u
        return z

    def check_widths(self, n: int) -> None:
        """Raise unless h_x, field and h_y fit together for inputs of width n."""
        block = self.block
        if self.h_x.width(n) != block.stop - block.start:
            was = f"of output width {self.h_x.width(n)} for x of width {n}"
            raise InvalidArgument("h_x", was, f"of output width {block.stop - block.start}, what the field continues")
        beside = self.control_width(n)
        wanted = self.state_width + beside
        if self.field.width_in() not in (None, wanted):
            summands = f"{self.state_width} for z" + (f" and {beside} for x" if beside else "")
            was = f"of input width {self.field.width_in()}"
            raise InvalidArgument("field", was, f"of input width {wanted} ({summands})")
        self.h_y.width(self.state_width)
        if self.adaptive is not None and self.adaptive.network.widths[0] != n:
            was = f"of input width {self.adaptive.network.widths[0]}"
            raise InvalidArgument("span[1].network", was, f"of input width {n}, that of x")


def _checked_model_span(span: Any) -> tuple[float, float | AdaptiveDepth]:
    """(t0, T) as floats, or T an AdaptiveDepth."""
    if isinstance(span, tuple | list) and len(span) == 2 and isinstance(span[1], AdaptiveDepth):
        return float(float64("span[0]", span[0], ())), span[1]
    if isinstance(span, tuple | list) and any(isinstance(end, AdaptiveDepth | MLP) for end in span):
        raise InvalidArgument("span", describe(span), "(t0, T) in numbers, or (t0, rn.AdaptiveDepth(network))")
    t0, T = float64("span", span, (2,)).tolist()
    return t0, T
