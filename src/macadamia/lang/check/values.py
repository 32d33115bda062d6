"""Names, constants, fields and elements: how a value or the place it lies in is named."""

from __future__ import annotations

import ast
import enum
import inspect
import types as python_types
from typing import Any

from macadamia.lang import tree
from macadamia.lang.check.context import NOT_STATIC, Context, expression_of
from macadamia.lang.check.conversions import as_index, coerce
from macadamia.lang.diagnostics import Problem
from macadamia.lang.integers import bitfield
from macadamia.lang.memory import function_address
from macadamia.lang.tree import Conversion, Operator
from macadamia.lang.types import (
    BOOL,
    NULL,
    STRING,
    U8,
    U64,
    ArrayType,
    AtomicType,
    EnumType,
    FunctionType,
    IntType,
    LiteralType,
    NewType,
    PointerType,
    StringType,
    StructType,
    TupleType,
    Type,
    VolatileType,
)

AGGREGATES = (StructType, ArrayType, AtomicType)


def lies_in_memory(type_: Type) -> bool:
    """Whether a name holds a pointer to such an object rather than the object."""
    return isinstance(type_, AGGREGATES)


# Constants


@expression_of(ast.Constant)
def check_constant(context: Context, node: ast.Constant, _hint: Type | None) -> tree.Expression:
    if isinstance(node.value, bool | int | str) or node.value is None:
        return constant(context, node.value, node)
    kind = type(node.value).__name__
    help_ = {
        "float": "there are no floats: use integers of a fixed unit, such as nanoseconds",
        "bytes": "write a str, and text_bytes(s) for its bytes",
        "ellipsis": "a compiled function needs a body; @interface functions are declared with ...",
    }
    raise context.problem(node, f"a {kind} constant is not part of kernel Python", help_.get(kind, ""))


def constant(context: Context, value: Any, node: ast.AST, name: str | None = None) -> tree.Expression:
    """The expression for a Python object bound at import time. `name` is what a static will be called."""
    place = context.place(node)
    if value is None:
        return tree.Null(NULL, place)
    if isinstance(value, bool):
        return tree.Constant(BOOL, place, int(value))
    if isinstance(value, int):
        type_ = getattr(type(value), "__kernel_type__", None)
        if isinstance(value, enum.Enum) and type_ is None:
            help_ = f"decorate {type(value).__name__} with @storage(u32) or another width"
            raise context.problem(node, f"the enum {type(value).__name__} has no storage type", help_)
        return tree.Constant(type_ or LiteralType(int(value)), place, int(value))
    if isinstance(value, str):
        return text(context, value, node)
    if hasattr(value, "kernel_address") and not isinstance(value, type):
        return static_address(context, value, node, name)
    if callable(value) and not isinstance(value, type):
        return function_value(context, value, node)
    kind = type(value).__name__
    raise context.problem(
        node,
        f"{name or 'this'} is a {kind}, which has no meaning at run time",
        "use an int, a str, an enum member, a Struct instance, Array[...]() or static(...)",
    )


def text(context: Context, value: str, node: ast.AST) -> tree.Text:
    if not value.isascii():
        raise context.problem(node, "a text with characters beyond ASCII", "its length in bytes would differ")
    return tree.Text(STRING, context.place(node), value)


def static_address(context: Context, value: Any, node: ast.AST, name: str | None) -> tree.Expression:
    """A pointer to an object of the image, or into one."""
    place = context.place(node)
    address, target = value.kernel_address, value.kernel_type
    qualified = f"{context.python.__module__}.{name}" if name else None
    try:
        static = context.program.static(address, qualified)
    except TypeError as error:
        raise context.problem(node, str(error)) from None
    if static is None:
        raise context.problem(node, f"{name or 'this'} does not lie in a static object")
    base: tree.Expression = tree.StaticAddress(PointerType(static.type), place, static)
    if address == static.address and target == static.type:
        return base
    byte = tree.Convert(PointerType(U8), place, Conversion.REINTERPRET, base)
    offset = tree.Constant(U64, place, address - static.address)
    inside = tree.ElementAddress(PointerType(U8), place, byte, offset, None)
    return tree.Convert(PointerType(target), place, Conversion.REINTERPRET, inside)


def function_value(context: Context, value: Any, node: ast.AST) -> tree.Expression:
    """A function used as a value: its address."""
    instance = context.program.instance_at(context, value, None, node)
    type_ = FunctionType(tuple(instance.parameters.values()), instance.result)
    # Known by number, so that CPython and jit agree on what a pointer in memory points to.
    context.program.function_addresses[function_address(value)] = instance.tree
    return tree.FunctionAddress(type_, context.place(node), instance.tree)


# Names


@expression_of(ast.Name)
def check_name(context: Context, node: ast.Name, _hint: Type | None) -> tree.Expression:
    static = context.static_name(node)
    if static is not NOT_STATIC:
        return constant(context, static, node, node.id)
    return local_value(context, node)


