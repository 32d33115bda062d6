"""The built-in functions of docs/language.md: their arguments, their results."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any

from macadamia.lang import intrinsics, tree
from macadamia.lang.check.calls import builtin, lvalue, positional
from macadamia.lang.check.context import NOT_STATIC, Context
from macadamia.lang.check.conversions import coerce, unify
from macadamia.lang.check.operators import condition
from macadamia.lang.tree import Conversion, Intrinsic
from macadamia.lang.types import (
    BOOL,
    NEVER,
    NONE,
    STRING,
    U8,
    U64,
    ArrayType,
    EnumType,
    FunctionType,
    IntType,
    LiteralType,
    NewType,
    PointerType,
    StringType,
    TupleType,
    Type,
    UserPointerType,
    VolatileType,
)


def call(
    context: Context, node: ast.AST, type_: Type, intrinsic: Intrinsic, *arguments: tree.Expression
) -> tree.Expression:
    return tree.IntrinsicCall(type_, context.place(node), intrinsic, list(arguments))


def wanted(context: Context, node: ast.expr, type_: Type, what: str) -> tree.Expression:
    return coerce(context, context.expression(node, type_), type_, node, what)


def pointer_argument(context: Context, node: ast.expr, what: str) -> tree.Expression:
    value = context.typed(node)
    if not isinstance(value.type, PointerType):
        raise context.problem(node, f"{what} is {value.type}, expected a pointer")
    return value


# Types and memory


def size_query(name: str, measure: Callable[[Type], int]) -> Callable[[Context, ast.Call], tree.Expression]:
    def handler(context: Context, node: ast.Call) -> tree.Expression:
        (argument,) = positional(context, node, 1, name)
        value = measure(context.type_from(argument))
        return tree.Constant(LiteralType(value), context.place(node), value)

    return handler


builtin(intrinsics.sizeof)(size_query("sizeof", lambda type_: type_.size))
builtin(intrinsics.alignof)(size_query("alignof", lambda type_: type_.alignment))


@builtin(intrinsics.offsetof)
def check_offsetof(context: Context, node: ast.Call) -> tree.Expression:
    struct, name = positional(context, node, 2, "offsetof")
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        raise context.problem(name, "the field of offsetof is a constant text")
    try:
        value = intrinsics.offsetof(context.evaluate(struct), name.value)
    except (TypeError, KeyError, AttributeError) as error:
        raise context.problem(node, f"offsetof: {error}") from None
    return tree.Constant(LiteralType(value), context.place(node), value)


@builtin(intrinsics.local)
def check_local(context: Context, node: ast.Call) -> tree.Expression:
    (argument,) = positional(context, node, 1, "local")
    type_ = context.type_from(argument)
    item = tree.StackObject(type_, context.place(node))
    context.function.stack.append(item)
    return tree.StackAddress(PointerType(type_), item.place, item)


def import_time_only(name: str) -> Callable[[Context, ast.Call], tree.Expression]:
    def handler(context: Context, node: ast.Call) -> tree.Expression:
        raise context.problem(
            node,
            f"{name}(...) runs at import time only",
            "bind it to a name at module level; local(T) for a stack object",
        )

    return handler


for function_, name_ in (
    (intrinsics.static, "static"),
    (intrinsics.constant, "constant"),
    (intrinsics.global_asm, "global_asm"),
):
    builtin(function_)(import_time_only(name_))


@builtin(intrinsics.address_of)
def check_address_of(context: Context, node: ast.Call) -> tree.Expression:
    (argument,) = positional(context, node, 1, "address_of")
    value = context.typed(argument)
    if not isinstance(value.type, PointerType | UserPointerType | FunctionType):
        help_ = "for a field or an element: address_of(pointer_to(s.field))"
        raise context.problem(argument, f"{value.type} is not a pointer", help_)
    return tree.Convert(U64, context.place(node), Conversion.ADDRESS, value)


@builtin(intrinsics.pointer_at)
def check_pointer_at(context: Context, node: ast.Call) -> tree.Expression:
    type_node, address = positional(context, node, 2, "pointer_at")
    type_ = PointerType(context.type_from(type_node))
    value = wanted(context, address, U64, "the address")
    return tree.Convert(type_, context.place(node), Conversion.POINTER, value)


@builtin(intrinsics.user_pointer_at)
def check_user_pointer_at(context: Context, node: ast.Call) -> tree.Expression:
    type_node, address = positional(context, node, 2, "user_pointer_at")
    type_ = UserPointerType(context.type_from(type_node))
    value = wanted(context, address, U64, "the address")
    return tree.Convert(type_, context.place(node), Conversion.POINTER, value)


@builtin(intrinsics.cast)
def check_cast(context: Context, node: ast.Call) -> tree.Expression:
    type_node, pointer = positional(context, node, 2, "cast")
    target = context.type_from(type_node)
    value = context.typed(pointer)
    if isinstance(value.type, UserPointerType):
        return tree.Convert(UserPointerType(target), context.place(node), Conversion.REINTERPRET, value)
    if not isinstance(value.type, PointerType):
        raise context.problem(pointer, f"cast takes a pointer, not {value.type}", "pointer_at(T, address)")
    type_ = PointerType(target, nullable=value.type.nullable)
    return tree.Convert(type_, context.place(node), Conversion.REINTERPRET, value)


@builtin(intrinsics.pointer_to)
def check_pointer_to(context: Context, node: ast.Call) -> tree.Expression:
    (argument,) = positional(context, node, 1, "pointer_to")
    pointer = lvalue(context, argument)
    if isinstance(pointer.type, PointerType) and isinstance(pointer.type.target, VolatileType):
        type_ = PointerType(pointer.type.target.value)
        return tree.Convert(type_, context.place(node), Conversion.REINTERPRET, pointer)
    return pointer


@builtin(intrinsics.volatile_load)
def check_volatile_load(context: Context, node: ast.Call) -> tree.Expression:
    (argument,) = positional(context, node, 1, "volatile_load")
    pointer = pointer_argument(context, argument, "the argument of volatile_load")
    assert isinstance(pointer.type, PointerType)
    target = scalar_target(context, pointer.type, argument)
    return tree.Load(target, context.place(node), pointer, volatile=True)


@builtin(intrinsics.volatile_store)
def check_volatile_store(context: Context, node: ast.Call) -> tree.Expression:
    first, second = positional(context, node, 2, "volatile_store")
    pointer = pointer_argument(context, first, "the first argument of volatile_store")
    assert isinstance(pointer.type, PointerType)
    target = scalar_target(context, pointer.type, first)
    value = wanted(context, second, target, "the value")
    return call(context, node, NONE, Intrinsic.VOLATILE_STORE, pointer, value)


def scalar_target(context: Context, type_: PointerType, node: ast.AST) -> Type:
    target = type_.target
    if not isinstance(target, IntType | NewType | EnumType | PointerType):
        raise context.problem(node, f"{target} is not moved by one access", "name one of its fields")
    return target


def bytes_operation(name: str, intrinsic: Intrinsic) -> Callable[[Context, ast.Call], tree.Expression]:
    def handler(context: Context, node: ast.Call) -> tree.Expression:
        first, second, third = positional(context, node, 3, name)
        to = pointer_argument(context, first, "the destination")
        if intrinsic is Intrinsic.FILL_BYTES:
            source = wanted(context, second, U8, "the value")
        else:
            source = pointer_argument(context, second, "the source")
        count = wanted(context, third, U64, "the number of bytes")
        return call(context, node, NONE, intrinsic, to, source, count)

    return handler


builtin(intrinsics.copy_bytes)(bytes_operation("copy_bytes", Intrinsic.COPY_BYTES))
builtin(intrinsics.move_bytes)(bytes_operation("move_bytes", Intrinsic.MOVE_BYTES))
builtin(intrinsics.fill_bytes)(bytes_operation("fill_bytes", Intrinsic.FILL_BYTES))


@builtin(intrinsics.text_bytes)
def check_text_bytes(context: Context, node: ast.Call) -> tree.Expression:
    (argument,) = positional(context, node, 1, "text_bytes")
    value = wanted(context, argument, STRING, "the argument of text_bytes")
    return call(context, node, PointerType(U8), Intrinsic.TEXT_BYTES, value)


@builtin(builtins.len)
def check_len(context: Context, node: ast.Call) -> tree.Expression:
    (argument,) = positional(context, node, 1, "len")
    value = context.typed(argument)
    if isinstance(value.type, StringType):
        return call(context, node, U64, Intrinsic.TEXT_LENGTH, value)
    if isinstance(value.type, PointerType) and isinstance(value.type.target, ArrayType):
        length = value.type.target.length
        return tree.Constant(LiteralType(length), context.place(node), length)
    raise context.problem(node, f"{value.type} has no length", "len works on arrays and texts")


# Numbers


def integer_argument(context: Context, node: ast.expr, name: str) -> tree.Expression:
    value = context.typed(node)
    if not isinstance(value.type, IntType):
        raise context.problem(node, f"{name} takes an integer, not {value.type}")
    return value


def bit_operation(name: str, intrinsic: Intrinsic) -> Callable[[Context, ast.Call], tree.Expression]:
    def handler(context: Context, node: ast.Call) -> tree.Expression:
        (argument,) = positional(context, node, 1, name)
        value = integer_argument(context, argument, name)
        return call(context, node, value.type, intrinsic, value)

    return handler


builtin(intrinsics.popcount)(bit_operation("popcount", Intrinsic.POPCOUNT))
builtin(intrinsics.leading_zeros)(bit_operation("leading_zeros", Intrinsic.LEADING_ZEROS))
builtin(intrinsics.trailing_zeros)(bit_operation("trailing_zeros", Intrinsic.TRAILING_ZEROS))
builtin(intrinsics.byte_swap)(bit_operation("byte_swap", Intrinsic.BYTE_SWAP))
builtin(builtins.abs)(bit_operation("abs", Intrinsic.ABSOLUTE))


@builtin(intrinsics.rotate_left)
def check_rotate(context: Context, node: ast.Call) -> tree.Expression:
    first, second = positional(context, node, 2, "rotate_left")
    value = integer_argument(context, first, "rotate_left")
    amount = context.expression(second, value.type)
    if isinstance(amount.type, LiteralType):
        bits = tree.integer_of(value.type).bits
        amount = tree.Constant(value.type, amount.place, amount.type.value % bits)
    elif not isinstance(amount.type, IntType) or amount.type.signed:
        raise context.problem(second, f"the amount is {amount.type}", "amounts are unsigned: u32(n)")
    if amount.type != value.type:
        amount = tree.Convert(value.type, amount.place, Conversion.TRUNCATE, amount)
    return call(context, node, value.type, Intrinsic.ROTATE_LEFT, value, amount)


@builtin(intrinsics.multiply_high)
def check_multiply_high(context: Context, node: ast.Call) -> tree.Expression:
    first, second = positional(context, node, 2, "multiply_high")
    left = wanted(context, first, U64, "the first factor")
    right = wanted(context, second, U64, "the second factor")
    return call(context, node, U64, Intrinsic.MULTIPLY_HIGH, left, right)


def choice(name: str, intrinsic: Intrinsic, choose: Callable[[int, int], int]) -> Any:
    def handler(context: Context, node: ast.Call) -> tree.Expression:
        if len(node.args) < 2 or node.keywords:
            raise context.problem(node, f"{name}(...) takes two or more values")
        result = context.expression(node.args[0])
        for argument in node.args[1:]:
            value = context.expression(argument)
            if isinstance(result.type, LiteralType) and isinstance(value.type, LiteralType):
                number = choose(result.type.value, value.type.value)
                result = tree.Constant(LiteralType(number), context.place(node), number)
                continue
            left, right = unify(context, result, value, node, f"{name} of")
            if not isinstance(left.type, IntType | NewType):
                raise context.problem(node, f"{name} does not work on {left.type}")
            result = call(context, node, left.type, intrinsic, left, right)
        return result

    return handler


builtin(builtins.min)(choice("min", Intrinsic.MINIMUM, min))
builtin(builtins.max)(choice("max", Intrinsic.MAXIMUM, max))


@builtin(builtins.divmod)
def check_divmod(context: Context, node: ast.Call) -> tree.Expression:
    """(a // b, a % b), each operand evaluated once."""
    first, second = positional(context, node, 2, "divmod")
    left, right = unify(context, context.typed(first), context.expression(second), node, "divmod of")
    if not isinstance(left.type, IntType) or left.type.size == 16:
        raise context.problem(node, f"divmod does not work on {left.type}")
    place = context.place(node)
    a, b = context.temporary(left.type, place), context.temporary(left.type, place)
    operands = (tree.LocalValue(left.type, place, a), tree.LocalValue(left.type, place, b))
    quotient = tree.Binary(left.type, place, tree.Operator.FLOOR_DIVIDE, *operands)
    remainder = tree.Binary(left.type, place, tree.Operator.MODULO, *operands)
    type_ = TupleType((left.type, left.type))
    both = tree.TupleOf(type_, place, [quotient, remainder])
    return tree.Let(type_, place, a, left, tree.Let(type_, place, b, right, both))


# Control


def hint(name: str, intrinsic: Intrinsic) -> Callable[[Context, ast.Call], tree.Expression]:
    def handler(context: Context, node: ast.Call) -> tree.Expression:
        (argument,) = positional(context, node, 1, name)
        return call(context, node, BOOL, intrinsic, condition(context, argument))

    return handler


builtin(intrinsics.likely)(hint("likely", Intrinsic.LIKELY))
builtin(intrinsics.unlikely)(hint("unlikely", Intrinsic.UNLIKELY))


def stop(name: str) -> Callable[[Context, ast.Call], tree.Expression]:
    def handler(context: Context, node: ast.Call) -> tree.Expression:
        if len(node.args) > 1 or node.keywords:
            raise context.problem(node, f"{name}(...) takes one constant text")
        default = tree.Text(STRING, context.place(node), "unreachable code was reached")
        text = context.expression(node.args[0]) if node.args else default
        if not isinstance(text, tree.Text):
            raise context.problem(node, f"the argument of {name} is a constant text")
        return call(context, node, NEVER, Intrinsic.PANIC, text)

    return handler


builtin(intrinsics.panic)(stop("panic"))
builtin(intrinsics.unreachable)(stop("unreachable"))


def barrier(name: str, intrinsic: Intrinsic) -> Callable[[Context, ast.Call], tree.Expression]:
    def handler(context: Context, node: ast.Call) -> tree.Expression:
        positional(context, node, 0, name)
        return call(context, node, NONE, intrinsic)

    return handler


builtin(intrinsics.fence)(barrier("fence", Intrinsic.FENCE))
builtin(intrinsics.compiler_barrier)(barrier("compiler_barrier", Intrinsic.COMPILER_BARRIER))


@builtin(intrinsics.range)
def check_range_outside(context: Context, node: ast.Call) -> tree.Expression:
    raise context.problem(node, "range has a meaning in a for loop only", "write for i in range(...)")


# Assembly


def assembly(context: Context, node: ast.Call, result: Type, arguments: list[ast.expr]) -> tree.Expression:
    """Template and constraints are import-time texts: Python can put offsets and numbers into them."""
    if len(arguments) < 2 or node.keywords:
        raise context.problem(node, "asm takes a template, constraints and inputs")
    texts = []
    for argument in arguments[:2]:
        value = context.static_object(argument)
        if value is NOT_STATIC and isinstance(argument, ast.Constant | ast.JoinedStr | ast.BinOp):
            value = context.evaluate(argument)
        if not isinstance(value, str):
            raise context.problem(argument, "template and constraints are texts known at import time")
        texts.append(value)
    inputs = [context.typed(argument) for argument in arguments[2:]]
    return tree.Assembly(result, context.place(node), texts[0], texts[1], inputs)


@builtin(intrinsics.asm)
def check_asm(context: Context, node: ast.Call) -> tree.Expression:
    return assembly(context, node, NONE, node.args)


@builtin(intrinsics.asm_value)
def check_asm_value(context: Context, node: ast.Call) -> tree.Expression:
    if not node.args:
        raise context.problem(node, "asm_value takes the type of its result first")
    first = node.args[0]
    if isinstance(first, ast.Tuple):
        result: Type = TupleType(tuple(context.type_from(item) for item in first.elts))
    else:
        result = context.type_from(first)
    return assembly(context, node, result, node.args[1:])
