"""How compiled code calls compiled code: at arm's length, by a symbol, so that each kernel is compiled once.

Numba would link the code of every function into each of its callers and optimise it anew there, at every level. Here a
caller only names its callee's symbol. The callee's machine code is found in the process, or in the cache, or compiled,
before that of the caller is loaded, whether the caller comes from the compiler or from the cache.
"""

import hashlib
import importlib
from dataclasses import dataclass
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.base import OverloadSelector
from numba.core.imputils import impl_ret_new_ref
from numba.extending import intrinsic

ADDRESS, INDEX = ir.IntType(8).as_pointer(), ir.IntType(64)


@dataclass(frozen=True)
class Needed:
    """A kernel that some machine code calls: made ready before that code is loaded."""

    module: str
    name: str
    arguments: tuple[types.Type, ...]

    def __call__(self) -> None:
        getattr(importlib.import_module(self.module), self.name).compile(self.arguments)

    @property
    def symbol(self) -> str:
        """A name that is the same in every process."""
        return f"{self.module}.{self.name}.{hashlib.sha256(repr(self.arguments).encode()).hexdigest()[:16]}"


def keep_apart(compiled: Any) -> None:
    """Have callers of a dispatcher call its code by symbol."""
    add = compiled.add_overload

    def add_apart(result: Any) -> None:
        function = compiled.py_func
        needed = Needed(function.__module__, function.__name__, tuple(result.signature.args))
        binding.add_symbol(needed.symbol, result.library.get_pointer_to_function(result.fndesc.llvm_func_name))
        implementation, selector = _call(needed, result.fndesc), OverloadSelector()
        selector.append(implementation, implementation.signature)
        result.target_context._defns[result.entry_point] = selector  # in place of the one that links
        add(result)

    compiled.add_overload = add_apart


def _call(needed: Needed, description: Any) -> Any:
    """What lowers a call: Numba's own calling convention, with the symbol for a linked function."""

    def implementation(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = _declared(context, builder.module, needed, description)
        restype, argtypes = description.restype, description.argtypes
        status, value = context.call_conv.call_function(builder, function, restype, argtypes, arguments)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return impl_ret_new_ref(context, builder, restype, value)

    implementation.signature, implementation.libs = description.argtypes, ()  # type: ignore[attr-defined]
    implementation.needed, implementation.description = needed, description  # type: ignore[attr-defined]
    return implementation


def _declared(context: Any, module: Any, needed: Needed, description: Any) -> Any:
    kind = context.call_conv.get_function_type(description.restype, description.argtypes)
    function = cgutils.get_or_insert_function(module, kind, needed.symbol)
    context.call_conv.decorate_function(
        function, description.args, description.argtypes, noalias=description.noalias
    )
    context.active_code_library._reload_init.add(needed)
    return function


# ---------------------------------------------------------------- loops over tasks

@intrinsic
def each(typing_context: Any, loop: Any, tasks: Any, kernel: Any, arguments: Any) -> Any:
    """kernel(*arguments, task) for task = 0 .. tasks - 1: here if loop is 0, else by the loop at that address.

    Such a loop is `refnode.kernels.threads.shared`, which all of Numba's threads go through together.
    """
    of_kernel = kernel.get_call_type(typing_context, (*arguments.types, types.intp), {})

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address, count, _, held = values
        ((_, lowered),) = context._defns[kernel.get_impl_key(of_kernel)].versions
        task = _task(context, builder, lowered, len(arguments.types), held.type)
        place = builder.bitcast(cgutils.alloca_once_value(builder, held), ADDRESS)
        here = builder.icmp_signed("==", address, ir.Constant(INDEX, 0))
        with builder.if_else(here) as (alone, together):
            with alone, cgutils.for_range(builder, count) as numbered:
                builder.call(task, [place, numbered.index])
            with together:
                kind = context.call_conv.get_function_type(types.none, (types.intp,) * 3)
                words = [builder.ptrtoint(task, INDEX), builder.ptrtoint(place, INDEX), count]
                loop_at = builder.inttoptr(address, kind.as_pointer())
                context.call_conv.call_function(builder, loop_at, types.none, (types.intp,) * 3, words)
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, kernel, arguments), generate


def _task(context: Any, builder: Any, lowered: Any, count: int, layout: Any) -> Any:
    """void task(void *held, intp number), which calls a kernel with what is held and the number."""
    kind = ir.FunctionType(ir.VoidType(), [ADDRESS, INDEX])
    task = ir.Function(builder.module, kind, builder.module.get_unique_name(f"{lowered.needed.name}.task"))
    task.linkage = "internal"
    inner = ir.IRBuilder(task.append_basic_block("entry"))
    held = inner.load(inner.bitcast(task.args[0], layout.as_pointer()))
    arguments = [*(inner.extract_value(held, n) for n in range(count)), task.args[1]]
    description = lowered.description
    function = _declared(context, builder.module, lowered.needed, description)
    context.call_conv.call_function(inner, function, description.restype, description.argtypes, arguments)
    inner.ret_void()
    return task


@intrinsic
def run_task(typing_context: Any, task: Any, held: Any, number: Any) -> Any:
    """Call a task of `each` by its address."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ADDRESS, INDEX])
        builder.call(
            builder.inttoptr(values[0], kind.as_pointer()), [builder.inttoptr(values[1], ADDRESS), values[2]]
        )
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, types.intp), generate


@intrinsic
def call_at(typing_context: Any, address: Any, arguments: Any) -> Any:
    """Call the function at an address that takes these arguments and returns nothing; whether it did not raise."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.call_conv.get_function_type(types.none, arguments.types)
        place = builder.inttoptr(values[0], kind.as_pointer())
        parts = [builder.extract_value(values[1], n) for n in range(len(arguments.types))]
        status, _ = context.call_conv.call_function(builder, place, types.none, arguments.types, parts)
        return status.is_ok

    return types.boolean(types.intp, arguments), generate


def address_of(compiled: Any, arguments: tuple[types.Type, ...]) -> int:
    """Where the machine code of a kernel is, for arguments of these types."""
    compiled.compile(arguments)
    result = compiled.overloads[arguments]
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))
