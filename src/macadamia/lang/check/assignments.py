"""Assignment: to names, fields, elements and several at once."""

from __future__ import annotations

import ast

from macadamia.lang import tree
from macadamia.lang.check.context import Context, statement_of
from macadamia.lang.check.conversions import article, coerce, implicit
from macadamia.lang.check.operators import binary
from macadamia.lang.check.values import lies_in_memory, local_value, target_of
from macadamia.lang.types import (
    NONE,
    ArrayType,
    AtomicType,
    IntType,
    LiteralType,
    NullType,
    PointerType,
    StructType,
    TupleType,
    Type,
)


@statement_of(ast.Assign)
def check_assign(context: Context, node: ast.Assign) -> list[tree.Statement]:
    if len(node.targets) > 1:
        return assign_chain(context, node)
    target = node.targets[0]
    if isinstance(target, ast.Tuple):
        return assign_tuple(context, target, node.value)
    value = context.expression(node.value, wanted_type(context, target))
    return assign(context, target, value, node.value)


def assign_chain(context: Context, node: ast.Assign) -> list[tree.Statement]:
    """`a = b = value`: the value is evaluated once and assigned from left to right."""
    value = context.typed(node.value, wanted_type(context, node.targets[0]))
    local = context.temporary(value.type, context.place(node))
    result: list[tree.Statement] = [tree.Assign(context.place(node), local, value)]
    for target in node.targets:
        if isinstance(target, ast.Tuple):
            raise context.problem(target, "a tuple in a chain of assignments", "assign in two statements")
        copy = tree.LocalValue(value.type, context.place(node), local)
        result += assign(context, target, copy, node.value)
    return result


def wanted_type(context: Context, target: ast.expr) -> Type | None:
    """The type a target already has, as a hint for the value."""
    if isinstance(target, ast.Name) and target.id in context.locals:
        return context.locals[target.id].type
    return None


def assign(
    context: Context, target: ast.expr, value: tree.Expression, value_node: ast.expr
) -> list[tree.Statement]:
    if isinstance(target, ast.Name):
        return [assign_name(context, target, value, value_node)]
    if isinstance(target, ast.Attribute | ast.Subscript):
        return [assign_memory(context, target, value, value_node)]
    raise context.problem(target, "this cannot be assigned to", "assign to a name, a field or an element")


def assign_name(
    context: Context, target: ast.Name, value: tree.Expression, value_node: ast.expr
) -> tree.Statement:
    name = target.id
    if name in context.poisoned and name not in context.locals:
        context.poisoned.discard(name)
    if name not in context.locals:
        declare(context, target, value, value_node)
    local = context.locals[name]
    check_same_type(context, local, value, value_node)
    value = coerce(context, value, local.type, value_node, name)
    if context.assigned is not None:
        context.assigned.add(name)
    return tree.Assign(context.place(target), local, value)


def declare(context: Context, target: ast.Name, value: tree.Expression, value_node: ast.expr) -> None:
    """An unannotated name has the type of its first assignment."""
    type_, name = value.type, target.id
    if isinstance(type_, LiteralType):
        number = type_.value
        help_ = f"give it a type: `{name}: u64 = {number}` or `{name} = u64({number})`"
        raise context.problem(value_node, f"{name} cannot hold the literal {number}", help_)
    if isinstance(type_, NullType):
        help_ = f"give it a type: `{name}: Ptr[T] | None = None`"
        raise context.problem(value_node, f"the type of {name} is not known from None", help_)
    if type_ == NONE:
        raise context.problem(value_node, "this has no value to assign", "the function returns None")
    context.locals[name] = context.new_local(name, type_, context.place(target))


def check_same_type(context: Context, local: tree.Local, value: tree.Expression, node: ast.expr) -> None:
    """Without an annotation nothing widens on assignment: a reader sees the type at the first one."""
    if local.name in context.declared or not isinstance(value.type, IntType) or value.type == local.type:
        return
    if isinstance(local.type, IntType) and implicit(value, local.type) is not None:
        message = f"{local.name} is {local.type} from its first assignment, this value is {value.type}"
        help_ = f"annotate it (`{local.name}: {local.type} = ...`) or write {local.type}(...)"
        raise context.problem(node, message, help_)


def assign_memory(
    context: Context, node: ast.Attribute | ast.Subscript, value: tree.Expression, value_node: ast.expr
) -> tree.Statement:
    target = target_of(context, node)
    reject_aggregate(context, target.value_type, node)
    what = node.attr if isinstance(node, ast.Attribute) else "the element"
    value = coerce(context, value, target.value_type, value_node, what)
    return target.store(context, value, node)


