"""The field and its vjp for one trajectory, neuron by neuron: the twins of `refnode.kernels.rates`.

    z_i' = z_{i+1},  z_n' = f(t, z, theta, x);     q' = c_z |z|^2 + c_f |f|^2 + c_r |z'|^2

A hidden layer of one trajectory needs no memory: a neuron's output goes at once to all that it feeds. Its weights
stand together in shared memory, where all threads read the same number at the same time. Loops over neurons are
`while` loops, since Numba's range costs some instructions a turn, and there are only some twenty; where they end is
known at run time only, lest the compiler unroll them into registers that the card has not.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from refnode.kernels.cuda.compile import by_network, device
from refnode.kernels.cuda.shape import AT_ONCE, PITCH, Shape, U
from refnode.kernels.cuda.sine import sine_32, sine_64
from refnode.kernels.cuda.tanh import tanh_32


class Field(NamedTuple):
    """Device functions.

    neuron(W, psi, t, y, x, q)          the input of the neuron whose weights begin at W[q]
    rate(W, end, psi, c, t, y, x, k)    k = y'; the neurons' weights end at W[end]
    rate_vjp(W, end, psi, c, t, y, x, k, g, g_y, g_x, held, column)
                                        the cotangents of t and, where it is the trajectory's own, of u, for that of y',
                                        g, which the running loss adds to; g_y is set, g_x added to;
                                        held[j PITCH + column] of each neuron j is its output,
                                        held[(neurons + j) PITCH + column] its input's cotangent
    """

    neuron: Any
    rate: Any
    rate_vjp: Any


@by_network
def field_of(S: Shape) -> Field:
    """The device functions for a shape; W is theta in the order of `Shape`, once for still and for each coefficient."""
    act, slope, weight, turn, apart = *activation(S), weight_of(S), turn_of(S), bool(S.functions)
    neuron, neuron_turn, tail_turn = neuron_of(S, weight), neuron_of(S, turn), tail_of(S, turn)
    d, o, n_x, stride = (U(n) for n in (S.d, S.out, S.controls, S.stride))
    to_output, tail, first = (U(n) for n in (S.inputs + 1, S.neurons * S.stride, S.d - S.out))
    early, late, running, real, two = S.timed[0], S.timed[1], S.running, S.real, S.real(2)
    to_e, pitch, at_once = U(S.neurons * PITCH), U(PITCH), U(AT_ONCE)

    @device
    def rate(W, end, psi, c, t, y, x, k):
        for i in range(o):
            f = weight(W, psi, tail + i)
            if late:
                f += weight(W, psi, tail + o + i) * t
            k[first + i] = f
        q = U(0)
        while q < end:
            for part in range(at_once):
                at = q + part * stride
                h = act(neuron(W, psi, t, y, x, at))
                for i in range(o):
                    k[first + i] += weight(W, psi, at + to_output + i) * h
            q += at_once * stride
        for i in range(first):
            k[i] = y[o + i]
        if running:
            total = real(0)
            for i in range(d):
                total += c[0] * y[i] * y[i] + (c[2] + (c[1] if i >= first else real(0))) * k[i] * k[i]
            k[d] = total

    @device
    def rate_vjp(W, end, psi, c, t, y, x, k, g, g_y, g_x, held, column):
        g_t, g_u = real(0), real(0)
        for i in range(d):
            g_y[i] = real(0)
        if running:
            g_y[d] = real(0)
            for i in range(d):
                g_y[i] = two * c[0] * g[d] * y[i]
                g[i] += two * (c[2] + (c[1] if i >= first else real(0))) * g[d] * k[i]
        for i in range(first):
            g_y[o + i] += g[i]
        if late:
            for i in range(o):
                g_t += weight(W, psi, tail + o + i) * g[first + i]
        if apart:
            g_u = tail_turn(W, psi, t, g)
        q, place = U(0), column
        while q < end:
            for part in range(at_once):
                at = q + part * stride
                a = neuron(W, psi, t, y, x, at)
                out = act(a)
                back = real(0)
                for i in range(o):
                    back += weight(W, psi, at + to_output + i) * g[first + i]
                back *= slope(a, out)
                for i in range(d):
                    g_y[i] += weight(W, psi, at + i) * back
                for i in range(n_x):
                    g_x[i] += weight(W, psi, at + d + i) * back
                if early:
                    g_t += weight(W, psi, at + d + n_x) * back
                if apart:
                    g_u += back * neuron_turn(W, psi, t, y, x, at)
                    for i in range(o):
                        g_u += turn(W, psi, at + to_output + i) * out * g[first + i]
                held[place + part * pitch], held[place + part * pitch + to_e] = out, back
            q += at_once * stride
            place += at_once * pitch
        return g_t, g_u

    return Field(neuron, rate, rate_vjp)


@by_network
def neuron_of(S: Shape, weight: Any) -> Any:
    """`Field.neuron`; with theta'(u) for a weight its change with u."""
    d, n_x, bias, early = U(S.d), U(S.controls), U(S.inputs), S.timed[0]

    @device
    def neuron(W, psi, t, y, x, q):
        a = weight(W, psi, q + bias)
        for i in range(d):
            a += weight(W, psi, q + i) * y[i]
        for i in range(n_x):
            a += weight(W, psi, q + d + i) * x[i]
        if early:
            a += weight(W, psi, q + d + n_x) * t
        return a

    return neuron


@by_network
def tail_of(S: Shape, weight: Any) -> Any:
    """Device function: g times what of y' comes by no neuron."""
    real, o, tail, first, late = S.real, U(S.out), U(S.neurons * S.stride), U(S.d - S.out), S.timed[1]

    @device
    def along_tail(W, psi, t, g):
        total = real(0)
        for i in range(o):
            total += weight(W, psi, tail + i) * g[first + i]
            if late:
                total += weight(W, psi, tail + o + i) * t * g[first + i]
        return total

    return along_tail


@by_network
def weight_of(S: Shape) -> Any:
    """Number q of theta(t) = still + sum_r psi_r A_r, the sum taken where it is read."""
    size, m = U(S.size), U(S.basis)

    @device
    def weight(W, psi, q):
        number, at = W[q], q + size
        for r in range(m):
            number += psi[r] * W[at]
            at += size
        return number

    return weight


@by_network
def turn_of(S: Shape) -> Any:
    """Number q of theta'(u) = sum_r psi_r' A_r, of which psi' stands behind psi."""
    real, size, m = S.real, U(S.size), U(S.basis)

    @device
    def turn(W, row, q):
        number, at = real(0), q + size
        for r in range(m):
            number += row[m + r] * W[at]
            at += size
        return number

    return turn


@by_network
def activation(S: Any) -> tuple[Any, Any]:
    """The activation, and its slope at a with value h."""
    zero, one = S.real(0), S.real(1)
    table: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "tanh": (lambda a: math.tanh(a), lambda a, h: one - h * h),
        "softplus": (
            lambda a: max(a, zero) + math.log1p(math.exp(-abs(a))),
            lambda a, h: one - math.exp(-h),
        ),
        "sigmoid": (lambda a: one / (one + math.exp(-a)), lambda a, h: h * (one - h)),
        "relu": (lambda a: max(a, zero), lambda a, h: one if h > zero else zero),
        "identity": (lambda a: a, lambda a, h: one),
    }
    if S.act == "sin":
        sin, cos = sine_32() if S.dtype == "float32" else sine_64()
        return sin, device(lambda a, h: cos(a))
    act, slope = table[S.act]
    return tanh_32() if (S.act, S.dtype) == ("tanh", "float32") else device(act), device(slope)
