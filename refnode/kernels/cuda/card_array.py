"""Arrays in a card's memory, ours and those that CuPy, PyTorch, JAX or Numba lend."""

import ctypes
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from refnode.errors import InvalidArgument

CUDA, MANAGED = 2, 13                               # kDLCUDA and kDLCUDAManaged
KINDS = {0: "i", 1: "u", 2: "f", 5: "c"}            # of DLPack's types
LEGACY, EACH_THREADS = 1, 2                         # default streams, as both protocols number them


class CardArray:
    """An array in a card's memory; other libraries read it by `__cuda_array_interface__`.

    pointer    its address;  strides   in bytes;  readonly   whether it must not be written
    stream     whose work has to be done before it is read; None: there is none
    owner      what keeps the memory
    """

    def __init__(
        self, pointer: int, shape: tuple[int, ...], dtype: Any, owner: Any = None, *,
        strides: tuple[int, ...] | None = None, readonly: bool = False, stream: int | None = None,
    ) -> None:  # fmt: skip
        self.pointer, self.shape, self.dtype, self.owner = pointer, tuple(shape), np.dtype(dtype), owner
        self.strides = self.packed if strides is None else tuple(strides)
        self.readonly, self.stream = readonly, stream

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
        return CardArray(self.pointer, self.shape[::-1], self.dtype, self, strides=self.strides[::-1])

    def rows(self, part: slice) -> "CardArray":
        """Rows start .. stop - 1, in place."""
        start, stop, _ = part.indices(self.shape[0])
        shape = (stop - start, *self.shape[1:])
        return CardArray(self.pointer + start * self.strides[0], shape, self.dtype, self, strides=self.strides)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.pointer, self.readonly), "version": 3,
            "strides": None if self.contiguous else self.strides, "stream": self.stream,
        }  # fmt: skip


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
            return _by_dlpack(name, array.__dlpack__(stream=LEGACY))
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


# ---- DLPack's structures, as its header dlpack.h has them


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device", ctypes.c_int32 * 2), ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


class _Borrowed:
    """What a capsule held, given back with this object."""

    def __init__(self, managed: Any) -> None:
        self.managed = managed

    def __del__(self) -> None:
        if self.managed.contents.deleter:
            self.managed.contents.deleter(self.managed)


def _by_dlpack(name: str, capsule: Any) -> CardArray:
    """The tensor in a capsule "dltensor", which is ours from then on."""
    pointer_of, rename = _capsule("PyCapsule_GetPointer", ctypes.c_void_p), _capsule("PyCapsule_SetName", ctypes.c_int)
    managed = ctypes.cast(pointer_of(capsule, b"dltensor"), ctypes.POINTER(_Managed))
    rename(capsule, b"used_dltensor")
    owner, tensor = _Borrowed(managed), managed.contents.tensor
    if tensor.lanes != 1 or tensor.code not in KINDS or tensor.bits % 8:
        was = f"an array of DLPack's type {tensor.code} with {tensor.bits} bits, {tensor.lanes} lanes"
        raise InvalidArgument(name, was, "an array of numbers")
    dtype, shape = np.dtype(f"{KINDS[tensor.code]}{tensor.bits // 8}"), tuple(tensor.shape[: tensor.ndim])
    strides = tuple(n * dtype.itemsize for n in tensor.strides[: tensor.ndim]) if tensor.strides else None
    return CardArray((tensor.data or 0) + tensor.byte_offset, shape, dtype, owner, strides=strides)


def _capsule(function: str, result: Any) -> Callable[[Any, bytes], Any]:
    """A function of Python's that takes a capsule and a name."""
    prototype = ctypes.PYFUNCTYPE(result, ctypes.py_object, ctypes.c_char_p)
    return prototype((function, ctypes.pythonapi))