def reject_aggregate(context: Context, type_: Type, node: ast.AST) -> None:
    if isinstance(type_, AtomicType):
        raise context.problem(node, "an atomic field is not assigned", "write field.store(value)")
    if isinstance(type_, StructType | ArrayType):
        message = f"a whole {type_} is not assigned"
        raise context.problem(node, message, f"copy_bytes(to, from_, sizeof({type_})), or field by field")


def assign_tuple(context: Context, target: ast.Tuple, value_node: ast.expr) -> list[tree.Statement]:
    """`a, b = ...`: the right side is complete before the first assignment."""
    if isinstance(value_node, ast.Tuple):
        if len(value_node.elts) != len(target.elts):
            message = f"{len(value_node.elts)} values for {len(target.elts)} names"
            raise context.problem(value_node, message)
        return assign_items(context, target, value_node)
    value = context.typed(value_node)
    if not isinstance(value.type, TupleType):
        raise context.problem(value_node, f"{article(value.type)} has no items to unpack")
    if len(value.type.items) != len(target.elts):
        raise context.problem(target, f"{len(value.type.items)} values for {len(target.elts)} names")
    place = context.place(target)
    local = context.temporary(value.type, place)
    result: list[tree.Statement] = [tree.Assign(place, local, value)]
    for index, (item, type_) in enumerate(zip(target.elts, value.type.items, strict=True)):
        whole = tree.LocalValue(value.type, place, local)
        result += assign(context, item, tree.TupleItem(type_, place, whole, index), value_node)
    return result


def assign_items(context: Context, target: ast.Tuple, values: ast.Tuple) -> list[tree.Statement]:
    """`a, b = b, a`: every value into a temporary, then every target."""
    place = context.place(target)
    result: list[tree.Statement] = []
    held: list[tree.Expression] = []
    for item, node in zip(target.elts, values.elts, strict=True):
        value = context.expression(node, wanted_type(context, item))
        if isinstance(value.type, LiteralType | NullType):
            held.append(value)
            continue
        local = context.temporary(value.type, place)
        result.append(tree.Assign(place, local, value))
        held.append(tree.LocalValue(value.type, place, local))
    for item, value, node in zip(target.elts, held, values.elts, strict=True):
        result += assign(context, item, value, node)
    return result


@statement_of(ast.AnnAssign)
def check_annotated(context: Context, node: ast.AnnAssign) -> list[tree.Statement]:
    """`x: T = value`; `x: T` alone declares."""
    if not isinstance(node.target, ast.Name):
        raise context.problem(node.target, "only names are annotated", "drop the annotation")
    name = node.target.id
    type_ = context.type_from(node.annotation)
    check_declarable(context, node, type_)
    if name in context.locals:
        if context.locals[name].type != type_ or name not in context.declared:
            message = f"{name} already is {context.locals[name].type}"
            raise context.problem(node, message, "declare a name once, before its first use")
    else:
        context.locals[name] = context.new_local(name, type_, context.place(node.target))
    context.declared.add(name)
    context.poisoned.discard(name)
    if node.value is None:
        return []
    value = coerce(context, context.expression(node.value, type_), type_, node.value, name)
    if context.assigned is not None:
        context.assigned.add(name)
    return [tree.Assign(context.place(node), context.locals[name], value)]


def check_declarable(context: Context, node: ast.AnnAssign, type_: Type) -> None:
    if lies_in_memory(type_):
        help_ = f"write `x = local({type_})` for one on the stack; its type is Ptr[{type_}]"
        raise context.problem(node.annotation, f"a name cannot hold a {type_}", help_)
    if type_.size == 0 and not isinstance(type_, TupleType | PointerType):
        raise context.problem(node.annotation, f"a name cannot hold {type_}")


@statement_of(ast.AugAssign)
def check_augmented(context: Context, node: ast.AugAssign) -> list[tree.Statement]:
    """`target op= value`: the target is evaluated once, before the value."""
    if isinstance(node.target, ast.Name):
        old = local_or_problem(context, node.target)
        value = binary(context, node.op, old, context.expression(node.value, old.type), node)
        return [assign_name(context, node.target, value, node.value)]
    target = target_of(context, node.target)
    reject_aggregate(context, target.value_type, node.target)
    place = context.place(node)
    pointer = context.temporary(target.pointer.type, place)
    result: list[tree.Statement] = [tree.Assign(place, pointer, target.pointer)]
    target.pointer = tree.LocalValue(pointer.type, place, pointer)
    old = target.load(context, node.target)
    value = binary(context, node.op, old, context.expression(node.value, old.type), node)
    value = coerce(context, value, target.value_type, node, "the result")
    return [*result, target.store(context, value, node)]


def local_or_problem(context: Context, node: ast.Name) -> tree.Expression:
    if node.id in context.python.__globals__ and node.id not in context.locals:
        help_ = "keep state in a struct: `state = State()` at module level, then `state.field += 1`"
        raise context.problem(node, f"{node.id} is assigned before it has a value", help_)
    return local_value(context, node)
