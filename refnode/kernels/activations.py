"""Activations over slices, in place, and what their slopes do to a cotangent. One name serves both dtypes."""

import math

import numpy as np
from numba.core import types
from numba.extending import overload

from refnode.kernels.activations_32 import (
    F0,
    F_SIN_LARGEST,
    one_minus_exp_minus_32,
    sigmoid_32,
    sin_cos_32,
    softplus_32,
    tanh_32,
)
from refnode.kernels.activations_64 import (
    SIN_LARGEST,
    one_minus_exp_minus_64,
    sigmoid_64,
    sin_cos_64,
    softplus_64,
    tanh_64,
)
from refnode.kernels.compiled import kernel

TANH, SOFTPLUS, SIN, SIGMOID, RELU, IDENTITY = range(6)
ACT_NUMBERS = {"tanh": TANH, "softplus": SOFTPLUS, "sin": SIN, "sigmoid": SIGMOID, "relu": RELU, "identity": IDENTITY}


@kernel
def apply_64(h, slope, act):
    """h = act(h) in place, float64; `slope` takes cos where act is sin and is not touched otherwise."""
    if act == TANH:
        for i in range(h.size):
            h[i] = tanh_64(h[i])
    elif act == SOFTPLUS:
        for i in range(h.size):
            h[i] = softplus_64(h[i])
    elif act == SIGMOID:
        for i in range(h.size):
            h[i] = sigmoid_64(h[i])
    elif act == RELU:
        for i in range(h.size):
            h[i] = 0.0 if h[i] <= 0.0 else h[i]
    elif act == SIN:
        far = False
        for i in range(h.size):
            far |= abs(h[i]) > SIN_LARGEST
        if far:
            for i in range(h.size):
                slope[i] = math.cos(h[i])
                h[i] = math.sin(h[i])
        else:
            for i in range(h.size):
                h[i], slope[i] = sin_cos_64(h[i])


@kernel
def apply_32(h, slope, act):
    """The same in float32."""
    if act == TANH:
        for i in range(h.size):
            h[i] = tanh_32(h[i])
    elif act == SOFTPLUS:
        for i in range(h.size):
            h[i] = softplus_32(h[i])
    elif act == SIGMOID:
        for i in range(h.size):
            h[i] = sigmoid_32(h[i])
    elif act == RELU:
        for i in range(h.size):
            h[i] = F0 if h[i] <= F0 else h[i]
    elif act == SIN:
        far = False
        for i in range(h.size):
            far |= abs(h[i]) > F_SIN_LARGEST
        if far:
            for i in range(h.size):
                slope[i] = math.cos(np.float64(h[i]))
                h[i] = math.sin(np.float64(h[i]))
        else:
            for i in range(h.size):
                h[i], slope[i] = sin_cos_32(h[i])


@kernel
def times_slope(g, h, slope, act):
    """g *= act'(u) in place, from the values h = act(u), and from `slope` where act is sin."""
    one = h.dtype.type(1)
    if act == TANH:
        for i in range(g.size):
            g[i] *= one - h[i] * h[i]
    elif act == SOFTPLUS:
        soft_slope(g, h)
    elif act == SIGMOID:
        for i in range(g.size):
            g[i] *= h[i] * (one - h[i])
    elif act == RELU:
        for i in range(g.size):
            g[i] = g[i] if h[i] > 0 else one - one
    elif act == SIN:
        for i in range(g.size):
            g[i] *= slope[i]


@kernel
def soft_slope_64(g, h):
    """g *= 1 - e^-h: softplus's slope from its value."""
    for i in range(g.size):
        g[i] *= one_minus_exp_minus_64(h[i])


@kernel
def soft_slope_32(g, h):
    """The same in float32."""
    for i in range(g.size):
        g[i] *= one_minus_exp_minus_32(h[i])


def apply_act(h, slope, act):
    """h = act(h) in place; see `apply_64`."""
    raise NotImplementedError("compiled code only")


def soft_slope(g, h):
    """g *= 1 - e^-h; see `soft_slope_64`."""
    raise NotImplementedError("compiled code only")


@overload(apply_act)
def _apply_act(h, slope, act):
    apply = apply_32 if h.dtype is types.float32 else apply_64
    return lambda h, slope, act: apply(h, slope, act)


@overload(soft_slope)
def _soft_slope(g, h):
    times = soft_slope_32 if g.dtype is types.float32 else soft_slope_64
    return lambda g, h: times(g, h)
