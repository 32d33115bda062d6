"""The types of kernel Python: what an annotation means, how large a value is and how it lies in memory.

A type object is what `Ptr[u32]`, `Array[u8, 16]` or `u64` evaluate to for the compiler and for the
CPython definition alike; both read sizes, alignments and field offsets from here, so a structure has one
layout. Layout follows the System V AMD64 ABI (section 3.1.2): natural alignment, little endian, bit-fields
allocated from the least significant bit of their storage unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

WORD = 8  # bytes in a pointer and in u64: the only targets are 64-bit


class Later:
    """What types do that is defined by the modules above this one; each sets its own when it is imported."""

    resolve_annotation: ClassVar[Callable[..., Type]]  # annotations.py
    make_static: ClassVar[Callable[..., Any]]  # statics.py


class AnnotationError(TypeError):
    """An annotation or layout that has no meaning; the text says what to write instead."""


class Type:
    """A kernel Python type. `size` and `alignment` are in bytes."""

    size: int = 0
    alignment: int = 1

    def __or__(self, other: object) -> Type:
        """`Ptr[T] | None` in an annotation."""
        if other is None and isinstance(self, PointerType | FunctionType):
            return self.as_nullable()
        raise TypeError(f"only a pointer can be None, not {self}")

    def __ror__(self, other: object) -> Type:
        return self | other

    def __call__(self, *_arguments: object) -> Any:
        """Overridden by the types that make values when called at import time."""
        raise TypeError(f"{self} cannot be called: write static({self})")


class SameAs(Type):
    """A type that lies in memory as another one does."""

    @property
    def held_as(self) -> Type:
        raise NotImplementedError

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.held_as.size

    @property
    def alignment(self) -> int:  # type: ignore[override]
        return self.held_as.alignment


@dataclass(frozen=True)
class IntType(Type):
    """A two's-complement integer of `bits` bits; arithmetic wraps modulo 2**bits."""

    name: str
    bits: int
    signed: bool

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.bits // 8

    @property
    def alignment(self) -> int:  # type: ignore[override]
        return self.bits // 8

    @cached_property
    def minimum(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @cached_property
    def maximum(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    def holds(self, value: int) -> bool:
        return self.minimum <= value <= self.maximum

    def wrap(self, value: int) -> int:
        """Reduce `value` modulo 2**bits into the range of this type."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if value > self.maximum else value

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class BoolType(Type):
    """True or False; one byte in memory, 0 or 1."""

    size = 1
    alignment = 1

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True)
class NoneType(Type):
    """The result of a function that returns nothing."""

    def __str__(self) -> str:
        return "None"


@dataclass(frozen=True)
class NeverType(Type):
    """The result of a function that does not return (`NoReturn`)."""

    def __str__(self) -> str:
        return "NoReturn"


@dataclass(frozen=True)
class LiteralType(Type):
    """An integer known at compile time that has not met a typed value yet; it adapts to the one it meets."""

    value: int

    def __str__(self) -> str:
        return f"literal {self.value}"


@dataclass(frozen=True)
class NullType(Type):
    """The type of a bare `None` used as a pointer."""

    size = WORD
    alignment = WORD

    def __str__(self) -> str:
        return "None"


@dataclass(frozen=True)
class StringType(Type):
    """A constant ASCII string: address and length (`str`)."""

    size = 2 * WORD
    alignment = WORD

    def __str__(self) -> str:
        return "str"


@dataclass(frozen=True)
class EnumType(SameAs):
    """An `enum.IntEnum` or `enum.IntFlag` stored as `storage`."""

    python: type
    storage: IntType
    flag: bool

    @property
    def held_as(self) -> Type:
        return self.storage

    def __str__(self) -> str:
        return self.python.__name__


@dataclass(frozen=True)
class NewType(SameAs):
    """An opaque integer: a subclass of `u64` (or another width) that does not mix with its base."""

    python: type
    base: IntType

    @property
    def held_as(self) -> Type:
        return self.base

    def __str__(self) -> str:
        return self.python.__name__


class PointerType(Type):
    """`Ptr[T]`. The target may be named before it exists (`Ptr["Thread"]`); it is looked up on first use."""

    size = WORD
    alignment = WORD

    def __init__(self, target: object, *, nullable: bool = False) -> None:
        self._target = target
        self.nullable = nullable
        self.scope: Any = None  # the struct class whose module names a forward reference

    @cached_property
    def target(self) -> Type:
        return resolve(self._target, self.scope)

    def as_nullable(self) -> PointerType:
        result = PointerType(self._target, nullable=True)
        result.scope = self.scope
        return result

    def as_non_null(self) -> PointerType:
        return PointerType(self.target) if self.nullable else self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointerType) and (self.nullable, self.target) == (
            other.nullable,
            other.target,
        )

    def __hash__(self) -> int:
        return hash(("pointer", self.nullable))

    def __str__(self) -> str:
        name = self._target if isinstance(self._target, str) else self.target
        return f"Ptr[{name}]" + (" | None" if self.nullable else "")


class UserPointerType(Type):
    """`UserPtr[T]`: an address in a user's space. It can be passed on and compared, never dereferenced."""

    size = WORD
    alignment = WORD

    def __init__(self, target: object) -> None:
        self._target = target
        self.scope: Any = None

    @cached_property
    def target(self) -> Type:
        return resolve(self._target, self.scope)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserPointerType) and self.target == other.target

    def __hash__(self) -> int:
        return hash("user pointer")

    def __str__(self) -> str:
        return f"UserPtr[{self.target}]"


@dataclass(frozen=True)
class FunctionType(Type):
    """`Callable[[A, B], R]`: a pointer to a compiled function."""

    parameters: tuple[Type, ...]
    result: Type
    nullable: bool = False
    size = WORD
    alignment = WORD

    def as_nullable(self) -> FunctionType:
        return FunctionType(self.parameters, self.result, nullable=True)

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.parameters))
        return f"Callable[[{inner}], {self.result}]" + (" | None" if self.nullable else "")


