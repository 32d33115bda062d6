"""`log(f"...")`: a formatter's call becomes calls that print texts and numbers."""

from __future__ import annotations

import ast
import re
from typing import Any

from macadamia.lang import tree
from macadamia.lang.check.context import NOT_STATIC, Context
from macadamia.lang.check.conversions import coerce
from macadamia.lang.functions import Formatter
from macadamia.lang.tree import Comparison, Conversion
from macadamia.lang.types import (
    BOOL,
    I64,
    STRING,
    U8,
    U64,
    BoolType,
    EnumType,
    IntType,
    LiteralType,
    NewType,
    StringType,
    Type,
)

BASES = {"": 10, "d": 10, "x": 16, "b": 2}
PREFIXES = {"x": "0x", "b": "0b"}
SPECIFICATION = re.compile(r"(?P<alternate>#?)(?P<zero>0?)(?P<width>[0-9]*)(?P<kind>[dxb]?)")


def formatter_of(context: Context, node: ast.Call) -> Formatter | None:
    """The formatter that a call statement calls, if it is one."""
    if not isinstance(node.func, ast.Name | ast.Attribute):
        return None
    callee = context.static_object(node.func)
    return callee if callee is not NOT_STATIC and isinstance(callee, Formatter) else None


def format_call(context: Context, node: ast.Call, formatter: Formatter) -> list[tree.Statement]:
    """Every value is evaluated before the first character is printed, as an f-string is."""
    if len(node.args) != 1 or node.keywords:
        raise context.problem(node, "a formatter takes one text", 'write log(f"...")')
    argument = node.args[0]
    parts: list[ast.expr] = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
    before: list[tree.Statement] = []
    prints: list[tree.Statement] = []
    pending = ""
    for part in parts:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            pending += part.value
            continue
        if isinstance(part, ast.FormattedValue):
            value, specification = formatted_value(context, part, before)
        else:
            value, specification = text_argument(context, part), ""
        prefix, calls = print_value(context, formatter, value, specification, part)
        if pending + prefix:
            prints.append(print_text(context, formatter, text_of(context, pending + prefix, node), node))
        pending = ""
        prints += calls
    if pending + formatter.end:
        ending = text_of(context, pending + formatter.end, node)
        prints.append(print_text(context, formatter, ending, node))
    return before + prints


def text_argument(context: Context, node: ast.expr) -> tree.Expression:
    value = context.expression(node)
    if not isinstance(value.type, StringType):
        raise context.problem(node, f"a formatter takes a text, not {value.type}", 'write log(f"{x}")')
    return value


def text_of(context: Context, text: str, node: ast.AST) -> tree.Expression:
    if not text.isascii():
        raise context.problem(node, "a text with characters beyond ASCII", "its length in bytes would differ")
    return tree.Text(STRING, context.place(node), text)


def formatted_value(
    context: Context, part: ast.FormattedValue, before: list[tree.Statement]
) -> tuple[tree.Expression, str]:
    if part.conversion != -1:
        raise context.problem(part, "!r, !s and !a are not part of kernel Python", "drop the conversion")
    value = context.expression(part.value)
    if isinstance(value.type, LiteralType):
        wanted = U64 if value.type.value >= 0 else I64
        value = coerce(context, value, wanted, part, "the value")
    local = context.temporary(value.type, context.place(part))
    before.append(tree.Assign(context.place(part), local, value))
    return tree.LocalValue(value.type, context.place(part), local), specification_of(context, part)


def specification_of(context: Context, part: ast.FormattedValue) -> str:
    if part.format_spec is None:
        return ""
    assert isinstance(part.format_spec, ast.JoinedStr)
    texts = [str(item.value) for item in part.format_spec.values if isinstance(item, ast.Constant)]
    if len(texts) != len(part.format_spec.values):
        raise context.problem(part, "a computed format", "widths and formats are constants")
    return "".join(texts)


