"""The vector field f(t, z, theta, x) and its derivatives by hand: forward, jvp, vjp.                      (1)(10)

Every field has the same three methods. t is () or one depth per sample (b,); z is (b, i); theta is flat, (p,) for the
whole batch or (b, p) with one row per sample; x is the control (b, n), or None where the model has none.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from refnode import layers
from refnode.arrays import Array, Shapes, count, flag, flatten, one_of, unflatten
from refnode.errors import InvalidArgument

Act = Literal["tanh", "softplus", "sin", "sigmoid", "relu", "identity"]
TimeInput = Literal["none", "first", "every"]


class Field(Protocol):
    """What refnode needs of a vector field; any object with these members is one."""

    @property
    def shapes(self) -> Shapes: ...  # leaves of theta, in order

    @property
    def width_out(self) -> int: ...  # o

    def width_in(self) -> int | None: ...  # i + n, or None: any width

    def forward(self, t: Array, z: Array, theta: Array, x: Array | None) -> Array: ...  # (b, o)

    def jvp(
        self, t: Array, z: Array, theta: Array, x: Array | None, dt: Array, dz: Array, dtheta: Array, dx: Array | None
    ) -> Array: ...  # (b, o)

    def vjp(
        self, t: Array, z: Array, theta: Array, x: Array | None, g: Array
    ) -> tuple[Array, Array, Array, Array | None]: ...  # cotangents of t (b,), z (b, i), theta, x


def time_column(t: Array, u: Array) -> Array:
    """t () or (b,) as a column (b, 1) to stand beside u (b, i)."""
    return np.broadcast_to(np.asarray(t)[..., None], (len(u), 1))


@dataclass(frozen=True, init=False)
class MLP:
    """A multilayer perceptron, as a vector field or as a map.

        h_0 = [z, x];   u_k = [h_k, t] W_k + b_k;   h_{k+1} = act(u_k);   f = u_last + [z, x] A

    `MLP(2, 32, 32, 2)` has two hidden layers; `MLP(2, 2)` has none and is affine. The control x, where a model has
    one, stands beside z, so the first width counts both. Widths do not count t.

    Parameters
    ----------
    widths   input, hidden .., output widths
    act      activation of the hidden layers
    bias     whether the layers have biases b_k
    time     "none"; "first": t enters the first layer; "every": t enters every layer (as the last row of W_k)
    skip     whether there is a linear skip term A (i, o)

    Cost     forward 2 b sum(i o) flops; jvp and vjp twice that, and a forward pass.
    Source   Massaroli et al. 2020, section 2; the skip term makes stiff and oscillating examples easy to write.
    """

    widths: tuple[int, ...]
    act: Act
    bias: bool
    time: TimeInput
    skip: bool

    def __init__(
        self, *widths: int, act: Act = "tanh", bias: bool = True, time: TimeInput = "none", skip: bool = False
    ) -> None:
        if len(widths) < 2:
            raise InvalidArgument("widths", widths, "at least an input and an output width")
        one_of("act", act, tuple(layers.ACTIVATIONS))
        one_of("time", time, ("none", "first", "every"))
        flag("bias", bias)
        flag("skip", skip)
        checked = tuple(count(f"widths[{k}]", w) for k, w in enumerate(widths))
        for name, value in (("widths", checked), ("act", act), ("bias", bias), ("time", time), ("skip", skip)):
            object.__setattr__(self, name, value)

    @property
    def depth(self) -> int:
        """The number of linear layers."""
        return len(self.widths) - 1

    @property
    def width_out(self) -> int:
        """The output width o."""
        return self.widths[-1]

    def width_in(self) -> int | None:
        """The input width, control included."""
        return self.widths[0]

    @cached_property
    def shapes(self) -> Shapes:
        """Leaves in order: W0, b0, W1, b1, .., A."""
        shapes: dict[str, tuple[int, ...]] = {}
        for k in range(self.depth):
            i, o = self.widths[k] + self.takes_time(k), self.widths[k + 1]
            shapes[f"W{k}"] = (i, o)
            if self.bias:
                shapes[f"b{k}"] = (o,)
        if self.skip:
            shapes["A"] = (self.widths[0], self.widths[-1])
        return shapes

    def init(self, rng: np.random.Generator) -> dict[str, Array]:
        """Weights normal with variance 1 / fan-in, biases and skip term zero."""
        leaves = {name: np.zeros(shape) for name, shape in self.shapes.items()}
        for k in range(self.depth):
            i, o = self.shapes[f"W{k}"]
            leaves[f"W{k}"] = rng.standard_normal((i, o)) / np.sqrt(i)
        return leaves

    def takes_time(self, k: int) -> bool:
        """Whether t enters layer k."""
        return self.time == "every" or (self.time == "first" and k == 0)

    def with_time(self, k: int, t: Array, h: Array) -> Array:
        """The input of layer k: h (b, i), with t as a last column if the layer takes it."""
        return np.concatenate([h, time_column(t, h)], axis=1) if self.takes_time(k) else h

    def tape(self, t: Array, h: Array, leaf: dict[str, Array]) -> tuple[list[Array], list[Array]]:
        """Inputs h_k (b, i_k), t included, and pre-activations u_k (b, o_k) of every layer."""
        value = layers.ACTIVATIONS[self.act].value
        inputs: list[Array] = []
        pre: list[Array] = []
        for k in range(self.depth):
            h = value(pre[-1]) if k > 0 else h
            h = self.with_time(k, t, h)
            u = layers.linear(leaf[f"W{k}"], h)
            inputs.append(h)
            pre.append(u + leaf[f"b{k}"] if self.bias else u)
        return inputs, pre

    def forward(self, t: Array, z: Array, theta: Array, x: Array | None = None) -> Array:
        """f (b, o)."""
        leaf, h = unflatten(theta, self.shapes), beside(z, x)
        f = self.tape(t, h, leaf)[1][-1]
        return f + layers.linear(leaf["A"], h) if self.skip else f

    def jvp(
        self,
        t: Array,
        z: Array,
        theta: Array,
        x: Array | None,
        dt: Array,
        dz: Array,
        dtheta: Array,
        dx: Array | None,
    ) -> Array:
        """df (b, o) for perturbations dt () or (b,), dz, dtheta, dx shaped like what they perturb."""
        leaf, dleaf = unflatten(theta, self.shapes), unflatten(dtheta, self.shapes)
        h0, dh0 = beside(z, x), beside(dz, dx)
        inputs, pre = self.tape(t, h0, leaf)
        slope = layers.ACTIVATIONS[self.act].slope
        dh, du = dh0, dh0
        for k in range(self.depth):
            dh = slope(pre[k - 1]) * du if k > 0 else dh
            dh = self.with_time(k, dt, dh)
            du = layers.linear_jvp(leaf[f"W{k}"], inputs[k], dleaf[f"W{k}"], dh)
            du = du + dleaf[f"b{k}"] if self.bias else du
        return du + layers.linear_jvp(leaf["A"], h0, dleaf["A"], dh0) if self.skip else du

    def vjp(
        self, t: Array, z: Array, theta: Array, x: Array | None, g: Array
    ) -> tuple[Array, Array, Array, Array | None]:
        """Cotangents of t (b,), z (b, i), theta (p,) summed over the batch or (b, p), x (b, n), for g (b, o)."""
        leaf, h0 = unflatten(theta, self.shapes), beside(z, x)
        inputs, pre = self.tape(t, h0, leaf)
        slope = layers.ACTIVATIONS[self.act].slope
        g_leaf: dict[str, Array] = {}
        g_t = np.zeros(len(z), dtype=g.dtype)
        g_u = g
        for k in reversed(range(self.depth)):
            if self.bias:
                g_leaf[f"b{k}"] = layers.bias_vjp(leaf[f"b{k}"], g_u)
            g_leaf[f"W{k}"], g_h = layers.linear_vjp(leaf[f"W{k}"], inputs[k], g_u)
            if self.takes_time(k):
                g_t, g_h = g_t + g_h[:, -1], g_h[:, :-1]
            g_u = slope(pre[k - 1]) * g_h if k > 0 else g_u
        if self.skip:
            g_leaf["A"], g_skip = layers.linear_vjp(leaf["A"], h0, g)
            g_h = g_h + g_skip
        g_z, g_x = apart(g_h, z, x)
        return g_t, g_z, flatten(g_leaf, self.shapes), g_x


def Linear(i: int, o: int, bias: bool = True) -> MLP:
    """The affine map u W0 + b0: an MLP without hidden layers."""
    return MLP(i, o, bias=bias)


def beside(z: Array, x: Array | None) -> Array:
    """[z, x] (b, i + n): the control stands beside the state."""
    return z if x is None else np.concatenate([z, x], axis=1)


def apart(g: Array, z: Array, x: Array | None) -> tuple[Array, Array | None]:
    """The vjp of `beside`: cotangents of z and x."""
    return (g, None) if x is None else (g[:, : z.shape[1]], g[:, z.shape[1] :])
