"""NVIDIA's driver: the functions of libcuda that a launch needs, and what must be true before one.

The library is an argument: tests hand over one whose card is a CPU.
"""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from functools import cache
from typing import Any

from refnode.errors import BackendUnavailable
from refnode.kernels.cuda.compile import ARCHITECTURES, OLDEST

MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
PROCESSORS, CLOCK, MEMORY_CLOCK, BUS_WIDTH = 16, 13, 36, 37  # CU_DEVICE_ATTRIBUTE_.., clocks in kHz, width in bits
OUT_OF_MEMORY, INVALID_VALUE, DEVICE_ORDINAL = 2, 1, 9  # errors, and CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
INSTALL = "pip install 'refnode[cuda]' and NVIDIA's driver 580 or newer (CUDA 13.0), or use 'numpy' or 'auto'"
MEANINGS = {1: "invalid value", 2: "out of memory", 3: "not initialised", 100: "no device", 101: "invalid device",
            201: "invalid context", 218: "invalid PTX", 222: "PTX of a newer version than the driver knows",
            400: "invalid handle", 500: "not found", 700: "illegal address", 701: "too many resources asked for",
            719: "launch failed"}  # fmt: skip


def library() -> Any:
    """libcuda.

    Raises BackendUnavailable if there is none.
    """
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise BackendUnavailable(f"backend='cuda': no NVIDIA driver (libcuda) on this machine; {INSTALL}")


