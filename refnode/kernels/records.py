"""Records that kernels read from memory: a kernel is handed a record's address, one word, whatever it holds.

A NamedTuple would be handed over by value, every number of every array's header, by every call: hundreds of words to
copy, and most of what there is to compile. A record's fields never change, so the compiler may keep what it has read.
"""

import struct
from dataclasses import fields
from functools import cache, cached_property
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import NativeValue, models, register_model, unbox
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.np.numpy_support import from_dtype

POINTER = ir.IntType(8).as_pointer()


class RecordType(types.Type):
    """Numba's type of a record: its class and the types of its fields."""

    def __init__(self, record: type, fields: tuple[types.Type, ...]) -> None:
        self.record, self.fields = record, fields
        super().__init__(f"{record.__name__}({', '.join(map(str, fields))})")

    @property
    def mangling_args(self) -> tuple[str, tuple[Any, ...]]:
        return self.record.__name__, tuple({str(f.dtype) for f in self.fields if isinstance(f, types.Array)})

    def index(self, name: str) -> int:
        """Where a field stands, or -1."""
        names = _names(self.record)
        return names.index(name) if name in names else -1


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

    @cached_property
    def _numba_type_(self) -> RecordType:
        return _type(type(self), tuple(_kind(getattr(self, name)) for name in _names(type(self))))

    @cached_property
    def _words(self) -> np.ndarray:
        """The fields as machine words, laid out as Numba has its values."""
        words: list[int] = []
        for name in _names(type(self)):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    raise ValueError(f"{type(self).__name__}.{name} must lie in one piece")
                words += (0, 0, value.size, value.itemsize, value.__array_interface__["data"][0])
                words += value.shape + value.strides
            elif isinstance(value, Record):
                words.append(value.address)
            else:
                words.append(value if isinstance(value, int) else struct.unpack("q", struct.pack("d", value))[0])
        return np.array(words, np.int64)

    @cached_property
    def address(self) -> int:
        """Where the words are."""
        return int(self._words.__array_interface__["data"][0])


def _kind(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype, value.ndim
    return value._numba_type_ if isinstance(value, Record) else type(value)


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
    layout = ir.LiteralStructType([context.get_value_type(field) for field in type_.fields])
    place = builder.gep(
        builder.bitcast(pointer, layout.as_pointer()), [ir.Constant(ir.IntType(32), n) for n in (0, index)]
    )
    if not isinstance(type_.fields[index], types.Array):
        return _constant_load(builder, place)
    array, kind = ir.Constant(layout.elements[index], ir.Undefined), layout.elements[index]
    for n, element in enumerate(kind.elements):
        part = builder.gep(place, [ir.Constant(ir.IntType(32), m) for m in (0, n)])
        value = ir.Constant(element, None) if n < 2 else _constant_load(builder, part)
        array = builder.insert_value(array, value, n)
    return array


def _constant_load(builder: Any, place: Any) -> Any:
    """A load that gives the same at any time."""
    value = builder.load(place)
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value
