"""Where a value of one type may stand for another: the implicit conversions, and `T(x)`."""

from __future__ import annotations

import ast

from macadamia.lang import tree
from macadamia.lang.check.context import Context
from macadamia.lang.pointers import is_derived
from macadamia.lang.tree import Conversion
from macadamia.lang.types import (
    BOOL,
    U64,
    BoolType,
    EnumType,
    FunctionType,
    IntType,
    LiteralType,
    NewType,
    NullType,
    PointerType,
    TupleType,
    Type,
    UserPointerType,
)


def implicit(value: tree.Expression, wanted: Type) -> tree.Expression | None:
    """`value` as `wanted` where no conversion needs to be written; None where one does."""
    given = value.type
    if isinstance(given, LiteralType):
        return literal_as(value, wanted)
    if given == wanted:
        return value
    match given, wanted:
        case IntType(), IntType() if given.signed == wanted.signed and given.bits < wanted.bits:
            return tree.Convert(wanted, value.place, Conversion.WIDEN, value)
        case NullType(), PointerType(nullable=True) | FunctionType(nullable=True):
            return tree.Null(wanted, value.place)
        case PointerType(), PointerType() if given.target == wanted.target:
            # From nullable to not: mypy has proved it; checked profiles test it where it happens.
            kind = Conversion.REINTERPRET if wanted.nullable else Conversion.CHECKED
            return tree.Convert(wanted, value.place, kind, value)
        case PointerType(), PointerType() if is_derived(given.target, wanted.target):
            kind = Conversion.REINTERPRET if wanted.nullable or not given.nullable else Conversion.CHECKED
            return tree.Convert(wanted, value.place, kind, value)
        case FunctionType(), FunctionType() if (given.parameters, given.result) == (
            wanted.parameters,
            wanted.result,
        ):
            kind = Conversion.REINTERPRET if wanted.nullable else Conversion.CHECKED
            return tree.Convert(wanted, value.place, kind, value)
        case TupleType(), TupleType() if isinstance(value, tree.TupleOf):
            return implicit_tuple(value, wanted)
    return None


def implicit_tuple(value: tree.TupleOf, wanted: TupleType) -> tree.Expression | None:
    if len(value.items) != len(wanted.items):
        return None
    items = [implicit(item, type_) for item, type_ in zip(value.items, wanted.items, strict=True)]
    present = [item for item in items if item is not None]
    return tree.TupleOf(wanted, value.place, present) if len(present) == len(items) else None


def literal_as(value: tree.Expression, wanted: Type) -> tree.Expression | None:
    """A literal adapts to an integer type that holds it."""
    assert isinstance(value.type, LiteralType)
    number = value.type.value
    if isinstance(wanted, IntType) and wanted.holds(number):
        return tree.Constant(wanted, value.place, number)
    return None


def coerce(
    context: Context, value: tree.Expression, wanted: Type, node: ast.AST, what: str
) -> tree.Expression:
    """`value` as `wanted`, or an error that says what `what` (\"argument x\", \"the result\") needs."""
    result = implicit(value, wanted)
    if result is None:
        message = f"{what} is {article(value.type)}, expected {wanted}"
        raise context.problem(node, message, conversion_help(value.type, wanted))
    return result


def article(type_: Type) -> str:
    if isinstance(type_, LiteralType):
        return f"the literal {type_.value}"
    return str(type_)


def conversion_help(given: Type, wanted: Type) -> str:
    """What to write to get from `given` to `wanted`."""
    match given, wanted:
        case LiteralType(), IntType():
            return f"{given.value} does not fit {wanted} ({wanted.minimum} to {wanted.maximum})"
        case LiteralType() | IntType(), NewType() | EnumType():
            return f"convert explicitly: {wanted}(...)"
        case LiteralType(), BoolType():
            return "write True or False"
        case IntType() | EnumType(), BoolType():
            return "compare it: x != 0"
        case BoolType() | IntType() | EnumType() | NewType(), IntType():
            return f"convert explicitly: {wanted}(x), or {wanted}.wrap(x) to cut bits off"
        case PointerType() | UserPointerType() | FunctionType(), IntType():
            return "take its address: address_of(p)"
        case IntType() | NewType(), PointerType():
            return f"make a pointer explicitly: pointer_at({wanted.target}, address)"
        case PointerType(), PointerType():
            return f"convert explicitly: cast({wanted.target}, p)"
        case UserPointerType(), PointerType():
            return "user memory is only reached by copying from and to it, with a check"
        case NullType(), PointerType() | FunctionType():
            return f"only a pointer declared `{wanted} | None` can be None"
        case TupleType(), TupleType():
            return f"it has {len(given.items)} items of types {given}"
    return ""


def unify(
    context: Context, left: tree.Expression, right: tree.Expression, node: ast.AST, what: str
) -> tuple[tree.Expression, tree.Expression]:
    """Both sides with one type: a literal adapts to the other side, the narrower widens."""
    converted = implicit(right, left.type)
    if converted is not None and not is_narrowing_pointer(right.type, left.type):
        return left, converted
    converted = implicit(left, right.type)
    if converted is not None:
        return converted, right
    if isinstance(left.type, PointerType) and isinstance(right, tree.Null | tree.Expression):
        nullable = nullable_pair(left, right)
        if nullable is not None:
            return nullable
    message = f"{what} {article(left.type)} and {article(right.type)}"
    raise context.problem(node, message, mixing_help(left.type, right.type))


