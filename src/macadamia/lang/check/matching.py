"""match: constants become a jump table, guards and names a chain of tests."""

from __future__ import annotations

import ast

from macadamia.lang import tree
from macadamia.lang.check.context import Context, statement_of
from macadamia.lang.check.control import copy_of, meet
from macadamia.lang.check.conversions import coerce
from macadamia.lang.check.operators import condition
from macadamia.lang.tree import Comparison
from macadamia.lang.types import BOOL, NEVER, STRING, BoolType, EnumType, IntType, NewType


@statement_of(ast.Match)
def check_match(context: Context, node: ast.Match) -> list[tree.Statement]:
    subject = context.typed(node.subject)
    if not isinstance(subject.type, IntType | BoolType | EnumType | NewType):
        message = f"match on {subject.type}"
        raise context.problem(node.subject, message, "match works on integers, bools and enums")
    cases = [(case, constants_of(context, case.pattern, subject)) for case in node.cases]
    simple = all(case.guard is None and values is not None for case, values in cases[:-1])
    last_case, _ = cases[-1]
    plain_last = last_case.guard is None and captured(last_case.pattern) is None
    if simple and plain_last:
        return switch(context, node, subject, cases)
    return chain(context, node, subject, cases)


Cases = list[tuple[ast.match_case, "list[int] | None"]]


def constants_of(context: Context, pattern: ast.pattern, subject: tree.Expression) -> list[int] | None:
    """The values a pattern names; None for one that matches everything."""
    if isinstance(pattern, ast.MatchOr):
        result: list[int] = []
        for item in pattern.patterns:
            values = constants_of(context, item, subject)
            if values is None:
                return None
            result += values
        return result
    if isinstance(pattern, ast.MatchAs):
        if pattern.pattern is not None:
            raise context.problem(pattern, "'as' in a pattern", "name the subject before the match")
        return None
    if isinstance(pattern, ast.MatchSingleton) and isinstance(pattern.value, bool):
        literal = tree.Constant(BOOL, context.place(pattern), int(pattern.value))
        return [pattern_value(context, literal, subject, pattern)]
    if isinstance(pattern, ast.MatchValue):
        return [pattern_value(context, context.expression(pattern.value), subject, pattern)]
    raise context.problem(
        pattern, "this pattern is not part of kernel Python", "match constants, A | B, or _"
    )


def pattern_value(context: Context, value: tree.Expression, subject: tree.Expression, node: ast.AST) -> int:
    wanted = subject.type
    if isinstance(wanted, NewType) and value.type != wanted:
        wanted = wanted.base
    value = coerce(context, value, wanted, node, "the pattern")
    if not isinstance(value, tree.Constant):
        raise context.problem(node, "the pattern is not a constant", "compare it in an if")
    return value.value


def captured(pattern: ast.pattern) -> str | None:
    return pattern.name if isinstance(pattern, ast.MatchAs) else None


def switch(context: Context, node: ast.Match, subject: tree.Expression, cases: Cases) -> list[tree.Statement]:
    before = copy_of(context.assigned)
    after = None
    result: list[tree.Case] = []
    otherwise: list[tree.Statement] | None = None
    seen: set[int] = set()
    for case, values in cases:
        context.assigned = copy_of(before)
        body = context.statements(case.body)
        after = meet(after, context.assigned)
        if values is None:
            otherwise = body
            continue
        for value in values:
            if value in seen:
                raise context.problem(case.pattern, "an earlier case has this value already")
            seen.add(value)
        result.append(tree.Case(values, body))
    context.assigned = after
    if otherwise is None:
        otherwise = rest(context, node, subject, seen, before)
    return [tree.Switch(context.place(node), subject, result, otherwise)]


def rest(
    context: Context, node: ast.Match, subject: tree.Expression, seen: set[int], before: set[str] | None
) -> list[tree.Statement]:
    """Without `case _` a value that is not named falls through; a match over all members has none left."""
    place = context.place(node)
    if is_exhaustive(subject, seen):
        text = tree.Text(STRING, place, "not a member of the enum")
        stop = tree.IntrinsicCall(NEVER, place, tree.Intrinsic.PANIC, [text])
        return [tree.Evaluate(place, stop)]
    context.assigned = meet(context.assigned, before)
    return []


def is_exhaustive(subject: tree.Expression, seen: set[int]) -> bool:
    if isinstance(subject.type, BoolType):
        return seen == {0, 1}
    if isinstance(subject.type, EnumType) and not subject.type.flag:
        members = {int(member) for member in subject.type.python}  # type: ignore[attr-defined]
        return members <= seen
    return False


def chain(context: Context, node: ast.Match, subject: tree.Expression, cases: Cases) -> list[tree.Statement]:
    """Tests in order, each with the cases after it as its else side."""
    place = context.place(node)
    local = context.temporary(subject.type, place)
    value = tree.LocalValue(subject.type, place, local)
    start: list[tree.Statement] = [tree.Assign(place, local, subject)]
    return start + chain_from(context, value, cases)


def chain_from(context: Context, value: tree.LocalValue, cases: Cases) -> list[tree.Statement]:
    if not cases:
        return []
    (case, values), others = cases[0], cases[1:]
    place = context.place(case.pattern)
    before: list[tree.Statement] = []
    name = captured(case.pattern)
    if name is not None:
        before.append(bind(context, name, value, case.pattern))
    test: tree.Expression = tree.Constant(BOOL, place, 1)
    if values is not None:
        test = matches(value, values, place)
    if case.guard is not None:
        guard = condition(context, case.guard)
        test = guard if values is None else tree.Logical(BOOL, place, True, test, guard)
    assigned = copy_of(context.assigned)
    body = context.statements(case.body)
    after = context.assigned
    if values is None and case.guard is None:
        return before + body
    context.assigned = assigned
    otherwise = chain_from(context, value, others)
    context.assigned = meet(after, context.assigned)
    return [*before, tree.If(place, test, body, otherwise)]


def bind(context: Context, name: str, value: tree.LocalValue, node: ast.pattern) -> tree.Statement:
    if name not in context.locals:
        context.locals[name] = context.new_local(name, value.type, context.place(node))
    local = context.locals[name]
    if context.assigned is not None:
        context.assigned.add(name)
    return tree.Assign(context.place(node), local, coerce(context, value, local.type, node, name))


def matches(value: tree.LocalValue, values: list[int], place: tree.Place) -> tree.Expression:
    result: tree.Expression | None = None
    for number in reversed(values):
        constant = tree.Constant(value.type, place, number)
        test = tree.Compare(BOOL, place, Comparison.EQUAL, value, constant)
        result = test if result is None else tree.Logical(BOOL, place, False, test, result)
    assert result is not None
    return result
