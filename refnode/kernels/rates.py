"""The dynamics y' = F(t, y), y = [z, q], on a tile: forward and vjp, the twins of `refnode.dynamics.Dynamics`.

    z_i' = z_{i+1},  z_n' = f(t, z, theta, x);     q' = c_z |z|^2 + c_f |f|^2 + c_r |z'|^2 + c_p |theta|^2
                                                        + sum_k c_k |z - beta_k(t)|^2
"""

import math
from dataclasses import dataclass

import numpy as np

from refnode.kernels.compiled import kernel
from refnode.kernels.fill import add_columns, copy_columns, zero
from refnode.kernels.mlp import Net, cotangents_of, mlp_forward, mlp_vjp
from refnode.kernels.records import Record


@dataclass(frozen=True)
class Rates(Record):
    """The dynamics as plain numbers.

    net               the field's
    d, w, controls    widths of z, of y (d or d + 1), and of the control
    squares           c_z, c_f, c_r, c_p
    tracked           c_k (n,);  amplitude, omega, phase (n, d) of beta_k = amplitude cos(omega t + phase)
    """

    net: Net
    d: int
    w: int
    controls: int
    squares: np.ndarray
    tracked: np.ndarray
    amplitude: np.ndarray
    omega: np.ndarray
    phase: np.ndarray


@kernel
def rate(F, theta, t, y, y0, x, x0, m, slot, k, k0):
    """k = F(t, y) (m, w), rows from k0; the slot is left for the vjp."""
    d, w, n_x = F.d, F.w, F.controls
    n_0, o = F.net.widths[0], F.net.widths[-1]
    copy_columns(y, y0, w, slot, 0, n_0, m, d)
    if n_x > 0:
        copy_columns(x, x0, n_x, slot, d, n_0, m, n_x)
    mlp_forward(F.net, theta, t, m, slot, k, k0 + d - o, w)
    if d > o:
        copy_columns(y, y0 + o, w, k, k0, w, m, d - o)
    if w > d:
        running_loss(F, theta, t, y, y0, m, k, k0)


@kernel
def squared_norm(theta):
    """|theta|^2."""
    total = 0.0
    for n in range(theta.size):
        total += theta[n] * theta[n]
    return total


@kernel
def running_loss(F, theta, t, y, y0, m, k, k0):
    """The last column of k: q'."""
    d, w, o = F.d, F.w, F.net.widths[-1]
    c_z, c_f, c_r, c_p = F.squares
    parameters = c_p * squared_norm(theta) if c_p != 0 else 0.0
    for s in range(m):
        z, r = y[y0 + s * w : y0 + s * w + d], k[k0 + s * w : k0 + s * w + d]
        total = parameters
        for j in range(d):
            total += c_z * z[j] * z[j] + (c_r + (c_f if j >= d - o else 0.0)) * r[j] * r[j]
        for n in range(F.tracked.size):
            for j in range(d):
                off = z[j] - F.amplitude[n, j] * math.cos(F.omega[n, j] * t[s] + F.phase[n, j])
                total += F.tracked[n] * off * off
        k[k0 + s * w + d] = total


@kernel
def running_vjp(F, theta, t, m, slot, k, k0, g, g0, g_rate, g_y, gy0, g_t, g_theta):
    """g_rate (m, d) becomes the cotangent of z' with the running loss's; g_y, g_t, g_theta are added to."""
    d, w, n_0, o = F.d, F.w, F.net.widths[0], F.net.widths[-1]
    c_z, c_f, c_r, c_p = F.squares
    whole = 0.0
    for s in range(m):
        z, r, g_z = slot[s * n_0 : s * n_0 + d], k[k0 + s * w : k0 + s * w + d], g_y[gy0 + s * w : gy0 + s * w + d]
        g_q = g[g0 + s * w + d]
        whole += g_q
        for j in range(d):
            g_rate[s * d + j] += 2 * (c_r + (c_f if j >= d - o else 0.0)) * g_q * r[j]
            g_z[j] += 2 * c_z * g_q * z[j]
        for n in range(F.tracked.size):
            for j in range(d):
                angle = F.omega[n, j] * t[s] + F.phase[n, j]
                g_off = 2 * F.tracked[n] * g_q * (z[j] - F.amplitude[n, j] * math.cos(angle))
                g_z[j] += g_off
                g_t[s] += g_off * F.amplitude[n, j] * F.omega[n, j] * math.sin(angle)
    parameter_norm_vjp(c_p, theta, whole, g_theta)


@kernel
def parameter_norm_vjp(c_p, theta, g_q, g_theta):
    """Add 2 c_p g_q theta to g_theta (p,), or to nothing (0,); g_q is summed over the rows."""
    if c_p != 0:
        factor = g_theta.dtype.type(2 * c_p * g_q)
        for n in range(g_theta.size):
            g_theta[n] += factor * theta[n]


@kernel
def rate_vjp(F, theta, transposed, t, m, slot, k, k0, g, g0, g_y, gy0, g_x, gx0, g_t, g_theta, layers, spare):
    """Cotangents for g (m, w): g_y (m, w) is set; g_x (m, n_x) and g_t (m,) are added to.

    slot and k (m, w) are what `rate` left. `layers` is left for `mlp_weights_vjp`, which has the cotangent of theta but
    for the running loss's own, which is added to g_theta (p,) here, or to nothing (0,). spare: (m, d) and (m, n_0).
    """
    d, w, n_x = F.d, F.w, F.controls
    n_0, o = F.net.widths[0], F.net.widths[-1]
    g_rate, g_h = spare[: m * d], spare[m * d : m * (d + n_0)]
    copy_columns(g, g0, w, g_rate, 0, d, m, d)
    zero(g_y[gy0 : gy0 + m * w])
    if w > d:
        running_vjp(F, theta, t, m, slot, k, k0, g, g0, g_rate, g_y, gy0, g_t, g_theta)
    last = cotangents_of(F.net, F.net.widths.size - 2, m)
    copy_columns(g_rate, d - o, d, layers, last, o, m, o)
    mlp_vjp(F.net, theta, transposed, t, m, slot, layers, g_h, g_t)
    add_columns(g_h, 0, n_0, g_y, gy0, w, m, d)
    if d > o:
        add_columns(g_rate, 0, d, g_y, gy0 + o, w, m, d - o)
    if n_x > 0:
        add_columns(g_h, d, n_0, g_x, gx0, n_x, m, n_x)
