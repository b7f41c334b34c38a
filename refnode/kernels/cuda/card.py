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
from refnode.kernels.cuda.card_array import LEGACY, CardArray, lent
from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.driver import INSTALL, Driver, the_driver

SCALARS = {np.dtype(np.int32): ctypes.c_int32, np.dtype(np.int64): ctypes.c_int64,
           np.dtype(np.float32): ctypes.c_float, np.dtype(np.float64): ctypes.c_double}  # fmt: skip


class Card:
    """A `refnode.kernels.cuda.device.Device`: one card, by its driver."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.name = driver, driver.name
        self._functions: dict[Any, Any] = {}
        driver.enter()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> CardArray:
        """Room for an array, given back when nothing refers to it any more."""
        pointer = self.driver.room(prod(shape) * np.dtype(dtype).itemsize)
        array = CardArray(pointer, shape, dtype, device=self.driver.device)
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
        array = self.here("array", array)
        if not array.contiguous:
            raise InvalidArgument("array", f"strides {array.strides}", f"C-contiguous, {array.packed}")
        host = np.empty(array.shape, array.dtype)
        self.driver.to_host(host, array.pointer)
        return host

    def here(self, name: str, array: Any) -> CardArray:
        """An array of any library in this card's memory, in place, when the work of its stream is done.

        Raises InvalidArgument if it does not live here.
        """
        found = lent(name, array)
        if found.nbytes and (at := self.driver.device_of(found.pointer)) != self.driver.device:
            was = "memory that is no card's" if at is None else f"memory of device {at}"
            raise InvalidArgument(name, was, f"an array on device {self.driver.device}, {self.name}")
        if found.stream not in (None, LEGACY):       # our own stream is the legacy default one, which waits by itself
            self.driver.wait_for(found.stream)
        return found

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
        size = prod(argument.shape), argument.dtype.itemsize
        found += [ctypes.c_uint64(n) for n in (0, 0, *size, argument.pointer, *argument.shape, *argument.strides)]
    return found


def the_card() -> Card:
    """This machine's card.

    Raises BackendUnavailable, with what is missing and how to install it.
    """
    if find_spec("numba_cuda") is None:
        raise BackendUnavailable(f"backend='cuda': no compiler (numba-cuda); {INSTALL}")
    return Card(the_driver())
