"""A batch in parts, each of which finds room on a device."""

from collections.abc import Callable
from typing import TypeVar

from refnode.kernels.cuda.device import Device

T = TypeVar("T")
BLOCK = 64  # trajectories that share a block
SHARE = 0.9  # of the free memory that a part may take: what is freed in pieces is not free as a whole


def by_parts(work: Callable[[slice], T], part: slice) -> list[tuple[slice, T]]:
    """work(part), or what it gives for the halves of a part for which there is no room, in order.

    Raises MemoryError if there is no room for a block.
    """
    try:
        return [(part, work(part))]
    except MemoryError:
        if part.stop - part.start <= BLOCK:
            raise
    blocks = -(-(part.stop - part.start) // BLOCK)
    middle = part.start + blocks // 2 * BLOCK
    return by_parts(work, slice(part.start, middle)) + by_parts(work, slice(middle, part.stop))


def check_room(device: Device, needed: int) -> None:
    """Raises MemoryError if so many bytes do not fit."""
    if needed > SHARE * device.free():
        raise MemoryError(f"{device.name}: {needed} bytes do not fit into {device.free()}")