def print_value(
    context: Context, formatter: Formatter, value: tree.Expression, specification: str, node: ast.AST
) -> tuple[str, list[tree.Statement]]:
    """(text that comes before the number, the calls that print the value)."""
    type_ = value.type
    if isinstance(type_, StringType | BoolType):
        if specification:
            raise context.problem(node, f"{type_} takes no format", "drop what follows the colon")
        return "", [print_text(context, formatter, word_of(value), node)]
    if not isinstance(type_, IntType | EnumType | NewType):
        raise context.problem(node, f"{type_} cannot be printed", "print address_of(p), or its fields")
    found = SPECIFICATION.fullmatch(specification)
    if found is None:
        help_ = "known are d, x, #x, b, #b, a width, and a 0 before the width"
        raise context.problem(node, f"the format {specification!r} is not known", help_)
    return print_number(context, formatter, value, found, node)


def word_of(value: tree.Expression) -> tree.Expression:
    if isinstance(value.type, StringType):
        return value
    true, false = (tree.Text(STRING, value.place, word) for word in ("True", "False"))
    return tree.Conditional(STRING, value.place, value, true, false)


def print_number(
    context: Context, formatter: Formatter, value: tree.Expression, found: re.Match[str], node: ast.AST
) -> tuple[str, list[tree.Statement]]:
    place = context.place(node)
    integer = tree.integer_of(value.type)
    width = int(found["width"] or 0)
    prefix = ""
    if found["alternate"]:
        prefix = PREFIXES.get(found["kind"], "")
        if integer.signed and prefix:
            raise context.problem(node, f"'#' of the signed {value.type}", "convert it to an unsigned type")
        if prefix and width and not found["zero"]:
            raise context.problem(node, "'#' with a width needs leading zeros", "write #010x")
        width = max(0, width - len(prefix))
    if integer.bits > U64.bits:
        raise context.problem(node, f"{value.type} cannot be printed", "print its halves")
    if width > U8.maximum:
        raise context.problem(node, f"a width of {width}", f"at most {U8.maximum}")
    number = value if value.type == integer else tree.Convert(integer, place, Conversion.REINTERPRET, value)
    magnitude, negative = sign_and_magnitude(number, integer)
    arguments = [
        magnitude,
        negative,
        tree.Constant(U8, place, BASES[found["kind"]]),
        tree.Constant(U8, place, width),
        tree.Constant(U8, place, ord("0" if found["zero"] else " ")),
    ]
    return prefix, [call_formatter(context, formatter.number, arguments, node, NUMBER_SIGNATURE)]


NUMBER_SIGNATURE: list[Type] = [U64, BOOL, U8, U8, U8]


def sign_and_magnitude(value: tree.Expression, integer: IntType) -> tuple[tree.Expression, tree.Expression]:
    place = value.place
    if not integer.signed:
        kind = Conversion.WIDEN
        wide = value if integer == U64 else tree.Convert(U64, place, kind, value)
        return wide, tree.Constant(BOOL, place, 0)
    zero = tree.Constant(integer, place, 0)
    negative = tree.Compare(BOOL, place, Comparison.LESS, value, zero)
    wide = tree.Convert(U64, place, Conversion.TRUNCATE, value)  # sign-extends, then is read as unsigned
    magnitude = tree.Conditional(U64, place, negative, tree.Negate(U64, place, wide), wide)
    return magnitude, negative


def print_text(
    context: Context, formatter: Formatter, text: tree.Expression, node: ast.AST
) -> tree.Statement:
    return call_formatter(context, formatter.text, [text], node, [STRING])


def call_formatter(
    context: Context, function: Any, arguments: list[tree.Expression], node: ast.AST, signature: list[Type]
) -> tree.Statement:
    instance = context.program.instance_at(context, function, None, node)
    if list(instance.parameters.values()) != signature:
        expected = ", ".join(map(str, signature))
        raise context.problem(node, f"{instance.python.__name__} does not take ({expected})")
    place = context.place(node)
    return tree.Evaluate(place, tree.Call(instance.result, place, instance.tree, arguments))
