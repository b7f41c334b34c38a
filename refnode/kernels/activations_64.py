"""tanh, sigmoid, softplus and sin in float64, in plain arithmetic that LLVM turns into vectors.

No branches and no calls; every comparison becomes a select. Accuracy: at most 2 units in the last place, as
tests/kernels/test_activations.py measures.

    e^y - 1 = 2^n (e^r - 1) + (2^n - 1),   y = n log 2 + r, |r| <= log(2) / 2     (Cody and Waite 1980)
    tanh |x| = -m / (m + 2),   m = e^(-2|x|) - 1;     the sign is put back, so tanh(-0.0) = -0.0
    sigmoid x = 1 / (1 + q) or q / (1 + q),   softplus x = max(x, 0) + log(1 + q),   q = e^(-|x|)

Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits, from which 2^n is built. No compiler flag may
reorder these sums: only the contraction of a * b + c is allowed.
"""

import math

from refnode.kernels.compiled import inline
from refnode.kernels.vectors import bits_of_float64, float64_of_bits

LOG2E = 1.4426950408889634
LOG2_HIGH, LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # log 2 in 33 bits and the rest
ROUNDER = 6755399441055744.0  # 1.5 * 2^52
EXP_SMALLEST = -708.0  # below, e^x is subnormal: it counts as e^-708, 3e-308


@inline
def expm1_parts_64(y):
    """(2^n, r, q) with e^y - 1 = 2^n (r + q) + 2^n - 1, q = e^r - 1 - r, for -708 <= y <= 708."""
    shifted = y * LOG2E + ROUNDER
    n = shifted - ROUNDER
    r = (y - n * LOG2_HIGH) - n * LOG2_LOW
    p = 1.6059043836821613e-10  # 1/13!, 1/12!, .., 1/3!: the next term is below 2e-18
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 1.984126984126984e-04
    p = p * r + 1.388888888888889e-03
    p = p * r + 8.333333333333333e-03
    p = p * r + 4.1666666666666664e-02
    p = p * r + 1.6666666666666666e-01
    p = p * r + 0.5
    return float64_of_bits((bits_of_float64(shifted) + 1023) << 52), r, (r * r) * p


@inline
def expm1_64(y):
    """(2^n, e^r - 1) with e^y - 1 = 2^n (e^r - 1) + 2^n - 1."""
    s, r, q = expm1_parts_64(y)
    return s, r + q


@inline
def tanh_64(x):
    """tanh x = t; the rounding of m and m + 2 is put back to first order, with 1 / (m + 2) = (1 + t) / 2."""
    y = -2.0 * abs(x)
    y = -40.0 if y < -40.0 else y
    s, r, q = expm1_parts_64(y)
    start = s - 1.0
    a = s * r + start
    rest = (s * r - (a - start)) + s * q
    m = a + rest
    m_rest = rest - (m - a)
    d = m + 2.0
    d_rest = m - (d - 2.0)
    t = -m / d
    inverse = 0.5 * (1.0 + t)
    t = t - inverse * (t * d_rest + 2.0 * inverse * m_rest)
    return math.copysign(t, x)


@inline
def exp_minus_abs_64(x):
    """e^(-|x|); 0 below 3e-308."""
    y = -abs(x)
    s, e = expm1_64(EXP_SMALLEST if y < EXP_SMALLEST else y)
    return 0.0 if y < EXP_SMALLEST else s * e + s


@inline
def sigmoid_64(x):
    """1 / (1 + e^-x); the rounding of 1 + q is put back."""
    q = exp_minus_abs_64(x)
    d = 1.0 + q
    d_rest = q - (d - 1.0)
    t = (q if x < 0.0 else 1.0) / d
    inverse = 1.0 - t if x < 0.0 else t
    return t - t * (d_rest * inverse)


@inline
def softplus_64(x):
    """log(1 + e^x).

    log(1 + v) = v - (v^2/2 - s (v^2/2 + R)), s = v / (2 + v), R = s^2 (2/3 + 2/5 s^2 + ..), as fdlibm has it; v = q, or
    (q - 1) / 2 beside log 2 for q > 1/2, so that |s| <= 1/5.
    """
    q = exp_minus_abs_64(x)
    large = q > 0.5
    v = 0.5 * (q - 1.0) if large else q
    s = v / (2.0 + v)
    w = s * s
    p = 2.0 / 25.0
    p = p * w + 2.0 / 23.0
    p = p * w + 2.0 / 21.0
    p = p * w + 2.0 / 19.0
    p = p * w + 2.0 / 17.0
    p = p * w + 2.0 / 15.0
    p = p * w + 2.0 / 13.0
    p = p * w + 2.0 / 11.0
    p = p * w + 2.0 / 9.0
    p = p * w + 2.0 / 7.0
    p = p * w + 2.0 / 5.0
    p = p * w + 2.0 / 3.0
    half = 0.5 * v * v
    log1p = v - (half - s * (half + w * p))
    return (x if x > 0.0 else 0.0) + (log1p + 0.6931471805599453 if large else log1p)


TWO_OVER_PI = 0.6366197723675814
PIO2_1, PIO2_2, PIO2_3 = 1.5707963267341256e00, 6.077100506303966e-11, 2.0222662487959506e-21  # pi / 2 in three parts
SIN_LARGEST = 1e5  # beyond, the three parts lose digits: libm takes over


@inline
def sin_cos_64(x):
    """(sin x, cos x) for |x| <= 1e5: reduction by pi / 2, Taylor series on [-pi/4, pi/4], quadrant from n mod 4."""
    shifted = x * TWO_OVER_PI + ROUNDER
    n = shifted - ROUNDER
    start = x - n * PIO2_1  # exact, as the parts have 33 bits
    near = start - n * PIO2_2
    r = near + (((start - near) - n * PIO2_2) - n * PIO2_3)
    w = r * r
    s = 2.8114572543455206e-15  # 1/17!
    s = s * w - 7.647163731819816e-13
    s = s * w + 1.6059043836821613e-10
    s = s * w - 2.505210838544172e-08
    s = s * w + 2.7557319223985893e-06
    s = s * w - 1.984126984126984e-04
    s = s * w + 8.333333333333333e-03
    s = s * w - 1.6666666666666666e-01
    sine = r + r * (w * s)
    c = 4.779477332387385e-14  # 1/16!
    c = c * w - 1.1470745597729725e-11
    c = c * w + 2.08767569878681e-09
    c = c * w - 2.755731922398589e-07
    c = c * w + 2.48015873015873e-05
    c = c * w - 1.388888888888889e-03
    c = c * w + 4.1666666666666664e-02
    half = 0.5 * w
    most = 1.0 - half
    cosine = most + (((1.0 - most) - half) + w * w * c)
    quadrant = bits_of_float64(shifted)
    swap = (quadrant & 1) == 1
    a = cosine if swap else sine
    b = sine if swap else cosine
    a = -a if (quadrant & 2) == 2 else a
    a = x if x == 0.0 else a  # keeps the sign of zero
    b = -b if ((quadrant + 1) & 2) == 2 else b
    return a, b


@inline
def one_minus_exp_minus_64(h):
    """1 - e^-h for h >= 0: softplus's slope from its value."""
    y = -h
    y = -40.0 if y < -40.0 else y
    s, e = expm1_64(y)
    return (1.0 - s) - s * e
