"""`definition(function)`: run a kernel function in plain CPython, with the meaning kernel Python gives it.

What this computes is what compiled code must compute. A function is rewritten by its syntax alone
(rewriting.py); the types are those that values have at run time. All that it calls runs rewritten as well,
while the modules themselves stay the ordinary Python they are.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types as python_types
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, NoReturn, cast

from macadamia.lang.annotations import function_scope, resolve_function_annotations
from macadamia.lang.conversion import coerce, type_of
from macadamia.lang.definition.rewriting import Names, body_of, rewrite
from macadamia.lang.definition.static_types import StaticTypes
from macadamia.lang.functions import (
    Formatter,
    Implementations,
    bound,
    by_interface,
    implementation_of,
    interface_options,
)
from macadamia.lang.integers import Integer, u8, u64
from macadamia.lang.intrinsics import PYTHON_FUNCTIONS
from macadamia.lang.memory import check_alignment, enum_member, memory
from macadamia.lang.pointers import Address, pointer_value
from macadamia.lang.structs import Struct
from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import (
    NULL,
    ArrayType,
    EnumType,
    LiteralType,
    NoneType,
    NullType,
    PointerType,
    TupleType,
    Type,
    VolatileType,
)


def definition(function: Callable[..., Any], implementations: Implementations = ()) -> Callable[..., Any]:
    """`function` as a callable that runs in CPython with the semantics of docs/language.md.

    `implementations` binds interface functions: a mapping to any callables (plain Python may implement an
    interface here), or a sequence of `@implements` functions. A stop of the program is a `Trap`.
    """
    chosen = by_interface(implementations)

    @functools.wraps(function)
    def run(*arguments: Any, **keywords: Any) -> Any:
        with bound(chosen):
            return call(function, *arguments, **keywords)

    return run


class Meaning:
    """A rewritten function, compiled for the class `owner` if it is a method, and its types."""

    def __init__(self, function: python_types.FunctionType, owner: Any) -> None:
        node = body_of(function)
        names = Names(function, node)
        self.name = function.__qualname__
        self.parameters, self.result = resolve_function_annotations(function, owner)
        scope = function_scope(function, owner)
        self.arguments = scope.arguments
        self.types = StaticTypes(node, names, scope, self.parameters)
        self.code, self.choices = rewrite(function, node, names)
        self.annotated = annotated_names(self.types)
        self.choice_types: dict[int, Type | None] = {}

    def run(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call it; memory of `local` is free again afterwards."""
        mark = memory.stack_top
        try:
            return self.code(Frame(self), *arguments, **keywords)
        finally:
            memory.stack_top = mark

    def choice_type(self, number: int) -> Type | None:
        if number not in self.choice_types:
            self.choice_types[number] = self.types.of(self.choices[number])
        return self.choice_types[number]


