"""`Struct`: a class whose annotated names are fields at fixed offsets in memory, as in C."""

from __future__ import annotations

import inspect
import types as python_types
from collections.abc import Mapping
from typing import Any, ClassVar, Self, SupportsIndex, TypeVar

from macadamia.lang.annotations import Scope, class_scope, is_open, resolve_annotation
from macadamia.lang.conversion import coerce
from macadamia.lang.integers import CLASSES
from macadamia.lang.memory import check_alignment, enum_member, load, memory, store
from macadamia.lang.pointers import Address, moved, place, pointer_value
from macadamia.lang.statics import make_static
from macadamia.lang.types import (
    AnnotationError,
    BoolType,
    EnumType,
    Field,
    FieldRequest,
    IntType,
    NeverType,
    NewType,
    NoneType,
    StructType,
    TupleType,
    Type,
    VolatileType,
)


def bits(width: int) -> Any:
    """A bit-field of `width` bits: `priority: u8 = bits(4)`. The first takes the least significant bits."""
    return FieldRequest(bit_width=width)


def field(*, offset: int | None = None, align: int = 1) -> Any:
    """A field at a fixed `offset` in bytes, or aligned to more than its type needs."""
    return FieldRequest(offset=offset, alignment=align)


class Struct(Address):
    """Base of all structs. An instance is the place of one: its attributes are the memory there.

    Calling the class at import time makes a zeroed static.
    """

    __slots__ = ()
    __kernel_type__: ClassVar[StructType]
    __kernel_type_arguments__: ClassVar[Mapping[Any, Any]] = {}  # what type variables mean, its bases' too
    __kernel_origin__: ClassVar[Any]  # of a specialisation: the generic class
    __parameters__: ClassVar[tuple[Any, ...]]  # type variables that are still open

    def __init_subclass__(cls, *, align: int = 1, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        inherited: list[StructType] = [
            vars(base)["__kernel_type__"] for base in cls.__mro__[1:] if "__kernel_type__" in vars(base)
        ]
        align = max([align, *(base.minimum_alignment for base in inherited)])
        cls.__kernel_type__ = StructType(cls, lambda: field_types(cls), {}, align)
        if not cls.__dict__.get("__parameters__"):
            cls.__parameters__ = open_variables(cls.__kernel_type_arguments__)
        for name in inspect.get_annotations(cls):
            requested(cls, name)

    @classmethod
    def kernel_bound(cls, arguments: Mapping[Any, Any]) -> Any:
        """This generic class with the type variables replaced that `arguments` gives."""
        return substitute(cls, arguments)

    def __new__(cls) -> Self:
        static: Self = make_static(cls.__kernel_type__)
        return static

    def __class_getitem__(cls, arguments: Any) -> Any:
        """`List[Thread]`: the subclass whose type variables are bound, one for each choice of arguments."""
        arguments = arguments if isinstance(arguments, tuple) else (arguments,)
        if len(arguments) != len(cls.__parameters__):
            raise TypeError(
                f"{cls.__name__} takes {len(cls.__parameters__)} type arguments, not {len(arguments)}"
            )
        return specialise(cls, dict(zip(cls.__parameters__, arguments, strict=True)))

    def __getitem__(self, index: SupportsIndex) -> Self:
        return pointer_value(self.kernel_type, moved(self, index.__index__()))  # type: ignore[no-any-return]

    def __setitem__(self, index: SupportsIndex, value: object) -> None:
        raise TypeError(f"a {self.kernel_type} is not assigned as a whole: write copy_bytes")

    def __setattr__(self, name: str, value: object) -> None:
        if name not in Address.__slots__ and name not in self.kernel_type.by_name:
            raise AttributeError(f"{self.kernel_type} has no field {name}")
        super().__setattr__(name, value)


class FieldDescriptor:
    """Reads and writes one field of the struct that an instance points to."""

    def __init__(self, item: Field, alignment: int) -> None:
        self.field = item
        self.alignment = alignment

    def __get__(self, struct: Struct | None, owner: type) -> Any:
        if struct is None:
            return self
        check_alignment(struct.kernel_address, self.alignment)
        return load(self.field.type, struct.kernel_address + self.field.offset)

    def __set__(self, struct: Struct, value: object) -> None:
        value = coerce(self.field.type, value)
        check_alignment(struct.kernel_address, self.alignment)
        store(self.field.type, struct.kernel_address + self.field.offset, value)


class BitFieldDescriptor(FieldDescriptor):
    """A field of some bits of its storage unit; a value that is too wide is cut off."""

    def __get__(self, struct: Struct | None, owner: type) -> Any:
        if struct is None:
            return self
        return self.value_of(self.unit(struct) >> self.field.bit & self.mask)

    def __set__(self, struct: Struct, value: object) -> None:
        number = int(coerce(self.field.type, value)) & self.mask
        unit = self.unit(struct) & ~(self.mask << self.field.bit) | number << self.field.bit
        memory.write(struct.kernel_address + self.field.offset, unit.to_bytes(self.field.type.size, "little"))

    @property
    def mask(self) -> int:
        return (1 << self.field.bit_width) - 1

    def unit(self, struct: Struct) -> int:
        check_alignment(struct.kernel_address, self.alignment)
        content = memory.bytes_at(struct.kernel_address + self.field.offset, self.field.type.size)
        return int.from_bytes(content, "little")

    def value_of(self, number: int) -> Any:
        """The highest bit is the sign of a signed bit-field."""
        type_ = self.field.type
        if isinstance(type_, VolatileType):
            type_ = type_.value
        if isinstance(type_, BoolType):
            return number != 0
        if isinstance(type_, EnumType):
            return enum_member(type_, number)
        assert isinstance(type_, IntType | NewType)
        integer = type_ if isinstance(type_, IntType) else type_.base
        if integer.signed and number >> (self.field.bit_width - 1):
            number -= 1 << self.field.bit_width
        return CLASSES[type_](number) if isinstance(type_, IntType) else type_.python(number)


def field_types(cls: Any) -> dict[str, Type]:
    """The types of the fields of `cls`, those of its bases first; called once, when the layout is needed.

    As late as that, so that `__init_subclass__` of a generic class may add annotations, and so that classes
    may refer to each other.
    """
    types: dict[str, Type] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, Struct) or base is Struct:
            continue
        scope = class_scope(base, cls)
        for name, annotation in inspect.get_annotations(base).items():
            types[name] = field_type(name, annotation, scope)
            request = requested(base, name)
            if request is not None:
                cls.__kernel_type__.requests[name] = request
    return types