def local_value(context: Context, node: ast.Name) -> tree.Expression:
    name = node.id
    if name in context.poisoned:
        raise Problem(None)  # reported at its cause
    if context.assigned is not None and name not in context.assigned:
        if name in context.locals:
            message = f"{name} has no value on some path to here"
            raise context.problem(node, message, "assign it before the branch or loop")
        raise context.problem(node, f"{name} is used before it is assigned", "assign it first")
    if name not in context.locals:  # only in code no path reaches
        raise Problem(None)
    local = context.locals[name]
    return tree.LocalValue(local.type, context.place(node), local)


# Memory


def load(context: Context, pointer: tree.Expression, type_: Type, node: ast.AST) -> tree.Expression:
    """The value at `pointer`; of an object that lies in memory, the pointer itself."""
    if lies_in_memory(type_):
        return pointer
    if isinstance(type_, VolatileType):
        return tree.Load(type_.value, context.place(node), pointer, volatile=True)
    return tree.Load(type_, context.place(node), pointer)


class Target:
    """A place that can be loaded from and stored to: a pointer, and the bit-field when it is one."""

    def __init__(self, pointer: tree.Expression, type_: Type, field: Any = None) -> None:
        self.pointer = pointer
        self.type = type_
        self.field = field

    def load(self, context: Context, node: ast.AST) -> tree.Expression:
        if self.field is not None and self.field.bit_width:
            return tree.LoadBits(self.type, context.place(node), self.pointer, self.field)
        return load(context, self.pointer, self.type, node)

    def store(self, context: Context, value: tree.Expression, node: ast.AST) -> tree.Statement:
        if self.field is not None and self.field.bit_width:
            return tree.StoreBits(context.place(node), self.pointer, self.field, value)
        volatile = isinstance(self.type, VolatileType)
        return tree.Store(context.place(node), self.pointer, value, volatile)

    @property
    def value_type(self) -> Type:
        return self.type.value if isinstance(self.type, VolatileType) else self.type


def target_of(context: Context, node: ast.expr) -> Target:
    """The memory that an attribute or subscript names."""
    if isinstance(node, ast.Attribute):
        base = context.typed(node.value)
        return field_target(context, base, node)
    if isinstance(node, ast.Subscript):
        return element_target(context, context.typed(node.value), node)
    raise context.problem(node, "this cannot be assigned to or pointed at", "name a field or an element")


def field_target(context: Context, base: tree.Expression, node: ast.Attribute) -> Target:
    struct = struct_of(base.type)
    if struct is None:
        raise context.problem(node, f"{base.type} has no fields", attribute_help(base.type, node.attr))
    if node.attr not in struct.by_name:
        names = ", ".join(struct.by_name)
        raise context.problem(node, f"{struct} has no field {node.attr}", f"its fields: {names}")
    item = struct.by_name[node.attr]
    pointer = tree.FieldAddress(PointerType(item.type), context.place(node), base, item)
    return Target(pointer, item.type, item)


def struct_of(type_: Type) -> StructType | None:
    if isinstance(type_, PointerType) and isinstance(type_.target, StructType):
        return type_.target
    return None


def attribute_help(type_: Type, name: str) -> str:
    if isinstance(type_, PointerType) and name in ("value", "contents", "deref"):
        return "write p[0] for what p points to"
    if type_.__class__.__name__ == "UserPointerType":
        return "user memory is only reached by copying from and to it, with a check"
    return ""


def element_target(context: Context, base: tree.Expression, node: ast.Subscript) -> Target:
    if isinstance(node.slice, ast.Slice):
        raise context.problem(node, "slices are not part of kernel Python", "pass a pointer and a length")
    if not isinstance(base.type, PointerType):
        raise context.problem(node, f"{base.type} cannot be indexed", subscript_help(base.type))
    index = as_index(context, context.expression(node.slice), node.slice)
    place = context.place(node)
    target = base.type.target
    if isinstance(target, ArrayType):
        if isinstance(index, tree.Constant) and index.value >= target.length:
            raise context.problem(node, f"index {index.value} is out of range of {target}")
        element = target.element
        pointer = tree.ElementAddress(PointerType(element), place, base, index, target.length)
        return Target(pointer, element)
    return Target(tree.ElementAddress(PointerType(target), place, base, index, None), target)


def subscript_help(type_: Type) -> str:
    if isinstance(type_, StringType):
        return "text_bytes(s)[i] gives a byte of a text"
    if type_.__class__.__name__ == "UserPointerType":
        return "user memory is only reached by copying from and to it, with a check"
    return "only pointers, arrays and tuples have elements"


