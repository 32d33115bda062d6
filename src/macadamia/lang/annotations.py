"""From annotations to types: the subscriptable names `Ptr`, `Array`, ... and what may stand in an annotation.

A forward reference is a string. It is looked up late, when a layout or a signature is needed, in the scope of
the class or function it stands in.
"""

from __future__ import annotations

import collections.abc
import contextlib
import enum
import inspect
import sys
import types as python_types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from macadamia.lang.types import (
    BOOL,
    NEVER,
    NONE,
    STRING,
    AnnotationError,
    ArrayType,
    AtomicType,
    EnumType,
    FunctionType,
    Later,
    PointerType,
    StructType,
    TupleType,
    Type,
    UserPointerType,
    VolatileType,
)

V = TypeVar("V")
N = TypeVar("N")

if TYPE_CHECKING:

    class Form(Generic[V, N]):
        """What mypy takes `Array[u8, 16]` for as a value: a type of objects V. Of a pointer N is None."""

        def __call__(self, *values: Any) -> V: ...
        def __or__(self, other: None) -> Form[V, N]: ...


class TypeForm:
    """A subscriptable type name. `name[...]` makes the type; for mypy the plug-in says what it stands for."""

    __kernel_type_form__ = True

    def __init__(self, name: str, parameters: str, make: Callable[..., Type]) -> None:
        self.__name__ = name
        self._parameters = parameters
        self._make = make

    def __getitem__(self, key: Any) -> Form[Any, Any]:
        form: Form[Any, Any]
        form = cast(Any, self._make(*key) if isinstance(key, tuple) else self._make(key))
        return form

    def __call__(self, *_arguments: object) -> Any:
        raise AnnotationError(f"{self.__name__} needs its parameters: write {self}")

    def __repr__(self) -> str:
        return f"{self.__name__}[{self._parameters}]"


Ptr = TypeForm("Ptr", "T", PointerType)
UserPtr = TypeForm("UserPtr", "T", UserPointerType)
Array = TypeForm("Array", "T, N", ArrayType)
Volatile = TypeForm("Volatile", "T", VolatileType)
Atomic = TypeForm("Atomic", "T", AtomicType)


class Scope:
    """Where an annotation stands: the names it may use, the class it belongs to, what type variables mean."""

    def __init__(
        self,
        names: Mapping[str, Any],
        module: Mapping[str, Any],
        owner: Any = None,
        arguments: Mapping[Any, Any] | None = None,
    ) -> None:
        self.names = names
        self.module = module
        self.owner = owner
        self.arguments = getattr(owner, "__kernel_type_arguments__", {}) if arguments is None else arguments

    def evaluate(self, text: str) -> Any:
        try:
            return eval(text, dict(self.module), self.names)
        except Exception as error:
            raise AnnotationError(f"the annotation {text!r} cannot be evaluated: {error}") from error


def class_scope(definition: type, owner: type | None = None) -> Scope:
    """The scope of annotations in the body of `definition`, as its subclass `owner` inherits it."""
    module = sys.modules.get(definition.__module__)
    return Scope(own_names(definition), vars(module) if module else {}, owner or definition)


def function_scope(function: python_types.FunctionType, owner: type | None = None) -> Scope:
    """The scope of annotations in the signature of `function`, a method of `owner` if that is given."""
    names: dict[str, Any] = {}
    class_name = function.__qualname__.rpartition(".")[0]
    for base in owner.__mro__ if owner else ():
        if (base.__module__, base.__qualname__) == (function.__module__, class_name):
            names = own_names(base)
    return Scope(names | closure_of(function), function.__globals__, owner)


def own_names(class_: type) -> dict[str, Any]:
    """A class and its type variables by name: in its body they are not bound yet, or local to a function."""
    names = {variable.__name__: variable for variable in getattr(class_, "__parameters__", ())}
    return names | {class_.__name__: class_}


def closure_of(function: python_types.FunctionType) -> dict[str, Any]:
    """The names of enclosing functions that are bound."""
    result: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            result[name] = cell.cell_contents
    return result


def scope_of(scope: Any) -> Scope:
    if scope is None:
        return Scope({}, {})
    if isinstance(scope, Scope):
        return scope
    return class_scope(scope) if isinstance(scope, type) else function_scope(inspect.unwrap(scope))


