"""Checking a whole program: from its roots to everything they reach.

Functions, statics and interface bindings are found by need. A function is checked once for each class whose
method it is (`self` has another type there); the errors of all functions are gathered before any is reported.
"""

from __future__ import annotations

import ast
import inspect
import types as python_types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from macadamia.lang import tree
from macadamia.lang.annotations import resolve_function_annotations
from macadamia.lang.check.bodies import check_function
from macadamia.lang.check.context import Context
from macadamia.lang.check.sources import definition_of
from macadamia.lang.diagnostics import CompileErrors, Diagnostic, Problem
from macadamia.lang.functions import interface_options, panic_handler
from macadamia.lang.intrinsics import assembly_of
from macadamia.lang.memory import StaticObject, function_at, memory, static_at
from macadamia.lang.types import (
    NEVER,
    WORD,
    ArrayType,
    FunctionType,
    PointerType,
    StructType,
    Type,
    VolatileType,
)

Implementations = Mapping[Any, Any] | Sequence[Any]


class Instance:
    """A function with the class it is compiled for, its signature and its tree."""

    def __init__(
        self, python: python_types.FunctionType, owner: Any, parameters: dict[str, Type], result: Type
    ) -> None:
        self.python = python
        self.owner = owner
        self.parameters = parameters
        self.result = result
        self.defaults = defaults_of(python)
        self.tree: tree.Function
        self.checked = False


class ProgramChecker:
    """The worklist of one program."""

    def __init__(self, implementations: Implementations) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.instances: dict[tuple[Any, Any], Instance] = {}
        self.statics: dict[int, tree.Static] = {}
        self.function_addresses: dict[int, tree.Function] = {}
        self.symbols: set[str] = set()
        self.modules: dict[str, None] = {}  # in the order they were reached
        self.implementations = implementations_by_interface(implementations)
        self._queue: list[Instance] = []

    # Functions

    def instance(self, function: Any, owner: Any = None) -> Instance:
        """The instance of `function` for class `owner`; raises TypeError when its signature is not usable."""
        options = interface_options(function)
        if options is not None and options.interface:
            return self.implementation(function)
        python = unwrap(function)
        key = (python, owner)
        if key not in self.instances:
            parameters, result = resolve_function_annotations(python, owner)
            instance = Instance(python, owner, parameters, result)
            instance.tree = self.declare(instance, options)
            self.instances[key] = instance
            self._queue.append(instance)
        return self.instances[key]

    def instance_at(self, context: Context, function: Any, owner: Any, node: ast.AST) -> Instance:
        """As `instance`, with errors at the place of use."""
        try:
            return self.instance(function, owner)
        except TypeError as error:
            help_ = "name one in the program's implementations" if "no implementation" in str(error) else ""
            raise context.problem(node, str(error), help_) from None

    def implementation(self, interface: Any) -> Instance:
        """The function bound to an interface; a plain Python callable becomes a callback (jit only)."""
        if interface not in self.implementations:
            raise TypeError(f"the interface {interface.__name__} has no implementation in this program")
        bound = self.implementations[interface]
        parameters, result = resolve_function_annotations(unwrap(interface), None)
        options = interface_options(bound)
        if options is not None and options.implements is not None:
            instance = self.instance(bound)
            if (list(instance.parameters.values()), instance.result) != (list(parameters.values()), result):
                raise TypeError(
                    f"{bound.__name__} does not have the signature of the interface {interface.__name__}"
                )
            return instance
        key = (interface, None)
        if key not in self.instances:
            instance = Instance(unwrap(interface), None, parameters, result)
            instance.tree = self.declare(instance, options)
            instance.tree.callback = bound
            self.instances[key] = instance
        return self.instances[key]

    def declare(self, instance: Instance, options: Any) -> tree.Function:
        """The tree of a function before its body is checked."""
        python = instance.python
        place = tree.Place(python.__code__.co_filename, python.__code__.co_firstlineno, 0)
        parameters = [tree.Local(name, type_, place) for name, type_ in instance.parameters.items()]
        function = tree.Function(self.unique(symbol_of(instance)), place, parameters, instance.result)
        if options is not None:
            function.naked, function.inline = options.naked, options.inline
            function.noinline, function.cold = options.noinline, options.cold
            function.section, function.exported = options.section, options.export
        self.reach_module(python.__module__)
        return function

    def reach_module(self, name: str) -> None:
        self.modules.setdefault(name)

    def unique(self, symbol: str) -> str:
        """`symbol`, numbered from the second use on: factories make many functions of one name."""
        candidate, number = symbol, 1
        while candidate in self.symbols:
            number += 1
            candidate = f"{symbol}#{number}"
        self.symbols.add(candidate)
        return candidate

    def check_all(self) -> None:
        """Check bodies until no unchecked function is left."""
        while self._queue:
            self.check_body(self._queue.pop())

    def check_body(self, instance: Instance) -> None:
        definition = definition_of(instance.python)
        if definition is None:
            self.diagnostics.append(no_source(instance))
            return
        instance.tree.place = tree.Place(instance.tree.place.file, definition.lineno, definition.col_offset)
        check_function(Context(self, instance.tree, instance.python, instance.owner, definition))

    # Statics

    def static(self, address: int, name: str | None = None) -> tree.Static | None:
        """The image object that contains `address`, registered with all that its contents point to."""
        item = static_at(address)
        if item is None:
            return None
        if item.address not in self.statics:
            symbol = self.unique(item.export or name or f"static.{item.address:#x}")
            self.statics[item.address] = static = tree.Static(
                symbol,
                item.type,
                item.address,
                item.section,
                item.readonly,
                max(item.alignment, item.type.alignment),
                item.export,
            )
            self.reach_contents(item)
            return static
        return self.statics[item.address]

    def reach_contents(self, item: StaticObject) -> None:
        """Statics and functions that the initial contents of `item` point to are part of the program too."""
        for type_, address in pointer_words(item.type, item.address):
            value = int.from_bytes(memory.bytes_at(address, WORD), "little")
            if value == 0:
                continue
            if isinstance(type_, FunctionType):
                self.function_addresses[value] = self.instance(function_at(value)).tree
            else:
                self.static(value)


