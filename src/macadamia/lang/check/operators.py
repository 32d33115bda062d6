"""Arithmetic, comparison and logic: which operands go together and what they give."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable

from macadamia.lang import tree
from macadamia.lang.check.context import Context, expression_of
from macadamia.lang.check.conversions import article, as_index, coerce, implicit, truth, unify
from macadamia.lang.tree import Comparison, Intrinsic, Operator
from macadamia.lang.types import (
    BOOL,
    I64,
    BoolType,
    EnumType,
    FunctionType,
    IntType,
    LiteralType,
    NewType,
    NullType,
    PointerType,
    Type,
    UserPointerType,
)

OPERATORS: dict[type[ast.operator], tuple[Operator, str, Callable[[int, int], int]]] = {
    ast.Add: (Operator.ADD, "+", operator.add),
    ast.Sub: (Operator.SUBTRACT, "-", operator.sub),
    ast.Mult: (Operator.MULTIPLY, "*", operator.mul),
    ast.FloorDiv: (Operator.FLOOR_DIVIDE, "//", operator.floordiv),
    ast.Mod: (Operator.MODULO, "%", operator.mod),
    ast.BitAnd: (Operator.AND, "&", operator.and_),
    ast.BitOr: (Operator.OR, "|", operator.or_),
    ast.BitXor: (Operator.XOR, "^", operator.xor),
    ast.LShift: (Operator.SHIFT_LEFT, "<<", operator.lshift),
    ast.RShift: (Operator.SHIFT_RIGHT, ">>", operator.rshift),
}
COMPARISONS: dict[type[ast.cmpop], tuple[Comparison, str]] = {
    ast.Eq: (Comparison.EQUAL, "=="),
    ast.NotEq: (Comparison.NOT_EQUAL, "!="),
    ast.Lt: (Comparison.LESS, "<"),
    ast.LtE: (Comparison.LESS_EQUAL, "<="),
    ast.Gt: (Comparison.GREATER, ">"),
    ast.GtE: (Comparison.GREATER_EQUAL, ">="),
}
PYTHON_COMPARISONS: dict[Comparison, Callable[[int, int], bool]] = {
    Comparison.EQUAL: operator.eq,
    Comparison.NOT_EQUAL: operator.ne,
    Comparison.LESS: operator.lt,
    Comparison.LESS_EQUAL: operator.le,
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_EQUAL: operator.ge,
}
UNARY: dict[type[ast.unaryop], Callable[[int], int]] = {
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.UAdd: operator.pos,
}
BITWISE = {Operator.AND, Operator.OR, Operator.XOR}
SHIFTS = {Operator.SHIFT_LEFT, Operator.SHIFT_RIGHT}
DIVISIONS = {Operator.FLOOR_DIVIDE, Operator.MODULO}
ORDERINGS = {Comparison.LESS, Comparison.LESS_EQUAL, Comparison.GREATER, Comparison.GREATER_EQUAL}
LITERAL_BITS = 4096  # literals larger than this are a mistake, not a constant


@expression_of(ast.BinOp)
def check_binary(context: Context, node: ast.BinOp, hint: Type | None) -> tree.Expression:
    left = context.expression(node.left, hint)
    right = context.expression(node.right, hint)
    return binary(context, node.op, left, right, node)


def binary(
    context: Context, symbol: ast.operator, left: tree.Expression, right: tree.Expression, node: ast.AST
) -> tree.Expression:
    """`left symbol right`; used by BinOp and by augmented assignment."""
    if isinstance(left.type, LiteralType) and isinstance(right.type, LiteralType):
        return fold(context, symbol, left.type.value, right.type.value, node)
    if type(symbol) not in OPERATORS:
        raise context.problem(node, *missing_operator(symbol))
    operator_, text, _ = OPERATORS[type(symbol)]
    if operator_ in SHIFTS:
        return shift(context, operator_, text, left, right, node)
    if isinstance(left.type, PointerType | UserPointerType):
        return pointer_arithmetic(context, operator_, text, left, right, node)
    if isinstance(left.type, NewType) or isinstance(right.type, NewType):
        return opaque_arithmetic(context, operator_, text, left, right, node)
    return arithmetic(context, operator_, text, left, right, node)


def missing_operator(symbol: ast.operator) -> tuple[str, str]:
    if isinstance(symbol, ast.Div):
        return "'/' gives a float in Python: there are none here", "write // for integer division"
    if isinstance(symbol, ast.Pow):
        return "'**' works on literals only", "write a shift for powers of two, or a loop"
    return "'@' has no meaning for integers", "write * to multiply"


def fold(context: Context, symbol: ast.operator, left: int, right: int, node: ast.AST) -> tree.Expression:
    """Literals are computed exactly, as Python's int."""
    if isinstance(symbol, ast.Pow):
        if right < 0 or abs(left).bit_length() * right > LITERAL_BITS:
            raise context.problem(node, f"{left} ** {right} is not a usable integer")
        return literal(context, left**right, node)
    if type(symbol) not in OPERATORS:
        raise context.problem(node, *missing_operator(symbol))
    operator_, _, compute = OPERATORS[type(symbol)]
    if operator_ in DIVISIONS and right == 0:
        raise context.problem(node, "division by zero")
    if operator_ in SHIFTS and not 0 <= right <= LITERAL_BITS:
        raise context.problem(node, f"a shift by {right}", f"shift amounts are 0 to {LITERAL_BITS}")
    return literal(context, compute(left, right), node)


