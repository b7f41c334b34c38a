"""The PTX runner computes what PTX says, finds every fault that is planted, and refuses what it does not know."""

import math
import shutil

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tests.ptx.kernels import AXPY, SUM, TURN, elementwise, kernel
from validation.ptx.mutate import barriers, find, moved, with_number_for, without
from validation.ptx.parse import Instruction, Label, Unsupported, parse
from validation.ptx.run import Fault, Program, Room

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the runner needs gcc")

F = np.float32
ORDERS = (0, 1, 2)


def fault_of(program, *arguments, **words):
    """The kind of the fault that a launch raises, or None."""
    try:
        program.launch(*arguments, **words)
    except Fault as fault:
        return fault.kind
    return None


# ---------------------------------------------------------------- text


def test_a_kernel_is_read():
    """Parameters, registers, memories, labels and instructions with their guards and lines."""
    k = parse(SUM)
    assert (k.name, k.target) == ("k", "sm_80")
    assert list(k.params.items())[4] == ("x_data", "u64")
    assert k.registers["%f15"] == "f32"
    assert "%f16" not in k.registers
    assert [(m.name, m.align, m.size) for m in k.shared] == [("held", 4, 256)]
    assert Label("$L_halve") in k.body
    (barrier,) = (k.body[place] for place in find(k, "bar"))
    assert SUM.splitlines()[barrier.line - 1].strip() == "bar.sync        0;"
    assert k.body[7] == Instruction(("setp", "ge", "u64"), ("%p1", "%rd4", "%rd2"), "", False, k.body[7].line)
    assert k.body[9] == Instruction(("bra",), ("$L_keep",), "p1", False, k.body[7].line + 2)
    assert k.count("bar") == 1
    assert k.count("atom", "red") == 0