def pointer_words(type_: Type, address: int) -> Iterator[tuple[Type, int]]:
    """Every word of an object that holds a pointer, with the pointer's type."""
    if isinstance(type_, PointerType | FunctionType):
        yield type_, address
    elif isinstance(type_, VolatileType):
        yield from pointer_words(type_.value, address)
    elif isinstance(type_, ArrayType):
        if holds_pointers(type_.element) and any(memory.bytes_at(address, type_.size)):
            for index in range(type_.length):
                yield from pointer_words(type_.element, address + index * type_.element.size)
    elif isinstance(type_, StructType):
        for item in type_.fields:
            yield from pointer_words(item.type, address + item.offset)


def holds_pointers(type_: Type) -> bool:
    if isinstance(type_, ArrayType):
        return holds_pointers(type_.element)
    if isinstance(type_, StructType):
        return any(holds_pointers(item.type) for item in type_.fields)
    return isinstance(type_, PointerType | FunctionType)


def implementations_by_interface(implementations: Implementations) -> dict[Any, Any]:
    if isinstance(implementations, Mapping):
        return dict(implementations)
    result: dict[Any, Any] = {}
    for function in implementations:
        options = interface_options(function)
        if options is None or options.implements is None:
            raise TypeError(f"{function.__name__} implements nothing: decorate it with @implements(...)")
        if options.implements in result:
            other = result[options.implements].__name__
            raise TypeError(
                f"{options.implements.__name__} is implemented twice: {other}, {function.__name__}"
            )
        result[options.implements] = function
    return result


def unwrap(function: Any) -> python_types.FunctionType:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not isinstance(function, python_types.FunctionType):
        raise TypeError(f"{function!r} is not a Python function")
    return function


def defaults_of(function: python_types.FunctionType) -> dict[str, object]:
    """Default values by parameter name, as they were bound when the function was made."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    values = function.__defaults__ or ()
    result: dict[str, object] = dict(zip(names[len(names) - len(values) :], values, strict=True))
    return result | (function.__kwdefaults__ or {})


def symbol_of(instance: Instance) -> str:
    """The dotted Python name; a method bears the name of the class it is compiled for."""
    python = instance.python
    if instance.owner is None:
        return f"{python.__module__}.{python.__qualname__}"
    return f"{instance.owner.__module__}.{instance.owner.__qualname__}.{python.__name__}"


def no_source(instance: Instance) -> Diagnostic:
    place = instance.tree.place
    name = instance.python.__qualname__
    if instance.python.__code__.co_flags & inspect.CO_COROUTINE:
        message, help_ = "an async function cannot be compiled", "write a loop or an explicit state machine"
    elif name.endswith("<lambda>"):
        message, help_ = "a lambda cannot be compiled", "define a function at module level and name it"
    else:
        message, help_ = f"the source of {name} cannot be read", "compiled functions come from source files"
    return Diagnostic(place.file, place.line, 0, 1, message, help_)


def check_program(
    roots: Sequence[Callable[..., Any]],
    implementations: Implementations = (),
    modules: Sequence[str] = (),
) -> tree.Program:
    """Check everything the roots reach. Raises CompileErrors with every error found."""
    try:
        checker = ProgramChecker(implementations)
        root_trees = [checker.instance(root).tree for root in roots]
        handler = checker.instance(panic_handler).tree if panic_handler in checker.implementations else None
    except TypeError as error:
        raise CompileErrors([root_problem(roots, str(error))]) from None
    if handler is not None and handler.result != NEVER:
        raise CompileErrors([root_problem(roots, "the panic handler must return NoReturn")])
    for name in modules:
        checker.reach_module(name)
    checker.check_all()
    if checker.diagnostics:
        raise CompileErrors(checker.diagnostics)
    assembly = [text for module in checker.modules for text in assembly_of.get(module, ())]
    functions = [instance.tree for instance in checker.instances.values()]
    return tree.Program(
        functions, list(checker.statics.values()), assembly, root_trees, handler, checker.function_addresses
    )


def root_problem(roots: Sequence[Callable[..., Any]], message: str) -> Diagnostic:
    code = getattr(roots[0], "__code__", None) if roots else None
    file, line = (code.co_filename, code.co_firstlineno) if code is not None else ("<program>", 1)
    return Diagnostic(file, line, 0, 1, message, "")


__all__ = ["Instance", "Problem", "ProgramChecker", "check_program"]