def field_type(name: str, annotation: Any, scope: Scope) -> Type:
    try:
        type_ = resolve_annotation(annotation, scope)
    except TypeError as error:
        raise AnnotationError(f"field {name} of {scope.owner.__name__}: {error}") from None
    if name in Address.__slots__:
        raise AnnotationError(f"field {name} of {scope.owner.__name__}: every pointer has this name already")
    if isinstance(type_, NoneType | NeverType | TupleType):
        raise AnnotationError(f"field {name} of {scope.owner.__name__}: {type_} cannot lie in memory")
    return type_


def requested(base: Any, name: str) -> FieldRequest | None:
    """What `bits(...)` or `field(...)` asked for in the body of `base`."""
    value = vars(base).get(name)
    if isinstance(value, FieldDescriptor):
        value = base.__kernel_type__.requests.get(name)
    if value is None or isinstance(value, FieldRequest):
        return value
    raise TypeError(f"field {name} of {base.__name__} has a value: write a constant without an annotation")


def install_fields(cls: Any) -> None:
    """Put the descriptors of all fields into the class, before its first instance exists."""
    type_: StructType = cls.__kernel_type__
    for item in type_.fields:
        kind = BitFieldDescriptor if item.bit_width else FieldDescriptor
        setattr(cls, item.name, kind(item, type_.alignment))
    cls.__kernel_installed__ = True


@pointer_value.register
def _(target: StructType, address: int) -> Any:
    cls = target.python
    if "__kernel_installed__" not in cls.__dict__:
        install_fields(cls)
    return place(cls, target, address)


# Specialisation of generic structs

_specialised: dict[tuple[Any, ...], Any] = {}


def specialise(cls: Any, arguments: Mapping[Any, Any]) -> Any:
    """The one subclass of the generic class `cls` for these arguments of its open type variables."""
    if all(variable is argument for variable, argument in arguments.items()):
        return cls
    known = {name: substitute(value, arguments) for name, value in cls.__kernel_type_arguments__.items()}
    known |= arguments
    origin = cls.__dict__.get("__kernel_origin__", cls)
    chosen = tuple(known[variable] for variable in origin.__parameters__)
    if any(isinstance(argument, str) for argument in chosen):
        raise TypeError(f"write the whole type as a text: '{origin.__name__}[{chosen[0]}]'")
    if (origin, *chosen) not in _specialised:
        name = f"{origin.__name__}[{', '.join(map(argument_name, chosen))}]"
        contents = {
            "__kernel_type_arguments__": known,
            "__kernel_origin__": origin,
            "__module__": origin.__module__,
            "__qualname__": origin.__qualname__.removesuffix(origin.__name__) + name,
        }
        body = python_types.new_class(name, (origin,), exec_body=lambda space: space.update(contents))
        _specialised[(origin, *chosen)] = body
    return _specialised[(origin, *chosen)]


def argument_name(argument: Any) -> str:
    return str(getattr(argument, "__name__", argument))


def substitute(argument: Any, arguments: Mapping[Any, Any]) -> Any:
    """`argument` with its type variables replaced."""
    if isinstance(argument, TypeVar):
        return arguments.get(argument, argument)
    if is_open(argument):
        return specialise(argument, {name: arguments.get(name, name) for name in argument.__parameters__})
    if isinstance(argument, Type):
        return resolve_annotation(argument, Scope({}, {}, arguments=arguments))
    return argument


def open_variables(arguments: Mapping[Any, Any]) -> tuple[Any, ...]:
    """The type variables that occur in the arguments of a class, each once."""
    found: dict[Any, None] = {}
    for argument in arguments.values():
        if isinstance(argument, TypeVar):
            found.setdefault(argument)
        elif is_open(argument):
            found.update(dict.fromkeys(argument.__parameters__))
    return tuple(found)