def annotated_names(types: StaticTypes) -> dict[str, Type]:
    """The declared types of locals."""
    return {
        item.target.id: types.annotation(item.annotation)
        for item in ast.walk(types.node)
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


@functools.cache
def meaning_of(function: python_types.FunctionType, owner: Any = None) -> Meaning:
    return Meaning(function, owner)


class Method(NamedTuple):
    """`Base.method` as the function of a call."""

    function: python_types.FunctionType
    owner: Any


class Text(NamedTuple):
    """An f-string: texts, and pairs of a value and its format."""

    parts: tuple[Any, ...]


class Frame:
    """One call of a rewritten function: the operations whose meaning is not CPython's own.

    `types` holds the types of the names that have been assigned and have no annotation.
    """

    __slots__ = ("meaning", "types")

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        self.types: dict[str, Type | None] = {}

    # Names

    def parameter(self, name: str, value: Any) -> Any:
        return coerce(self.meaning.parameters[name], value)

    def assign(self, name: str, value: Any) -> Any:
        """The value as the name holds it: of the declared type, or of that of the first assignment."""
        type_ = self.meaning.annotated.get(name) or self.meaning.parameters.get(name)
        if type_ is None:
            if name not in self.types:
                self.types[name] = self.first_type(name, value)
            type_ = self.types[name]
        return value if type_ is None else coerce(type_, value)

    def first_type(self, name: str, value: Any) -> Type | None:
        """The type of an unannotated name: that of the value.

        Only the source tells the type of a literal, and whether a pointer may be None.
        """
        type_: Type | None = LiteralType(value) if type(value) is int else type_of(value)
        if isinstance(type_, LiteralType | NullType | PointerType | TupleType):
            type_ = self.meaning.types.of_name(name) or nullable(type_)
        if isinstance(type_, LiteralType):
            raise TypeError(f"{name} cannot hold the literal {value}: write {name}: u64 = {value}")
        return None if isinstance(type_, NoneType | NullType) else type_

    def result(self, value: Any) -> Any:
        return coerce(self.meaning.result, value)

    def type_argument(self, variable: Any) -> Any:
        return self.meaning.arguments.get(variable, variable)

    # Places

    def place(self, base: Any) -> Any:
        """`base`, which is about to be used as a pointer."""
        if base is None:
            raise Trap(TrapKind.NULL)
        return base

    def get(self, base: Any, name: str) -> Any:
        if base is None:
            raise Trap(TrapKind.NULL)
        found = getattr(type(base), name, None)
        if isinstance(found, property):
            return meaning_of(inspect.unwrap(found.fget), type(base)).run((base,), {})  # type: ignore[arg-type]
        return getattr(base, name)

    def method(self, base: Any, name: str) -> Any:
        """What `base.name(...)` calls."""
        if isinstance(base, type) and issubclass(base, Struct | Integer | Enum):
            found = inspect.getattr_static(base, name, None)
            if isinstance(found, python_types.FunctionType):
                return Method(found, base)
        return self.place(self.get(base, name))

    def field_pointer(self, struct: Any, name: str) -> Any:
        """`pointer_to(struct.name)`."""
        field = self.place(struct).kernel_type.by_name[name]
        if field.bit_width:
            raise TypeError(f"the bit-field {name} has no address")
        check_alignment(struct.kernel_address, struct.kernel_type.alignment)
        type_ = field.type.value if isinstance(field.type, VolatileType) else field.type
        return pointer_value(type_, struct.kernel_address + field.offset)

    def element_pointer(self, base: Any, index: Any) -> Any:
        """`pointer_to(base[index])`."""
        type_ = self.place(base).kernel_type
        if isinstance(type_, ArrayType):
            return pointer_value(type_.element, base.element_address(index))
        return base + index

    # Control

    def choose(self, value: Any, number: int) -> Any:
        """The value of a conditional expression, of the type its two sides have together."""
        type_ = self.meaning.choice_type(number)
        if type_ is None or isinstance(type_, LiteralType | NullType | NoneType):
            return value
        return coerce(type_, value)

    def fail(self, message: str) -> NoReturn:
        raise Trap(TrapKind.ASSERT, message or None)

    def text(self, *parts: Any) -> Text:
        return Text(parts)

    def call(self, function: Any, /, *arguments: Any, **keywords: Any) -> Any:
        return call(function, *arguments, **keywords)


def nullable(type_: Type) -> Type:
    """The type when nothing says that a pointer is never None."""
    if isinstance(type_, PointerType):
        return type_.as_nullable()
    return NULL if isinstance(type_, TupleType) else type_


# Calls


def call(function: Any, /, *arguments: Any, **keywords: Any) -> Any:
    """Call whatever can be called in kernel Python; functions and methods in their rewritten form."""
    if isinstance(function, Method):
        return meaning_of(inspect.unwrap(function.function), function.owner).run(arguments, keywords)
    if isinstance(function, python_types.MethodType):
        return call_method(function, arguments, keywords)
    if isinstance(function, type):
        return convert(function, *arguments)
    if isinstance(function, Formatter):
        return print_text(function, *arguments)
    if isinstance(function, python_types.FunctionType):
        return call_function(function, arguments, keywords)
    return PYTHON_FUNCTIONS.get(function, function)(*arguments, **keywords)


def is_library(function: Any) -> bool:
    """Whether a function is part of the language rather than written in it."""
    module = function.__module__
    return module.startswith("macadamia.lang.") and not module.startswith("macadamia.lang.containers")


def call_function(
    function: python_types.FunctionType, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    options = interface_options(function)
    if options is not None and options.interface:
        return call_interface(function, arguments, keywords)
    plain = inspect.unwrap(function)
    if is_library(plain):
        return function(*arguments, **keywords)
    return meaning_of(plain).run(arguments, keywords)


def call_method(method: python_types.MethodType, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    if isinstance(method.__self__, type) or is_library(method.__func__):
        return method(*arguments, **keywords)
    function, owner = inspect.unwrap(method.__func__), cast(Any, type(method.__self__))
    return meaning_of(function, owner).run((method.__self__, *arguments), keywords)


def call_interface(
    declared: python_types.FunctionType, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """A plain Python implementation gets and gives values of the declared types."""
    function = implementation_of(declared)
    options = interface_options(function)
    if options is not None and options.implements is not None:
        return call(function, *arguments, **keywords)
    parameters, result = resolve_function_annotations(declared)
    given = inspect.signature(inspect.unwrap(declared)).bind(*arguments, **keywords).arguments
    return coerce(result, function(*[coerce(parameters[name], value) for name, value in given.items()]))


def convert(kind: type, *arguments: Any) -> Any:
    """`T(x)`."""
    if issubclass(kind, Struct):
        raise TypeError(
            f"a {kind.__name__} cannot be made while a program runs: write local({kind.__name__})"
        )
    type_ = getattr(kind, "__kernel_type__", None)
    if isinstance(type_, EnumType):
        return enum_member(type_, *map(int, arguments))
    return kind(*arguments)


# Formatters

SPECIFICATION = re.compile("(?P<prefix>#?)(?P<fill>0?)(?P<width>[0-9]*)(?P<kind>[dxb]?)")
BASES = {"": 10, "d": 10, "x": 16, "b": 2}


def print_text(formatter: Formatter, text: Any) -> None:
    """Print part by part, texts that follow each other at once."""
    pending = ""
    for part in text.parts if isinstance(text, Text) else ((text, ""),):
        if isinstance(part, str):
            pending += part
            continue
        value, specification = part
        found = SPECIFICATION.fullmatch(specification)
        if found is None:
            raise TypeError(f"the format {specification!r} is not known")
        prefix = "0" + found["kind"] if found["prefix"] and found["kind"] in ("x", "b") else ""
        if pending + prefix:
            call(formatter.text, pending + prefix)
        pending = ""
        if isinstance(value, str | bool):
            call(formatter.text, str(value))
        else:
            print_number(formatter, value, found, len(prefix))
    if pending + formatter.end:
        call(formatter.text, pending + formatter.end)


def print_number(formatter: Formatter, value: Any, found: re.Match[str], used: int) -> None:
    if isinstance(value, Address):
        raise TypeError("a pointer cannot be printed: print address_of(p)")
    number = int(value)
    width = max(0, int(found["width"] or 0) - used)
    fill = ord(found["fill"] or " ")
    call(formatter.number, u64(abs(number)), number < 0, u8(BASES[found["kind"]]), u8(width), u8(fill))
