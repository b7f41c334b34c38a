"""What is compiled for state and costate of wide networks together."""

from dataclasses import dataclass

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
