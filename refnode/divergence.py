"""The divergence tr(df/dz) of a field as a running loss: what a continuous normalising flow integrates.

    log p(x) = log q(z(T)) + int tr(df/dz) dt,      so that l = -tr(df/dz) in the negative log-likelihood          (3)

Of a model of order n the trace is that of df/dz_n alone: z_i' = z_{i+1} has nothing of z_i in it, so every other block
on the diagonal of the whole Jacobian is zero.

Both ways to compute it are one formula, a sum over directions v_k with weight c:

    l = c sum_k v_k . (df/dz_n) v_k     exact: unit vectors, c = 1;  Hutchinson: K fixed noises eps_k, c = 1 / K

The trace is a first derivative of the field, so its own jvp and vjp hold second derivatives: they run a tangent
w = (df/dz_n) v beside the forward pass, and differentiate both.

Source   Chen et al. 2018 (instantaneous change of variables); Grathwohl et al. 2019 (Hutchinson's estimate with one
         noise for the whole solve); Massaroli et al. 2020, section 6.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from refnode import layers
from refnode.arrays import Array, column, flatten, float64, one_of, unflatten
from refnode.control import Control, check_control, control_of, control_vjp
from refnode.errors import InvalidArgument, describe
from refnode.field import MLP, apart, beside
from refnode.loss import Weighted
from refnode.running import RunningArgs, no_cotangent

Trace = Literal["exact", "hutchinson"]


class Traced(Protocol):
    """What a field of your own offers beside a Field's members, so that its divergence can be a running loss.

    v (K, b, o) are directions in z_n, the last o = width_out columns of z (b, d); arguments are as for the field.
    """

    def trace(self, t: Array, z: Array, theta: Array, x: Array | None, v: Array) -> Array: ...  # sum_k v . J v (b,)

    def trace_jvp(
        self, t: Array, z: Array, theta: Array, x: Array | None, v: Array,
        dt: Array, dz: Array, dtheta: Array, dx: Array | None,
    ) -> Array: ...  # its change (b,)  # fmt: skip

    def trace_vjp(
        self, t: Array, z: Array, theta: Array, x: Array | None, v: Array, g: Array
    ) -> tuple[Array, Array, Array, Array | None]: ...  # cotangents of t (b,), z, theta, x for g (b,)


@dataclass(frozen=True)
class NetworkTrace:
    """sum_k v_k . (df/dz_n) v_k of an MLP.

        w_0 = v W_0;   s_j = act'(u_{j-1}) w_{j-1},   w_j = s_j W_j;   (df/dz_n) v = w_last + v A

    u_j are the pre-activations of the forward pass; neither t nor the biases nor the control have a tangent.

    Cost     K passes through the network beside the forward one; jvp and vjp about twice that.
    """

    mlp: MLP

    def trace(self, t: Array, z: Array, theta: Array, x: Array | None, v: Array) -> Array:  # v (K, b, o)
        """(b,)."""
        leaf = unflatten(theta, self.mlp.shapes)
        _, pre = self.mlp.tape(t, beside(z, x), leaf)
        return self._along(v, *self._tangents(pre, leaf, _in_last_block(v, z, x)), leaf)

    def trace_jvp(
        self, t: Array, z: Array, theta: Array, x: Array | None, v: Array,
        dt: Array, dz: Array, dtheta: Array, dx: Array | None,
    ) -> Array:  # fmt: skip
        """Its change (b,): du of the forward pass and dw of the tangents, layer by layer."""
        mlp, act = self.mlp, layers.ACTIVATIONS[self.mlp.act]
        leaf, dleaf = unflatten(theta, mlp.shapes), unflatten(dtheta, mlp.shapes)
        inputs, pre = mlp.tape(t, beside(z, x), leaf)
        starts, images = self._tangents(pre, leaf, _in_last_block(v, z, x))
        dh = du = beside(dz, dx)
        ds = dw = np.zeros_like(starts[0])
        for k in range(mlp.depth):
            if k > 0:
                slope, curvature = act.slope(pre[k - 1]), act.curvature(pre[k - 1])
                dh, ds = slope * du, curvature * du * images[k - 1] + slope * dw
            W, dW, rows = leaf[f"W{k}"], dleaf[f"W{k}"], ds.shape[-1]
            du = layers.linear_jvp(W, inputs[k], dW, mlp.with_time(k, dt, dh))
            du = du + dleaf[f"b{k}"] if mlp.bias else du
            dw = layers.linear_jvp(W[..., :rows, :], starts[k], dW[..., :rows, :], ds)
        return self._along(v, starts, [dw], dleaf)

    def trace_vjp(
        self, t: Array, z: Array, theta: Array, x: Array | None, v: Array, g: Array
    ) -> tuple[Array, Array, Array, Array | None]:
        """Cotangents of t (b,), z (b, d), theta (p,) summed over the batch or (b, p), x (b, n), for g (b,)."""
        mlp, act = self.mlp, layers.ACTIVATIONS[self.mlp.act]
        leaf = unflatten(theta, mlp.shapes)
        inputs, pre = mlp.tape(t, beside(z, x), leaf)
        starts, images = self._tangents(pre, leaf, _in_last_block(v, z, x))
        g_leaf: dict[str, Array] = {}
        g_t, g_u, g_w = np.zeros(len(z)), np.zeros(pre[-1].shape), column(g) * v
        if mlp.skip:
            g_leaf["A"], _ = layers.linear_stack_vjp(leaf["A"], starts[0], g_w)
        for k in reversed(range(mlp.depth)):
            W, rows = leaf[f"W{k}"], starts[k].shape[-1]
            if mlp.bias:
                g_leaf[f"b{k}"] = layers.bias_vjp(leaf[f"b{k}"], g_u)
            g_leaf[f"W{k}"], g_h = layers.linear_vjp(W, inputs[k], g_u)
            g_rows, g_s = layers.linear_stack_vjp(W[..., :rows, :], starts[k], g_w)
            g_leaf[f"W{k}"][..., :rows, :] += g_rows
            if mlp.takes_time(k):
                g_t, g_h = g_t + g_h[:, -1], g_h[:, :-1]
            if k > 0:
                slope, curvature = act.slope(pre[k - 1]), act.curvature(pre[k - 1])
                g_u = slope * g_h + curvature * (images[k - 1] * g_s).sum(axis=0)
                g_w = slope * g_s
        g_z, g_x = apart(g_h, z, x)
        return g_t, g_z, flatten(g_leaf, mlp.shapes), g_x

    def _tangents(self, pre: list[Array], leaf: dict[str, Array], s: Array) -> tuple[list[Array], list[Array]]:
        """The tangents s_k (K, b, i_k) that enter the layers, t's column left out, and w_k (K, b, o_k) that leave."""
        slope = layers.ACTIVATIONS[self.mlp.act].slope
        starts: list[Array] = []
        images: list[Array] = []
        for k in range(self.mlp.depth):
            s = slope(pre[k - 1]) * images[-1] if k > 0 else s
            starts.append(s)
            images.append(layers.linear(leaf[f"W{k}"][..., : s.shape[-1], :], s))
        return starts, images

    def _along(self, v: Array, starts: list[Array], images: list[Array], leaf: dict[str, Array]) -> Array:
        """sum_k v_k . (w_last + v_k A) (b,): linear in w_last and A together."""
        w = images[-1] + layers.linear(leaf["A"], starts[0]) if self.mlp.skip else images[-1]
        return (v * w).sum(axis=(0, 2))


