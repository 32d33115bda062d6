"""Objects in the program's image: made at import time, with their initial contents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any

from macadamia.lang.conversion import assign, mismatch
from macadamia.lang.memory import memory
from macadamia.lang.pointers import pointer_value
from macadamia.lang.types import (
    ArrayType,
    AtomicType,
    BoolType,
    EnumType,
    Later,
    NewType,
    StructType,
    Type,
    VolatileType,
)


def make_static(type_: Type, values: object = None, **options: Any) -> Any:
    """A new static with initial `values` (see `initialise`); the result points to it."""
    address = memory.allocate_static(type_, **options)
    if values is not None:
        initialise(type_, address, values)
    return pointer_value(type_, address)


Later.make_static = make_static


@singledispatch
def initialise(type_: Type, address: int, value: Any) -> None:
    """Give a static its initial contents. Literals become any scalar; structs take a mapping of fields."""
    if type(value) is int:
        value = type_.python(value) if isinstance(type_, NewType | EnumType) else value
    assign(type_, address, value)


@initialise.register
def _(type_: BoolType, address: int, value: Any) -> None:
    assign(type_, address, bool(value))


@initialise.register
def _(type_: AtomicType, address: int, value: Any) -> None:
    initialise(type_.value, address, value)


@initialise.register
def _(type_: VolatileType, address: int, value: Any) -> None:
    initialise(type_.value, address, value)


@initialise.register
def _(type_: ArrayType, address: int, value: Iterable[Any]) -> None:
    items = list(value)
    if len(items) > type_.length:
        raise TypeError(f"{len(items)} values for {type_}")
    for index, item in enumerate(items):
        initialise(type_.element, address + index * type_.element.size, item)


@initialise.register
def _(type_: StructType, address: int, value: Any) -> None:
    if isinstance(value, Mapping):
        struct = pointer_value(type_, address)
        for name, content in value.items():
            field = type_.by_name[name]
            if field.bit_width:
                setattr(struct, name, content)
            else:
                initialise(field.type, address + field.offset, content)
    elif getattr(value, "kernel_type", None) is type_:
        memory.write(address, memory.bytes_at(value.kernel_address, type_.size))
    else:
        raise mismatch(type_, value, "write a dict of its fields")
