"""The body of one function: parameters, statements in order, and that every path returns."""

from __future__ import annotations

import ast

from macadamia.lang import tree
from macadamia.lang.check import assignments, builtins, control, loops, matching, operators
from macadamia.lang.check.context import Context
from macadamia.lang.check.values import lies_in_memory
from macadamia.lang.diagnostics import Problem
from macadamia.lang.types import NEVER, NONE, TupleType, Type, UserPointerType

HANDLERS = (assignments, builtins, control, loops, matching, operators)  # imported to register themselves


def check_function(context: Context) -> None:
    """Fill in the body of `context.function`; problems are reported to the program."""
    try:
        check_signature(context)
    except Problem as problem:
        context.report(problem)
        return
    function = context.function
    for parameter in function.parameters:
        context.locals[parameter.name] = parameter
        context.declared.add(parameter.name)
        assert context.assigned is not None
        context.assigned.add(parameter.name)
    body = without_docstring(context.definition.body)
    function.body = context.statements(body)
    if function.naked:
        check_naked(context)
    elif context.assigned is not None:
        check_end(context)


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return body[1:]
    return body


def check_signature(context: Context) -> None:
    """Forms of parameters and results that no machine code can have."""
    arguments = context.definition.args
    for starred in (arguments.vararg, arguments.kwarg):
        if starred is not None:
            raise context.problem(starred, "a variable number of parameters", "name each parameter")
    nodes = {a.arg: a for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    for parameter in context.function.parameters:
        check_passable(context, parameter.type, nodes[parameter.name], f"the parameter {parameter.name}")
    returns = context.definition.returns or context.definition
    if context.function.result not in (NONE, NEVER):
        check_passable(context, context.function.result, returns, "the result")


def check_passable(context: Context, type_: Type, node: ast.AST, what: str) -> None:
    if lies_in_memory(type_):
        raise context.problem(node, f"{what} is {type_}, which lies in memory", f"write Ptr[{type_}]")
    if isinstance(type_, TupleType):
        if what != "the result":
            raise context.problem(node, f"{what} is a tuple", "pass its items one by one")
        for item in type_.items:
            check_passable(context, item, node, "an item of the result")
    if type_ in (NONE, NEVER) and not isinstance(type_, UserPointerType):
        raise context.problem(node, f"{what} has no value", "give it a type")


def check_end(context: Context) -> None:
    function = context.function
    place = tree.Place(context.file, context.definition.end_lineno or context.definition.lineno, 0)
    if function.result == NONE:
        function.body.append(tree.Return(place, None))
        return
    end = context.definition.body[-1]
    message = f"{context.definition.name} can end without a result"
    if function.result == NEVER:
        message = f"{context.definition.name} is NoReturn but can end"
    context.report(context.problem(end, message, "return on every path, or end with unreachable()"))


def check_naked(context: Context) -> None:
    """A naked function has no frame: only assembly may stand in it."""
    for statement in context.function.body:
        is_assembly = isinstance(statement, tree.Evaluate) and isinstance(statement.value, tree.Assembly)
        if not is_assembly:
            problem = context.problem(
                context.definition,
                "a @naked function may hold asm(...) only",
                "call another function from it",
            )
            context.report(problem)
            return
