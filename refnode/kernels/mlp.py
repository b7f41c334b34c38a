"""The MLP on a tile of samples: forward and vjp, the twins of `refnode.field.MLP`.

A tile is m rows, features innermost. A slot holds what one evaluation leaves for its vjp: the inputs h_0, h_1, .. of
the layers one after the other, each (m, n_k), and after them the slopes, if the activation is sin. t enters a layer as
one more row of its weights, which is added beside the bias, so that no input has a column for it.
"""

from dataclasses import dataclass

import numpy as np

from refnode.field import MLP
from refnode.kernels.activations import ACT_NUMBERS, SIN, TANH, apply_act, times_slope
from refnode.kernels.compiled import inline, kernel
from refnode.kernels.fill import zero
from refnode.kernels.products import add_product, add_products, products
from refnode.kernels.records import Record
from refnode.kernels.row_sums import add_row_sums
from refnode.kernels.sloped import sloped_products, whole_vectors
from refnode.kernels.transpose import transpose
from refnode.kernels.user import user_forward, user_state_vjp, user_weights

IN_CACHE = 2**14  # bytes of cotangents that stay in the first-level cache while all rows of W pass by


@dataclass(frozen=True)
class Net(Record):
    """An MLP as plain numbers, all int64.

    widths    n_0 .. n_L, without t;  weights, biases   where W_k and b_k begin in theta (-1: no bias)
    slots     where h_k begins in a slot of one row, and last the row's length;  timed   whether t enters layer k
    act       number of the activation;  skip   where A begins in theta, or -1;  size   p
    forward, vjp, z   0, 0, 0; for a field of a user's own the addresses of its functions, and the width of z
    """

    widths: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    slots: np.ndarray
    timed: np.ndarray
    act: int
    skip: int
    size: int
    forward: int = 0
    vjp: int = 0
    z: int = 0


def net_of(mlp: MLP) -> Net:
    """The plain numbers of an MLP."""
    weights, biases, timed, at = [], [], [], 0
    for k in range(mlp.depth):
        i, o = mlp.shapes[f"W{k}"]
        weights.append(at)
        biases.append(at + i * o if mlp.bias else -1)
        timed.append(i - mlp.widths[k])
        at += i * o + (o if mlp.bias else 0)
    skip = at if mlp.skip else -1
    size = at + (mlp.widths[0] * mlp.widths[-1] if mlp.skip else 0)
    slots = np.concatenate([[0], np.cumsum(mlp.widths[:-1])])
    arrays = (np.array(a, dtype=np.int64) for a in (mlp.widths, weights, biases, slots, timed))
    return Net(*arrays, ACT_NUMBERS[mlp.act], skip, size)


@kernel
def slot_size(net):
    """Numbers of a slot for each row."""
    return net.slots[-1] * (2 if net.act == SIN else 1)


@kernel
def transpose_weights(net, theta, out):
    """Every W_k, without its row for t, and A, transposed into the same place of out."""
    if net.forward:
        return
    for k in range(net.widths.size - 1):
        W = net.weights[k]
        transpose(theta, W, net.widths[k], net.widths[k + 1], out, W)
    if net.skip >= 0:
        transpose(theta, net.skip, net.widths[0], net.widths[-1], out, net.skip)


@kernel
def layer(out, out0, ldo, m, slot, h0, i, o, theta, weights, bias, timed, t):
    """m rows of out, from out0 with pitch ldo: h W + b + t_s w, without b if bias < 0, and without w if not timed."""
    if not timed:
        products(
            out, out0, ldo, theta, bias, 0 if bias >= 0 else -1, slot, h0, i, 1, theta, weights, o, m, o, i, 1, 0, 0
        )  # fmt: skip
        return
    w = theta[weights + i * o : weights + (i + 1) * o]
    for s in range(m):
        row, t_s = out[out0 + s * ldo : out0 + s * ldo + o], t[s]
        if bias >= 0:
            b = theta[bias : bias + o]
            for j in range(o):
                row[j] = b[j] + t_s * w[j]
        else:
            for j in range(o):
                row[j] = t_s * w[j]
    add_product(out, out0, ldo, slot, h0, i, 1, theta, weights, o, m, o, i)


@kernel
def mlp_forward(net, theta, t, m, slot, f, f0, ldf):
    """f (m, o), whose rows begin at f0 + s ldf, from h_0 in the slot; the slot is filled on the way."""
    if net.forward:
        user_forward(net, theta, t, m, slot, f, f0, ldf)
        return
    last = net.widths.size - 2
    whole = net.slots[-1] * m
    for k in range(last + 1):
        i, o = net.widths[k], net.widths[k + 1]
        h0, weights, bias = net.slots[k] * m, net.weights[k], net.biases[k]
        if k < last:
            u0 = net.slots[k + 1] * m
            layer(slot, u0, o, m, slot, h0, i, o, theta, weights, bias, net.timed[k], t)
            u = slot[u0 : u0 + m * o]
            apply_act(u, slot[whole + u0 : whole + u0 + m * o] if net.act == SIN else u, net.act)
        else:
            layer(f, f0, ldf, m, slot, h0, i, o, theta, weights, bias, net.timed[k], t)
    if net.skip >= 0:
        i, o = net.widths[0], net.widths[-1]
        add_product(f, f0, ldf, slot, 0, i, 1, theta, net.skip, o, m, o, i)


