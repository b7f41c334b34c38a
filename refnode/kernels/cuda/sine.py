"""sin and cos in plain arithmetic: the card's own compute in float64 even for float32, and call a function in float64.

    x = n pi / 2 + r,   |r| <= pi / 4:      sin x is sin r, cos r, -sin r or -cos r for n = 0, 1, 2, 3 mod 4

n pi / 2 goes off in three parts, each by one fused operation. The first is exact: x and n times the highest part are
multiples of half of that part's last place, and their difference is below 1. So r is right to its last bits.

Error    2 ulp. NaN beyond |x| = 1e5 in float32 and 1e9 in float64, where n has too many digits for this, and for int32
"""

from typing import Any

import numpy as np
from numba import cuda, int32

from refnode.kernels.cuda.compile import device, once


@once
def sine_32() -> tuple[Any, Any]:
    """The device functions sin and cos in float32."""
    F = np.float32
    two_over_pi, magic = F(0.6366197466850281), F(1.5 * 2**23)      # adding it rounds to an integer
    high, middle, low = F(1.5707963705062866), F(-4.371138828673793e-08), F(-1.7151245100058819e-15)
    s0, s1, s2 = F(-0.16666653752326965), F(0.008332112804055214), F(-0.00019508754485286772)   # within 4e-9
    c0, c1, c2 = F(0.04166664555668831), F(-0.0013887251261621714), F(2.4425688025075942e-05)   # within 2e-10
    one, half, largest, nan = F(1), F(0.5), F(1e5), F(np.nan)

    @device
    def turned(x, quarters):
        """sin(x + quarters pi / 2)."""
        n = cuda.fma(x, two_over_pi, magic) - magic
        r = cuda.fma(-n, low, cuda.fma(-n, middle, cuda.fma(-n, high, x)))
        s = r * r
        odd = cuda.fma(r * s, cuda.fma(s, cuda.fma(s, s2, s1), s0), r)
        even = cuda.fma(s * s, cuda.fma(s, cuda.fma(s, c2, c1), c0), cuda.fma(-half, s, one))
        place = int32(n) + quarters
        value = even if place & 1 else odd
        value = -value if place & 2 else value
        return value if abs(x) <= largest else nan

    return _both(turned)


@once
def sine_64() -> tuple[Any, Any]:
    """The same in float64, with Taylor's series: the first terms left out are 1e-19 of sin r and 2e-18."""
    two_over_pi, magic = 0.6366197723675814, 1.5 * 2**52
    high, middle, low = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33
    s1, s2, s3, s4, s5, s6, s7, s8 = (
        -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800, -1 / 1307674368000,
        1 / 355687428096000,
    )  # fmt: skip
    c1, c2, c3, c4, c5, c6, c7 = (
        1 / 24, -1 / 720, 1 / 40320, -1 / 3628800, 1 / 479001600, -1 / 87178291200, 1 / 20922789888000
    )  # fmt: skip
    one, half, largest, nan = 1.0, 0.5, 1e9, np.nan

    @device
    def odd(r, s):
        """sin r; s = r^2."""
        p = cuda.fma(s, s8, s7)
        p = cuda.fma(s, p, s6)
        p = cuda.fma(s, p, s5)
        p = cuda.fma(s, p, s4)
        p = cuda.fma(s, p, s3)
        p = cuda.fma(s, p, s2)
        return cuda.fma(r * s, cuda.fma(s, p, s1), r)

    @device
    def even(s):
        """cos r, with what 1 - s / 2 rounds off."""
        p = cuda.fma(s, c7, c6)
        p = cuda.fma(s, p, c5)
        p = cuda.fma(s, p, c4)
        p = cuda.fma(s, p, c3)
        p = cuda.fma(s, p, c2)
        p = cuda.fma(s, p, c1)
        most = cuda.fma(-half, s, one)
        return most + cuda.fma(s * s, p, cuda.fma(-half, s, one - most))

    @device
    def turned(x, quarters):
        """sin(x + quarters pi / 2)."""
        n = cuda.fma(x, two_over_pi, magic) - magic
        r = cuda.fma(-n, low, cuda.fma(-n, middle, cuda.fma(-n, high, x)))
        s = r * r
        place = int32(n) + quarters
        value = even(s) if place & 1 else odd(r, s)
        value = -value if place & 2 else value
        return value if abs(x) <= largest else nan

    return _both(turned)


def _both(turned: Any) -> tuple[Any, Any]:
    @device
    def sin(x):
        return turned(x, int32(0))

    @device
    def cos(x):
        return turned(x, int32(1))

    return sin, cos