def is_narrowing_pointer(given: Type, wanted: Type) -> bool:
    """A nullable pointer would become one that is never None: widen the other side instead."""
    return (
        isinstance(given, PointerType | FunctionType)
        and isinstance(wanted, PointerType | FunctionType)
        and given.nullable
        and not wanted.nullable
    )


def nullable_pair(
    left: tree.Expression, right: tree.Expression
) -> tuple[tree.Expression, tree.Expression] | None:
    for first in (left, right):
        if isinstance(first.type, PointerType | FunctionType):
            wanted = first.type.as_nullable()
            a, b = implicit(left, wanted), implicit(right, wanted)
            if a is not None and b is not None:
                return a, b
    return None


def mixing_help(left: Type, right: Type) -> str:
    match left, right:
        case (LiteralType(), IntType()) | (IntType(), LiteralType()):
            literal, integer = (left, right) if isinstance(left, LiteralType) else (right, left)
            return conversion_help(literal, integer)
        case IntType(), IntType():
            return f"signs do not mix: convert one side, {left}(...) or {right}(...)"
        case (NewType(), NewType()):
            return f"{left} and {right} are different on purpose: convert through {left.base}(...)"
        case (NewType() as opaque, _) | (_, NewType() as opaque):
            return f"convert explicitly: {opaque.base}(...) or {opaque}(...)"
        case (EnumType() as enum, _) | (_, EnumType() as enum):
            return f"convert explicitly: {enum}(...) or {enum.storage}(...)"
        case (BoolType(), _) | (_, BoolType()):
            return "a bool is not a number: write u32(flag)"
        case (PointerType(), IntType() | LiteralType()) | (IntType() | LiteralType(), PointerType()):
            return "take the address first: address_of(p)"
    return ""


def explicit_integer(
    context: Context, value: tree.Expression, target: IntType, node: ast.AST
) -> tree.Expression:
    """`u32(x)`: of an integer, bool, enum or opaque integer."""
    given = value.type
    if isinstance(given, LiteralType):
        return coerce(context, value, target, node, f"the argument of {target}")
    if isinstance(given, PointerType | UserPointerType | FunctionType):
        raise context.problem(node, f"{given} is not a number", "take its address: address_of(p)")
    if not isinstance(given, IntType | BoolType | EnumType | NewType):
        raise context.problem(node, f"{given} cannot be converted to {target}")
    if given == target:
        return value
    source = tree.integer_of(given)
    lossless = source.minimum >= target.minimum and source.maximum <= target.maximum
    kind = Conversion.WIDEN if lossless else Conversion.CHECKED
    return tree.Convert(target, context.place(node), kind, value)


def truncating_integer(
    context: Context, value: tree.Expression, target: IntType, node: ast.AST
) -> tree.Expression:
    """`u32.wrap(x)`: reduce modulo 2**bits by intent."""
    given = value.type
    if isinstance(given, LiteralType):
        return tree.Constant(target, value.place, target.wrap(given.value))
    if not isinstance(given, IntType | BoolType | EnumType | NewType):
        raise context.problem(node, f"{given} cannot be converted to {target}", "")
    return tree.Convert(target, context.place(node), Conversion.TRUNCATE, value)


def explicit_opaque(
    context: Context, value: tree.Expression, target: NewType, node: ast.AST
) -> tree.Expression:
    """`PhysAddr(x)`."""
    if isinstance(value.type, NewType) and value.type != target:
        help_ = f"if that is meant, write {target}({value.type.base}(x))"
        raise context.problem(node, f"{value.type} is not a {target}", help_)
    number = explicit_integer(context, value, target.base, node)
    return tree.Convert(target, context.place(node), Conversion.REINTERPRET, number)


def explicit_enum(
    context: Context, value: tree.Expression, target: EnumType, node: ast.AST
) -> tree.Expression:
    """`State(x)`: the value must be a member's (checked); any bits make a flag."""
    if value.type == target:
        return value
    if isinstance(value.type, LiteralType) and not target.flag:
        members = {int(member) for member in target.python}  # type: ignore[attr-defined]
        if value.type.value not in members:
            raise context.problem(node, f"{value.type.value} is not a member of {target}")
    number = explicit_integer(context, value, target.storage, node)
    kind = Conversion.REINTERPRET if target.flag else Conversion.CHECKED
    return tree.Convert(target, context.place(node), kind, number)


def truth(context: Context, value: tree.Expression, node: ast.AST) -> tree.Expression:
    """`value` as a condition."""
    match value.type:
        case BoolType():
            return value
        case LiteralType():
            raise context.problem(node, "a literal is not a condition", "write True or False, or compare")
        case IntType() | EnumType() | NewType():
            return tree.Convert(BOOL, value.place, Conversion.TRUTH, value)
        case PointerType(nullable=True) | FunctionType(nullable=True):
            return tree.Convert(BOOL, value.place, Conversion.TRUTH, value)
        case PointerType() | FunctionType():
            message = f"{value.type} is never None: this condition is always true"
            raise context.problem(node, message, f"declare it `{value.type} | None` or drop the test")
    raise context.problem(node, f"{value.type} is not a condition", "compare it with something")


def as_index(context: Context, value: tree.Expression, node: ast.AST) -> tree.Expression:
    """An index: any integer; a literal becomes u64 and must not be negative."""
    if isinstance(value.type, LiteralType):
        if value.type.value < 0:
            raise context.problem(node, "a negative index", "count from the end explicitly: len(a) - 1")
        return coerce(context, value, U64, node, "the index")
    if not isinstance(value.type, IntType):
        raise context.problem(node, f"the index is {value.type}", "an index is an integer: u64(...)")
    return value
