"""The rates of many tangents at once, dF for one perturbation of theta, x, t and y each: jvps on tiles.

Every perturbation moves at most one number of theta or of its coefficients, as those of a gradient's leaves do, so a
layer's own part is a column of its inputs. Where theta(t) varies, it also moves along with u, in the direction
theta'(u), whose part of every layer is computed once for all perturbations.
"""

import math
from dataclasses import dataclass

import numpy as np

from refnode.kernels.activations import SIN, times_slope
from refnode.kernels.apart import each
from refnode.kernels.compiled import kernel
from refnode.kernels.fill import zero
from refnode.kernels.mlp import layer
from refnode.kernels.products import add_product
from refnode.kernels.rates import rate
from refnode.kernels.records import Record
from refnode.kernels.theta import coordinate, theta_at

BLOCK, ROWS = 32, 32  # perturbations and samples of a task


@dataclass(frozen=True)
class Perturbations(Record):
    """K perturbations, and room for tasks of BLOCK of them on ROWS samples.

    entry, basis     the number of theta that each moves, or -1; the coefficient's basis function, or -1 (K,)
    t0, T            its changes of the ends that theta(t) follows (K, b);  x   that of the control (K, b n_x)
    slot, tangent    a tile's slot and that of its tangent (tasks, ROWS ..);  along_u   of every layer (tasks, ROWS ..)
    theta, slope_of  theta and its slope in u (tasks, p);  psi, slope (tasks, m)
    times            t, du and dt (tasks, 3 ROWS);  rates   k, and the field's tangent (tasks, 2 ROWS w)
    """

    entry: np.ndarray
    basis: np.ndarray
    t0: np.ndarray
    T: np.ndarray
    x: np.ndarray
    slot: np.ndarray
    tangent: np.ndarray
    along_u: np.ndarray
    theta: np.ndarray
    slope_of: np.ndarray
    psi: np.ndarray
    slope: np.ndarray
    times: np.ndarray
    rates: np.ndarray


@kernel
def theta_slope(V, slope, out):
    """out = dtheta/du = sum_j psi_j'(u) A_j (p,)."""
    zero(out)
    for j in range(V.A.shape[0]):
        weight, row = out.dtype.type(slope[j]), V.A[j]
        if weight != 0:
            for n in range(out.size):
                out[n] += weight * row[n]


@kernel
def along_theta(net, theta, t, m, slot, out):
    """What every layer's output, before its activation, changes by where theta changes by `theta`, one after the other.

    out holds the layers' (m, n_{k+1}), beginning with the first; the last with that of the skip term.
    """
    at = 0
    for k in range(net.widths.size - 1):
        i, o = net.widths[k], net.widths[k + 1]
        layer(out, at, o, m, slot, net.slots[k] * m, i, o, theta, net.weights[k], net.biases[k], net.timed[k], t)
        if k == net.widths.size - 2 and net.skip >= 0:
            add_product(out, at, o, slot, 0, net.widths[0], 1, theta, net.skip, o, m, o, net.widths[0])
        at += m * o


@kernel
def add_entry(net, k, entry, weight, t, m, slot, du):
    """Add to du (m, o) what layer k changes by where the number `entry` of theta changes by `weight`."""
    i, o, first = net.widths[k], net.widths[k + 1], net.weights[k]
    rows = i + net.timed[k]
    if first <= entry < first + rows * o:
        r, c = (entry - first) // o, (entry - first) % o
        for s in range(m):
            du[s * o + c] += weight * (slot[net.slots[k] * m + s * i + r] if r < i else t[s])
    if 0 <= net.biases[k] <= entry < net.biases[k] + o:
        for s in range(m):
            du[s * o + entry - net.biases[k]] += weight
    if k == net.widths.size - 2 and 0 <= net.skip <= entry:
        r, c, n = (entry - net.skip) // o, (entry - net.skip) % o, net.widths[0]
        for s in range(m):
            du[s * o + c] += weight * slot[s * n + r]


@kernel
def mlp_jvp(net, theta, entry, weight, along_u, du, t, dt, m, slot, tangent, df):
    """df (m, o): the tangent of the field, of h_0 (m, n_0), which stands at the start of `tangent`, t and theta.

    theta's number `entry` changes by `weight`; u by du (m,), of which `along_theta` has left the layers' parts.
    """
    last, at, whole = net.widths.size - 2, 0, net.slots[-1] * m
    for k in range(last + 1):
        i, o, h0 = net.widths[k], net.widths[k + 1], net.slots[k] * m
        u0 = net.slots[k + 1] * m
        out = tangent[u0 : u0 + m * o] if k < last else df[: m * o]
        for s in range(m):
            moved = du[s]
            for j in range(o):
                out[s * o + j] = moved * along_u[at + s * o + j]
        at += m * o
        if net.timed[k]:
            row = theta[net.weights[k] + i * o : net.weights[k] + (i + 1) * o]
            for s in range(m):
                for j in range(o):
                    out[s * o + j] += dt[s] * row[j]
        if entry >= 0:
            add_entry(net, k, entry, weight, t, m, slot, out)
        add_product(out, 0, o, tangent, h0, i, 1, theta, net.weights[k], o, m, o, i)
        if k < last:
            h = slot[u0 : u0 + m * o]
            times_slope(out, h, slot[whole + u0 : whole + u0 + m * o] if net.act == SIN else h, net.act)
    if net.skip >= 0:
        n, o = net.widths[0], net.widths[-1]
        add_product(df, 0, o, tangent, 0, n, 1, theta, net.skip, o, m, o, n)