@kernel
def cotangent_size(net):
    """Numbers for the cotangents of the outputs of all layers, for each row."""
    return net.slots[-1] - net.widths[0] + net.widths[-1]


@inline
def cotangents_of(net, k, m):
    """Where those of layer k begin among m rows."""
    return (net.slots[k + 1] - net.widths[0]) * m


@kernel
def mlp_vjp(net, theta, transposed, t, m, slot, layers, g_h, g_t):
    """Cotangents of h_0 (m, n_0), set, and of t (m,), added to, from that of f, which stands in its place in `layers`.

    `layers` is filled on the way: the cotangents G_k (m, n_{k+1}) of the layers' outputs before the activation, one
    after the other, from which `mlp_weights_vjp` has those of theta.
    """
    if net.forward:
        zero(g_h)
        user_state_vjp(net, theta, m, slot, layers, g_h, t, g_t)
        return
    last = net.widths.size - 2
    whole = net.slots[-1] * m
    for k in range(last, -1, -1):
        i, o = net.widths[k], net.widths[k + 1]
        h0, source = net.slots[k] * m, cotangents_of(net, k, m)
        if net.timed[k]:
            time_vjp(theta, net.weights[k] + i * o, o, g_t, layers, source, m)
        target, t0 = (layers, cotangents_of(net, k - 1, m)) if k > 0 else (g_h, 0)
        W = net.weights[k]
        if k > 0 and net.act == TANH and i % whole_vectors(layers) == 0:
            sloped_products(target, t0, layers, source, transposed, W, slot, h0, m, i, o)
            continue
        products(target, t0, i, target, t0, -1, layers, source, o, 1, transposed, W, i, m, i, o, 1, 0, 0)
        if k > 0:
            u, h = target[t0 : t0 + m * i], slot[h0 : h0 + m * i]
            times_slope(u, h, slot[whole + h0 : whole + h0 + m * i] if net.act == SIN else h, net.act)
    if net.skip >= 0:
        i, o = net.widths[0], net.widths[-1]
        add_product(g_h, 0, i, layers, cotangents_of(net, last, m), o, 1, transposed, net.skip, i, m, i, o)


@kernel
def time_vjp(theta, time_row, o, g_t, G, G0, m):
    """What t receives from G (m, o) through its row of weights."""
    w = theta[time_row : time_row + o]
    for s in range(m):
        row, total = G[G0 + s * o : G0 + (s + 1) * o], 0.0
        for j in range(o):
            total += row[j] * w[j]
        g_t[s] += total


@kernel
def mlp_weights_vjp(net, theta, m, count, slots, layers, depths, g_theta):
    """Add to g_theta (p,) what `count` evaluations of m rows give: slots, layers and depths (count, ..) of each.

    One sum over all of them costs one pass over g_theta, which is what matters where m is small.
    """
    H, G, t = slots.reshape(slots.size), layers.reshape(layers.size), depths.reshape(depths.size)
    add_weights(net, theta, m, count, H, 0, slots.shape[1], G, 0, layers.shape[1], t, 0, depths.shape[1], g_theta)


@kernel
def add_weights(net, theta, m, count, H, H0, pitch_h, G, G0, pitch_g, t, t0, pitch_t, g_theta):
    """The same from flat arrays: evaluation q's begin at H0 + q pitch_h, G0 + q pitch_g and t0 + q pitch_t."""
    if net.forward:
        user_weights(net, theta, m, count, H, H0, pitch_h, G, G0, pitch_g, t, t0, pitch_t, g_theta)
        return
    for k in range(net.widths.size - 1):
        i, o = net.widths[k], net.widths[k + 1]
        h0, source = H0 + net.slots[k] * m, G0 + cotangents_of(net, k, m)
        at = net.weights[k]
        few = max(1, IN_CACHE // (m * o * g_theta.itemsize))  # of the same order of sums
        for q in range(0, count, few):
            add_products(
                g_theta, at, o, H, h0 + q * pitch_h, 1, i, G, source + q * pitch_g, o, i, o, m, min(few, count - q),
                pitch_h, pitch_g,
            )  # fmt: skip
        if net.biases[k] >= 0:
            add_row_sums(g_theta, net.biases[k], G, source, o, o, m, count, pitch_g)
        if net.timed[k]:
            w = at + i * o
            add_products(g_theta, w, o, t, t0, 0, 1, G, source, o, 1, o, m, count, pitch_t, pitch_g)
    if net.skip >= 0:
        i, o, source = net.widths[0], net.widths[-1], G0 + cotangents_of(net, net.widths.size - 2, m)
        add_products(g_theta, net.skip, o, H, H0, 1, i, G, source, o, i, o, m, count, pitch_h, pitch_g)