REFUSED = {
    "a shuffle": "shfl.sync.down.b32 %r1, %r2, 1, 31, -1;",
    "an atomic": "atom.global.add.f32 %f1, [%rd1], %f2;",
    "a reduction": "red.global.add.f32 [%rd1], %f2;",
    "a rounding": "add.rp.f32 %f1, %f2, %f3;",
    "a barrier of some threads": "bar.sync 0, 32;",
    "a barrier of another number": "bar.sync 1;",
    "a warp's barrier": "bar.warp.sync -1;",
    "a joined comparison": "setp.lt.and.f32 %p1, %f1, %f2, %p2;",
    "a carry": "add.cc.s32 %r1, %r2, %r3;",
    "an unknown symbol": "mov.u64 %rd1, elsewhere;",
    "a call": "call.uni (%r1), other, (%r2);",
    "garbage": "!!;",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_is_not_modelled_is_refused(body):
    """Never a guess: a warp operation, an atomic, a rounding or a call that the runner does not know raises."""
    with pytest.raises(Unsupported):
        Program(parse(kernel(body)))


def test_a_module_has_one_kernel():
    """No entry, two entries and device functions are refused."""
    for text in ("", AXPY + AXPY, AXPY + ".func other() { ret; }"):
        with pytest.raises(Unsupported):
            parse(text)


# ---------------------------------------------------------------- numbers


INTEGERS = [7, -3, 0, 2**31 - 1, -(2**31), 12345]
OTHERS = [2, 5, -1, 2**31 - 1, -(2**31), -77]
REALS = [0.75, -2.5, 0.0, 1e-30, 3e20, -0.0]
SIGNED = {
    "add.s32": lambda x, y: x + y, "sub.s32": lambda x, y: x - y, "mul.lo.s32": lambda x, y: x * y,
    "mul.hi.s32": lambda x, y: (x * y) >> 32, "min.s32": min, "max.s32": max, "and.b32": lambda x, y: x & y,
    "or.b32": lambda x, y: x | y, "xor.b32": lambda x, y: x ^ y, "div.s32": lambda x, y: math.trunc(x / y),
    "rem.s32": lambda x, y: x - y * math.trunc(x / y), "setp.lt.s32": lambda x, y: x < y,
    "setp.hs.u32": lambda x, y: x % 2**32 >= y % 2**32, "mul.hi.u32": lambda x, y: ((x % 2**32) * (y % 2**32)) >> 32,
    "shl.b32": lambda x, y: x << (y % 2**32) if y % 2**32 < 32 else 0,
    "shr.s32": lambda x, y: x >> min(y % 2**32, 31), "shr.u32": lambda x, y: x % 2**32 >> min(y % 2**32, 32),
}  # fmt: skip


@pytest.mark.parametrize("op", SIGNED)
def test_integers_of_32_bits(op):
    """Each instruction on both signs, the extremes and zero, modulo 2^32."""
    x, y = np.array(INTEGERS, np.int32), np.array(OTHERS, np.int32)
    if op.startswith(("div", "rem")):
        x[4] = 99                                   # -2^31 / -2^31 is fine, but keep the quotient in float64's reach
    got = np.zeros(6, np.uint32)
    Program(parse(elementwise(op, ("b32", "b32"), "b32"))).launch(1, 6, (x, y, Room(got)))
    want = [SIGNED[op](int(a), int(b)) % 2**32 for a, b in zip(x, y, strict=True)]
    np.testing.assert_array_equal(got, np.array(want, np.uint64).astype(np.uint32))


def test_wide_products_and_64_bits():
    """mul.wide keeps the sign and all bits; mad.lo and shifts work on 64."""
    x, y = np.array(INTEGERS, np.int32), np.array(OTHERS, np.int32)
    got = np.zeros(6, np.int64)
    Program(parse(elementwise("mul.wide.s32", ("s32", "s32"), "s64"))).launch(1, 6, (x, y, Room(got)))
    np.testing.assert_array_equal(got, x.astype(np.int64) * y)
    Program(parse(elementwise("mul.wide.u32", ("u32", "u32"), "u64"))).launch(1, 6, (x, y, Room(got)))
    np.testing.assert_array_equal(got.view(np.uint64), x.view(np.uint32).astype(np.uint64) * y.view(np.uint32))
    long, low = got.copy(), np.zeros(6, np.int64)
    Program(parse(elementwise("mad.lo.s64", ("s64",) * 3, "s64"))).launch(1, 6, (long, long + 1, long - 5, Room(low)))
    np.testing.assert_array_equal(low, long * (long + 1) + long - 5)      # NumPy wraps round, as the card does


@pytest.mark.parametrize("bits", [32, 64])
def test_bit_fields_are_inserted(bits):
    """The lowest bits of a stand in b from a place on: none, all, those that find room, place and length modulo 256."""
    fields = [(0, 8), (4, 12), (bits - 1, 5), (7, 0), (0, bits), (0, 200), (bits, 3), (250, 9), (259, 261), (3, 40)]
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2**bits, (2, len(fields)), np.dtype(f"u{bits // 8}"))
    place, many = np.array(fields, np.uint32).T.copy()
    got = np.zeros_like(b)
    text = elementwise(f"bfi.b{bits}", (f"b{bits}", f"b{bits}", "u32", "u32"), f"b{bits}")
    Program(parse(text)).launch(1, len(fields), (a, b, place, many, Room(got)))

    def inserted(a, b, place, many):
        for k in range(many % 256):
            if place % 256 + k < bits:
                bit = 1 << (place % 256 + k)
                b = b | bit if a >> k & 1 else b & ~bit
        return b

    want = [inserted(*map(int, row)) for row in zip(a, b, place, many, strict=True)]
    np.testing.assert_array_equal(got, np.array(want, b.dtype))


