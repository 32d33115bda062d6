"""The type of an expression by what its parts declare, without running it.

CPython finds most types in the values. Two it cannot see there: that of the side of a conditional expression
that was not taken, and that of a name whose first assignment in the source has not run. This module answers
those, from annotations alone; it shares nothing with the compiler's checker.
"""

from __future__ import annotations

import ast
import builtins
import enum
import inspect
import types as python_types
from collections.abc import Callable
from typing import Any

from macadamia.lang import intrinsics
from macadamia.lang.annotations import Scope, resolve_annotation, resolve_function_annotations
from macadamia.lang.conversion import type_of
from macadamia.lang.definition.rewriting import DYNAMIC, Names
from macadamia.lang.integers import bitfield
from macadamia.lang.types import (
    BOOL,
    I64,
    U8,
    U64,
    ArrayType,
    AtomicType,
    EnumType,
    FunctionType,
    IntType,
    LiteralType,
    NewType,
    NullType,
    PointerType,
    StringType,
    StructType,
    TupleType,
    Type,
    UserPointerType,
    VolatileType,
)

LITERAL = LiteralType(0)  # of whatever value: only that it is a literal matters here


class StaticTypes:
    """Types within one function compiled for class `owner`. None means that the type is not known."""

    def __init__(
        self, node: ast.FunctionDef, names: Names, scope: Scope, parameters: dict[str, Type]
    ) -> None:
        self.node = node
        self.names = names
        self.scope = scope
        self.known: dict[str, Type | None] = dict(parameters)

    def of(self, node: ast.expr) -> Type | None:
        """The type of the value of `node`."""
        handler = HANDLERS.get(type(node))
        return handler(self, node) if handler else None

    def of_name(self, name: str) -> Type | None:
        """The type of a local: its annotation, or that of its first assignment in the source."""
        if name not in self.known:
            self.known[name] = None  # while it is being found out: an assignment may use the name itself
            self.known[name] = self.first_binding(name)
        return self.known[name]

    def first_binding(self, name: str) -> Type | None:
        for statement in statements_in_order(self.node.body):
            if isinstance(statement, ast.AnnAssign) and is_name(statement.target, name):
                return self.annotation(statement.annotation)
            if isinstance(statement, ast.For) and is_name(statement.target, name):
                return self.element_of_loop(statement.iter)
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    if is_name(target, name):
                        return self.of(statement.value)
                    if isinstance(target, ast.Tuple) and any(is_name(item, name) for item in target.elts):
                        return self.item(
                            statement.value, [is_name(item, name) for item in target.elts].index(True)
                        )
        return None

    def item(self, value: ast.expr, index: int) -> Type | None:
        """The type of one item of a tuple that is being unpacked."""
        if isinstance(value, ast.Tuple):
            return self.of(value.elts[index])
        whole = self.of(value)
        return whole.items[index] if isinstance(whole, TupleType) else None

    def annotation(self, node: ast.expr) -> Type:
        """The type an annotation in the function's body names."""
        text = compile(ast.Expression(node), "<annotation>", "eval")
        value = eval(text, dict(self.names.globals), {**self.scope.names, **self.names.closure})
        return resolve_annotation(value, self.scope)

    def element_of_loop(self, node: ast.expr) -> Type | None:
        if isinstance(node, ast.Call) and self.names.static(node.func) is intrinsics.range:
            return typed(self.common(node.args[:2]))
        array = self.of(node)
        if isinstance(array, PointerType) and isinstance(array.target, ArrayType):
            return held(array.target.element)
        return None

    def common(self, nodes: list[ast.expr]) -> Type | None:
        """The type that several operands agree on."""
        result: Type | None = LITERAL
        for node in nodes:
            result = join(result, self.of(node))
        return result

    def object(self, value: Any) -> Type | None:
        """The type of something bound at import time."""
        if type(value) is int:
            return LITERAL
        if isinstance(value, enum.Enum):
            return getattr(value, "__kernel_type__", None)
        try:
            return type_of(value)
        except TypeError:
            return None

    def attribute(self, node: ast.Attribute) -> Type | None:
        if self.names.static(node) is not DYNAMIC:
            return self.object(self.names.static(node))
        base = self.of(node.value)
        struct = struct_of(base)
        if struct is not None and node.attr in struct.by_name:
            return held(struct.by_name[node.attr].type)
        owner = owner_of(base)
        found = inspect.getattr_static(owner, node.attr, DYNAMIC) if owner else DYNAMIC
        if isinstance(found, property):
            return resolve_function_annotations(found.fget, owner)[1]  # type: ignore[arg-type]
        if isinstance(found, bitfield):
            return resolve_annotation(found.base)
        return None if found is DYNAMIC else self.object(found)

    def call(self, node: ast.Call) -> Type | None:
        callee = self.names.static(node.func)
        if callee is DYNAMIC:
            return self.dynamic_call(node)
        if callee in RESULTS:
            return RESULTS[callee](self, node)
        if isinstance(callee, type):
            return resolve_annotation(callee, self.scope)
        if isinstance(callee, python_types.MethodType):  # u32.wrap
            return resolve_annotation(callee.__self__)
        return resolve_function_annotations(callee)[1] if callable(callee) else None

    def dynamic_call(self, node: ast.Call) -> Type | None:
        """A method of a value, or a pointer to a function."""
        if isinstance(node.func, ast.Attribute):
            base = self.of(node.func.value)
            if isinstance(base, PointerType) and isinstance(base.target, AtomicType):
                return base.target.value
            owner = owner_of(base)
            found = inspect.getattr_static(owner, node.func.attr, None) if owner else None
            if isinstance(found, python_types.FunctionType) and node.func.attr == "replace":
                return base
            if isinstance(found, python_types.FunctionType):
                return resolve_function_annotations(found, owner)[1]
            if isinstance(found, staticmethod):
                return resolve_function_annotations(found.__func__)[1]
        pointer = self.of(node.func)
        return pointer.result if isinstance(pointer, FunctionType) else None

    def argument_type(self, node: ast.Call) -> Type:
        """The type that the first argument of `local`, `cast`, ... names."""
        return self.annotation(node.args[0])

    def binary(self, node: ast.BinOp) -> Type | None:
        left, right = self.of(node.left), self.of(node.right)
        if isinstance(left, PointerType | UserPointerType) and isinstance(
            right, PointerType | UserPointerType
        ):
            return I64
        if isinstance(left, PointerType | UserPointerType) or isinstance(node.op, ast.LShift | ast.RShift):
            return left
        if isinstance(left, NewType):
            return left.base if right == left else left
        return join(left, right)

    def subscript(self, node: ast.Subscript) -> Type | None:
        base = self.of(node.value)
        if isinstance(base, TupleType) and isinstance(node.slice, ast.Constant):
            return base.items[int(str(node.slice.value))]
        if not isinstance(base, PointerType):
            return None
        return held(base.target.element if isinstance(base.target, ArrayType) else base.target)