@dataclass(frozen=True)
class TupleType(Type):
    """A result of several values. It never lies in memory."""

    items: tuple[Type, ...]

    def __str__(self) -> str:
        return f"tuple[{', '.join(map(str, self.items))}]"


class ArrayType(Type):
    """`Array[T, N]`: N values of type T, one after the other."""

    def __init__(self, element: object, length: int) -> None:
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise TypeError(f"Array takes a length of 0 or more, not {length!r}")
        self._element = element
        self.length = int(length)
        self.scope: Any = None

    @cached_property
    def element(self) -> Type:
        return resolve(self._element, self.scope)

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.element.size * self.length

    @property
    def alignment(self) -> int:  # type: ignore[override]
        return self.element.alignment

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayType) and (self.length, self.element) == (other.length, other.element)

    def __hash__(self) -> int:
        return hash(("array", self.length))

    def __call__(self, *arguments: object) -> Any:
        """`Array[u32, 4]()` at import time makes a zeroed static; an iterable gives its initial values."""
        return Later.make_static(self, *arguments)

    def __str__(self) -> str:
        return f"Array[{self.element}, {self.length}]"


@dataclass(frozen=True)
class VolatileType(SameAs):
    """`Volatile[T]`: a field whose every access reaches memory, in order (device registers)."""

    value: Type

    @property
    def held_as(self) -> Type:
        return self.value

    def __str__(self) -> str:
        return f"Volatile[{self.value}]"


@dataclass(frozen=True)
class AtomicType(SameAs):
    """`Atomic[T]`: a field accessed by its methods only (`load`, `store`, `fetch_add`, ...)."""

    value: Type

    @property
    def held_as(self) -> Type:
        return self.value

    def __str__(self) -> str:
        return f"Atomic[{self.value}]"


@dataclass(frozen=True)
class Field:
    """One field of a struct. `bit_width` is 0 for an ordinary field; `offset` is in bytes, `bit` in bits."""

    name: str
    type: Type
    offset: int
    bit: int = 0
    bit_width: int = 0


@dataclass
class FieldRequest:
    """What `bits(n)` or `field(...)` asks of the layout."""

    bit_width: int = 0
    offset: int | None = None
    alignment: int = 1


@dataclass(eq=False)
class StructType(Type):
    """A class derived from `Struct`, laid out on first use, when every name its annotations need is bound."""

    python: Any
    annotations: Callable[[], dict[str, Type]]
    requests: dict[str, FieldRequest] = field(default_factory=dict)
    minimum_alignment: int = 1

    @cached_property
    def layout(self) -> tuple[tuple[Field, ...], int, int]:
        """(fields, size, alignment) by the System V ABI rules."""
        return lay_out(self.annotations(), self.requests, self.minimum_alignment)

    @property
    def fields(self) -> tuple[Field, ...]:
        return self.layout[0]

    @cached_property
    def by_name(self) -> dict[str, Field]:
        return {item.name: item for item in self.fields}

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.layout[1]

    @property
    def alignment(self) -> int:  # type: ignore[override]
        return self.layout[2]

    def __str__(self) -> str:
        return str(self.python.__name__)


def round_up(value: int, alignment: int) -> int:
    return (value + alignment - 1) // alignment * alignment


def lay_out(
    types: dict[str, Type], requests: dict[str, FieldRequest], minimum_alignment: int
) -> tuple[tuple[Field, ...], int, int]:
    """Place fields in order. A bit-field shares the unit of its type while it fits (System V ABI 3.1.2)."""
    fields: list[Field] = []
    end_bit = 0  # first free bit
    alignment = minimum_alignment
    for name, type_ in types.items():
        request = requests.get(name, FieldRequest())
        own_alignment = max(type_.alignment, request.alignment)
        alignment = max(alignment, own_alignment)
        if request.bit_width:
            unit_bits = type_.size * 8
            if end_bit % unit_bits + request.bit_width > unit_bits:
                end_bit = round_up(end_bit, unit_bits)
            unit = end_bit // unit_bits
            fields.append(Field(name, type_, unit * type_.size, end_bit % unit_bits, request.bit_width))
            end_bit += request.bit_width
            continue
        offset = round_up((end_bit + 7) // 8, own_alignment) if request.offset is None else request.offset
        if offset * 8 < end_bit:
            raise AnnotationError(f"field {name} at offset {offset} overlaps the field before it")
        if offset % own_alignment:
            raise AnnotationError(f"field {name} at offset {offset} is not aligned to {own_alignment}")
        fields.append(Field(name, type_, offset))
        end_bit = (offset + type_.size) * 8
    return tuple(fields), round_up((end_bit + 7) // 8, alignment), alignment


BOOL = BoolType()
NONE = NoneType()
NEVER = NeverType()
NULL = NullType()
STRING = StringType()
U8, U16, U32, U64 = (IntType(f"u{bits}", bits, signed=False) for bits in (8, 16, 32, 64))
I8, I16, I32, I64 = (IntType(f"i{bits}", bits, signed=True) for bits in (8, 16, 32, 64))
U128 = IntType("u128", 128, signed=False)
INTEGERS: dict[str, IntType] = {t.name: t for t in (U8, U16, U32, U64, I8, I16, I32, I64, U128)}


def resolve(annotation: object, scope: Any = None) -> Type:
    """The type an annotation stands for. Raises TypeError with a text a user can act on."""
    return Later.resolve_annotation(annotation, scope)