def _in_last_block(v: Array, z: Array, x: Array | None) -> Array:
    """Directions v (K, b, o) of z_n as directions of [z, x], zero in all else."""
    k, b, o = v.shape
    before, behind = z.shape[1] - o, 0 if x is None else x.shape[1]
    return np.concatenate([np.zeros((k, b, before)), v, np.zeros((k, b, behind))], axis=2)


def as_traced(field: Any) -> Traced:
    """The trace of a field: an MLP's is worked out here, any other field has to offer its own.

    Raises
    ------
    InvalidArgument    for a field that lacks the methods of `Traced`, and for an MLP whose slope jumps
    """
    if isinstance(field, MLP):
        if field.depth > 1 and not layers.ACTIVATIONS[field.act].smooth:
            allowed = "of a smooth activation: a slope that jumps makes the trace jump along the path, at depths that"
            raise InvalidArgument("field", f"an MLP with act={field.act!r}", f"{allowed} no derivative of it sees")
        return NetworkTrace(field)
    methods = ("width_out", "trace", "trace_jvp", "trace_vjp")
    if missing := [m for m in methods if isinstance(field, type) or not hasattr(field, m)]:
        allowed = f"an MLP, or a field that knows its trace; it lacks {', '.join(missing)}"
        raise InvalidArgument("field", describe(field), f"{allowed} (see refnode.divergence.Traced)")
    return field


