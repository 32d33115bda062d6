"""while, for, break and continue, and what is assigned after them."""

from __future__ import annotations

import ast
import builtins

from macadamia.lang import intrinsics, tree
from macadamia.lang.check.context import NOT_STATIC, Context, statement_of
from macadamia.lang.check.control import copy_of, meet
from macadamia.lang.check.conversions import coerce, unify
from macadamia.lang.check.operators import condition
from macadamia.lang.check.values import load
from macadamia.lang.types import U64, ArrayType, IntType, LiteralType, PointerType, Type


@statement_of(ast.While)
def check_while(context: Context, node: ast.While) -> list[tree.Statement]:
    reject_else(context, node)
    test = condition(context, node.test)
    endless = isinstance(test, tree.Constant) and test.value == 1
    before = copy_of(context.assigned)
    body = loop_body(context, node.body, None if endless else before)
    return [tree.While(context.place(node), test, body)]


def reject_else(context: Context, node: ast.While | ast.For) -> None:
    if node.orelse:
        raise context.problem(node.orelse[0], "'else' of a loop is not part of kernel Python", "use a flag")


def loop_body(context: Context, body: list[ast.stmt], without: set[str] | None) -> list[tree.Statement]:
    """Check a body; `without` is what is assigned when the loop ends by its condition."""
    breaks: list[set[str] | None] = []
    context.loops.append(breaks)
    result = context.statements(body)
    context.loops.pop()
    after = copy_of(without)
    for assigned in breaks:
        after = meet(after, assigned)
    context.assigned = after
    return result


@statement_of(ast.Break)
def check_break(context: Context, node: ast.Break) -> list[tree.Statement]:
    context.loops[-1].append(copy_of(context.assigned))
    context.assigned = None
    return [tree.Break(context.place(node))]


@statement_of(ast.Continue)
def check_continue(context: Context, node: ast.Continue) -> list[tree.Statement]:
    context.assigned = None
    return [tree.Continue(context.place(node))]


@statement_of(ast.For)
def check_for(context: Context, node: ast.For) -> list[tree.Statement]:
    reject_else(context, node)
    if not isinstance(node.target, ast.Name):
        raise context.problem(node.target, "the variable of a for loop is one name")
    if isinstance(node.iter, ast.Call):
        callee = context.static_object(node.iter.func)
        if callee is intrinsics.range:
            return [for_range(context, node, node.target, node.iter)]
        if callee is builtins.range:
            message = "Python's range yields plain ints"
            raise context.problem(node.iter, message, "import range from macadamia.lang")
        if callee is not NOT_STATIC and callee in (enumerate, zip, reversed):
            name = callee.__name__
            raise context.problem(node.iter, f"{name} is not part of kernel Python", "loop over an index")
    return for_array(context, node, node.target)


def for_range(context: Context, node: ast.For, target: ast.Name, call: ast.Call) -> tree.Statement:
    start, stop, step = range_arguments(context, call)
    local = loop_variable(context, target, start.type)
    without = copy_of(context.assigned)
    if context.assigned is not None:
        context.assigned.add(target.id)
    body = loop_body(context, node.body, without)
    return tree.ForRange(context.place(node), local, start, stop, step, body)


def loop_variable(context: Context, target: ast.Name, type_: Type) -> tree.Local:
    name = target.id
    context.poisoned.discard(name)
    if name not in context.locals:
        context.locals[name] = context.new_local(name, type_, context.place(target))
    local = context.locals[name]
    if local.type != type_:
        message = f"{name} is {local.type}, the loop yields {type_}"
        raise context.problem(target, message, "use another name")
    return local


def range_arguments(context: Context, call: ast.Call) -> tuple[tree.Expression, tree.Expression, int]:
    """(start, stop, step) with one type; all literals: u64, or i64 when one is negative."""
    if call.keywords or not 1 <= len(call.args) <= 3:
        raise context.problem(call, "range takes one to three values")
    values = [context.expression(argument) for argument in call.args]
    step = 1
    if len(values) == 3:
        step_type = values.pop().type
        if not isinstance(step_type, LiteralType) or step_type.value == 0:
            raise context.problem(call.args[2], "the step of range is a literal other than 0")
        step = step_type.value
    if len(values) == 1:
        values.insert(0, tree.Constant(LiteralType(0), context.place(call), 0))
    start, stop = values
    if isinstance(start.type, LiteralType) and isinstance(stop.type, LiteralType):
        wanted = U64
        if min(start.type.value, stop.type.value) < 0:
            raise context.problem(call, "a range of literals yields u64", "give one a type: i64(...)")
        start = coerce(context, start, wanted, call, "the start")
        stop = coerce(context, stop, wanted, call, "the stop")
    start, stop = unify(context, start, stop, call, "a range from")
    if not isinstance(start.type, IntType):
        raise context.problem(call, f"range over {start.type}", "a range is over integers")
    return start, stop, step


def for_array(context: Context, node: ast.For, target: ast.Name) -> list[tree.Statement]:
    """`for x in array`: the elements in order; of structs, pointers to them."""
    value = context.typed(node.iter)
    if not isinstance(value.type, PointerType) or not isinstance(value.type.target, ArrayType):
        message = f"{value.type} cannot be looped over"
        raise context.problem(node.iter, message, "loop over range(...) or an array")
    place = context.place(node)
    array = value.type.target
    base, index = context.temporary(value.type, place), context.temporary(U64, place)
    pointer = tree.ElementAddress(
        PointerType(array.element),
        place,
        tree.LocalValue(value.type, place, base),
        tree.LocalValue(U64, place, index),
        array.length,
    )
    element = load(context, pointer, array.element, node)
    local = loop_variable(context, target, element.type)
    without = copy_of(context.assigned)
    if context.assigned is not None:
        context.assigned.add(target.id)
    body: list[tree.Statement] = [tree.Assign(place, local, element)]
    body += loop_body(context, node.body, without)
    first = tree.Constant(U64, place, 0)
    last = tree.Constant(U64, place, array.length)
    loop = tree.ForRange(place, index, first, last, 1, body)
    return [tree.Assign(place, base, value), loop]
