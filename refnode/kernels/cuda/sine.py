"""sin and cos in float32 without float64, which the card's own take for large arguments.

    x = n pi / 2 + r,   |r| <= pi / 4:      sin x is sin r, cos r, -sin r or -cos r for n = 0, 1, 2, 3 mod 4

n pi / 2 goes off in three parts, each by one fused operation, so that r is right to its last bits.

Error    2 ulp up to |x| = 1e5; NaN beyond, where a float32 no longer says where in a period it is
"""

from typing import Any

import numpy as np
from numba import cuda, int32

from refnode.kernels.cuda.compile import device, once

F = np.float32
TWO_OVER_PI, MAGIC = F(0.6366197466850281), F(1.5 * 2**23)                  # adding it rounds to an integer
HIGH, MIDDLE, LOW = F(1.5707963705062866), F(-4.371138828673793e-08), F(-1.7151245100058819e-15)
S0, S1, S2 = F(-0.16666653752326965), F(0.008332112804055214), F(-0.00019508754485286772)    # sin within 4e-9
C0, C1, C2 = F(0.04166664555668831), F(-0.0013887251261621714), F(2.4425688025075942e-05)    # cos within 2e-10
ONE, HALF, LARGEST, NAN = F(1), F(0.5), F(1e5), F(np.nan)


@once
def sine_32() -> tuple[Any, Any]:
    """The device functions sin and cos."""
    @device
    def turned(x, quarters):
        """sin(x + quarters pi / 2)."""
        shifted = cuda.fma(x, TWO_OVER_PI, MAGIC)
        n = shifted - MAGIC
        r = cuda.fma(-n, HIGH, x)
        r = cuda.fma(-n, MIDDLE, r)
        r = cuda.fma(-n, LOW, r)
        s = r * r
        odd = cuda.fma(s, cuda.fma(s, S2, S1), S0)
        odd = cuda.fma(r * s, odd, r)
        even = cuda.fma(s, cuda.fma(s, C2, C1), C0)
        even = cuda.fma(s * s, even, cuda.fma(-HALF, s, ONE))
        place = int32(n) + quarters
        value = even if place & 1 else odd
        value = -value if place & 2 else value
        return value if abs(x) <= LARGEST else NAN

    @device
    def sin(x):
        return turned(x, int32(0))

    @device
    def cos(x):
        return turned(x, int32(1))

    return sin, cos