def literal(context: Context, value: int, node: ast.AST) -> tree.Constant:
    return tree.Constant(LiteralType(value), context.place(node), value)


def arithmetic(
    context: Context,
    operator_: Operator,
    text: str,
    left: tree.Expression,
    right: tree.Expression,
    node: ast.AST,
) -> tree.Expression:
    """Integers, flags and bools."""
    if operator_ in BITWISE:
        left, right = negative_mask(left, right.type), negative_mask(right, left.type)
    left, right = unify(context, left, right, node, f"'{text}' between")
    type_ = left.type
    allowed = (
        isinstance(type_, IntType)
        or (isinstance(type_, BoolType) and operator_ in BITWISE)
        or (isinstance(type_, EnumType) and type_.flag and operator_ in BITWISE)
    )
    if not allowed:
        raise context.problem(node, f"'{text}' does not work on {type_}", operand_help(type_))
    reject_zero(context, operator_, right, node)
    if type_.size == 16 and operator_ in DIVISIONS:
        raise context.problem(node, "u128 cannot be divided", "shift, or divide u64 values")
    return tree.Binary(type_, context.place(node), operator_, left, right)


def operand_help(type_: Type) -> str:
    if isinstance(type_, BoolType):
        return "a bool is not a number: write u32(flag)"
    if isinstance(type_, EnumType):
        return f"convert explicitly: {type_.storage}(x)"
    return ""


def reject_zero(context: Context, operator_: Operator, right: tree.Expression, node: ast.AST) -> None:
    if operator_ in DIVISIONS and isinstance(right, tree.Constant) and right.value == 0:
        raise context.problem(node, "division by zero")


def negative_mask(value: tree.Expression, other: Type) -> tree.Expression:
    """`x & ~0xFFF`: a negative literal beside & | ^ is its two's complement in the other side's width."""
    if not isinstance(value.type, LiteralType) or value.type.value >= 0:
        return value
    base = other.base if isinstance(other, NewType) else other
    if isinstance(base, IntType) and not base.signed and value.type.value >= -(1 << (base.bits - 1)):
        return tree.Constant(base, value.place, base.wrap(value.type.value))
    return value