@dataclass(frozen=True, eq=False)
class Divergence(Weighted):
    """l = tr(df/dz), of the field with respect to the block of z that it moves.

    Parameters
    ----------
    field      the model's field: an MLP, or a field with the methods of `Traced`
    control    the model's: "none", "x" or rn.Columns. What the field sees beside z is held fixed in the trace
    trace      "exact": o tangent passes; "hutchinson": the mean over K noises of eps . (df/dz) eps
    noise      eps (K, b, o) for "hutchinson", drawn by you and the same for the whole solve: the loss is then a smooth
               function of its leaves. Unbiased if the noise has covariance I; entries +-1 have the least variance
    """

    field: Any
    control: Control = "none"
    trace: Trace = "exact"
    noise: Any = None  # array-like given, read-only float64 kept
    of: ClassVar[Literal["field"]] = "field"

    def __post_init__(self) -> None:
        super().__post_init__()
        as_traced(self.field)
        check_control(self.control)
        one_of("trace", self.trace, ("exact", "hutchinson"))
        if (self.noise is None) != (self.trace == "exact"):
            was = "None with trace='hutchinson'" if self.noise is None else "an array with trace='exact'"
            raise InvalidArgument("noise", was, "an array (K, b, o) for 'hutchinson', and None for 'exact'")
        if self.noise is not None:
            object.__setattr__(self, "noise", float64("noise", self.noise, (None, None, self.field.width_out)))

    def check(self, name: str, batch: int, width: int) -> None:
        """The noise has a row for every sample."""
        if self.noise is not None and (self.noise.shape[1] != batch or len(self.noise) == 0):
            allowed = f"of shape (K, {batch}, {self.field.width_out}) with K >= 1"
            raise InvalidArgument(f"{name}.noise", f"shape {self.noise.shape}", allowed)

    def value(self, at: RunningArgs) -> Array:
        """(b,)."""
        v, c = self._directions(len(at.z))
        return c * as_traced(self.field).trace(at.t, at.z, at.theta, control_of(self.control, at.x), v)

    def jvp(self, at: RunningArgs, d: RunningArgs) -> Array:
        """(b,)."""
        v, c = self._directions(len(at.z))
        x, dx = control_of(self.control, at.x), control_of(self.control, d.x)
        return c * as_traced(self.field).trace_jvp(at.t, at.z, at.theta, x, v, d.t, d.z, d.theta, dx)

    def vjp(self, at: RunningArgs, g: Array) -> RunningArgs:
        """Cotangents of t, z, theta and, through the control, x; the rate has none."""
        v, c = self._directions(len(at.z))
        x = control_of(self.control, at.x)
        g_t, g_z, g_theta, g_x = as_traced(self.field).trace_vjp(at.t, at.z, at.theta, x, v, c * g)
        return no_cotangent(at)._replace(t=g_t, z=g_z, theta=g_theta, x=control_vjp(self.control, at.x, g_x))

    def _directions(self, batch: int) -> tuple[Array, float]:
        """Directions (K, b, o) and their weight."""
        if self.noise is not None:
            return self.noise, 1 / len(self.noise)
        o = self.field.width_out
        return np.broadcast_to(np.eye(o)[:, None], (o, batch, o)), 1.0


def check_divergence(name: str, term: object, field: Any, control: Control) -> None:
    """Raise if a term is the divergence of another network than the model's, or sees another control."""
    if not isinstance(term, Divergence):
        return
    if isinstance(field, MLP) and field != term.field:
        raise InvalidArgument(f"{name}.field", describe(term.field), f"the model's field, {describe(field)}")
    if term.control != control:
        raise InvalidArgument(f"{name}.control", describe(term.control), f"the model's control, {describe(control)}")
