"""Records that kernels read from memory: a kernel is handed a record's address, one word, whatever it holds.

A NamedTuple would be handed over by value, every number of every array's header, by every call: hundreds of words to
copy, and most of what there is to compile. A record's fields never change, so the compiler may keep what it has read.
"""

import ctypes
import hashlib
import struct
from array import array
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import NativeValue, models, register_model, unbox
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.np.arrayobj import make_array, populate_array
from numba.np.numpy_support import from_dtype

POINTER, WORD = ir.IntType(8).as_pointer(), ir.IntType(64)
HEADER = object.__basicsize__ // 8
BITS, FLOAT = struct.Struct("q"), struct.Struct("d")
DATA, SIZES = HEADER, HEADER + 2  # words of NumPy's array object that point to its numbers and to its shape


class RecordType(types.Type):
    """Numba's type of a record: its class and the types of its fields."""

    def __init__(self, record: type, fields: tuple[types.Type, ...]) -> None:
        self.record, self.fields = record, fields
        layout = hashlib.sha256(", ".join(map(str, fields)).encode()).hexdigest()[:8]
        super().__init__(f"{record.__name__}<{layout}>")

    def index(self, name: str) -> int:
        """Where a field stands, or -1."""
        names = _names(self.record)
        return names.index(name) if name in names else -1


def _check_layout() -> None:
    """Raise ImportError unless NumPy's array objects are what this file takes them for."""
    probe = np.zeros((2, 3))
    words = (ctypes.c_int64 * (SIZES + 1)).from_address(id(probe))
    if words[DATA] != probe.ctypes.data or (ctypes.c_int64 * 2).from_address(words[SIZES])[:] != [2, 3]:
        raise ImportError(f"NumPy {np.__version__} lays arrays out in a way that refnode's kernels do not know")


_check_layout()


@cache
def _names(record: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


@cache
def _type(record: type, kinds: tuple[Any, ...]) -> RecordType:
    """kinds: a field's record type, the dtype and the dimension of its array, or the type of its number."""
    numbers = {int: types.int64, float: types.float64}
    return RecordType(record, tuple(
        kind if isinstance(kind, RecordType)
        else numbers[kind] if kind in numbers
        else types.Array(from_dtype(kind[0]), kind[1], "C")
        for kind in kinds
    ))  # fmt: skip


class Record:
    """What frozen dataclasses of arrays, whole numbers, floats and further records inherit to be read by kernels."""

    _numba_type_: RecordType
    address: int

    def __post_init__(self) -> None:
        words, kinds = [], []  # of each field
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    raise ValueError(f"the arrays of a {type(self).__name__} must lie in one piece")
                words.append(id(value))
                kinds.append((value.dtype, value.ndim))
            elif isinstance(value, Record):
                words.append(value.address)
                kinds.append(value._numba_type_)
            else:
                words.append(value if isinstance(value, int) else BITS.unpack(FLOAT.pack(value))[0])
                kinds.append(type(value))
        held = array("q", words)
        vars(self).update(_numba_type_=_type(type(self), tuple(kinds)), _words=held, address=held.buffer_info()[0])


# ---------------------------------------------------------------- in compiled code

@register_model(RecordType)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: RecordType) -> None:
        super().__init__(manager, type_, POINTER)


@unbox(RecordType)
def _unbox(type_: RecordType, value: Any, context: Any) -> NativeValue:
    """The address that the record itself tells."""
    number = context.pyapi.object_getattr_string(value, "address")
    address = context.pyapi.long_as_longlong(number)
    context.pyapi.decref(number)
    return NativeValue(context.builder.inttoptr(address, POINTER), is_error=context.pyapi.c_api_error())


@infer_getattr
class _Fields(AttributeTemplate):
    key = RecordType

    def generic_resolve(self, type_: RecordType, name: str) -> types.Type | None:
        index = type_.index(name)
        return None if index < 0 else type_.fields[index]


@lower_getattr_generic(RecordType)
def _field(context: Any, builder: Any, type_: RecordType, pointer: Any, name: str) -> Any:
    """Load a field. Arrays are borrowed: the record's owner keeps them, so they have nobody to count references."""
    index = type_.index(name)
    kind = type_.fields[index]
    word = builder.gep(builder.bitcast(pointer, WORD.as_pointer()), [_word_at(index)])
    if not isinstance(kind, types.Array):
        return _constant_load(builder, builder.bitcast(word, context.get_value_type(kind).as_pointer()))
    found = builder.inttoptr(_constant_load(builder, word), WORD.as_pointer())
    data, sizes = (_constant_load(builder, builder.gep(found, [_word_at(n)])) for n in (DATA, SIZES))
    sizes = builder.inttoptr(sizes, WORD.as_pointer())
    shape = [_constant_load(builder, builder.gep(sizes, [_word_at(n)])) for n in range(kind.ndim)]
    result = make_array(kind)(context, builder)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides, stride = [], itemsize
    for size in reversed(shape):
        strides.insert(0, stride)
        stride = builder.mul(stride, size)
    populate_array(result, builder.inttoptr(data, result.data.type), shape, strides, itemsize, None)
    return result._getvalue()


def _word_at(n: int) -> Any:
    return ir.Constant(WORD, n)


def _constant_load(builder: Any, place: Any) -> Any:
    """A load that gives the same at any time."""
    value = builder.load(place)
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value
