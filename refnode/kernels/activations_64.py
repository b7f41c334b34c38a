"""tanh, sigmoid, softplus and sin in float64, in plain arithmetic that LLVM turns into vectors.

No branches and no calls; every comparison becomes a select. Accuracy: at most 2 units in the last place, as
tests/kernels/test_activations.py measures.

    (e^2y - 1) / 2 = 2^n (e^2u - 1) / 2 + (2^n - 1) / 2,   2y = n log 2 + 2u   (Cody and Waite 1980)
    tanh |x| = m / (m + 1),   m = (e^(2|x|) - 1) / 2;   the sign is put back, so tanh(-0.0) = -0.0
    sigmoid x = 1 / (1 + q) or q / (1 + q),   softplus x = max(x, 0) + log(1 + q),   q = e^(-|x|)

Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits, from which 2^n is built. No compiler flag may
reorder these sums: only the contraction of a * b + c is allowed.
"""

import math

from refnode.kernels.compiled import inline
from refnode.kernels.vectors import bits_of_float64, float64_of_bits

TWO_LOG2E = 2.8853900817779268
HALF_LOG2_HIGH, HALF_LOG2_LOW = 0.3465735901845619, 9.541074646352939e-11  # log 2 / 2 in 33 bits and the rest
LOG2, LOG2_REST = 0.6931471805599453, 2.3190468138462996e-17  # the float64 nearest to log 2, and what it lacks
ROUNDER = 6755399441055744.0  # 1.5 * 2^52
EXP_SMALLEST = -708.0  # below, e^x is subnormal: it counts as e^-708, 3e-308

# n is 2y / log 2 minus the first number, rounded; then the polynomial q / u^2 that is best for what is left,
# q = (e^2u - 1) / 2 - u: e^2u - 1 is right to 4e-17 of itself
NEAREST = (                                     # |2u| <= log(2) / 2
    0.0, 1.0000000000000002, 0.6666666666666667, 0.33333333333299303, 0.13333333333328098, 0.044444444535083893,
    0.012698412712354315, 0.00317459472588216, 0.0007054660725759248, 0.0001414148528404979, 2.5702794747402568e-05,
)  # fmt: skip
UPWARD = (                                      # -0.2 log 2 <= 2u <= 0.8 log 2, so that n = 0 up to there
    0.3, 1.0000000000000009, 0.6666666666666988, 0.3333333333320555, 0.13333333332250305, 0.04444444492517555,
    0.012698410895469504, 0.0031745593787165477, 0.0007059988497350141, 0.00013859950049311808, 3.107228056374976e-05,
)  # fmt: skip


@inline
def half_expm1_parts_64(y, p):
    """(2^n, u, q) with (e^2y - 1) / 2 = 2^n (u + q) + (2^n - 1) / 2, for |2y| <= 708; p is NEAREST or UPWARD.

    Even and odd powers are summed side by side, as a vector unit has nothing to do while it waits for one sum.
    """
    shifted = (y * TWO_LOG2E - p[0]) + ROUNDER
    n = shifted - ROUNDER
    u = (y - n * HALF_LOG2_HIGH) - n * HALF_LOG2_LOW
    w = u * u
    even = (((p[9] * w + p[7]) * w + p[5]) * w + p[3]) * w + p[1]
    odd = (((p[10] * w + p[8]) * w + p[6]) * w + p[4]) * w + p[2]
    return float64_of_bits((bits_of_float64(shifted) + 1023) << 52), u, w * (even + u * odd)


@inline
def expm1_64(y):
    """(2^n, e^r - 1) with e^y - 1 = 2^n (e^r - 1) + 2^n - 1."""
    s, u, q = half_expm1_parts_64(0.5 * y, NEAREST)
    return s, 2.0 * (u + q)


@inline
def tanh_64(x):
    """tanh |x| = c + (m - c - c m) / (m + 1) for any c: where n = 0, and m = u + q, it is u, which is |x| itself.

    There m + 1 is rounded, and m, by as much as a unit in the last place, but only in what is added to |x|. From
    0.4 log 2 on, c = 0.
    """
    y = abs(x)
    y = 20.0 if y > 20.0 else y
    s, u, q = half_expm1_parts_64(y, UPWARD)
    m = s * (u + q) + (0.5 * s - 0.5)
    small = s == 1.0
    c = u if small else 0.0
    t = c + ((q if small else m) - c * m) / (m + 1.0)
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
    return (x if x > 0.0 else 0.0) + ((log1p + LOG2_REST) + LOG2 if large else log1p)


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
