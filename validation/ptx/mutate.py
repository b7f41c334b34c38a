"""Kernels with one thing broken: a runner that sees nothing wrong in them is no proof of the kernel that is whole."""

from dataclasses import replace

from validation.ptx.parse import Instruction, Kernel


def find(kernel: Kernel, *words: str) -> list[int]:
    """Where instructions with all these words stand in the body: find(kernel, "st", "shared")."""
    return [
        k for k, item in enumerate(kernel.body) if isinstance(item, Instruction) and set(words) <= set(item.op)
    ]  # fmt: skip


def without(kernel: Kernel, place: int) -> Kernel:
    """The kernel without one instruction."""
    return replace(kernel, body=kernel.body[:place] + kernel.body[place + 1 :])


def barriers(kernel: Kernel) -> list[int]:
    """The lines of its barriers, which a launch can leave out one by one: launch(.., removed=line)."""
    return [item.line for item in kernel.body if isinstance(item, Instruction) and item.op[0] in ("bar", "barrier")]


def moved(kernel: Kernel, place: int, by: int) -> Kernel:
    """The kernel with the address of one load or store moved by so many bytes."""
    item = kernel.body[place]
    assert isinstance(item, Instruction)
    k = 0 if item.op[0] == "st" else 1
    base, _, offset = item.operands[k][1:-1].partition("+")
    operands = (*item.operands[:k], f"[{base}+{int(offset or 0) + by}]", *item.operands[k + 1 :])
    return replace(kernel, body=(*kernel.body[:place], replace(item, operands=operands), *kernel.body[place + 1 :]))


def with_number_for(kernel: Kernel, operand: str, number: int) -> Kernel:
    """The kernel with a number wherever an operand is read: with_number_for(kernel, "%tid.x", 0) makes all threads one.
    """
    body = tuple(
        replace(item, operands=item.operands[:1] + tuple(str(number) if o == operand else o for o in item.operands[1:]))
        if isinstance(item, Instruction)
        else item
        for item in kernel.body
    )
    return replace(kernel, body=body)
