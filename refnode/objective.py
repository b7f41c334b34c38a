"""The loss of a prediction at one time, L(t, h_y(z)), seen from the state z: value, jvp, vjp."""

import numpy as np

from refnode.arrays import Array, column
from refnode.loss import PointLoss
from refnode.maps import Map


def point_loss(term: PointLoss, h_y: Map, w_y: Array, t: Array, z: Array) -> Array:
    """Weighted loss of each sample (b,) at t () or (b,), z (b, d)."""
    return term.factor(len(z)) * term.value(t, h_y.forward(w_y, z))


def point_loss_jvp(
    term: PointLoss, h_y: Map, w_y: Array, t: Array, z: Array, dw_y: Array, dt: Array, dz: Array
) -> Array:
    """Its change (b,) for perturbations of w_y, t and z."""
    g_t, g_y = term.grad(t, h_y.forward(w_y, z))
    dy = h_y.jvp(w_y, z, dw_y, dz)
    return term.factor(len(z)) * (g_t * dt + (g_y * dy).sum(axis=1))


def point_loss_vjp(
    term: PointLoss, h_y: Map, w_y: Array, t: Array, z: Array, g: float | Array
) -> tuple[Array, Array, Array]:
    """Cotangents of w_y (p,), t (b,) and z (b, d), for the cotangent g of every sample's loss, () or (b,)."""
    c = np.asarray(g * term.factor(len(z)))
    g_t, g_y = term.grad(t, h_y.forward(w_y, z))
    g_w, g_z = h_y.vjp(w_y, z, column(c) * g_y)
    return g_w, c * np.asarray(g_t), g_z
