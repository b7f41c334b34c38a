"""exp, sin, cos and the activations made of them, of double-double numbers.

Every function is reduced to a small argument, summed there by its Taylor series, and carried back.
Error: a few units of 2^-106, relative for exp, tanh, sigmoid and softplus, absolute for sin and cos, plus what the
rounding of the argument itself, |u| 2^-106, does.
"""

import math

from refnode.oracle.taylor.core.double import (
    RECIPROCAL_H,
    RECIPROCAL_L,
    add,
    divide,
    multiply,
    scalar,
    scaled,
)

EXP, SIN, COS, TANH, SIGMOID, SOFTPLUS = range(6)

LOG_2 = (0.6931471805599453, 2.3190468138462996e-17)
HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
HALVINGS = 6  # of exp's argument
LARGEST = 700.0  # arguments of exp: beyond, the result leaves the floats


@scalar
def _near_zero(h, l):
    """k and y = e^(u - k log 2) - 1: the series in r = 2^-6 (u - k log 2), and (1 + y)^2 - 1 = y (2 + y) six times."""
    k = math.floor(h / LOG_2[0] + 0.5)
    ph, pl = scaled(LOG_2[0], LOG_2[1], -k)
    rh, rl = add(h, l, ph, pl)
    rh, rl = rh / 2.0**HALVINGS, rl / 2.0**HALVINGS  # |r| < 0.0055: r^14 / 14! < 3e-43
    yh, yl = 0.0, 0.0
    for n in range(14, 0, -1):  # y = r (1 + y) / n
        yh, yl = add(yh, yl, 1.0, 0.0)
        yh, yl = multiply(yh, yl, rh, rl)
        yh, yl = multiply(yh, yl, RECIPROCAL_H[n], RECIPROCAL_L[n])
    for _ in range(HALVINGS):
        sh, sl = add(yh, yl, 2.0, 0.0)
        yh, yl = multiply(yh, yl, sh, sl)
    return k, yh, yl


@scalar
def expm1(h, l):
    """e^u - 1."""
    k, yh, yl = _near_zero(h, l)
    power = 2.0**k
    return add(yh * power, yl * power, power - 1.0, 0.0)


@scalar
def exp(h, l):
    """e^u."""
    if h < -LARGEST:
        return 0.0, 0.0
    k, yh, yl = _near_zero(h, l)
    yh, yl = add(yh, yl, 1.0, 0.0)
    power = 2.0**k
    return yh * power, yl * power


@scalar
def tanh(h, l):
    """tanh u = (e^2u - 1) / (e^2u + 1), of |u|."""
    if abs(h) > 40.0:  # 1 - tanh u < 2^-115
        return math.copysign(1.0, h), 0.0
    sign = math.copysign(1.0, h)
    yh, yl = expm1(2 * sign * h, 2 * sign * l)
    sh, sl = add(yh, yl, 2.0, 0.0)
    yh, yl = divide(yh, yl, sh, sl)
    return sign * yh, sign * yl


@scalar
def sigmoid(h, l):
    """1 / (1 + e^-u), or e^u / (1 + e^u): of a negative argument of exp."""
    negative = h < 0
    eh, el = exp(h, l) if negative else exp(-h, -l)
    sh, sl = add(eh, el, 1.0, 0.0)
    if negative:
        return divide(eh, el, sh, sl)
    return divide(1.0, 0.0, sh, sl)


@scalar
def softplus(h, l):
    """log(1 + e^u) = max(u, 0) + log(1 + e), e = e^-|u|: one Newton step for e^y - 1 = e from the float logarithm."""
    negative = h < 0
    eh, el = exp(h, l) if negative else exp(-h, -l)
    y = math.log1p(eh)
    wh, wl = expm1(y, 0.0)
    rh, rl = add(eh, el, -wh, -wl)
    wh, wl = add(wh, wl, 1.0, 0.0)
    rh, rl = divide(rh, rl, wh, wl)
    yh, yl = add(y, 0.0, rh, rl)
    if negative:
        return yh, yl
    return add(yh, yl, h, l)


@scalar
def _series(rh, rl, first):
    """sin r (first = 1) or cos r - 1 (first = 2) for |r| <= pi / 4: r^29 / 29! < 2^-112."""
    xh, xl = multiply(rh, rl, rh, rl)
    yh, yl = 0.0, 0.0
    for n in range(28 + first, first, -2):  # y = -x (1 + y) / (n (n - 1))
        yh, yl = add(yh, yl, 1.0, 0.0)
        yh, yl = multiply(yh, yl, -xh, -xl)
        yh, yl = multiply(yh, yl, RECIPROCAL_H[n], RECIPROCAL_L[n])
        yh, yl = multiply(yh, yl, RECIPROCAL_H[n - 1], RECIPROCAL_L[n - 1])
    yh, yl = add(yh, yl, 1.0, 0.0)
    if first == 1:
        return multiply(yh, yl, rh, rl)
    yh, yl = multiply(yh, yl, -xh / 2, -xl / 2)
    return add(1.0, 0.0, yh, yl)


@scalar
def _turned(h, l, quarter):
    """sin(u + quarter pi / 2)."""
    k = math.floor(h / HALF_PI[0] + 0.5)
    ph, pl = scaled(HALF_PI[0], HALF_PI[1], -k)
    rh, rl = add(h, l, ph, pl)
    place = int(k % 4.0 + quarter) % 4
    yh, yl = _series(rh, rl, 1 + place % 2)
    if place >= 2:
        return -yh, -yl
    return yh, yl


@scalar
def sin(h, l):
    """sin u."""
    return _turned(h, l, 0)


@scalar
def cos(h, l):
    """cos u."""
    return _turned(h, l, 1)


@scalar
def value(function, h, l):
    """The function of this number at u."""
    if function == EXP:
        return exp(h, l)
    if function == SIN:
        return sin(h, l)
    if function == COS:
        return cos(h, l)
    if function == TANH:
        return tanh(h, l)
    if function == SIGMOID:
        return sigmoid(h, l)
    return softplus(h, l)