def resolve_annotation(annotation: Any, scope: Any = None) -> Type:
    """The type that `annotation` stands for.

    `scope` is a Scope, or the class or function in which the annotation is written: it gives a meaning to
    strings, type variables and `Self`. TypeError says what to write instead of what cannot be a type.
    """
    scope = scope_of(scope)
    if isinstance(annotation, Type):
        return resolve_form(annotation, scope)
    if annotation is None or annotation is type(None):
        return NONE
    if isinstance(annotation, str):
        return resolve_annotation(scope.evaluate(annotation), scope)
    if isinstance(annotation, TypeVar):
        return resolve_variable(annotation, scope)
    if annotation is Self:
        if scope.owner is None:
            raise AnnotationError("Self has a meaning in a class only")
        return resolve_annotation(scope.owner)
    if annotation in (typing.NoReturn, typing.Never):
        return NEVER
    if isinstance(annotation, python_types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return resolve_union(annotation, scope)
    if typing.get_origin(annotation) is collections.abc.Callable:
        parameters, result = typing.get_args(annotation)
        if parameters is ...:
            raise AnnotationError("Callable[..., R] has no signature: write Callable[[A, B], R]")
        items = tuple(resolve_annotation(item, scope) for item in parameters)
        return FunctionType(items, resolve_annotation(result, scope))
    if typing.get_origin(annotation) is tuple:
        return resolve_tuple(typing.get_args(annotation), scope)
    if isinstance(annotation, type):
        return resolve_class(annotation, scope)
    raise AnnotationError(f"{annotation!r} is not a type of kernel Python")


def resolve_form(type_: Type, scope: Scope) -> Type:
    """`type_` with the names inside it looked up in `scope`; those behind a pointer when they are needed."""
    if isinstance(type_, VolatileType | AtomicType):
        return type(type_)(resolve_annotation(type_.value, scope))
    if not isinstance(type_, PointerType | UserPointerType | ArrayType) or not depends_on_scope(type_):
        return type_
    result: PointerType | UserPointerType | ArrayType
    if isinstance(type_, PointerType):
        result = PointerType(type_._target, nullable=type_.nullable)
    elif isinstance(type_, UserPointerType):
        result = UserPointerType(type_._target)
    else:
        result = ArrayType(type_._element, type_.length)
    result.scope = scope
    return result


def inner(type_: PointerType | UserPointerType | ArrayType) -> object:
    return type_._element if isinstance(type_, ArrayType) else type_._target


def depends_on_scope(annotation: object) -> bool:
    """Whether the meaning of `annotation` depends on where it is written."""
    if isinstance(annotation, PointerType | UserPointerType | ArrayType):
        return annotation.scope is None and depends_on_scope(inner(annotation))
    if isinstance(annotation, VolatileType | AtomicType):
        return depends_on_scope(annotation.value)
    if isinstance(annotation, type):
        return is_open(annotation)
    return not isinstance(annotation, Type)


def is_open(class_: type) -> bool:
    """Whether a generic class lacks some of its arguments, or has type variables for them."""
    return bool(getattr(class_, "__parameters__", ()))


def resolve_variable(variable: TypeVar, scope: Scope) -> Type:
    argument = scope.arguments.get(variable, variable)
    if argument is variable:
        name = getattr(scope.owner, "__name__", "the class")
        raise AnnotationError(
            f"{variable.__name__} is not bound here: write {name}[...] with a type in the brackets"
        )
    return resolve_annotation(argument, scope)


def resolve_union(annotation: Any, scope: Scope) -> Type:
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    if len(parts) == 1:
        return resolve_annotation(parts[0], scope) | None
    raise AnnotationError(f"{annotation} is not a type: only `| None` is, after a pointer")


def resolve_tuple(items: tuple[Any, ...], scope: Scope) -> Type:
    if not items or ... in items:
        raise AnnotationError("a tuple has a fixed number of items: write tuple[A, B]")
    return TupleType(tuple(resolve_annotation(item, scope) for item in items))


INSTEAD = {
    int: "int has no size: write u64, i32, ...",
    float: "float does not exist in a kernel: write an integer of a fixed unit",
    complex: "complex does not exist in a kernel: write integers",
    bytes: "bytes does not exist: write Ptr[u8] and a length",
    list: "list does not exist: write Array[T, N]",
    dict: "dict does not exist: write an Array, or a container of macadamia.lang.containers",
    set: "set does not exist: write a Bitmap of macadamia.lang.containers",
    tuple: "tuple needs its items: write tuple[A, B]",
    object: "object has no layout: write the struct",
}


Later.resolve_annotation = resolve_annotation


def resolve_class(class_: type, scope: Scope) -> Type:
    if class_ is bool:
        return BOOL
    if class_ is str:
        return STRING
    if issubclass(class_, enum.Enum) and not isinstance(getattr(class_, "__kernel_type__", None), EnumType):
        raise AnnotationError(
            f"the enum {class_.__name__} has no size: decorate it with @storage(u8) or another integer"
        )
    if is_open(class_):
        class_ = class_.kernel_bound(scope.arguments)  # type: ignore[attr-defined]
    type_ = getattr(class_, "__kernel_type__", None)
    if isinstance(type_, Type):
        return type_
    raise AnnotationError(
        INSTEAD.get(class_, f"{class_.__name__} is not a type of kernel Python: derive it from Struct")
    )


def resolve_function_annotations(
    function: Callable[..., Any], owner: Any = None
) -> tuple[dict[str, Type], Type]:
    """The types of the parameters, by name, and of the result.

    `owner` is the class for which a method is compiled: `self` is a pointer to a struct, or the value itself.
    """
    plain: python_types.FunctionType = inspect.unwrap(function)
    scope = function_scope(plain, owner)
    annotations = inspect.get_annotations(plain)
    code = plain.__code__
    parameters: dict[str, Type] = {}
    for index, name in enumerate(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]):
        if name in annotations:
            parameters[name] = resolved(annotations[name], scope, f"parameter {name}")
        elif index == 0 and owner is not None:
            parameters[name] = self_type(owner)
        else:
            raise AnnotationError(f"parameter {name} of {plain.__qualname__} has no type: write {name}: u64")
    if "return" not in annotations:
        raise AnnotationError(f"{plain.__qualname__} has no result type: write -> None or another type")
    return parameters, resolved(annotations["return"], scope, "the result")


def resolved(annotation: Any, scope: Scope, what: str) -> Type:
    try:
        return resolve_annotation(annotation, scope)
    except TypeError as error:
        raise AnnotationError(f"{what}: {error}") from None


def self_type(owner: Any) -> Type:
    """What `self` is in a method: the struct's pointer, or the enum or opaque integer."""
    type_ = resolve_annotation(owner)
    return PointerType(type_) if isinstance(type_, StructType) else type_
