"""Adaptive depth: every sample is integrated to an end of its own, T_i = t0 + g_w(x_i) with g_w > 0."""

from dataclasses import dataclass

import numpy as np

from refnode.arrays import Array, Shapes, column
from refnode.errors import InvalidArgument
from refnode.field import MLP
from refnode.layers import ACTIVATIONS
from refnode.maps import Network


@dataclass(frozen=True)
class AdaptiveDepth:
    """g_w(x) = softplus(network(x)), the length of a sample's span. With t0 = 0, as in the paper, it is T itself.

    Parameters
    ----------
    network    an MLP from x (b, n) to one output; its leaves are T.W0, T.b0, ..

    Source   Massaroli et al. 2020, section 5.2; the softplus keeps the depth positive.
    """

    network: MLP

    def __post_init__(self) -> None:
        if not isinstance(self.network, MLP):
            raise InvalidArgument("network", self.network, "an MLP with one output, such as rn.MLP(2, 8, 1)")
        if self.network.width_out != 1:
            raise InvalidArgument("network", f"of output width {self.network.width_out}", "of output width 1")
        if self.network.time != "none":
            raise InvalidArgument("network", f"with time={self.network.time!r}", "without time input: T depends on x")

    @property
    def shapes(self) -> Shapes:
        """Those of the network."""
        return self.network.shapes

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """Those of the network: depths around softplus(0) = log 2."""
        return self.network.init(rng)

    def forward(self, w: Array, x: Array) -> Array:
        """g_w(x) (b,)."""
        return ACTIVATIONS["softplus"].value(Network(self.network).forward(w, x)[:, 0])

    def jvp(self, w: Array, x: Array, dw: Array, dx: Array) -> Array:
        """dg (b,)."""
        net = Network(self.network)
        return ACTIVATIONS["softplus"].slope(net.forward(w, x)[:, 0]) * net.jvp(w, x, dw, dx)[:, 0]

    def vjp(self, w: Array, x: Array, g: Array) -> tuple[Array, Array]:
        """Cotangents of w, (p,) summed over the batch or (b, p), and x (b, n) for g (b,)."""
        net = Network(self.network)
        return net.vjp(w, x, column(g * ACTIVATIONS["softplus"].slope(net.forward(w, x)[:, 0])))
