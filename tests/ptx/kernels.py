"""Small kernels written by hand, in the PTX that compilers emit."""

HEAD = """.version 8.0
.target sm_80
.address_size 64
"""
REGISTERS = """
    .reg .pred  %p<8>;
    .reg .b16   %rs<8>;
    .reg .b32   %r<16>;
    .reg .b64   %rd<32>;
    .reg .f32   %f<16>;
    .reg .f64   %fd<8>;
"""
ARRAY = ("parent", "meminfo", "size", "itemsize", "data", "n", "stride")    # how an array of one dimension is passed


def kernel(body, *parameters, declared=""):
    """The PTX of a kernel `k`; a parameter is "name", an array of one dimension, or "type name"."""
    words = []
    for parameter in parameters:
        kind, _, name = parameter.rpartition(" ")
        words += [f".param .{kind} {name}"] if kind else [f".param .u64 {name}_{field}" for field in ARRAY]
    return f"{HEAD}{declared}.visible .entry k(\n" + ",\n".join(words) + f"\n)\n{{{REGISTERS}{body}\n}}\n"


# y[i] += a x[i], i < n, where the last block has threads without an i
AXPY = kernel(
    """
    ld.param.u64    %rd1, [x_data];
    ld.param.u64    %rd2, [y_data];
    ld.param.u64    %rd3, [x_n];
    ld.param.f32    %f1, [a];
    mov.u32         %r1, %ctaid.x;
    mov.u32         %r2, %ntid.x;
    mov.u32         %r3, %tid.x;
    mad.lo.s32      %r4, %r1, %r2, %r3;
    cvt.s64.s32     %rd4, %r4;
    setp.ge.s64     %p1, %rd4, %rd3;
    @%p1 bra        $L_end;
    cvta.to.global.u64  %rd5, %rd1;
    cvta.to.global.u64  %rd6, %rd2;
    shl.b64         %rd7, %rd4, 2;
    add.s64         %rd8, %rd5, %rd7;
    add.s64         %rd9, %rd6, %rd7;
    ld.global.f32   %f2, [%rd8];
    ld.global.f32   %f3, [%rd9];
    fma.rn.f32      %f4, %f1, %f2, %f3;
    st.global.f32   [%rd9], %f4;
$L_end:
    ret;""",
    "f32 a", "x", "y",
)  # fmt: skip

# part[block] = sum of x over 64 threads, halving the distance; the tail of x counts as zero
SUM = kernel(
    """
    ld.param.u64    %rd1, [x_data];
    ld.param.u64    %rd2, [x_n];
    ld.param.u64    %rd3, [part_data];
    mov.u32         %r1, %tid.x;
    mov.u32         %r2, %ctaid.x;
    mad.lo.s32      %r3, %r2, 64, %r1;
    cvt.u64.u32     %rd4, %r3;
    setp.ge.u64     %p1, %rd4, %rd2;
    mov.f32         %f1, 0f00000000;
    @%p1 bra        $L_keep;
    shl.b64         %rd5, %rd4, 2;
    add.s64         %rd6, %rd1, %rd5;
    ld.global.f32   %f1, [%rd6];
$L_keep:
    mov.u32         %r4, held;
    shl.b32         %r5, %r1, 2;
    add.s32         %r6, %r4, %r5;
    st.shared.f32   [%r6], %f1;
    mov.u32         %r7, 32;
$L_halve:
    bar.sync        0;
    setp.ge.u32     %p2, %r1, %r7;
    @%p2 bra        $L_next;
    shl.b32         %r8, %r7, 2;
    add.s32         %r9, %r6, %r8;
    ld.shared.f32   %f2, [%r9];
    ld.shared.f32   %f3, [%r6];
    add.rn.f32      %f4, %f3, %f2;
    st.shared.f32   [%r6], %f4;
$L_next:
    shr.u32         %r7, %r7, 1;
    setp.ne.s32     %p3, %r7, 0;
    @%p3 bra        $L_halve;
    setp.ne.s32     %p4, %r1, 0;
    @%p4 bra        $L_end;
    mul.wide.u32    %rd7, %r2, 4;
    add.s64         %rd8, %rd3, %rd7;
    st.global.f32   [%rd8], %f4;
$L_end:
    ret;""",
    "x", "part", declared=".shared .align 4 .b8 held[256];\n",
)  # fmt: skip

# x becomes 2 x, turned round twice within blocks of 32 through the same shared memory
TURN = kernel(
    """
    ld.param.u64    %rd1, [x_data];
    mov.u32         %r1, %tid.x;
    mov.u32         %r2, %ctaid.x;
    mad.lo.s32      %r3, %r2, 32, %r1;
    mul.wide.u32    %rd2, %r3, 4;
    add.s64         %rd3, %rd1, %rd2;
    mul.wide.u32    %rd4, %r1, 4;
    mov.u64         %rd5, held;
    add.s64         %rd6, %rd5, %rd4;
    sub.s32         %r4, 31, %r1;
    mul.wide.u32    %rd7, %r4, 4;
    add.s64         %rd8, %rd5, %rd7;
    ld.global.f32   %f1, [%rd3];
    st.shared.f32   [%rd6], %f1;
    bar.sync        0;
    ld.shared.f32   %f2, [%rd8];
    add.rn.f32      %f3, %f2, %f2;
    bar.sync        0;
    st.shared.f32   [%rd6], %f3;
    bar.sync        0;
    ld.shared.f32   %f4, [%rd8];
    st.global.f32   [%rd3], %f4;
    ret;""",
    "x", declared=".shared .align 4 .b8 held[128];\n",
)  # fmt: skip


def elementwise(instruction, kinds, out):
    """y[i] = instruction applied to x0[i], x1[i], ..: "add.rn.f32" with kinds ("f32", "f32") and out "f32"."""
    prefix = {"f32": "%f", "f64": "%fd", "16": "%rs", "32": "%r", "64": "%rd", "8": "%rs"}
    names = [f"x{k}" for k in range(len(kinds))]
    lines = ["    mov.u32 %r1, %tid.x;", "    cvt.u64.u32 %rd1, %r1;"]
    operands = []
    for k, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        register = f"{prefix.get(kind) or prefix[kind[1:]]}{k + 4}"
        lines += _place(name, kind, k + 20)
        lines.append(f"    ld.global.{kind} {register}, [%rd{k + 20}];")
        operands.append(register)
    target = f"{prefix.get(out) or prefix[out[1:]]}2"
    predicate = instruction.startswith("setp")
    lines.append(f"    {instruction} {'%p1' if predicate else target}, {', '.join(operands)};")
    lines += [f"    selp.{out} {target}, 1, 0, %p1;"] if predicate else []
    lines += [*_place("y", out, 15), f"    st.global.{out} [%rd15], {target};", "    ret;"]
    return kernel("\n" + "\n".join(lines), *names, "y")


def _place(name, kind, register):
    size = int(kind[1:]) // 8
    return [
        f"    ld.param.u64 %rd{register}, [{name}_data];",
        f"    mad.lo.u64 %rd{register}, %rd1, {size}, %rd{register};",
    ]