@expression_of(ast.Attribute)
def check_attribute(context: Context, node: ast.Attribute, _hint: Type | None) -> tree.Expression:
    static = context.static_object(node)
    if static is not NOT_STATIC:
        return constant(context, static, node, node.attr)
    base = context.typed(node.value)
    if isinstance(base.type, NewType | EnumType):
        return value_attribute(context, base, base.type.python, node)
    struct = struct_of(base.type)
    if struct is not None and node.attr not in struct.by_name:
        return class_attribute(context, base, struct, node)
    return field_target(context, base, node).load(context, node)


def value_attribute(
    context: Context, base: tree.Expression, python: Any, node: ast.Attribute
) -> tree.Expression:
    """A bit-field, property or constant of an opaque integer or enum."""
    found = inspect.getattr_static(python, node.attr, None)
    if isinstance(found, bitfield):
        return extract_bits(context, base, found, node)
    if isinstance(found, property):
        return property_value(context, base, python, found, node)
    return class_constant(context, python, node)


def extract_bits(context: Context, base: tree.Expression, item: Any, node: ast.AST) -> tree.Expression:
    """`tag.untyped`: shift down and mask, in the base type, then to the bit-field's type."""
    assert isinstance(base.type, NewType)
    place, word = context.place(node), base.type.base
    value: tree.Expression = tree.Convert(word, place, Conversion.REINTERPRET, base)
    if item.low:
        amount = tree.Constant(word, place, item.low)
        value = tree.Binary(word, place, Operator.SHIFT_RIGHT, value, amount)
    if item.low + item.width < word.bits:
        mask = tree.Constant(word, place, (1 << item.width) - 1)
        value = tree.Binary(word, place, Operator.AND, value, mask)
    result = context.resolve(item.base)
    if result == word:
        return value
    if isinstance(result, IntType):
        return tree.Convert(result, place, Conversion.TRUNCATE, value)
    if isinstance(result, NewType | EnumType) and tree.integer_of(result) != word:
        value = tree.Convert(tree.integer_of(result), place, Conversion.TRUNCATE, value)
    kind = Conversion.TRUTH if result == BOOL else Conversion.REINTERPRET
    return tree.Convert(result, place, kind, value)


def property_value(
    context: Context, base: tree.Expression, owner: Any, item: property, node: ast.AST
) -> tree.Expression:
    instance = context.program.instance_at(context, item.fget, owner, node)
    (wanted,) = instance.parameters.values()
    argument = coerce(context, base, wanted, node, "self")
    return tree.Call(instance.result, context.place(node), instance.tree, [argument])


def class_attribute(
    context: Context, base: tree.Expression, struct: StructType, node: ast.Attribute
) -> tree.Expression:
    """A property or class constant used through a pointer."""
    found = inspect.getattr_static(struct.python, node.attr, None)
    if isinstance(found, property):
        return property_value(context, base, struct.python, found, node)
    return class_constant(context, struct.python, node)


def class_constant(context: Context, python: Any, node: ast.Attribute) -> tree.Expression:
    found = inspect.getattr_static(python, node.attr, NOT_STATIC)
    if found is NOT_STATIC:
        raise context.problem(node, f"{python.__name__} has no {node.attr}")
    if isinstance(found, python_types.FunctionType | staticmethod):
        raise context.problem(node, f"the method {node.attr} is not called", f"write {node.attr}(...)")
    return constant(context, getattr(python, node.attr), node, f"{python.__qualname__}.{node.attr}")


@expression_of(ast.Subscript)
def check_subscript(context: Context, node: ast.Subscript, _hint: Type | None) -> tree.Expression:
    static = context.static_object(node)
    if static is not NOT_STATIC:
        return constant(context, static, node)
    base = context.typed(node.value)
    if isinstance(base.type, TupleType):
        return tuple_item(context, base, node)
    return element_target(context, base, node).load(context, node)


def tuple_item(context: Context, base: tree.Expression, node: ast.Subscript) -> tree.Expression:
    assert isinstance(base.type, TupleType)
    index = context.expression(node.slice)
    if not isinstance(index.type, LiteralType) or not 0 <= index.type.value < len(base.type.items):
        raise context.problem(node, f"the index into {base.type} is not a literal in its range")
    number = index.type.value
    return tree.TupleItem(base.type.items[number], context.place(node), base, number)


@expression_of(ast.Tuple)
def check_tuple(context: Context, node: ast.Tuple, hint: Type | None) -> tree.Expression:
    hints: list[Type | None] = [None] * len(node.elts)
    if isinstance(hint, TupleType) and len(hint.items) == len(node.elts):
        hints = list(hint.items)
    items = []
    for item, wanted in zip(node.elts, hints, strict=True):
        value = context.expression(item, wanted)
        if wanted is not None:
            value = coerce(context, value, wanted, item, "the value")
        elif isinstance(value.type, LiteralType):
            number = value.type.value
            raise context.problem(item, f"the literal {number} has no type here", f"write u64({number})")
        items.append(value)
    return tree.TupleOf(TupleType(tuple(item.type for item in items)), context.place(node), items)