def shift(
    context: Context,
    operator_: Operator,
    text: str,
    left: tree.Expression,
    right: tree.Expression,
    node: ast.AST,
) -> tree.Expression:
    """The amount may have any width; the result has the left type."""
    base = left.type.base if isinstance(left.type, NewType) else left.type
    if isinstance(left.type, LiteralType):
        message = f"the literal {left.type.value} has no width to shift in"
        raise context.problem(node, message, f"write u64({left.type.value}) {text} n")
    if not isinstance(base, IntType):
        raise context.problem(node, f"'{text}' does not work on {left.type}", operand_help(left.type))
    if isinstance(right.type, LiteralType):
        amount = right.type.value
        if not 0 <= amount < base.bits:
            message = f"a shift of {left.type} by {amount}"
            raise context.problem(node, message, f"the amount is 0 to {base.bits - 1}")
        right = tree.Constant(base, right.place, amount)
    elif not isinstance(right.type, IntType) or right.type.signed:
        message = f"the shift amount is {right.type}"
        raise context.problem(node, message, "amounts are unsigned: u32(n)")
    return tree.Binary(left.type, context.place(node), operator_, left, right)


def pointer_arithmetic(
    context: Context,
    operator_: Operator,
    text: str,
    left: tree.Expression,
    right: tree.Expression,
    node: ast.AST,
) -> tree.Expression:
    """p + n, p - n in elements; p - q counts elements."""
    place = context.place(node)
    given = left.type
    assert isinstance(given, PointerType | UserPointerType)
    if operator_ is Operator.SUBTRACT and isinstance(right.type, PointerType | UserPointerType):
        if type(right.type) is not type(given) or right.type.target != given.target:
            raise context.problem(node, f"'-' between {given} and {right.type}", "cast one of them")
        return tree.IntrinsicCall(I64, place, Intrinsic.POINTER_DIFFERENCE, [left, right])
    if operator_ not in (Operator.ADD, Operator.SUBTRACT):
        raise context.problem(node, f"'{text}' does not work on {given}", "take the address: address_of(p)")
    count = as_index(context, right, node)
    if operator_ is Operator.SUBTRACT:
        zero = tree.Constant(I64, place, 0)
        wide = tree.Convert(I64, place, tree.Conversion.TRUNCATE, count)
        count = tree.Binary(I64, place, Operator.SUBTRACT, zero, wide)
    if isinstance(given, UserPointerType):
        return tree.IntrinsicCall(given, place, Intrinsic.OFFSET_USER_POINTER, [left, count])
    assert isinstance(given, PointerType)
    return tree.ElementAddress(given.as_non_null(), place, left, count, None)


def opaque_arithmetic(
    context: Context,
    operator_: Operator,
    text: str,
    left: tree.Expression,
    right: tree.Expression,
    node: ast.AST,
) -> tree.Expression:
    """PhysAddr op u64 -> PhysAddr; PhysAddr - PhysAddr -> u64."""
    place = context.place(node)
    if isinstance(left.type, NewType) and left.type == right.type:
        if operator_ is not Operator.SUBTRACT:
            help_ = f"convert one side: {left.type.base}(x)"
            raise context.problem(node, f"'{text}' between two {left.type}", help_)
        return tree.Binary(left.type.base, place, operator_, left, right)
    if not isinstance(left.type, NewType):
        message = f"'{text}' between {article(left.type)} and {right.type}"
        raise context.problem(node, message, f"write the {right.type} first, or convert it")
    if operator_ in BITWISE:
        right = negative_mask(right, left.type)
    converted = implicit(right, left.type.base)
    if converted is None:
        message = f"'{text}' between {left.type} and {article(right.type)}"
        raise context.problem(node, message, f"the right side must be {left.type.base}")
    reject_zero(context, operator_, converted, node)
    return tree.Binary(left.type, place, operator_, left, converted)


@expression_of(ast.UnaryOp)
def check_unary(context: Context, node: ast.UnaryOp, hint: Type | None) -> tree.Expression:
    if isinstance(node.op, ast.Not):
        return tree.Not(BOOL, context.place(node), condition(context, node.operand))
    value = context.expression(node.operand, hint)
    type_ = value.type
    if isinstance(type_, LiteralType):
        return literal(context, UNARY[type(node.op)](type_.value), node)
    if isinstance(node.op, ast.UAdd) and isinstance(type_, IntType):
        return value
    if isinstance(node.op, ast.USub) and isinstance(type_, IntType):
        return tree.Negate(type_, context.place(node), value)
    flag = isinstance(type_, EnumType) and type_.flag
    if isinstance(node.op, ast.Invert) and (isinstance(type_, IntType | NewType) or flag):
        return tree.Invert(type_, context.place(node), value)
    if isinstance(node.op, ast.Invert) and isinstance(type_, BoolType):
        raise context.problem(node, "'~' of a bool is a number in Python", "write not x")
    text = {ast.USub: "-", ast.Invert: "~", ast.UAdd: "+"}[type(node.op)]
    raise context.problem(node, f"unary '{text}' does not work on {type_}", operand_help(type_))


