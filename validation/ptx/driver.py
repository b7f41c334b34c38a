"""A CUDA driver whose card is the PTX runner: the functions of libcuda that `refnode.kernels.cuda.driver` calls.

    card = Card(Driver(PtxDriver()))

Memory is this computer's. What nobody wrote stays unknown from one launch to the next, and so reads of it are found,
and copies of it to the host.
"""

import ctypes
from typing import Any

import numpy as np

from validation.ptx.parse import parse, width
from validation.ptx.run import ARRAY, Fault, Program

PROGRAMS: dict[str, Program] = {}
H100 = {16: 132, 13: 1_980_000, 36: 2_619_000, 37: 5120}        # multiprocessors, clocks, width of the memory's bus
INVALID_VALUE, OUT_OF_MEMORY, NOT_FOUND = 1, 2, 500


class PtxDriver:
    """The functions by their names in libcuda; each returns 0, or the number of an error.

    memory        bytes of the card;  capability   its compute capability;  version   1000 major + 10 minor
    order         seed of the order in which threads run
    elsewhere     addresses that are another device's;  waited   streams that were waited for, and launches before
    """

    def __init__(
        self, *, memory: int = 2**40, capability: tuple[int, int] = (9, 0), version: int = 13000, order: int = 0
    ) -> None:
        self.memory, self.capability, self.version, self.order = memory, capability, version, order
        self.arrays: dict[int, tuple[np.ndarray, np.ndarray]] = {}      # bytes, and which words are known
        self.programs: dict[int, Program] = {}
        self.next, self.launches = 1, 0
        self.elsewhere: set[int] = set()
        self.waited: list[tuple[int, int]] = []

    @property
    def used(self) -> int:
        """Bytes."""
        return sum(len(data) for data, _ in self.arrays.values())

    def cuInit(self, flags: Any) -> int:
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        return _give(version, self.version)

    def cuDeviceGetCount(self, count: Any) -> int:
        return _give(count, 1)

    def cuDeviceGet(self, device: Any, number: Any) -> int:
        return _give(device, 0)

    def cuDeviceGetName(self, name: Any, room: Any, device: Any) -> int:
        name.value = b"PTX runner"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: Any, device: Any) -> int:
        return _give(value, {75: self.capability[0], 76: self.capability[1], **H100}[attribute.value])

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:
        return _give(context, 1)

    def cuCtxSetCurrent(self, context: Any) -> int:
        return 0

    def cuCtxSynchronize(self) -> int:
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:
        return _give(free, self.memory - self.used) or _give(total, self.memory)

    def cuMemAlloc_v2(self, pointer: Any, size: Any) -> int:
        if size.value > self.memory - self.used:
            return OUT_OF_MEMORY
        self.arrays[self.next] = np.full(size.value, 0xFF, np.uint8), np.zeros(size.value // 4 + 2, bool)
        self.next += 1
        return _give(pointer, (self.next - 1) * ARRAY)

    def cuMemFree_v2(self, pointer: Any) -> int:
        del self.arrays[pointer.value // ARRAY]
        return 0

    def cuMemcpyHtoD_v2(self, to: Any, host: Any, size: Any) -> int:
        data, known = self.arrays[to.value // ARRAY]
        start = to.value % ARRAY
        ctypes.memmove(data.ctypes.data + start, host, size.value)
        known[start // 4 : -(-(start + size.value) // 4)] = True
        return 0

    def cuMemcpyDtoH_v2(self, host: Any, at: Any, size: Any) -> int:
        data, known = self.arrays[at.value // ARRAY]
        start = at.value % ARRAY
        if not known[start // 4 : -(-(start + size.value) // 4)].all():
            raise Fault("uninitialised", "copy to the host of what nobody wrote")
        ctypes.memmove(host, data.ctypes.data + start, size.value)
        return 0

    def cuPointerGetAttribute(self, value: Any, attribute: Any, pointer: Any) -> int:
        if pointer.value // ARRAY not in self.arrays:
            return INVALID_VALUE
        return _give(value, int(pointer.value in self.elsewhere))

    def cuStreamSynchronize(self, stream: Any) -> int:
        self.waited.append((stream.value, self.launches))
        return 0

    def cuModuleLoadData(self, module: Any, text: Any) -> int:
        source = text.value.decode()
        if source not in PROGRAMS:
            PROGRAMS[source] = Program(parse(source))
        self.programs[len(self.programs) + 1] = PROGRAMS[source]
        return _give(module, len(self.programs))

    def cuModuleGetFunction(self, function: Any, module: Any, name: Any) -> int:
        if name.value.decode() != self.programs[module.value].kernel.name:
            return NOT_FOUND
        return _give(function, module.value)

    def cuLaunchKernel(self, function: Any, *words: Any) -> int:
        """Grid and block in three directions, dynamic shared memory, stream, parameters by address, and extra."""
        *sizes, _, _, parameters, _ = words
        program = self.programs[function.value]
        numbers = [
            int.from_bytes(ctypes.string_at(parameters[k], width(kind)), "little")
            for k, kind in enumerate(program.kernel.params.values())
        ]
        used = {number // ARRAY for number in numbers if number // ARRAY in self.arrays}
        program.launch_at(
            [n.value for n in sizes[:3]], [n.value for n in sizes[3:]], numbers,
            {k: self.arrays[k] for k in used}, order=self.order,
        )  # fmt: skip
        self.launches += 1
        return 0

    def cuEventCreate(self, event: Any, flags: Any) -> int:
        return _give(event, 1)

    def cuEventRecord(self, event: Any, stream: Any) -> int:
        return 0

    def cuEventSynchronize(self, event: Any) -> int:
        return 0

    def cuEventElapsedTime(self, milliseconds: Any, start: Any, end: Any) -> int:
        return _give(milliseconds, 0.0)

    def cuEventDestroy_v2(self, event: Any) -> int:
        return 0


def _give(to: Any, value: Any) -> int:
    """Write where an argument points to."""
    to._obj.value = value
    return 0