@kernel
def running_jvp(F, theta_part, t, dt, m, slot, k, dy, dk):
    """The last column of dk (m, w): dq', where |theta|^2 changes by theta_part (m,)."""
    d, w, n_0, o = F.d, F.w, F.net.widths[0], F.net.widths[-1]
    c_z, c_f, c_r, c_p = F.squares
    for s in range(m):
        z, r, dz, dr = slot[s * n_0 : s * n_0 + d], k[s * w : s * w + d], dy[s * w : s * w + d], dk[s * w : s * w + d]
        total = c_p * theta_part[s]
        for j in range(d):
            total += 2 * c_z * z[j] * dz[j] + 2 * (c_r + (c_f if j >= d - o else 0.0)) * r[j] * dr[j]
        for n in range(F.tracked.size):
            for j in range(d):
                angle = F.omega[n, j] * t[s] + F.phase[n, j]
                off = z[j] - F.amplitude[n, j] * math.cos(angle)
                moved = dz[j] + F.amplitude[n, j] * F.omega[n, j] * math.sin(angle) * dt[s]
                total += 2 * F.tracked[n] * off * moved
        dk[s * w + d] = total


@kernel
def rate_jvp(F, theta, slope_of, entry, weight, along_u, du, t, dt, m, slot, k, dy, dx, tangent, df, dk):
    """dk (m, w) for perturbations dt, du (m,), dy (m, w), dx (m, n_x) and one number of theta; `rate` left slot, k."""
    d, w, n_x, n_0, o = F.d, F.w, F.controls, F.net.widths[0], F.net.widths[-1]
    for s in range(m):
        for j in range(d):
            tangent[s * n_0 + j] = dy[s * w + j]
        for j in range(n_x):
            tangent[s * n_0 + d + j] = dx[s * n_x + j]
    mlp_jvp(F.net, theta, entry, weight, along_u, du, t, dt, m, slot, tangent, df)
    for s in range(m):
        for j in range(d - o):
            dk[s * w + j] = dy[s * w + o + j]
        for j in range(o):
            dk[s * w + d - o + j] = df[s * o + j]
    if w > d:
        along, part = 0.0, df[:m]
        if F.squares[3] != 0:
            for n in range(theta.size):
                along += theta[n] * slope_of[n]
        for s in range(m):
            part[s] = 2 * (du[s] * along + (weight * theta[entry] if entry >= 0 else 0.0))
        running_jvp(F, part, t, dt, m, slot, k, dy, dk)


@kernel
def rows_jvp(F, V, P, first, last, task, sample, m, t, x, y, k, dt, dy, dk, ends, cell):
    """k and dk for m samples from `sample` on that share theta, for perturbations first .. last - 1.

    t (b,), y and k (b w,), dt (K, b), dy and dk (K, b w), flat but for the first axis; ends t0, T (2, b).
    """
    w, n_x, slot, theta, slope_of = F.w, F.controls, P.slot[task], P.theta[task], P.slope_of[task]
    psi, slope, along_u, t0, T = P.psi[task], P.slope[task], P.along_u[task], ends[0, sample], ends[1, sample]
    own_t, rates, at = P.times[task, :m], P.rates[task], sample * w
    theta_at(V, float(t[sample]), t0, T, cell, theta, psi, slope)
    for s in range(m):
        own_t[s] = t[sample + s]
    rate(F, theta, own_t, y, at, x, sample * n_x, m, slot, rates, 0)
    if first == 0:
        for n in range(m * w):
            k[at + n] = rates[n]
    varies = V.A.shape[0] > 0
    zero(along_u)
    if varies:
        theta_slope(V, slope, slope_of)
        along_theta(F.net, slope_of, own_t, m, slot, along_u)
    du, own_dt, df = P.times[task, ROWS : ROWS + m], P.times[task, 2 * ROWS : 2 * ROWS + m], P.rates[task, ROWS * w :]
    for n in range(first, last):
        for s in range(m):
            b = sample + s
            moved = dt[n, b]
            own_dt[s] = moved
            if varies and V.follows:
                u = coordinate(V, float(t[b]), t0, T)
                moved = (moved - (1 - u) * P.t0[n, b] - u * P.T[n, b]) / (T - t0)
            elif varies:
                moved = moved / (V.hi - V.lo)
            du[s] = moved if varies else 0.0
        weight = psi[P.basis[n]] if P.basis[n] >= 0 else 1.0
        dx = P.x[n, sample * n_x : (sample + m) * n_x]
        rate_jvp(
            F, theta, slope_of, P.entry[n], weight, along_u, du, own_t, own_dt, m, slot, rates, dy[n, at : at + m * w],
            dx, P.tangent[task], df, dk[n, at : at + m * w],
        )  # fmt: skip


@kernel
def block_jvp(F, V, kind, P, x, batch, t, y, k, dt, dy, dk, ends, cell, task):
    """A tile's k, and its dk for a block of perturbations."""
    tiles = (batch + ROWS - 1) // ROWS
    tile, first = task % tiles, task // tiles * BLOCK
    last, m = min(first + BLOCK, P.entry.size), min(ROWS, batch - tile * ROWS)
    if not kind.by_row:
        rows_jvp(F, V, P, first, last, task, tile * ROWS, m, t, x, y, k, dt, dy, dk, ends, cell)
        return
    for r in range(m):
        rows_jvp(F, V, P, first, last, task, tile * ROWS + r, 1, t, x, y, k, dt, dy, dk, ends, cell)


@kernel
def rates_jvp(loop, F, V, kind, P, x, batch, t, y, k, dt, dy, dk, ends, cell):
    """k = F(t, y) and dk of every perturbation, for the whole batch."""
    each(loop, P.slot.shape[0], block_jvp, (F, V, kind, P, x, batch, t, y, k, dt, dy, dk, ends, cell))
