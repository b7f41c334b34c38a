"""A card as the device of solves and sweeps: its arrays, and launches of the very PTX that is proven without one."""

import ctypes
import re
import weakref
from collections.abc import Sequence
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np

from refnode.arrays import Array
from refnode.errors import BackendUnavailable, InvalidArgument
from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.driver import INSTALL, Driver, the_driver

SCALARS = {np.dtype(np.int32): ctypes.c_int32, np.dtype(np.int64): ctypes.c_int64,
           np.dtype(np.float32): ctypes.c_float, np.dtype(np.float64): ctypes.c_double}  # fmt: skip


class CardArray:
    """A C-contiguous array in a card's memory; other libraries read it by `__cuda_array_interface__`."""

    def __init__(self, pointer: int, shape: tuple[int, ...], dtype: Any, owner: Any = None) -> None:
        self.pointer, self.shape, self.dtype, self.owner = pointer, tuple(shape), np.dtype(dtype), owner

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.pointer, False), "version": 3,
            "strides": None, "stream": None,
        }  # fmt: skip


class Card:
    """A `refnode.kernels.cuda.device.Device`: one card, by its driver."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.name = driver, driver.name
        self._functions: dict[Any, Any] = {}
        driver.enter()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> CardArray:
        """Room for an array, given back when nothing refers to it any more."""
        pointer = self.driver.room(prod(shape) * np.dtype(dtype).itemsize)
        array = CardArray(pointer, shape, dtype)
        weakref.finalize(array, self.driver.release, pointer)
        return array

    def array(self, host: Array) -> CardArray:
        """A copy of a NumPy array."""
        host = np.ascontiguousarray(host)
        array = self.empty(host.shape, host.dtype)
        self.driver.to_device(array.pointer, host)
        return array

    def host(self, array: Any) -> Array:
        """A copy on the host; waits for the kernels before."""
        array = here(array)
        host = np.empty(array.shape, array.dtype)
        self.driver.to_host(host, array.pointer)
        return host

    def free(self) -> int:
        """Bytes of memory."""
        return self.driver.free()

    def launch(self, build: Any, shape: Any, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """Launch a kernel; it is compiled, or read from the cache, and loaded when it is first asked for."""
        key = build.__name__, shape
        if key not in self._functions:
            text = ptx(build, shape, self.driver.architecture)
            entry = re.search(r"\.entry\s+([\w$.]+)", text)
            self._functions[key] = self.driver.function(text, entry[1] if entry else "")
        self.driver.launch(self._functions[key], blocks, threads, words(arguments))


def words(arguments: Sequence[Any]) -> list[Any]:
    """A kernel's parameters as Numba has them: an array is two null pointers, size, item size, data, shape, strides."""
    found: list[Any] = []
    for argument in arguments:
        if not isinstance(argument, CardArray):
            found.append(SCALARS[np.asarray(argument).dtype](argument.item()))
            continue
        strides = [prod(argument.shape[k + 1 :]) * argument.dtype.itemsize for k in range(len(argument.shape))]
        size = prod(argument.shape), argument.dtype.itemsize
        found += [ctypes.c_uint64(n) for n in (0, 0, *size, argument.pointer, *argument.shape, *strides)]
    return found


def here(array: Any) -> CardArray:
    """An array of any library that lives on a card, in place: CuPy, PyTorch, JAX, Numba.

    Raises InvalidArgument if it does not, or is not C-contiguous.
    """
    if isinstance(array, CardArray):
        return array
    said = getattr(array, "__cuda_array_interface__", None)
    if said is None:
        raise InvalidArgument("array", type(array).__name__, "an array on a card, with __cuda_array_interface__")
    shape, dtype = tuple(said["shape"]), np.dtype(said["typestr"])
    packed = tuple(prod(shape[k + 1 :]) * dtype.itemsize for k in range(len(shape)))
    if said.get("strides") not in (None, packed):
        raise InvalidArgument("array", f"strides {said['strides']}", f"C-contiguous, {packed}")
    return CardArray(said["data"][0], shape, dtype, array)


def the_card() -> Card:
    """This machine's card.

    Raises BackendUnavailable, with what is missing and how to install it.
    """
    if find_spec("numba_cuda") is None:
        raise BackendUnavailable(f"backend='cuda': no compiler (numba-cuda); {INSTALL}")
    return Card(the_driver())