FLOATS = {
    "add.rn": np.add, "sub.rn": np.subtract, "mul.rn": np.multiply, "div.rn": np.divide, "min": np.fmin, "max": np.fmax,
    "copysign": lambda x, y: np.copysign(y, x),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("op", FLOATS)
def test_floats(op, kind):
    """Correctly rounded, to the last bit, in both precisions."""
    dtype = F if kind == "f32" else np.float64
    x, y = np.array(REALS, dtype), np.array([3.0, -0.3, 5.0, 1e-3, -7.0, 2.0], dtype)
    got = np.zeros(6, dtype)
    Program(parse(elementwise(f"{op}.{kind}", (kind, kind), kind))).launch(1, 6, (x, y, Room(got)))
    np.testing.assert_array_equal(got, FLOATS[op](x, y))


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_fma_rounds_once(kind):
    """(1 + u)^2 - 1 - 2u is u^2, which a rounded product would lose."""
    dtype = F if kind == "f32" else np.float64
    x, got = np.array([1 + np.finfo(dtype).eps], dtype), np.zeros(1, dtype)
    z = -np.array([1 + 2 * np.finfo(dtype).eps], dtype)
    Program(parse(elementwise(f"fma.rn.{kind}", (kind,) * 3, kind))).launch(1, 1, (x, x, z, Room(got)))
    assert got[0] == np.finfo(dtype).eps ** 2


def test_fma_rounded_down():
    """To the float below, whichever side the nearest one is on; exact results stay."""
    x = np.array([1 + 2.0**-23, 1 + 2.0**-23, 1.5, 1.0], F)
    z = np.array([0.0, -(2.0**-60), 0.25, -(2.0**-60)], F)
    got = np.zeros(4, F)
    Program(parse(elementwise("fma.rm.f32", ("f32",) * 3, "f32"))).launch(1, 4, (x, x, z, Room(got)))
    below = np.nextafter(F(1), F(0))
    np.testing.assert_array_equal(got, np.array([1 + 2.0**-22, 1 + 2.0**-22, 2.5, below], F))


def test_sum_rounded_towards_zero():
    """To the float nearer zero, of either sign, where the nearest one is farther or not; exact results stay."""
    x = np.array([1.0, 1.0, -1.0, 1.0, 1.5, 3e38, -3e38, 1.0], F)
    y = np.array([2.0**-24 * 1.5, 2.0**-60, -(2.0**-24) * 1.5, -(2.0**-60), 0.25, 3e38, -3e38, -1.0], F)
    got = np.zeros(8, F)
    Program(parse(elementwise("add.rz.f32", ("f32",) * 2, "f32"))).launch(1, 8, (x, y, Room(got)))
    most = np.finfo(F).max
    np.testing.assert_array_equal(got, np.array([1, 1, -1, np.nextafter(F(1), F(0)), 1.75, most, -most, 0], F))


TRUE_OF_NAN = {"lt": False, "ltu": True, "eq": False, "equ": True, "ne": False, "neu": True, "num": False, "nan": True}


@pytest.mark.parametrize("how", TRUE_OF_NAN)
def test_comparisons_with_nan(how):
    """Ordered comparisons of NaN are false, also ne; unordered ones are true."""
    x, y, got = np.array([np.nan], F), np.array([1.0], F), np.zeros(1, np.uint32)
    Program(parse(elementwise(f"setp.{how}.f32", ("f32", "f32"), "u32"))).launch(1, 1, (x, y, Room(got)))
    assert got[0] == TRUE_OF_NAN[how]


CONVERSIONS = [
    ("cvt.rni.s32.f32", F, np.int32, [2.5, 3.5, -2.5, 1e20, -1e20, np.nan], [2, 4, -2, 2**31 - 1, -(2**31), 0]),
    ("cvt.rzi.s32.f32", F, np.int32, [2.7, -2.7], [2, -2]),
    ("cvt.rmi.f32.f32", F, F, [2.7, -2.7], [2, -3]),
    ("cvt.rpi.f64.f64", np.float64, np.float64, [2.2, -2.2], [3, -2]),
    ("cvt.rzi.u32.f64", np.float64, np.uint32, [3.9, -1.0, 1e12], [3, 0, 2**32 - 1]),
    ("cvt.rn.f32.s64", np.int64, F, [2**24 + 1, -3], [2**24, -3]),
    ("cvt.rn.f32.f64", np.float64, F, [0.1], [F(0.1)]),
    ("cvt.f64.f32", F, np.float64, [0.1], [np.float64(F(0.1))]),
    ("cvt.s64.s32", np.int32, np.int64, [-5], [-5]),
    ("cvt.u64.u32", np.int32, np.int64, [-5], [2**32 - 5]),
    ("cvt.s32.s8", np.int32, np.int32, [200], [-56]),
]


@pytest.mark.parametrize(("op", "source", "target", "x", "want"), CONVERSIONS, ids=[c[0] for c in CONVERSIONS])
def test_conversions(op, source, target, x, want):
    """Rounded as the instruction says; out of range saturates, NaN is 0; signs are kept where they should be."""
    names = [f"{'f' if np.dtype(t).kind == 'f' else 'b'}{8 * np.dtype(t).itemsize}" for t in (source, target)]
    values, got = np.array(x, source), np.zeros(len(x), target)
    Program(parse(elementwise(op, names[:1], names[1]))).launch(1, len(x), (values, Room(got)))
    np.testing.assert_array_equal(got, np.array(want, target))


APPROXIMATE = {
    "ex2.approx.ftz.f32": (np.exp2, 2.0**-22), "rcp.approx.ftz.f32": (np.reciprocal, 2.0**-23),
    "sqrt.approx.f32": (lambda x: np.sqrt(np.abs(x)), 2.0**-22), "tanh.approx.f32": (np.tanh, 2.0**-11),
}  # fmt: skip


@pytest.mark.parametrize("op", APPROXIMATE)
def test_approximate_instructions_are_as_wrong_as_they_may_be(op):
    """Within the error that PTX allows, but for the rounding of the result, and beyond half of it somewhere."""
    function, allowed = APPROXIMATE[op]
    x = np.linspace(0.1, 8.0, 500).astype(F)
    got = np.zeros(500, F)
    Program(parse(elementwise(op, ("f32",), "f32"))).launch(1, 500, (x, Room(got)))
    error = np.abs(got / function(x.astype(np.float64)) - 1)
    assert 0.5 * allowed < error.max() <= allowed + 2.0**-24


def test_powers_of_two_are_exact():
    """ex2.approx of a whole number has no error, on which libdevice's float64 functions rely."""
    n, got = np.arange(-20, 21).astype(F), np.zeros(41, F)
    Program(parse(elementwise("ex2.approx.ftz.f32", ("f32",), "f32"))).launch(1, 41, (n, Room(got)))
    np.testing.assert_array_equal(got, np.exp2(n))


def test_denormals_are_flushed_where_the_instruction_says_so():
    """add.ftz makes zero of a denormal operand, add does not."""
    x, zero = np.array([1e-40], F), np.zeros(1, F)
    for op, want in (("add.ftz.f32", 0.0), ("add.f32", x[0])):
        got = np.ones(1, F)
        Program(parse(elementwise(op, ("f32", "f32"), "f32"))).launch(1, 1, (x, zero, Room(got)))
        assert got[0] == want


@given(st.integers(1, 200), st.sampled_from(ORDERS))
def test_ragged_blocks(n, order):
    """y += a x and block sums for every length, whatever the order of threads; sums have the same bits."""
    x = np.random.default_rng(n).standard_normal(n).astype(F)
    y, want = np.ones(n, F), np.ones(n, F) + np.float64(F(1.5)) * x
    Program(parse(AXPY)).launch(-(-n // 32), 32, (F(1.5), x, y), order=order)
    np.testing.assert_array_equal(y, want.astype(F))
    blocks = -(-n // 64)
    part, first = np.zeros(blocks, F), np.zeros(blocks, F)
    Program(parse(SUM)).launch(blocks, 64, (x, Room(part)), order=order)
    Program(parse(SUM)).launch(blocks, 64, (x, Room(first)))
    np.testing.assert_array_equal(part, first)
    assert abs(part.astype(np.float64).sum() - x.astype(np.float64).sum()) <= 2.0**-20 * np.abs(x).sum()


HALVES = kernel(
    """
    ld.param.u64 %rd1, [x_data];
    ld.global.f64 %fd1, [%rd1];
    {
    .reg .b32 %temp;
    mov.b64 {%r1, %temp}, %fd1;
    }
    {
    .reg .b32 %temp;
    mov.b64 {%temp, %r2}, %fd1;
    }
    xor.b32 %r2, %r2, 0x80000000;
    mov.b64 %fd2, {%r1, %r2};
    st.global.f64 [%rd1], %fd2;
    ret;""",
    "x",
)  # fmt: skip


def test_halves_of_64_bits():
    """A float64 taken to pieces and put together again, its sign turned in the upper half."""
    x = np.array([0.1])
    Program(parse(HALVES)).launch(1, 1, (x,))
    assert x[0] == -0.1


# ---------------------------------------------------------------- memory


THREE = kernel(
    """
    ld.param.u64 %rd1, [y_data];
    mov.u32 %r1, %tid.x;  mov.u32 %r2, %tid.y;  mov.u32 %r3, %tid.z;
    mov.u32 %r4, %ntid.x; mov.u32 %r5, %ntid.y;
    mov.u32 %r6, %ctaid.y; mov.u32 %r7, %nctaid.y;
    mad.lo.u32 %r8, %r3, %r5, %r2;
    mad.lo.u32 %r9, %r8, %r4, %r1;
    mad.lo.u32 %r10, %r9, %r7, %r6;
    mul.wide.u32 %rd2, %r10, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r10;
    ret;""",
    "y",
)  # fmt: skip


def test_three_directions():
    """Threads (2, 3, 4) in blocks (1, 2) number 48 places."""
    got = np.zeros(48, np.uint32)
    Program(parse(THREE)).launch((1, 2), (2, 3, 4), (Room(got),))
    np.testing.assert_array_equal(got, np.arange(48))


MEMORIES = kernel(
    """
    .local .align 16 .b8 depot[32];
    ld.param.u64 %rd1, [x_data];
    mov.u64 %rd2, depot;
    cvta.local.u64 %rd3, %rd2;
    ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1];
    st.local.v2.f32 [%rd2+8], {%f1, %f2};
    ld.f32 %f5, [%rd3+12];
    mov.u32 %r1, dynamic;
    st.shared.f32 [%r1+4], %f3;
    cvt.u64.u32 %rd4, %r1;
    cvta.shared.u64 %rd5, %rd4;
    ld.f32 %f6, [%rd5+4];
    ld.const.f32 %f7, [table+4];
    fma.rn.f32 %f8, %f5, %f6, %f7;
    st.global.f32 [%rd1], %f8;
    ret;""",
    "x", declared=""".extern .shared .align 16 .b8 dynamic[];
.const .align 4 .b8 table[8] = {0, 0, 0, 0, 0, 0, 128, 63};
""",
)  # fmt: skip


def test_all_memories():
    """Vectors, local, dynamic shared and constant memory, by their own addresses and by generic ones: 2 * 3 + 1."""
    x = np.array([1, 2, 3, 4], F)
    Program(parse(MEMORIES)).launch(1, 1, (x,), dynamic=8)
    assert x[0] == 7


def test_uninitialised_reads():
    """Of local and shared memory, and of an array that is room for results."""
    k = parse(MEMORIES)
    x = np.array([1, 2, 3, 4], F)
    for place in (*find(k, "st", "local"), *find(k, "st", "shared")):
        assert fault_of(Program(without(k, place)), 1, 1, (x.copy(),), dynamic=8) == "uninitialised"
    assert fault_of(Program(k), 1, 1, (Room(x),), dynamic=8) == "uninitialised"


def test_accesses_out_of_range_and_misaligned():
    """Before and behind arrays, shared and local memory; in no array at all; a vector at half its width."""
    k, x = parse(MEMORIES), np.array([1, 2, 3, 4, 5, 6], F)
    local, shared = find(k, "st", "local")[0], find(k, "st", "shared")[0]
    vector, last = find(k, "ld", "global")[0], find(k, "st", "global")[0]
    for place, by in ((local, 24), (shared, 4), (shared, -8), (vector, 16), (last, -4), (last, 24), (last, 2**50)):
        assert fault_of(Program(moved(k, place, by)), 1, 1, (x.copy(),), dynamic=8) == "range", (place, by)
    assert fault_of(Program(k), 1, 1, (x.copy(),), dynamic=4) == "range"
    for place, by in ((vector, 8), (local, 4), (last, 2)):
        assert fault_of(Program(moved(k, place, by)), 1, 1, (x.copy(),), dynamic=8) == "misaligned", (place, by)


def test_an_index_too_large_does_not_lead_into_another_array():
    """The guard of the ragged block gone, axpy reads behind x, however far: said with array and line."""
    k = parse(AXPY)
    (guard,) = find(k, "bra")
    where = r"range: line \d+, block \(1, 0, 0\), thread \(8, 0, 0\): read of bytes 160 .. 163 of array 0"
    with pytest.raises(Fault, match=where):
        Program(without(k, guard)).launch(2, 32, (F(1), np.zeros(40, F), np.zeros(40, F)))
    far = moved(k, find(k, "ld", "global")[0], 2**33)
    assert fault_of(Program(far), 2, 32, (F(1), np.zeros(64, F), np.zeros(64, F))) == "range"


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("text", [SUM, TURN], ids=["sum", "turn"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_barrier_is_needed_and_missed(text, order):
    """Each barrier removed in turn is a race or an uninitialised read, in whatever order threads run."""
    k, x = parse(text), np.arange(64, dtype=F)
    arguments = (x, Room(np.zeros(1, F))) if text is SUM else (x,)
    threads = 64 if text is SUM else 32
    assert fault_of(Program(k), 1, threads, arguments, order=order) is None
    assert len(barriers(k)) == (1 if text is SUM else 3)
    for line in barriers(k):
        kind = fault_of(Program(k), 1, threads, arguments, order=order, removed=line)
        assert kind in ("race", "uninitialised"), line


def test_injected_races():
    """All threads with one number race in shared memory; all blocks with one number race in global memory."""
    x, part = np.arange(128, dtype=F), np.zeros(2, F)
    assert fault_of(Program(with_number_for(parse(SUM), "%tid.x", 0)), 2, 64, (x, Room(part))) == "race"
    one_block = with_number_for(parse(SUM), "%ctaid.x", 0)
    with pytest.raises(Fault, match=r"race: .* of another block"):
        Program(one_block).launch(2, 64, (x, Room(part)))
    assert fault_of(Program(with_number_for(parse(AXPY), "%ctaid.x", 0)), 2, 32, (F(1), x, x.copy())) == "race"


DIVERGENT = kernel(
    """
    mov.u32 %r1, %tid.x;
    setp.eq.u32 %p1, %r1, 3;
    @%p1 bra $L_other;
    bar.sync 0;
    bra.uni $L_end;
$L_other:
    {0}
$L_end:
    ret;"""
)  # fmt: skip


@pytest.mark.parametrize("other", ["bar.sync 0;", ""], ids=["another barrier", "the end"])
def test_divergent_barriers(other):
    """A thread at another barrier, or gone, while the block waits."""
    assert fault_of(Program(parse(DIVERGENT.replace("{0}", other))), 1, 8, ()) == "barrier"


def test_traps_and_endless_loops():
    """A trap says so; a loop without an end stops at the launch's limit of branches."""
    assert fault_of(Program(parse(kernel("    trap;"))), 1, 1, ()) == "trap"
    loop = Program(parse(kernel("$L_again:\n    bra.uni $L_again;")))
    assert fault_of(loop, 1, 1, (), limit=1000) == "endless"


def test_a_launch_after_a_fault_is_clean():
    """The same program runs on as if nothing had happened."""
    program, x, part = Program(parse(SUM)), np.ones(64, F), np.zeros(1, F)
    assert fault_of(program, 1, 64, (x[:0].copy(), Room(part[:0].copy()))) == "range"
    program.launch(1, 64, (x, Room(part)))
    assert part[0] == 64


def test_bad_arguments():
    """The wrong number of parameters, a strided array, a string, a size of zero."""
    program, x = Program(parse(AXPY)), np.zeros(8, F)
    for arguments in ((F(1), x), (F(1), x[::2], x), ("one", x, x)):
        with pytest.raises(ValueError, match=r"parameters|contiguous|number"):
            program.launch(1, 8, arguments)
    with pytest.raises(ValueError, match="size"):
        program.launch(0, 8, (F(1), x, x.copy()))