def condition(context: Context, node: ast.expr) -> tree.Expression:
    """`node` used for its truth only."""
    if isinstance(node, ast.BoolOp):
        return logical(context, node, condition)
    return truth(context, context.expression(node), node)


@expression_of(ast.BoolOp)
def check_logical(context: Context, node: ast.BoolOp, _hint: Type | None) -> tree.Expression:
    return logical(context, node, boolean)


def boolean(context: Context, node: ast.expr) -> tree.Expression:
    """An operand of `and`/`or` used as a value: Python gives the operand itself, so it must be a bool."""
    value = context.expression(node)
    if not isinstance(value.type, BoolType):
        message = f"'and' and 'or' as values take bools, not {article(value.type)}"
        raise context.problem(node, message, "compare it: x != 0, or p is not None")
    return value


def logical(
    context: Context, node: ast.BoolOp, operand: Callable[[Context, ast.expr], tree.Expression]
) -> tree.Expression:
    conjunction = isinstance(node.op, ast.And)
    place = context.place(node)
    result = operand(context, node.values[-1])
    for item in reversed(node.values[:-1]):
        result = tree.Logical(BOOL, place, conjunction, operand(context, item), result)
    return result


@expression_of(ast.IfExp)
def check_conditional(context: Context, node: ast.IfExp, hint: Type | None) -> tree.Expression:
    test = condition(context, node.test)
    then = context.expression(node.body, hint)
    otherwise = context.expression(node.orelse, hint)
    place = context.place(node)
    if isinstance(then.type, LiteralType) and isinstance(otherwise.type, LiteralType):
        if not isinstance(hint, IntType):
            message = "both sides of the conditional expression are literals"
            raise context.problem(node, message, f"give one a type: u64({then.type.value})")
        then = coerce(context, then, hint, node.body, "the value")
        otherwise = coerce(context, otherwise, hint, node.orelse, "the value")
    then, otherwise = unify(context, then, otherwise, node, "the two sides are")
    return tree.Conditional(then.type, place, test, then, otherwise)


@expression_of(ast.Compare)
def check_compare(context: Context, node: ast.Compare, _hint: Type | None) -> tree.Expression:
    """A chain `a < b < c` is `a < b and b < c` with b evaluated once."""
    left = context.expression(node.left)
    return compare_chain(context, node, left, node.left, list(zip(node.ops, node.comparators, strict=True)))


def compare_chain(
    context: Context,
    node: ast.Compare,
    left: tree.Expression,
    left_node: ast.expr,
    rest: list[tuple[ast.cmpop, ast.expr]],
) -> tree.Expression:
    (symbol, right_node), more = rest[0], rest[1:]
    if not more:
        return comparison(context, symbol, left, right_node, node)
    right = context.expression(right_node)
    if isinstance(right.type, LiteralType) or isinstance(right, tree.Constant | tree.LocalValue):
        first = compare(context, symbol, left, right, node)
        return conjunction(context, node, first, compare_chain(context, node, right, right_node, more))
    # The left side is evaluated before the middle, so it is kept in a name as well.
    place = context.place(node)
    middle = context.temporary(right.type, context.place(right_node))
    middle_value = tree.LocalValue(right.type, place, middle)
    if isinstance(left.type, LiteralType) or isinstance(left, tree.Constant):
        first = compare(context, symbol, left, middle_value, node)
        both = conjunction(context, node, first, compare_chain(context, node, middle_value, right_node, more))
        return tree.Let(BOOL, place, middle, right, both)
    start = context.temporary(left.type, context.place(left_node))
    first = compare(context, symbol, tree.LocalValue(left.type, place, start), middle_value, node)
    both = conjunction(context, node, first, compare_chain(context, node, middle_value, right_node, more))
    return tree.Let(BOOL, place, start, left, tree.Let(BOOL, place, middle, right, both))