def statements_in_order(body: list[ast.stmt]) -> list[ast.stmt]:
    found = [item for statement in body for item in ast.walk(statement) if isinstance(item, ast.stmt)]
    return sorted(found, key=lambda item: (item.lineno, item.col_offset))


def is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def held(type_: Type) -> Type:
    """What a name holds of an object of `type_`: the value, or a pointer to what lies in memory."""
    if isinstance(type_, VolatileType):
        return held(type_.value)
    return PointerType(type_) if isinstance(type_, StructType | ArrayType | AtomicType) else type_


def struct_of(type_: Type | None) -> StructType | None:
    found = type_.target if isinstance(type_, PointerType) else None
    return found if isinstance(found, StructType) else None


def owner_of(type_: Type | None) -> Any:
    """The class whose methods and properties a value of `type_` has."""
    if isinstance(type_, NewType | EnumType):
        return type_.python
    struct = struct_of(type_)
    return struct.python if struct else None


def join(left: Type | None, right: Type | None) -> Type | None:
    """The type of two sides that must have one: a literal adapts, the narrower widens."""
    if left is None or right is None:
        return None
    if isinstance(left, LiteralType):
        return right
    if isinstance(right, LiteralType):
        return left
    if isinstance(left, IntType) and isinstance(right, IntType) and left.signed == right.signed:
        return max(left, right, key=lambda kind: kind.bits)
    if isinstance(left, NullType) or isinstance(right, NullType):
        pointer = right if isinstance(left, NullType) else left
        return pointer.as_nullable() if isinstance(pointer, PointerType | FunctionType) else pointer
    if isinstance(left, PointerType) and isinstance(right, PointerType):
        return left.as_nullable() if right.nullable else left
    return left if left == right else None


def typed(type_: Type | None) -> Type | None:
    return U64 if isinstance(type_, LiteralType) else type_


def constant(self: StaticTypes, node: ast.Constant) -> Type | None:
    return self.object(node.value)


