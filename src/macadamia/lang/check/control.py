"""Statements that branch, stop or do nothing."""

from __future__ import annotations

import ast

from macadamia.lang import tree
from macadamia.lang.check.context import Context, statement_of
from macadamia.lang.check.conversions import coerce
from macadamia.lang.check.formatting import format_call, formatter_of
from macadamia.lang.check.operators import condition
from macadamia.lang.types import NEVER, NONE, TupleType

Assigned = set[str] | None


def meet(first: Assigned, second: Assigned) -> Assigned:
    """Names assigned whichever of two paths was taken; None is the path that does not exist."""
    if first is None:
        return second
    if second is None:
        return first
    return first & second


def copy_of(assigned: Assigned) -> Assigned:
    return None if assigned is None else set(assigned)


@statement_of(ast.Expr)
def check_expression_statement(context: Context, node: ast.Expr) -> list[tree.Statement]:
    if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return []  # a text on a line alone is a comment
    if isinstance(node.value, ast.Constant) and node.value.value is ...:
        raise context.problem(
            node, "a compiled function needs a body", "@interface functions are declared with ..."
        )
    if isinstance(node.value, ast.Call):
        formatter = formatter_of(context, node.value)
        if formatter is not None:
            return format_call(context, node.value, formatter)
    elif not isinstance(node.value, ast.Await | ast.Yield | ast.YieldFrom):
        raise context.problem(node, "this computes a value that nothing uses", "assign it or delete it")
    value = context.expression(node.value)
    return [tree.Evaluate(context.place(node), value)]


@statement_of(ast.Pass)
def check_pass(_context: Context, _node: ast.Pass) -> list[tree.Statement]:
    return []


@statement_of(ast.If)
def check_if(context: Context, node: ast.If) -> list[tree.Statement]:
    test = condition(context, node.test)
    before = copy_of(context.assigned)
    then = context.statements(node.body)
    after_then = context.assigned
    context.assigned = before
    otherwise = context.statements(node.orelse)
    context.assigned = meet(after_then, context.assigned)
    return [tree.If(context.place(node), test, then, otherwise)]


@statement_of(ast.Return)
def check_return(context: Context, node: ast.Return) -> list[tree.Statement]:
    result = context.function.result
    value = None
    if result == NEVER:
        raise context.problem(node, "a NoReturn function returns", "loop for ever, or panic(...)")
    if node.value is not None and not is_none(node.value, result == NONE):
        given = context.expression(node.value, result)
        if result == NONE:
            raise context.problem(node.value, "the function returns None", "annotate its result: -> u64")
        what = "the result"
        if isinstance(result, TupleType) and isinstance(given.type, TupleType):
            what = f"the result of {len(given.type.items)} items"
        value = coerce(context, given, result, node.value, what)
    elif result != NONE:
        raise context.problem(node, f"return without a value, expected {result}")
    context.assigned = None
    return [tree.Return(context.place(node), value)]


def is_none(node: ast.expr, returns_none: bool) -> bool:
    """`return None` in a function that returns None."""
    return returns_none and isinstance(node, ast.Constant) and node.value is None


@statement_of(ast.Assert)
def check_assert(context: Context, node: ast.Assert) -> list[tree.Statement]:
    message = ""
    if node.msg is not None:
        if not isinstance(node.msg, ast.Constant) or not isinstance(node.msg.value, str):
            raise context.problem(node.msg, "the message of an assert is a constant text")
        message = node.msg.value
    if isinstance(node.test, ast.Tuple):
        raise context.problem(node.test, "an assert of a tuple is always true", "drop the parentheses")
    test = condition(context, node.test)
    return [tree.Assert(context.place(node), test, message)]
