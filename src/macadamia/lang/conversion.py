"""What a value becomes when it is stored, passed, returned or assigned to a name of a given type.

These are the implicit conversions of docs/language.md: a literal adapts, a narrower integer of the same sign
widens, None goes where a pointer may be null. Everything else is a TypeError that says what to write.
"""

from __future__ import annotations

import enum
from functools import singledispatch
from typing import Any

from macadamia.lang.integers import CLASSES, Integer, adapted
from macadamia.lang.memory import store
from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import (
    BOOL,
    NONE,
    NULL,
    STRING,
    BoolType,
    EnumType,
    FunctionType,
    IntType,
    NeverType,
    NewType,
    NoneType,
    PointerType,
    StringType,
    TupleType,
    Type,
    UserPointerType,
    VolatileType,
)


def mismatch(type_: Type, value: object, advice: str = "") -> TypeError:
    text = f"{type(value).__name__} {value!r} where {type_} is wanted"
    return TypeError(f"{text}: {advice}" if advice else text)


@singledispatch
def coerce(type_: Type, value: Any) -> Any:
    """`value` as a value of `type_`; a TypeError, or OverflowError for a literal, where that needs a cast."""
    raise mismatch(type_, value, "it lies in memory and cannot be assigned as a whole")


@coerce.register
def _(type_: IntType, value: Any) -> Any:
    kind = CLASSES[type_]
    given = type(value)
    if given is kind:
        return value
    if given is int:
        return adapted(value, kind, "=")
    held = getattr(given, "__kernel_type__", None)
    if isinstance(held, IntType) and held.signed == type_.signed and held.bits < type_.bits:
        return kind(value)
    raise mismatch(type_, value, f"write {type_}(...)")


@coerce.register(NewType)
@coerce.register(EnumType)
def _(type_: NewType | EnumType, value: Any) -> Any:
    if type(value) is type_.python:
        return value
    raise mismatch(type_, value, f"write {type_}(...)")


@coerce.register
def _(type_: BoolType, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    raise mismatch(type_, value, "compare it, as in x != 0")


@coerce.register
def _(type_: StringType, value: Any) -> Any:
    if isinstance(value, str) and value.isascii():
        return value
    raise mismatch(type_, value, "a text is ASCII")


@coerce.register
def _(type_: FunctionType, value: Any) -> Any:
    if value is None:
        if type_.nullable:
            return None
        raise Trap(TrapKind.NULL)
    if callable(value) and not isinstance(value, type):
        return value
    raise mismatch(type_, value, "name a function")


@coerce.register
def _(type_: TupleType, value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == len(type_.items):
        return tuple(coerce(item, part) for item, part in zip(type_.items, value, strict=True))
    raise mismatch(type_, value)


@coerce.register
def _(type_: VolatileType, value: Any) -> Any:
    return coerce(type_.value, value)


@coerce.register(NoneType)
@coerce.register(NeverType)
def _(type_: Type, value: Any) -> Any:
    if value is None:
        return None
    raise mismatch(type_, value)


def assign(type_: Type, address: int, value: object) -> None:
    """Store `value`, converted as an assignment does. Trap if the address is null, misaligned or outside,
    TypeError if the value does not mix."""
    store(type_, address, coerce(type_, value))


def type_of(value: Any) -> Type:
    """The type of a value at run time. None and plain ints have none that is known: NULL, and a TypeError."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, str):
        return STRING
    if isinstance(value, Integer | enum.Enum):
        return value.__kernel_type__  # type: ignore[union-attr]
    if isinstance(value, tuple):
        return TupleType(tuple(type_of(item) for item in value))
    if hasattr(value, "kernel_address"):
        pointer_type: type[PointerType | UserPointerType] = value.kernel_pointer_type
        return pointer_type(value.kernel_type)
    if callable(value):
        return NONE
    raise TypeError(f"{type(value).__name__} {value!r} is no value of kernel Python")