def name(self: StaticTypes, node: ast.Name) -> Type | None:
    value = self.names.static(node)
    return self.of_name(node.id) if value is DYNAMIC else self.object(value)


def unary(self: StaticTypes, node: ast.UnaryOp) -> Type | None:
    return BOOL if isinstance(node.op, ast.Not) else self.of(node.operand)


def tuple_type(self: StaticTypes, node: ast.Tuple) -> Type | None:
    items = [self.of(item) for item in node.elts]
    known = [item for item in items if item is not None]
    return TupleType(tuple(known)) if len(known) == len(items) else None


HANDLERS: dict[type[ast.expr], Callable[[StaticTypes, Any], Type | None]] = {
    ast.Constant: constant,
    ast.Name: name,
    ast.Attribute: StaticTypes.attribute,
    ast.Call: StaticTypes.call,
    ast.BinOp: StaticTypes.binary,
    ast.Subscript: StaticTypes.subscript,
    ast.UnaryOp: unary,
    ast.BoolOp: lambda _self, _node: BOOL,
    ast.Compare: lambda _self, _node: BOOL,
    ast.IfExp: lambda self, node: self.common([node.body, node.orelse]),
    ast.Tuple: tuple_type,
}


def same_as_argument(self: StaticTypes, node: ast.Call) -> Type | None:
    return self.of(node.args[0])


def pair(self: StaticTypes, node: ast.Call) -> Type | None:
    type_ = self.common(node.args)
    return type_ and TupleType((type_, type_))


def pointee(self: StaticTypes, node: ast.Call) -> Type | None:
    pointer = self.of(node.args[0])
    return held(pointer.target) if isinstance(pointer, PointerType) else None


def cast_result(self: StaticTypes, node: ast.Call) -> Type | None:
    given = self.of(node.args[1])
    if isinstance(given, UserPointerType):
        return UserPointerType(self.argument_type(node))
    nullable = isinstance(given, PointerType) and given.nullable
    return PointerType(self.argument_type(node), nullable=nullable)


def place_result(self: StaticTypes, node: ast.Call) -> Type | None:
    """`pointer_to(s.field)`, `pointer_to(a[i])`."""
    type_ = self.of(node.args[0])
    return type_ if type_ is None or is_aggregate_pointer(type_) else PointerType(type_)


def is_aggregate_pointer(type_: Type) -> bool:
    return isinstance(type_, PointerType) and isinstance(type_.target, StructType | ArrayType | AtomicType)


def assembly_result(self: StaticTypes, node: ast.Call) -> Type | None:
    if isinstance(node.args[0], ast.Tuple):
        return TupleType(tuple(self.annotation(item) for item in node.args[0].elts))
    return self.argument_type(node)


def length_result(self: StaticTypes, node: ast.Call) -> Type | None:
    return U64 if isinstance(self.of(node.args[0]), StringType) else LITERAL


RESULTS: dict[Any, Callable[[StaticTypes, ast.Call], Type | None]] = {
    builtins.min: lambda self, node: self.common(node.args),
    builtins.max: lambda self, node: self.common(node.args),
    builtins.abs: same_as_argument,
    builtins.divmod: pair,
    builtins.len: length_result,
    intrinsics.sizeof: lambda _self, _node: LITERAL,
    intrinsics.alignof: lambda _self, _node: LITERAL,
    intrinsics.offsetof: lambda _self, _node: LITERAL,
    intrinsics.local: lambda self, node: PointerType(self.argument_type(node)),
    intrinsics.address_of: lambda _self, _node: U64,
    intrinsics.pointer_at: lambda self, node: PointerType(self.argument_type(node)),
    intrinsics.user_pointer_at: lambda self, node: UserPointerType(self.argument_type(node)),
    intrinsics.cast: cast_result,
    intrinsics.pointer_to: place_result,
    intrinsics.text_bytes: lambda _self, _node: PointerType(U8),
    intrinsics.volatile_load: pointee,
    intrinsics.popcount: same_as_argument,
    intrinsics.leading_zeros: same_as_argument,
    intrinsics.trailing_zeros: same_as_argument,
    intrinsics.byte_swap: same_as_argument,
    intrinsics.rotate_left: same_as_argument,
    intrinsics.multiply_high: lambda _self, _node: U64,
    intrinsics.likely: lambda _self, _node: BOOL,
    intrinsics.unlikely: lambda _self, _node: BOOL,
    intrinsics.asm_value: assembly_result,
}
