"""What every kernel is put to: its barriers, its threads and its arrays are broken, and that must be found."""

import numpy as np
import pytest

from refnode.kernels.cuda.compile import ptx
from tests.cuda.launch import copied, fault_of, prepared
from validation.ptx.assemble import assemble
from validation.ptx.mutate import barriers, with_number_for
from validation.ptx.parse import parse
from validation.ptx.run import Fault, Program, Room


def assert_every_barrier_is_needed(launch):
    """Each one removed is a race or a read of what nobody wrote; so are threads that take each other for themselves."""
    kernel = parse(ptx(*launch[:2], (9, 0)))
    whole = Program(kernel)
    for order in (0, 5):
        assert fault_of(whole, launch, order=order) is None
    assert barriers(kernel)
    for line in barriers(kernel):
        assert fault_of(whole, launch, removed=line) in ("race", "uninitialised"), line
    assert fault_of(Program(with_number_for(kernel, "%tid.x", 0)), launch) == "race"


def assert_ranges(launch, unused=(), spare=None):
    """Every array in turn without its last row, or `spare` rows of it, is read or written out of range."""
    build, shape, blocks, threads, arguments = launch
    program = Program(parse(ptx(build, shape, (9, 0))))
    for k, a in enumerate(arguments):
        if not isinstance(a, np.ndarray) or not a.size or k in unused:
            continue
        number, rows = sum(isinstance(b, np.ndarray) for b in arguments[:k]), (spare or {}).get(k, 1)
        with pytest.raises(Fault, match=rf"range: .* of array {number},"):
            program.launch(blocks, threads, prepared(build, copied(arguments)), short={number: rows * a[-1].size})


def assert_unwritten_is_found(launch, k):
    """Argument k that nobody wrote is noticed."""
    build, shape, blocks, threads, arguments = launch
    ready = list(prepared(build, copied(arguments)))
    ready[k] = Room(ready[k])
    with pytest.raises(Fault, match="uninitialised"):
        Program(parse(ptx(build, shape, (9, 0)))).launch(blocks, threads, ready)


def assert_machine_code(build, shape, architecture):
    """No spills, at most 48 KB of shared memory, no atomics; no float64 in float32. The machine code."""
    text = ptx(build, shape, architecture)
    machine = assemble(text)
    assert machine.spills == 0
    assert machine.shared <= 48 * 1024
    assert machine.mix()["atomic"] == parse(text).count("atom", "red") == 0
    assert shape.dtype == "float64" or machine.mix()["FP64"] == 0
    return machine
