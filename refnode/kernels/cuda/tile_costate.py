"""What is compiled for state and costate of wide networks together."""

from dataclasses import dataclass
from typing import Any

from refnode.kernels.cuda.compile import device, once
from refnode.kernels.cuda.shape import U
from refnode.kernels.cuda.tile_shape import TileShape


@dataclass(frozen=True)
class TileCostate(TileShape):
    """The shape of u = [z, a], for a field's shape.

    estimates    whether the error of the parameter integrals is estimated, step by step
    """

    estimates: bool = False

    @property
    def width(self) -> int:
        """Of u."""
        return 2 * self.d


@once
def cotangents_of(S: TileCostate) -> Any:
    """Device function cotangents(c, u, there, share, rate, g_f, g_z): share (a + g dl/df) for what f is (o,), and for z
    what does not come by f (d,), of u with the rate z'. c has g_q, the cotangent of q, as its fourth (4,).
    """
    real, two, running = S.real, S.real(2), S.running
    d, o, first = U(S.d), U(S.out), U(S.d - S.out)

    @device
    def cotangents(c, u, there, share, rate, g_f, g_z):
        for j in range(d):
            g_z[j] = share * two * c[0] * c[3] * u[j] if running and there else real(0)
        for j in range(d):
            g = u[d + j]
            if running and there:
                g += two * (c[2] + (c[1] if j >= first else real(0))) * c[3] * rate[j]
            if j < first:
                g_z[o + j] += share * g
            else:
                g_f[j - first] = share * g

    return cotangents
