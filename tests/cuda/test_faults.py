"""Broken kernels are caught: every barrier removed in turn, a race, an index too large, a read of what nobody wrote."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from refnode.kernels.cuda.compile import ptx
from refnode.kernels.cuda.run import uniform
from refnode.kernels.cuda.solve import Run
from tests.cuda.cases import CASES
from tests.cuda.launch import OnCpu, copied, fault_of, prepared
from validation.ptx.mutate import barriers, with_number_for
from validation.ptx.parse import parse
from validation.ptx.run import Fault, Program, Room

pytestmark = pytest.mark.slow
TOLD = {}                                           # what the kernels of a case were launched with, (build, shape, ..)


@pytest.fixture(params=["constant", "galerkin"])
def launches(request):
    """The launches of a problem's first segment, with copies of the arguments as they were before."""
    if request.param not in TOLD:
        make, solver, dtype, keep = CASES[request.param]
        p, device = make(), OnCpu(remember=True)
        run = Run(p, solver, device, np.dtype(dtype).type, keep, uniform(p, solver))
        solved = run.solve()
        run.sweep(len(solved.tapes) - 1, run.to(np.ones((run.S.width, p.batch))), solved)
        TOLD[request.param] = {build.__name__: (build, *rest) for build, *rest in device.launches}
    return TOLD[request.param]


@pytest.mark.parametrize("name", ["forward", "gradient"])
@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
def test_every_barrier_is_needed(launches, name, architecture):
    """Each barrier, removed, is a race or a read of what nobody wrote; with all of them there is neither."""
    build, shape, *_ = launches[name]
    kernel = parse(ptx(build, shape, architecture))
    whole = Program(kernel)
    for order in (0, 5):
        assert fault_of(whole, launches[name], order=order) is None
    assert barriers(kernel)
    for line in barriers(kernel):
        assert fault_of(whole, launches[name], removed=line) in ("race", "uninitialised"), line


@pytest.mark.parametrize("name", ["forward", "gradient"])
def test_threads_that_take_each_other_for_themselves(launches, name):
    """All threads with one number write the same places: a race."""
    build, shape, *_ = launches[name]
    one = Program(with_number_for(parse(ptx(build, shape, (9, 0))), "%tid.x", 0))
    assert fault_of(one, launches[name]) == "race"


@pytest.mark.parametrize("name", ["forward", "gradient"])
def test_arrays_too_short(launches, name):
    """Every array in turn without its last row: read or written out of range. No gradient reads the last state."""
    build, shape, blocks, threads, arguments = launches[name]
    program = Program(parse(ptx(build, shape, (9, 0))))
    for k, a in enumerate(arguments):
        if not isinstance(a, np.ndarray) or not a.size or unused(name, k, shape):
            continue
        copies = copied(arguments)
        number, rows = sum(isinstance(b, np.ndarray) for b in arguments[:k]), 2 if (name, k) == ("gradient", 16) else 1
        with pytest.raises(Fault, match=rf"range: .* of array {number},"):
            program.launch(blocks, threads, prepared(build, copies), short={number: rows * a[-1].size})


def unused(name, k, shape):
    """Whether a kernel of this shape leaves an argument alone: tapes that are not kept."""
    if name == "forward":
        return (k == 12 and shape.keep != "stages") or (k == 11 and shape.keep == "nothing")
    return k == 17 and shape.keep != "stages"


def test_what_is_not_written_is_not_read(launches):
    """A tape that nobody wrote is noticed by the gradient."""
    build, shape, blocks, threads, arguments = launches["gradient"]
    kernel = parse(ptx(build, shape, (9, 0)))
    ready = list(prepared(build, copied(arguments)))
    ready[16] = Room(ready[16])
    with pytest.raises(Fault, match="uninitialised"):
        Program(kernel).launch(blocks, threads, ready)
