"""What the solves and sweeps ask of a device; a card is one (see card.py), and so is whatever else runs kernels."""

from collections.abc import Sequence
from typing import Any, Protocol

from refnode.arrays import Array


class Device(Protocol):
    """A device with memory of its own.

    name       for messages
    empty      room for an array, whose content is undefined;  array   a copy of a host's array;  host   the way back
    launch     run the kernel of build(shape) on arrays of the device and NumPy scalars
    free       bytes for new arrays
    """

    name: str

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any: ...

    def array(self, host: Array) -> Any: ...

    def host(self, array: Any) -> Array: ...

    def launch(self, build: Any, shape: Any, blocks: int, threads: int, arguments: Sequence[Any]) -> None: ...

    def free(self) -> int: ...
