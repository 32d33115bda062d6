"""Values on their way between Python and compiled code, as 64-bit words (emit/jit.py tells the order)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

from macadamia.lang.conversion import coerce
from macadamia.lang.integers import CLASSES
from macadamia.lang.memory import enum_member, function_address, function_at, memory
from macadamia.lang.pointers import UserPointer, place, pointer_value
from macadamia.lang.tree import integer_of
from macadamia.lang.types import (
    WORD,
    BoolType,
    EnumType,
    FunctionType,
    IntType,
    NewType,
    PointerType,
    StringType,
    TupleType,
    Type,
    UserPointerType,
)

_WORD_BITS = WORD * 8
_WORD_MASK = (1 << _WORD_BITS) - 1


def encode(type_: Type, value: Any) -> list[int]:
    """The words of `value`, converted to `type_` as an assignment does (TypeError, OverflowError, Trap)."""
    result: list[int] = []
    _encode(type_, coerce(type_, value), result)
    return result


def _encode(type_: Type, value: Any, words: list[int]) -> None:
    if isinstance(type_, TupleType):
        for item, part in zip(type_.items, value, strict=True):
            _encode(item, part, words)
    elif isinstance(type_, StringType):
        words += (memory.text(value), len(value))
    elif isinstance(type_, PointerType | UserPointerType):
        words.append(0 if value is None else value.kernel_address)
    elif isinstance(type_, FunctionType):
        words.append(0 if value is None else function_address(value))
    elif type_.size:
        number = int(value)
        words += (number >> shift & _WORD_MASK for shift in range(0, type_.size * 8, _WORD_BITS))


def decode(type_: Type, words: Iterator[int]) -> Any:
    """The next value of `type_` in `words`."""
    if isinstance(type_, TupleType):
        return tuple(decode(item, words) for item in type_.items)
    if isinstance(type_, StringType):
        address, length = next(words), next(words)
        return ctypes.string_at(address, length).decode("ascii") if length else ""
    if isinstance(type_, PointerType):
        address = next(words)
        return None if address == 0 and type_.nullable else pointer_value(type_.target, address)
    if isinstance(type_, UserPointerType):
        return place(UserPointer, type_.target, next(words))
    if isinstance(type_, FunctionType):
        address = next(words)
        return function_at(address) if address else None
    return _number(type_, words)


def _number(type_: Type, words: Iterator[int]) -> Any:
    if not type_.size:
        return None
    value = next(words)
    if type_.size > WORD:
        value |= next(words) << _WORD_BITS
    if isinstance(type_, BoolType):
        return value & 1 != 0
    integer = integer_of(type_)
    value = integer.wrap(value)
    if isinstance(type_, IntType):
        return CLASSES[type_](value)
    if isinstance(type_, EnumType):
        return enum_member(type_, value)
    assert isinstance(type_, NewType)
    return type_.python(value)