class Driver:
    """A card by its driver. The context is the device's primary one, which CuPy, PyTorch and JAX use as well.

    device, name  of the card;  capability   (9, 0) is sm_90;  version   of CUDA that the driver speaks, (13, 0)

    Raises BackendUnavailable if there is no card, or one that the kernels are not compiled for.
    """

    def __init__(self, libcuda: Any, device: int = 0) -> None:
        self._library, self.device = libcuda, device
        if code := libcuda.cuInit(c_uint(0)):
            raise BackendUnavailable(f"backend='cuda': the driver does not start: {meaning(code)}; {INSTALL}")
        count = c_int()
        self.call("cuDeviceGetCount", byref(count))
        if device >= count.value:
            raise BackendUnavailable(f"backend='cuda': no device {device} among the driver's {count.value}; {INSTALL}")
        handle, version, context, name = c_int(), c_int(), c_void_p(), ctypes.create_string_buffer(128)
        self.call("cuDeviceGet", byref(handle), c_int(device))
        self.call("cuDriverGetVersion", byref(version))
        self.call("cuDeviceGetName", name, c_int(len(name)), handle)
        self.name, self.version = name.value.decode(), (version.value // 1000, version.value % 1000 // 10)
        self.capability = self._attribute(MAJOR, handle), self._attribute(MINOR, handle)
        if self.capability < OLDEST:
            was, least = (".".join(map(str, c)) for c in (self.capability, OLDEST))
            raise BackendUnavailable(
                f"backend='cuda': {self.name} has compute capability {was}; kernels need {least} or newer"
            )
        self.call("cuDevicePrimaryCtxRetain", byref(context), handle)
        self._context, self._handle = context, handle

    @property
    def architecture(self) -> tuple[int, int]:
        """The newest that kernels are compiled for and the device runs."""
        return next(a for a in ARCHITECTURES if a <= self.capability)

    @property
    def processors(self) -> int:
        """Multiprocessors."""
        return self._attribute(PROCESSORS, self._handle)

    @property
    def ghz(self) -> float:
        """Their highest clock."""
        return self._attribute(CLOCK, self._handle) / 1e6

    @property
    def bandwidth(self) -> float:
        """Of the memory, GB/s: two transfers a clock."""
        return 2 * self._attribute(MEMORY_CLOCK, self._handle) * self._attribute(BUS_WIDTH, self._handle) / 8e6

    def _attribute(self, which: int, handle: Any) -> int:
        value = c_int()
        self.call("cuDeviceGetAttribute", byref(value), c_int(which), handle)
        return value.value

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of the library.

        Raises MemoryError for want of memory; BackendUnavailable for every other error.
        """
        self.check(function, getattr(self._library, function)(*arguments))

    def check(self, function: str, code: int) -> None:
        """Raise for what a function returned that is not 0, as `call` does."""
        if code:
            error = MemoryError if code == OUT_OF_MEMORY else BackendUnavailable
            raise error(f"backend='cuda': {function} failed: {meaning(code)}")

    def enter(self) -> None:
        """Make the context the calling thread's."""
        self.call("cuCtxSetCurrent", self._context)

    def free(self) -> int:
        """Bytes."""
        free, total = c_size_t(), c_size_t()
        self.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def room(self, size: int) -> int:
        """The address of so many bytes."""
        pointer = c_uint64()
        self.call("cuMemAlloc_v2", byref(pointer), c_size_t(max(1, size)))
        return pointer.value

    def release(self, pointer: int) -> None:
        """Give bytes back."""
        self.call("cuMemFree_v2", c_uint64(pointer))

    def to_device(self, pointer: int, host: Any) -> None:
        """Copy a contiguous NumPy array."""
        if host.nbytes:
            self.call("cuMemcpyHtoD_v2", c_uint64(pointer), c_void_p(host.ctypes.data), c_size_t(host.nbytes))

    def to_host(self, host: Any, pointer: int) -> None:
        """Fill a contiguous NumPy array; waits for the kernels before."""
        if host.nbytes:
            self.call("cuMemcpyDtoH_v2", c_void_p(host.ctypes.data), c_uint64(pointer), c_size_t(host.nbytes))

    def device_of(self, pointer: int) -> int | None:
        """The number of the device in whose memory an address lies; None if it is no device's."""
        number = c_int()
        code = self._library.cuPointerGetAttribute(byref(number), c_int(DEVICE_ORDINAL), c_uint64(pointer))
        if code == INVALID_VALUE:
            return None
        self.check("cuPointerGetAttribute", code)
        return number.value

    def wait_for(self, stream: int) -> None:
        """Wait for the work of a stream, by its handle."""
        self.call("cuStreamSynchronize", c_void_p(stream))

    def function(self, ptx: str, name: str) -> Any:
        """A kernel of a PTX module.

        Raises BackendUnavailable if the driver is older than the PTX.
        """
        if self.version < (needs := ptx_needs(ptx)):
            has, least = (".".join(map(str, v)) for v in (self.version, needs))
            raise BackendUnavailable(f"backend='cuda': the driver speaks CUDA {has}, the kernels {least}; {INSTALL}")
        module, function = c_void_p(), c_void_p()
        self.call("cuModuleLoadData", byref(module), c_char_p(ptx.encode()))
        self.call("cuModuleGetFunction", byref(function), module, c_char_p(name.encode()))
        return function

    def launch(self, function: Any, blocks: int, threads: int, numbers: Sequence[Any]) -> None:
        """Launch with ctypes numbers as parameters."""
        addresses = (c_void_p * len(numbers))(*(ctypes.addressof(number) for number in numbers))
        sizes = [c_uint(n) for n in (blocks, 1, 1, threads, 1, 1)]
        self.call("cuLaunchKernel", function, *sizes, c_uint(0), c_void_p(None), addresses, c_void_p(None))

    def synchronize(self) -> None:
        """Wait for all kernels."""
        self.call("cuCtxSynchronize")


class Stopwatch:
    """Milliseconds between two events of the device: with Stopwatch(driver) as watch: ..; watch.milliseconds."""

    def __init__(self, driver: Driver) -> None:
        self._driver, self._events = driver, (c_void_p(), c_void_p())
        self.milliseconds = 0.0

    def __enter__(self) -> "Stopwatch":
        for event in self._events:
            self._driver.call("cuEventCreate", byref(event), c_uint(0))
        self._driver.call("cuEventRecord", self._events[0], c_void_p(None))
        return self

    def __exit__(self, *_: object) -> None:
        time = c_float()
        self._driver.call("cuEventRecord", self._events[1], c_void_p(None))
        self._driver.call("cuEventSynchronize", self._events[1])
        self._driver.call("cuEventElapsedTime", byref(time), *self._events)
        self.milliseconds = time.value
        for event in self._events:
            self._driver.call("cuEventDestroy_v2", event)


def meaning(code: int) -> str:
    """An error's number in words."""
    return f"error {code} ({MEANINGS[code]})" if code in MEANINGS else f"error {code}"


def ptx_needs(ptx: str) -> tuple[int, int]:
    """The version of CUDA whose driver knows this PTX: 9.0 came with 13.0, 8.x with 12.x.

    >>> ptx_needs(".version 9.0")
    (13, 0)
    """
    major, minor = ptx[ptx.index(".version") + 8 :].split(maxsplit=1)[0].split(".")
    return int(major) + 4, int(minor)


@cache
def the_driver() -> Driver:
    """This machine's driver and its first device.

    Raises BackendUnavailable, with what is missing.
    """
    return Driver(library())
