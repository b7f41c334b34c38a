"""Arrays in a card's memory, ours and those that CuPy, PyTorch, JAX or Numba lend."""

from math import prod
from typing import Any

import numpy as np

from refnode.errors import InvalidArgument
from refnode.kernels.cuda.dlpack import CUDA, MANAGED, Tensor, lend, take

LEGACY = 1                                          # the default stream, as both protocols number it


class CardArray:
    """An array in a card's memory; other libraries read it by `__cuda_array_interface__` or DLPack.

    pointer    its address;  strides   in bytes;  readonly   whether it must not be written
    stream     whose work has to be done before it is read; None: there is none
    owner      what keeps the memory;  device   the number of the card
    """

    def __init__(
        self, pointer: int, shape: tuple[int, ...], dtype: Any, owner: Any = None, *,
        strides: tuple[int, ...] | None = None, readonly: bool = False, stream: int | None = None, device: int = 0,
    ) -> None:  # fmt: skip
        self.pointer, self.shape, self.dtype, self.owner = pointer, tuple(shape), np.dtype(dtype), owner
        self.strides = self.packed if strides is None else tuple(strides)
        self.readonly, self.stream, self.device = readonly, stream, device

    @property
    def packed(self) -> tuple[int, ...]:
        """The strides of a C-contiguous array of this shape."""
        return tuple(prod(self.shape[k + 1 :]) * self.dtype.itemsize for k in range(len(self.shape)))

    @property
    def contiguous(self) -> bool:
        """Whether it is one: the strides of axes of length 1 do not matter."""
        return 0 in self.shape or all(
            n == 1 or mine == want for n, mine, want in zip(self.shape, self.strides, self.packed, strict=True)
        )

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def T(self) -> "CardArray":
        """Transposed, in place."""
        return self._view(self.pointer, self.shape[::-1], self.strides[::-1])

    def rows(self, part: slice) -> "CardArray":
        """Rows start .. stop - 1, in place."""
        start, stop, _ = part.indices(self.shape[0])
        shape = (stop - start, *self.shape[1:])
        return self._view(self.pointer + start * self.strides[0], shape, self.strides)

    def _view(self, pointer: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> "CardArray":
        return CardArray(
            pointer, shape, self.dtype, self, strides=strides, readonly=self.readonly, stream=self.stream,
            device=self.device,
        )  # fmt: skip

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.pointer, self.readonly), "version": 3,
            "strides": None if self.contiguous else self.strides, "stream": self.stream,
        }  # fmt: skip

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        """A capsule for from_dlpack: of arrays that are complete, whatever the consumer's stream.

        Raises BufferError for what it cannot say: read-only arrays, those of a stream, copies, another device.
        """
        if self.readonly or self.stream is not None or copy or dl_device not in (None, (CUDA, self.device)):
            raise BufferError("DLPack: a writable, complete array on its own device is lent, without a copy")
        strides = tuple(n // self.dtype.itemsize for n in self.strides)
        return lend(Tensor(self.pointer, self.shape, self.dtype, strides, self.device), self)


def lent(name: str, array: Any) -> CardArray:
    """An array of any library that lives on a card, in place, by `__cuda_array_interface__` or else by DLPack.

    Raises InvalidArgument if it does not live there, or says what the protocol does not allow.
    """
    if isinstance(array, CardArray):
        return array
    said = getattr(array, "__cuda_array_interface__", None)
    if said is not None:
        return _by_interface(name, array, said)
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        kind, _ = array.__dlpack_device__()
        if kind in (CUDA, MANAGED):
            tensor, owner = take(name, array.__dlpack__(stream=LEGACY))
            strides = None if tensor.strides is None else tuple(n * tensor.dtype.itemsize for n in tensor.strides)
            return CardArray(tensor.pointer, tensor.shape, tensor.dtype, owner, strides=strides)
    allowed = "an array on a card, with __cuda_array_interface__ or __dlpack__"
    raise InvalidArgument(name, type(array).__name__, allowed)


def _by_interface(name: str, array: Any, said: Any) -> CardArray:
    """Version 3 of the interface, or an older one, which has no stream."""
    dtype, stream, mask = np.dtype(said["typestr"]), said.get("stream"), said.get("mask")
    if stream == 0:
        raise InvalidArgument(name, "stream 0", "a stream that is None, 1, 2 or a handle: 0 is ambiguous")
    if mask is not None:
        raise InvalidArgument(name, "an array with a mask", "an array without one")
    pointer, readonly = said["data"]
    strides = None if said.get("strides") is None else tuple(said["strides"])
    return CardArray(
        pointer, tuple(said["shape"]), dtype, array, strides=strides, readonly=bool(readonly), stream=stream
    )