def conjunction(
    context: Context, node: ast.AST, first: tree.Expression, second: tree.Expression
) -> tree.Expression:
    return tree.Logical(BOOL, context.place(node), True, first, second)


def comparison(
    context: Context, symbol: ast.cmpop, left: tree.Expression, right_node: ast.expr, node: ast.Compare
) -> tree.Expression:
    """The last link of a chain: the only place where `is` and `in` may stand."""
    if isinstance(symbol, ast.Is | ast.IsNot):
        return identity(context, symbol, left, right_node, node)
    if isinstance(symbol, ast.In | ast.NotIn):
        return membership(context, symbol, left, right_node, node)
    return compare(context, symbol, left, context.expression(right_node), node)


def compare(
    context: Context, symbol: ast.cmpop, left: tree.Expression, right: tree.Expression, node: ast.AST
) -> tree.Expression:
    if type(symbol) not in COMPARISONS:
        raise context.problem(node, "'is' and 'in' cannot be chained", "join two comparisons with 'and'")
    kind, text = COMPARISONS[type(symbol)]
    if isinstance(left.type, LiteralType) and isinstance(right.type, LiteralType):
        result = PYTHON_COMPARISONS[kind](left.type.value, right.type.value)
        return tree.Constant(BOOL, context.place(node), int(result))
    if isinstance(left.type, NullType) or isinstance(right.type, NullType):
        raise context.problem(node, f"'{text}' with None", "write `is None` or `is not None`")
    left, right = unify(context, left, right, node, f"'{text}' between")
    scalar = isinstance(left.type, IntType | BoolType | EnumType | NewType)
    pointer = isinstance(left.type, PointerType | FunctionType)
    user_pointer = isinstance(left.type, UserPointerType)
    if pointer and kind in ORDERINGS:
        raise context.problem(node, f"'{text}' between pointers", "compare address_of(p) and address_of(q)")
    if not (scalar or pointer or user_pointer):
        raise context.problem(node, f"'{text}' does not work on {left.type}")
    return tree.Compare(BOOL, context.place(node), kind, left, right)


def identity(
    context: Context, symbol: ast.cmpop, left: tree.Expression, right_node: ast.expr, node: ast.Compare
) -> tree.Expression:
    """`p is None`, `p is not None`."""
    right = context.expression(right_node)
    if not isinstance(right.type, NullType):
        raise context.problem(node, "'is' compares with None only", "write == to compare values or pointers")
    if isinstance(left.type, PointerType | FunctionType):
        if not left.type.nullable:
            help_ = f"declare it `{left.type} | None` or drop the test"
            raise context.problem(node, f"{left.type} is never None", help_)
        test = tree.Convert(BOOL, context.place(node), tree.Conversion.TRUTH, left)
        return test if isinstance(symbol, ast.IsNot) else tree.Not(BOOL, test.place, test)
    raise context.problem(node, f"{article(left.type)} is never None", "drop the test")


def membership(
    context: Context, symbol: ast.cmpop, left: tree.Expression, right_node: ast.expr, node: ast.Compare
) -> tree.Expression:
    """`x in (A, B)`: x is evaluated once, items in order until one matches."""
    if not isinstance(right_node, ast.Tuple):
        raise context.problem(node, "'in' takes a tuple written in place", "write x in (A, B, C), or a loop")
    if isinstance(left.type, LiteralType):
        raise context.problem(node, "a literal on the left of 'in' has no type", "give it one: u64(...)")
    place = context.place(node)
    subject = context.temporary(left.type, place)
    value = tree.LocalValue(left.type, place, subject)
    result: tree.Expression = tree.Constant(BOOL, place, 0)
    for item in reversed(right_node.elts):
        test = compare(context, ast.Eq(), value, context.expression(item), item)
        result = tree.Logical(BOOL, place, False, test, result)
    if isinstance(symbol, ast.NotIn):
        result = tree.Not(BOOL, place, result)
    return tree.Let(BOOL, place, subject, left, result)
