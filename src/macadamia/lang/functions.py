"""Decorators of kernel functions, interfaces and the implementations bound to them, and log formatters."""

from __future__ import annotations

import contextlib
import enum
import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, ParamSpec, TypeVar

from macadamia.lang.integers import Integer, u8, u32, u64
from macadamia.lang.types import EnumType

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound=enum.IntEnum | enum.IntFlag)
Implementations = Mapping[Any, Callable[..., Any]] | Sequence[Callable[..., Any]]


@dataclass
class FunctionOptions:
    """What the decorators of a function ask of the compiler."""

    naked: bool = False
    inline: bool = False
    noinline: bool = False
    cold: bool = False
    section: str | None = None
    export: str | None = None
    interface: bool = False
    implements: Callable[..., Any] | None = None


def options_of(function: Any) -> FunctionOptions:
    """The options of `function`, made on first use."""
    if not hasattr(function, "__kernel_options__"):
        function.__kernel_options__ = FunctionOptions()
    options: FunctionOptions = function.__kernel_options__
    return options


def interface_options(function: Any) -> FunctionOptions | None:
    """The options of `function`, None if it has no decorator."""
    return getattr(function, "__kernel_options__", None)


def naked(function: F) -> F:
    """No prologue and no return: the body is `asm` only."""
    options_of(function).naked = True
    return function


def inline(function: F) -> F:
    """Always inlined."""
    options_of(function).inline = True
    return function


def noinline(function: F) -> F:
    """Never inlined."""
    options_of(function).noinline = True
    return function


def cold(function: F) -> F:
    """Rarely called: kept out of the way of the rest."""
    options_of(function).cold = True
    return function


def section(name: str) -> Callable[[F], F]:
    """Placed in the named section of the image."""

    def decorate(function: F) -> F:
        options_of(function).section = name
        return function

    return decorate


def export(symbol: str) -> Callable[[F], F]:
    """Has this symbol in the image, for assembly and other programs."""

    def decorate(function: F) -> F:
        options_of(function).export = symbol
        return function

    return decorate


def storage(integer: type[Integer]) -> Callable[[type[E]], type[E]]:
    """An enum is stored as `integer`; all of its values must fit."""

    def decorate(enumeration: type[E]) -> type[E]:
        kind = integer.representation
        for member in enumeration.__members__.values():
            if not kind.holds(int(member)):
                raise TypeError(f"{enumeration.__name__}.{member.name} = {int(member)} does not fit {kind}")
        flag = issubclass(enumeration, enum.Flag)
        enumeration.__kernel_type__ = EnumType(enumeration, kind, flag)  # type: ignore[attr-defined]
        if flag:
            enumeration.__invert__ = invert_flags  # type: ignore[method-assign]
        return enumeration

    return decorate


def invert_flags(flags: Any) -> Any:
    """`~flags`: the flags that have members and are not set. (Python's own answer varies by version.)"""
    known = functools.reduce(operator.or_, map(int, type(flags).__members__.values()), 0)
    return type(flags)(known & ~int(flags))


# Interfaces

_bound: list[Mapping[Any, Callable[..., Any]]] = [{}]  # the last entry holds for what runs now


def interface(function: Callable[P, R]) -> Callable[P, R]:
    """Declare a function that a program's manifest binds to an implementation. Its body is `...`."""

    @functools.wraps(function)
    def dispatch(*arguments: P.args, **keywords: P.kwargs) -> R:
        result: R = implementation_of(dispatch)(*arguments, **keywords)
        return result

    options_of(dispatch).interface = True
    return dispatch


def implements(declared: Callable[P, R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the function be one implementation of the interface function `declared`."""
    options = interface_options(declared)
    if options is None or not options.interface:
        raise TypeError(f"{getattr(declared, '__name__', declared)} is not an @interface function")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        options_of(function).implements = declared
        return function

    return decorate


def implementation_of(declared: Any) -> Callable[..., Any]:
    try:
        return _bound[-1][declared]
    except KeyError:
        text = f"{declared.__name__} has no implementation: give one in implementations="
        raise TypeError(text) from None


def by_interface(implementations: Implementations) -> dict[Any, Callable[..., Any]]:
    """`implementations` as a mapping from the interface functions."""
    if isinstance(implementations, Mapping):
        return dict(implementations)
    result: dict[Any, Callable[..., Any]] = {}
    for function in implementations:
        options = interface_options(function)
        if options is None or options.implements is None:
            raise TypeError(f"{function.__name__} implements nothing: decorate it with @implements(...)")
        if options.implements in result:
            raise TypeError(f"{options.implements.__name__} has two implementations")
        result[options.implements] = function
    return result


@contextlib.contextmanager
def bound(implementations: Implementations) -> Iterator[None]:
    """Within this context, calls in CPython of an interface function reach its implementation."""
    _bound.append({**_bound[-1], **by_interface(implementations)})
    try:
        yield
    finally:
        _bound.pop()


@interface
def panic_handler(message: str, file: str, line: u32) -> NoReturn:
    """Called when a compiled program stops: a failed check, `panic`, `unreachable`."""


# Formatters


class Formatter:
    """A logging function: in compiled code each part of its f-string is printed as it comes."""

    def __init__(
        self, text: Callable[[str], None], number: Callable[[u64, bool, u8, u8, u8], None], end: str
    ) -> None:
        self.text = text
        self.number = number
        self.end = end

    def __call__(self, message: str) -> None:
        """Outside of `definition` Python has formatted the message already."""
        self.text(message + self.end)


def formatter(
    text: Callable[[str], None], number: Callable[[u64, bool, u8, u8, u8], None], end: str = ""
) -> Formatter:
    """A function that prints its f-string by calls of `text` and `number`, then `end`."""
    return Formatter(text, number, end)
