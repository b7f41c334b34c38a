"""tanh, sigmoid, softplus and sin in float32: the formulas of `activations_64` with shorter series, but for tanh:

    tanh |x| = |x| + |x|^3 P(x^2) up to 0.6,   1 - 2 / (e^(2|x|) + 1) from there on: neither loses digits
"""

import math

import numpy as np

from refnode.kernels.activations_64 import PIO2_1, PIO2_2, ROUNDER, TWO_LOG2E, TWO_OVER_PI
from refnode.kernels.compiled import inline
from refnode.kernels.vectors import bits_of_float32, bits_of_float64, float32_of_bits

F = np.float32
F0, F1, F2, HALF = F(0), F(1), F(2), F(0.5)
F_LOG2E, F_LOG2_HIGH, F_LOG2_LOW, F_ROUNDER = F(TWO_LOG2E / 2), F(0.693359375), F(-2.12194440e-4), F(12582912.0)
F_EXP_SMALLEST, F_TANH_LAST, F_SOFT_LAST, F_LOG2 = F(-87.0), F(19.0), F(-20.0), F(0.6931471805599453)
F_SMALL = F(0.6)  # up to there tanh is a polynomial
Q0, Q1, Q2, Q3, Q4 = (  # (e^r - 1 - r) / r^2, best on |r| <= log(2) / 2: e^r - 1 is right to 3e-8 of itself
    F(0.5), F(0.16666576989698775), F(0.041666554617204574), F(0.008363179052722578), F(0.0013926183587713494),
)  # fmt: skip
P0, P1, P2, P3, P4 = (  # (tanh x / x - 1) / x^2 in x^2, best up to 0.6: tanh is right to 1e-8 of itself
    F(-0.3333333033273155), F(0.13332915366987452), F(-0.053873948848643334), F(0.02111095904951479),
    F(-0.00626911971964973),
)  # fmt: skip
L1, L2, L3, L4, L5 = F(2 / 3), F(2 / 5), F(2 / 7), F(2 / 9), F(2 / 11)
F_SIN_LARGEST = F(1e5)
S3, S5, S7, S9 = F(-1 / 6), F(1 / 120), F(-1 / 5040), F(1 / 362880)
C4, C6, C8, C10 = F(1 / 24), F(-1 / 720), F(1 / 40320), F(-1 / 3628800)
I23, I127 = np.int32(23), np.int32(127)


@inline
def expm1_32(y):
    """(2^n, e^r - 1) with e^y - 1 = 2^n (e^r - 1) + 2^n - 1, for -87 <= y <= 87."""
    shifted = y * F_LOG2E + F_ROUNDER
    n = shifted - F_ROUNDER
    r = (y - n * F_LOG2_HIGH) - n * F_LOG2_LOW
    w = r * r
    q = ((Q4 * w + Q2) * w + Q0) + r * (Q3 * w + Q1)
    return float32_of_bits(np.int32((bits_of_float32(shifted) + I127) << I23)), r + w * q


@inline
def tanh_32(x):
    """tanh x; the sign is put back, so tanh(-0.0) = -0.0."""
    size = abs(x)
    w = size * size
    p = (((P4 * w + P3) * w + P2) * w + P1) * w + P0
    near = size + size * w * p
    y = F2 * size
    s, e = expm1_32(F_TANH_LAST if y > F_TANH_LAST else y)
    far = F1 - F2 / (s * (F1 + e) + F1)
    return math.copysign(near if size < F_SMALL else far, x)


@inline
def exp_minus_abs_32(x):
    """e^(-|x|); 0 below 2e-38."""
    y = -abs(x)
    s, e = expm1_32(F_EXP_SMALLEST if y < F_EXP_SMALLEST else y)
    return F0 if y < F_EXP_SMALLEST else s * e + s


@inline
def sigmoid_32(x):
    """1 / (1 + e^-x); the rounding of 1 + q is put back."""
    q = exp_minus_abs_32(x)
    d = F1 + q
    d_rest = q - (d - F1)
    t = (q if x < F0 else F1) / d
    inverse = F1 - t if x < F0 else t
    return t - t * (d_rest * inverse)


@inline
def softplus_32(x):
    """log(1 + e^x)."""
    q = exp_minus_abs_32(x)
    large = q > HALF
    v = HALF * (q - F1) if large else q
    s = v / (F2 + v)
    w = s * s
    p = L5
    p = p * w + L4
    p = p * w + L3
    p = p * w + L2
    p = p * w + L1
    half = HALF * v * v
    log1p = v - (half - s * (half + w * p))
    return (x if x > F0 else F0) + (log1p + F_LOG2 if large else log1p)


@inline
def sin_cos_32(x):
    """(sin x, cos x) for |x| <= 1e5; the reduction is done in float64, where one part of pi / 2 is enough."""
    wide = np.float64(x)
    shifted = wide * TWO_OVER_PI + ROUNDER
    n = shifted - ROUNDER
    r = np.float32((wide - n * PIO2_1) - n * PIO2_2)
    w = r * r
    s = S9
    s = s * w + S7
    s = s * w + S5
    s = s * w + S3
    sine = r + r * (w * s)
    c = C10
    c = c * w + C8
    c = c * w + C6
    c = c * w + C4
    half = HALF * w
    near = F1 - half
    cosine = near + (((F1 - near) - half) + w * w * c)
    quadrant = bits_of_float64(shifted)
    swap = (quadrant & 1) == 1
    a = cosine if swap else sine
    b = sine if swap else cosine
    a = -a if (quadrant & 2) == 2 else a
    a = x if x == F0 else a
    b = -b if ((quadrant + 1) & 2) == 2 else b
    return a, b


@inline
def one_minus_exp_minus_32(h):
    """1 - e^-h for h >= 0."""
    y = -h
    y = F_SOFT_LAST if y < F_SOFT_LAST else y
    s, e = expm1_32(y)
    return (F1 - s) - s * e
