"""NVVM 13.0.88 miscompiles a strided sum in a loop that it unrolls; the kernels go round it.

What is to be added to a[q + 1 p], a[q + 2 p], a[q + 3 p] goes to a[q + 1 p], a[q + 3 p], a[q + 6 p]: the offset of each
turn is added to that of the turn before. It takes a statement on a[q] before the loop over Numba's range, and
q = (i + n) c + n in another range of one turn; without any one of these all is right, and so it is in a `while` loop or
where the address is itself moved on, as the kernels do where they sum over coefficients. The LLVM code that Numba hands
to NVVM is right: a CPU that runs it gets the sums below.
"""

import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="pip install 'refnode[cuda]'")

from numba import cuda, uint64, void

from refnode.kernels.cuda.compile import array_of, card_of
from validation.ptx.parse import parse
from validation.ptx.run import Fault, Program

P, M, ONE = np.uint64(4), np.uint64(3), np.uint64(1)


def strided(a, w, count):
    """a[i] += 1 and a[(r + 1) p + i] += w[r] for i < count, a thread for each i."""
    i = uint64(cuda.threadIdx.x)
    for n in range(ONE):
        if i + n < count:
            q = (i + n) * ONE + n
            a[q] += 1.0
            for r in range(M):
                a[(r + ONE) * P + q] += w[r]


def of_rows(a, w, count):
    """The same of a (m + 1, p)."""
    i = uint64(cuda.threadIdx.x)
    for n in range(ONE):
        if i + n < count:
            q = (i + n) * ONE + n
            a[np.uint64(0), q] += 1.0
            for r in range(M):
                a[r + ONE, q] += w[r]


def by_while(a, w, count):
    """The same of a (m + 1, p), with the loop of `tile_sums.add_of`."""
    i = uint64(cuda.threadIdx.x)
    for n in range(ONE):
        if i + n < count:
            q = (i + n) * ONE + n
            a[np.uint64(0), q] += 1.0
            r = np.uint64(0)
            while r < M:
                a[r + ONE, q] += w[r]
                r += ONE


def moved_on(a, w, count):
    """The same, with an address that is moved on, as in field.py and gradient.py."""
    i = uint64(cuda.threadIdx.x)
    for n in range(ONE):
        if i + n < count:
            q = (i + n) * ONE + n
            a[q] += 1.0
            at = q + P
            for r in range(M):
                a[at] += w[r]
                at += P


def compiled(kernel, dimensions, architecture, optimised):
    """Its PTX."""
    signature = void(array_of(np.float64, dimensions), array_of(np.float64, 1), uint64)
    with card_of(architecture):
        text, _ = cuda.compile(
            kernel, signature, device=False, cc=architecture, output="ptx", abi="numba", opt=optimised
        )
    return text


def ran(text, shape):
    """The array after a launch of four threads, from zero."""
    a = np.zeros(shape)
    Program(parse(text)).launch(1, 4, (a, np.array([2.0, 3.0, 5.0]), np.uint64(4)))
    return a.reshape(4, 4)


SUMS = np.array([[1.0], [2.0], [3.0], [5.0]]) * np.ones(4)


@pytest.mark.parametrize("architecture", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
def test_nvvm_adds_up_the_offsets_of_a_loop(architecture):
    """Right without optimisation, and out of range with it, where the offsets read 1 p, 3 p, 6 p of 8 bytes. When this
    fails because the sums are right, NVVM is cured."""
    np.testing.assert_array_equal(ran(compiled(strided, 1, architecture, False), 16), SUMS)
    wrong = compiled(strided, 1, architecture, True)
    assert re.findall(r"st\.global\.f64\s+\[%rd\d+\+?(\d*)\]", wrong) == ["", "32", "96", "192"]
    for text, shape in ((wrong, 16), (compiled(of_rows, 2, architecture, True), (4, 4))):
        with pytest.raises(Fault, match=r"range: .* read of bytes 192 \.\. 199 of array 0, which has 128"):
            ran(text, shape)


@pytest.mark.parametrize(("kernel", "shape"), [(by_while, (4, 4)), (moved_on, 16)])
def test_what_the_kernels_do_is_safe(kernel, shape):
    """The same sums in the forms of the kernels."""
    for optimised in (False, True):
        text = compiled(kernel, np.ndim(np.zeros(shape)), (9, 0), optimised)
        np.testing.assert_array_equal(ran(text, shape), SUMS)
