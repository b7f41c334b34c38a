"""State and costate of one trajectory together: the twin of `refnode.kernels.systems.Costate`.

    [z, a]' = [f, -(df/dz)^T (a + g dl/df) - g dl/dz]

One pass over the neurons gives both, unless l sees f: then f comes first.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, from_dtype

from refnode.kernels.cuda.compile import by_network, device, once
from refnode.kernels.cuda.field import activation, field_of, neuron_of, tail_of, turn_of, weight_of
from refnode.kernels.cuda.shape import AT_ONCE, PITCH, Shape, U


@dataclass(frozen=True)
class Costate(Shape):
    """The shape of u = [z, a], for a field's shape.

    estimates    whether the error of the parameter integrals is estimated, step by step
    """

    estimates: bool = False

    @property
    def width(self) -> int:
        """Of u."""
        return 2 * self.d


@by_network
def costate_of(S: Shape, gathers: bool) -> Any:
    """Device function costate(W, end, psi, c, t, u, x, k, share, g, g_x, held, column): k = u'.

    c       factors of the running loss and g_q, the cotangent of q (4,)
    share   what multiplies that which the parameter integrals are made of, where it gathers:
            g[d - o ..] of f, g_x (n_x,) of the control, held[j PITCH + column] the output of neuron j, without a share,
            and held[(neurons + j) PITCH + column] the cotangent of its input; that of u is returned,
            where it is the trajectory's own
    """
    F, act, slope, weight, turn = field_of(S), *activation(S), weight_of(S), turn_of(S)
    neuron, f_first, turns = F.neuron, F.rate, gathers and bool(S.functions)
    neuron_turn, tail_turn = neuron_of(S, turn), tail_of(S, turn)
    d, o, n_x, stride, first = (U(n) for n in (S.d, S.out, S.controls, S.stride, S.d - S.out))
    to_output, tail, late, running = U(S.inputs + 1), U(S.neurons * S.stride), S.timed[1], S.running
    to_e, pitch, at_once, real, two = U(S.neurons * PITCH), U(PITCH), U(AT_ONCE), S.real, S.real(2)

    @device
    def begin(W, end, psi, c, t, u, x, k, g):
        """z' as far as it needs no neuron, or all of it; a + g dl/df; the running loss's share of -a'."""
        for i in range(d):
            g[i] = u[d + i]
        if running:
            f_first(W, end, psi, c, t, u, x, k)
            for i in range(d):
                g[i] += two * (c[2] + (c[1] if i >= first else real(0))) * c[3] * k[i]
                k[d + i] = two * c[0] * c[3] * u[i]
        else:
            for i in range(d):
                k[d + i] = real(0)
            for i in range(first):
                k[i] = u[o + i]
            for i in range(o):
                k[first + i] = weight(W, psi, tail + i)
                if late:
                    k[first + i] += weight(W, psi, tail + o + i) * t
        for i in range(first):
            k[d + o + i] += g[i]

    @device
    def costate(W, end, psi, c, t, u, x, k, share, g, g_x, held, column):
        begin(W, end, psi, c, t, u, x, k, g)
        if gathers:
            for i in range(n_x):
                g_x[i] = real(0)
        q, place, g_u = U(0), column, real(0)
        while q < end:
            for part in range(at_once):
                at = q + part * stride
                a = neuron(W, psi, t, u, x, at)
                out, back = act(a), real(0)
                for i in range(o):
                    to = weight(W, psi, at + to_output + i)
                    back += to * g[first + i]
                    if not running:
                        k[first + i] += to * out
                back *= slope(a, out)
                for i in range(d):
                    k[d + i] += weight(W, psi, at + i) * back
                if gathers:
                    back *= share
                    for i in range(n_x):
                        g_x[i] += weight(W, psi, at + d + i) * back
                    held[place + part * pitch], held[place + part * pitch + to_e] = out, back
                if turns:
                    g_u += back * neuron_turn(W, psi, t, u, x, at)
                    for i in range(o):
                        g_u += share * turn(W, psi, at + to_output + i) * out * g[first + i]
            q += at_once * stride
            place += at_once * pitch
        for i in range(d):
            k[d + i] = -k[d + i]
        if gathers:
            for i in range(o):
                g[first + i] *= share
        if turns:
            g_u += tail_turn(W, psi, t, g)
        return g_u

    return costate


@once
def rate_of(S: Shape) -> Any:
    """Device function rate(W, end, psi, c, t, y, x, k): k = y', or, for a costate's shape, k = u'."""
    if not isinstance(S, Costate):
        return field_of(S).rate
    costate, scalar, d, share = costate_of(S, gathers=False), from_dtype(np.dtype(S.dtype)), S.d, S.real(1)

    @device
    def rate(W, end, psi, c, t, u, x, k):
        g = cuda.local.array(d, scalar)
        costate(W, end, psi, c, t, u, x, k, share, g, x, x, U(0))  # nothing is gathered

    return rate
