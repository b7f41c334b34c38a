"""DLPack: arrays lent from library to library in a capsule, as dlpack.h lays them out (version 0, "dltensor")."""

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refnode.errors import InvalidArgument

CUDA, MANAGED = 2, 13                               # kDLCUDA and kDLCUDAManaged
KINDS = {0: "i", 1: "u", 2: "f", 5: "c"}            # kDLInt, kDLUInt, kDLFloat, kDLComplex
NAME, USED = b"dltensor", b"used_dltensor"


class Tensor(NamedTuple):
    """An array's address, shape and type; strides in numbers, None where it is C-contiguous; its device."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...] | None
    device: int


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("kind", ctypes.c_int32), ("device", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


def _python(function: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function of Python's C interface."""
    return ctypes.PYFUNCTYPE(result, *arguments)((function, ctypes.pythonapi))


_pointer_of = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
_rename = _python("PyCapsule_SetName", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
_is_valid = _python("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_address_of = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new = _python("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)


# ---- taking


class Borrowed:
    """What a capsule held, given back with this object."""

    def __init__(self, managed: Any) -> None:
        self.managed = managed

    def __del__(self) -> None:
        if self.managed.contents.deleter:
            self.managed.contents.deleter(self.managed)


def take(name: str, capsule: Any) -> tuple[Tensor, Borrowed]:
    """The tensor in a capsule, and what gives it back.

    Raises InvalidArgument for numbers that NumPy does not know.
    """
    managed = ctypes.cast(_pointer_of(capsule, NAME), ctypes.POINTER(_Managed))
    _rename(capsule, USED)
    owner, t = Borrowed(managed), managed.contents.tensor
    if t.lanes != 1 or t.code not in KINDS or t.bits % 8:
        was = f"an array of DLPack's type {t.code} with {t.bits} bits, {t.lanes} lanes"
        raise InvalidArgument(name, was, "an array of numbers")
    strides = tuple(t.strides[: t.ndim]) if t.strides else None
    dtype = np.dtype(f"{KINDS[t.code]}{t.bits // 8}")
    return Tensor((t.data or 0) + t.byte_offset, tuple(t.shape[: t.ndim]), dtype, strides, t.device), owner


# ---- lending

_LENT: dict[int, Any] = {}                          # what capsules show, until it is given back


@_Deleter
def _given_back(managed: Any) -> None:
    _LENT.pop(ctypes.addressof(managed.contents), None)


@_Destructor
def _never_taken(capsule: Any) -> None:
    if _is_valid(capsule, NAME):
        _LENT.pop(_address_of(capsule, NAME), None)


def lend(tensor: Tensor, owner: Any) -> Any:
    """A capsule of an array on a card, which keeps its owner until whoever takes it gives it back."""
    n = len(tensor.shape)
    code = next(code for code, kind in KINDS.items() if kind == tensor.dtype.kind)
    shape, strides = ((ctypes.c_int64 * n)(*numbers) for numbers in (tensor.shape, tensor.strides or ()))
    managed = _Managed(
        _Tensor(
            tensor.pointer, CUDA, tensor.device, n, code, 8 * tensor.dtype.itemsize, 1, shape,
            strides if tensor.strides else None, 0,
        ), None, _given_back,
    )  # fmt: skip
    _LENT[ctypes.addressof(managed)] = managed, shape, strides, owner
    return _new(ctypes.addressof(managed), NAME, _never_taken)
