"""The maps around the ODE: z(t0) = h_x(x) and yhat(t) = h_y(z(t)).                                       (7)(8)

A map of parameters w (p,) takes u (b, i) to (b, o); forward, jvp and vjp as for fields, without t.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from refnode.arrays import Array, Shapes, count
from refnode.errors import InvalidArgument
from refnode.field import MLP


class Map(Protocol):
    """What the model needs of h_x and h_y."""

    @property
    def shapes(self) -> Shapes: ...

    def width(self, i: int) -> int: ...  # o for input width i; InvalidArgument if i does not fit

    def init(self, rng: np.random.Generator) -> dict[str, Array]: ...

    def forward(self, w: Array, u: Array) -> Array: ...

    def jvp(self, w: Array, u: Array, dw: Array, du: Array) -> Array: ...

    def vjp(self, w: Array, u: Array, g: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True)
class Identity:
    """u."""

    @property
    def shapes(self) -> Shapes:
        """No leaves."""
        return {}

    def width(self, i: int) -> int:
        """i."""
        return i

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """Nothing."""
        return {}

    def forward(self, w: Array, u: Array) -> Array:
        """u (b, i)."""
        return u

    def jvp(self, w: Array, u: Array, dw: Array, du: Array) -> Array:
        """du (b, i)."""
        return du

    def vjp(self, w: Array, u: Array, g: Array) -> tuple[Array, Array]:
        """Cotangents of w (0,) and u (b, i)."""
        return np.zeros(0), g


@dataclass(frozen=True)
class ZeroAugment(Identity):
    """[u, 0]: the state starts with `extra` zero dimensions (Dupont et al. 2019).                          (7)"""

    extra: int = 1

    def __post_init__(self) -> None:
        count("extra", self.extra)

    def width(self, i: int) -> int:
        """i + extra."""
        return i + self.extra

    def forward(self, w: Array, u: Array) -> Array:
        """[u, 0] (b, i + extra)."""
        return np.concatenate([u, np.zeros((len(u), self.extra))], axis=1)

    def jvp(self, w: Array, u: Array, dw: Array, du: Array) -> Array:
        """[du, 0] (b, i + extra)."""
        return self.forward(w, du)

    def vjp(self, w: Array, u: Array, g: Array) -> tuple[Array, Array]:
        """Cotangents of w (0,) and u (b, i)."""
        return np.zeros(0), g[:, : g.shape[1] - self.extra]


@dataclass(frozen=True)
class Network:
    """An MLP as a map: the input layer of equation (8), or a readout."""

    mlp: MLP

    def __post_init__(self) -> None:
        if self.mlp.time != "none":
            raise InvalidArgument("time", self.mlp.time, "'none' for an MLP used as h_x or h_y: a map has no depth t")

    @property
    def shapes(self) -> Shapes:
        """Those of the MLP."""
        return self.mlp.shapes

    def width(self, i: int) -> int:
        """The MLP's output width."""
        if i != self.mlp.widths[0]:
            raise InvalidArgument("widths[0]", self.mlp.widths[0], f"{i}, the width of the map's input")
        return self.mlp.width_out

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """That of the MLP."""
        return self.mlp.init(rng)

    def forward(self, w: Array, u: Array) -> Array:
        """(b, o)."""
        return self.mlp.forward(np.zeros(()), u, w)

    def jvp(self, w: Array, u: Array, dw: Array, du: Array) -> Array:
        """(b, o)."""
        return self.mlp.jvp(np.zeros(()), u, w, None, np.zeros(()), du, dw, None)

    def vjp(self, w: Array, u: Array, g: Array) -> tuple[Array, Array]:
        """Cotangents of w (p,) and u (b, i)."""
        _, g_u, g_w, _ = self.mlp.vjp(np.zeros(()), u, w, None, g)
        return g_w, g_u


@dataclass(frozen=True)
class Columns(Identity):
    """u[:, start:stop]: some columns of the input, as the state's start or as the field's control."""

    start: int = 0
    stop: int = 1

    def __post_init__(self) -> None:
        count("start", self.start, 0)
        count("stop", self.stop, self.start + 1)

    def width(self, i: int) -> int:
        """stop - start."""
        if i < self.stop:
            raise InvalidArgument("stop", self.stop, f"at most {i}, the width of the input")
        return self.stop - self.start

    def forward(self, w: Array, u: Array) -> Array:
        """(b, stop - start)."""
        return u[:, self.start : self.stop]

    def jvp(self, w: Array, u: Array, dw: Array, du: Array) -> Array:
        """(b, stop - start)."""
        return self.forward(w, du)

    def vjp(self, w: Array, u: Array, g: Array) -> tuple[Array, Array]:
        """Cotangents of w (0,) and u (b, i)."""
        g_u = np.zeros(u.shape, dtype=g.dtype)
        g_u[:, self.start : self.stop] = g
        return np.zeros(0), g_u


@dataclass(frozen=True)
class PartialInput:
    """[u, g(u)]: the input itself beside a learned layer of it, a linear layer or an MLP.                      (8)"""

    mlp: MLP

    def __post_init__(self) -> None:
        if not isinstance(self.mlp, MLP):
            raise InvalidArgument("mlp", self.mlp, "an MLP or an rn.Linear")
        Network(self.mlp)  # refuses a time input

    @property
    def shapes(self) -> Shapes:
        """Those of the MLP."""
        return self.mlp.shapes

    def width(self, i: int) -> int:
        """i and the MLP's output width."""
        return i + Network(self.mlp).width(i)

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """That of the MLP."""
        return self.mlp.init(rng)

    def forward(self, w: Array, u: Array) -> Array:
        """(b, i + o)."""
        return np.concatenate([u, Network(self.mlp).forward(w, u)], axis=1)

    def jvp(self, w: Array, u: Array, dw: Array, du: Array) -> Array:
        """(b, i + o)."""
        return np.concatenate([du, Network(self.mlp).jvp(w, u, dw, du)], axis=1)

    def vjp(self, w: Array, u: Array, g: Array) -> tuple[Array, Array]:
        """Cotangents of w (p,) and u (b, i)."""
        i = u.shape[1]
        g_w, g_u = Network(self.mlp).vjp(w, u, g[:, i:])
        return g_w, g[:, :i] + g_u


def as_map(name: str, h: object) -> Map:
    """h as a Map: an MLP becomes a Network, None the identity; an object with a Map's members is one."""
    if h is None:
        return Identity()
    if isinstance(h, MLP):
        return Network(h)
    methods = ("width", "init", "forward", "jvp", "vjp")
    if not isinstance(h, type) and hasattr(h, "shapes") and all(callable(getattr(h, m, None)) for m in methods):
        return h  # type: ignore[return-value]
    allowed = "None, an MLP, rn.ZeroAugment, rn.PartialInput, rn.Columns, or an object like refnode.maps.Map"
    raise InvalidArgument(name, h, allowed)
