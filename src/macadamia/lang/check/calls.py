"""Calls: of functions, methods, pointers to functions, types (conversions) and built-ins."""

from __future__ import annotations

import ast
import inspect
import types as python_types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from macadamia.lang import tree
from macadamia.lang.check.context import NOT_STATIC, Context, expression_of
from macadamia.lang.check.conversions import (
    coerce,
    explicit_enum,
    explicit_integer,
    explicit_opaque,
    truncating_integer,
)
from macadamia.lang.check.values import constant, struct_of, target_of
from macadamia.lang.functions import Formatter
from macadamia.lang.integers import bitfield
from macadamia.lang.tree import Conversion, Operator
from macadamia.lang.types import (
    NEVER,
    NONE,
    AtomicType,
    EnumType,
    FunctionType,
    IntType,
    NewType,
    PointerType,
    StructType,
    Type,
)

if TYPE_CHECKING:
    from macadamia.lang.check.program import Instance

BuiltinHandler = Callable[[Context, ast.Call], tree.Expression]
BUILTINS: dict[Any, BuiltinHandler] = {}


def builtin(function: Any) -> Callable[[BuiltinHandler], BuiltinHandler]:
    """Register the checker of a built-in function, found by the identity of the function object."""

    def register(handler: BuiltinHandler) -> BuiltinHandler:
        BUILTINS[function] = handler
        return handler

    return register


@expression_of(ast.Call)
def check_call(context: Context, node: ast.Call, _hint: Type | None) -> tree.Expression:
    callee = context.static_object(node.func)
    result = dynamic_call(context, node) if callee is NOT_STATIC else static_call(context, node, callee)
    if result.type == NEVER:
        context.assigned = None
    return result


def static_call(context: Context, node: ast.Call, callee: Any) -> tree.Expression:
    """A call of something known at import time."""
    if isinstance(callee, python_types.MethodType):
        return class_method_call(context, node, callee)
    try:
        handler = BUILTINS.get(callee)
    except TypeError:  # unhashable
        handler = None
    if handler is not None:
        return handler(context, node)
    if isinstance(callee, Formatter):
        raise context.problem(
            node, "a formatter is called in a statement of its own", 'write log(f"...") on a line alone'
        )
    if isinstance(callee, type):
        return type_call(context, node, callee)
    if hasattr(callee, "kernel_address"):
        raise context.problem(node, "an object cannot be called", "call one of its methods")
    if isinstance(callee, python_types.BuiltinFunctionType) or not callable(callee):
        name = getattr(callee, "__name__", type(callee).__name__)
        raise context.problem(
            node, f"{name} cannot be called in a compiled function", python_builtin_help(name)
        )
    owner = owner_of_unbound(context, node)
    instance = context.program.instance_at(context, callee, owner, node)
    return direct_call(context, node, instance, None)


PYTHON_HELP = {
    "print": 'make a log function with formatter(...) and write log(f"...")',
    "isinstance": "types are known at compile time: drop the test",
    "sum": "write a for loop",
    "sorted": "write or call a sort over an Array",
    "input": "read the console through the machine's interface",
    "open": "there are no files at this level",
    "getattr": "name the field in the source",
    "setattr": "name the field in the source",
    "id": "write address_of(p)",
    "hash": "write a function for it",
    "divmod": "write // and %",
    "pow": "write a shift or a loop",
    "any": "write a for loop",
    "all": "write a for loop",
}


def python_builtin_help(name: str) -> str:
    return PYTHON_HELP.get(name, "call a kernel Python function with annotations")


def owner_of_unbound(context: Context, node: ast.Call) -> Any:
    """`Base.method(self, ...)`: the class named, for a method that is not static; None for a function."""
    if not isinstance(node.func, ast.Attribute):
        return None
    base = context.static_object(node.func.value)
    if not isinstance(base, type):
        return None
    found = inspect.getattr_static(base, node.func.attr, None)
    return None if isinstance(found, staticmethod) else base


def class_method_call(context: Context, node: ast.Call, callee: python_types.MethodType) -> tree.Expression:
    """`u32.wrap(x)`; other class methods belong to import time."""
    type_ = getattr(callee.__self__, "__kernel_type__", None)
    if callee.__name__ != "wrap" or not isinstance(type_, IntType | NewType):
        message = f"{callee.__qualname__} runs at import time only"
        raise context.problem(node, message, "call it at module level and keep the result")
    argument = only_argument(context, node, f"{type_}.wrap")
    base = type_.base if isinstance(type_, NewType) else type_
    value = truncating_integer(context, context.expression(argument), base, node)
    if isinstance(type_, NewType):
        return tree.Convert(type_, value.place, Conversion.REINTERPRET, value)
    return value


def type_call(context: Context, node: ast.Call, callee: type) -> tree.Expression:
    """`T(x)`: a conversion."""
    try:
        type_ = context.resolve(callee)
    except TypeError as error:
        raise context.problem(node, f"{callee.__name__}(...): {error}", python_type_help(callee)) from None
    if isinstance(type_, StructType):
        message = f"a {type_} cannot be made in a compiled function"
        raise context.problem(node, message, f"local({type_}) makes one on the stack")
    argument = only_argument(context, node, str(type_))
    if isinstance(type_, IntType):
        return explicit_integer(context, context.expression(argument, type_), type_, node)
    if isinstance(type_, NewType):
        return explicit_opaque(context, context.expression(argument, type_.base), type_, node)
    if isinstance(type_, EnumType):
        return explicit_enum(context, context.expression(argument, type_.storage), type_, node)
    raise context.problem(node, f"{type_}(...) is not a conversion", python_type_help(callee))


def python_type_help(callee: type) -> str:
    return {
        "int": "convert to a sized integer: u64(x)",
        "bool": "compare: x != 0",
        "str": "there is no text at run time but constants",
        "range": "import range from macadamia.lang",
        "enumerate": "count in the loop",
        "zip": "loop over an index",
        "list": "use an Array",
        "reversed": "write range(n - 1, -1, -1) over a signed type",
        "super": "name the base class: Base.method(self, ...)",
    }.get(callee.__name__, "")


def only_argument(context: Context, node: ast.Call, name: str) -> ast.expr:
    if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
        raise context.problem(node, f"{name}(...) takes one argument")
    return node.args[0]


def positional(context: Context, node: ast.Call, count: int, name: str) -> list[ast.expr]:
    """The arguments of a built-in that takes exactly `count`, without keywords."""
    if len(node.args) != count or node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
        plural = "" if count == 1 else "s"
        raise context.problem(node, f"{name}(...) takes {count} argument{plural}")
    return node.args


def dynamic_call(context: Context, node: ast.Call) -> tree.Expression:
    """A method of a value, or a function pointer."""
    if isinstance(node.func, ast.Attribute):
        base = context.typed(node.func.value)
        if isinstance(base.type, PointerType) and isinstance(base.type.target, AtomicType):
            return atomic_call(context, node, base)
        if isinstance(base.type, NewType) and node.func.attr == "replace":
            return replace_call(context, node, base)
        owner = method_owner(base.type)
        if owner is not None:
            found = inspect.getattr_static(owner, node.func.attr, None)
            if isinstance(found, staticmethod):
                instance = context.program.instance_at(context, found.__func__, None, node)
                return direct_call(context, node, instance, None)
            if isinstance(found, python_types.FunctionType):
                instance = context.program.instance_at(context, found, owner, node)
                return direct_call(context, node, instance, base)
    pointer = function_pointer(context, node)
    return pointer_call(context, node, pointer)


def method_owner(type_: Type) -> Any:
    """The class whose methods a value of this type has."""
    struct = struct_of(type_)
    if struct is not None:
        return struct.python
    return type_.python if isinstance(type_, NewType | EnumType) else None


def function_pointer(context: Context, node: ast.Call) -> tree.Expression:
    if isinstance(node.func, ast.Attribute):
        base = context.typed(node.func.value)
        struct = struct_of(base.type)
        if struct is not None and node.func.attr not in struct.by_name:
            raise context.problem(node, f"{struct} has no method {node.func.attr}")
        if struct is None:
            raise context.problem(node, f"{base.type} has no method {node.func.attr}")
    pointer = context.typed(node.func)
    if not isinstance(pointer.type, FunctionType):
        raise context.problem(node, f"{pointer.type} cannot be called")
    return pointer


def pointer_call(context: Context, node: ast.Call, pointer: tree.Expression) -> tree.Expression:
    signature = pointer.type
    assert isinstance(signature, FunctionType)
    if node.keywords:
        raise context.problem(node, "a function pointer has no parameter names", "pass arguments by position")
    wanted = list(signature.parameters)
    arguments = positional_arguments(
        context, node, wanted, [f"argument {n}" for n in range(1, len(wanted) + 1)]
    )
    return tree.CallPointer(signature.result, context.place(node), pointer, signature, arguments)


def positional_arguments(
    context: Context, node: ast.Call, wanted: list[Type], names: list[str]
) -> list[tree.Expression]:
    if len(node.args) != len(wanted):
        raise context.problem(node, f"{len(node.args)} arguments given, {len(wanted)} expected")
    result = []
    for argument, type_, name in zip(node.args, wanted, names, strict=True):
        value = context.expression(argument, type_)
        result.append(coerce(context, value, type_, argument, name))
    return result


def direct_call(
    context: Context, node: ast.Call, instance: Instance, receiver: tree.Expression | None
) -> tree.Expression:
    """A call of a known function; `receiver` is `self`."""
    parameters = dict(instance.parameters)
    given: list[tuple[str, tree.Expression]] = []
    names = list(parameters)
    if receiver is not None:
        if not names:
            name = instance.python.__name__
            raise context.problem(node, f"{name} takes no self", "make it a @staticmethod or add self")
        given.append((names[0], coerce(context, receiver, parameters[names[0]], node, "self")))
        names = names[1:]
    given += named_arguments(context, node, instance, names)
    return tree_call(context, node, instance, given)


def named_arguments(
    context: Context, node: ast.Call, instance: Instance, names: list[str]
) -> list[tuple[str, tree.Expression]]:
    """The arguments in the order they are written, each with its parameter's name."""
    function = instance.python.__name__
    if len(node.args) > len(names):
        raise context.problem(node, f"{function} takes {len(names)} arguments, {len(node.args)} given")
    pairs: list[tuple[str, ast.expr]] = list(zip(names, node.args, strict=False))
    for keyword in node.keywords:
        if keyword.arg is None:
            raise context.problem(
                keyword, "'**' unpacking is not part of kernel Python", "name each argument"
            )
        if keyword.arg not in names:
            raise context.problem(keyword, f"{function} has no parameter {keyword.arg}")
        if keyword.arg in [name for name, _ in pairs]:
            raise context.problem(keyword, f"{keyword.arg} is given twice")
        pairs.append((keyword.arg, keyword.value))
    missing = [n for n in names if n not in dict(pairs) and n not in instance.defaults]
    if missing:
        raise context.problem(node, f"{function} misses the argument {', '.join(missing)}")
    result = []
    for name, argument in pairs:
        wanted = instance.parameters[name]
        value = context.expression(argument, wanted)
        result.append((name, coerce(context, value, wanted, argument, f"the argument {name} of {function}")))
    return result


def tree_call(
    context: Context, node: ast.Call, instance: Instance, given: list[tuple[str, tree.Expression]]
) -> tree.Expression:
    """Put arguments in the order of the parameters; where the source order differs, through names."""
    place = context.place(node)
    order = list(instance.parameters)
    values = dict(given)
    for name in order:
        if name not in values:
            value = constant(context, instance.defaults[name], node)
            wanted = instance.parameters[name]
            values[name] = coerce(context, value, wanted, node, f"the default of {name}")
    written = [name for name, _ in given]
    lets: list[tuple[tree.Local, tree.Expression]] = []
    if written != [name for name in order if name in written]:
        for name, value in given:
            local = context.temporary(value.type, place)
            lets.append((local, value))
            values[name] = tree.LocalValue(value.type, place, local)
    arguments = [values[name] for name in order]
    result: tree.Expression = tree.Call(instance.result, place, instance.tree, arguments)
    for local, value in reversed(lets):
        result = tree.Let(instance.result, place, local, value, result)
    return result


ATOMIC_METHODS = {
    "load": (tree.Intrinsic.ATOMIC_LOAD, 0),
    "store": (tree.Intrinsic.ATOMIC_STORE, 1),
    "exchange": (tree.Intrinsic.ATOMIC_EXCHANGE, 1),
    "fetch_add": (tree.Intrinsic.ATOMIC_ADD, 1),
    "fetch_sub": (tree.Intrinsic.ATOMIC_SUBTRACT, 1),
    "fetch_and": (tree.Intrinsic.ATOMIC_AND, 1),
    "fetch_or": (tree.Intrinsic.ATOMIC_OR, 1),
    "compare_exchange": (tree.Intrinsic.ATOMIC_COMPARE_EXCHANGE, 2),
}


def atomic_call(context: Context, node: ast.Call, base: tree.Expression) -> tree.Expression:
    """A method of an `Atomic[T]` field."""
    assert isinstance(node.func, ast.Attribute)
    assert isinstance(base.type, PointerType)
    assert isinstance(base.type.target, AtomicType)
    name, value_type = node.func.attr, base.type.target.value
    if name not in ATOMIC_METHODS:
        raise context.problem(node, f"Atomic has no method {name}", "it has " + ", ".join(ATOMIC_METHODS))
    intrinsic, count = ATOMIC_METHODS[name]
    arguments = [base]
    for argument in positional(context, node, count, name):
        value = context.expression(argument, value_type)
        arguments.append(coerce(context, value, value_type, argument, f"the argument of {name}"))
    result = NONE if name == "store" else value_type
    return tree.IntrinsicCall(result, context.place(node), intrinsic, arguments)


def replace_call(context: Context, node: ast.Call, base: tree.Expression) -> tree.Expression:
    """`tag.replace(untyped=3)`: the value with some bit-fields set anew."""
    type_ = base.type
    assert isinstance(type_, NewType)
    word, place = type_.base, context.place(node)
    if node.args or not node.keywords:
        raise context.problem(node, "replace takes bit-fields by name", "write tag.replace(field=value)")
    value: tree.Expression = tree.Convert(word, place, Conversion.REINTERPRET, base)
    for keyword in node.keywords:
        found = inspect.getattr_static(type_.python, keyword.arg or "", None)
        if not isinstance(found, bitfield):
            raise context.problem(keyword, f"{type_} has no bit-field {keyword.arg}")
        value = insert_bits(context, value, found, keyword)
    return tree.Convert(type_, place, Conversion.REINTERPRET, value)


def insert_bits(context: Context, value: tree.Expression, item: Any, keyword: ast.keyword) -> tree.Expression:
    """Clear the bits, then or the new ones in; what does not fit the width is cut off."""
    word, place = value.type, context.place(keyword)
    assert isinstance(word, IntType)
    mask = ((1 << item.width) - 1) << item.low
    wanted = context.resolve(item.base)
    new = coerce(context, context.expression(keyword.value, wanted), wanted, keyword, f"{keyword.arg}")
    if isinstance(new, tree.Constant):
        bits: tree.Expression = tree.Constant(word, place, new.value << item.low & mask)
    else:
        wide = tree.Convert(word, place, Conversion.TRUNCATE, new)
        amount = tree.Constant(word, place, item.low)
        shifted = tree.Binary(word, place, Operator.SHIFT_LEFT, wide, amount)
        bits = tree.Binary(word, place, Operator.AND, shifted, tree.Constant(word, place, mask))
    clear = tree.Constant(word, place, word.wrap(~mask))
    kept = tree.Binary(word, place, Operator.AND, value, clear)
    return tree.Binary(word, place, Operator.OR, kept, bits)


def lvalue(context: Context, node: ast.expr) -> tree.Expression:
    """The pointer that `pointer_to(node)` gives."""
    target = target_of(context, node)
    if target.field is not None and target.field.bit_width:
        raise context.problem(node, "a bit-field has no address", "point to its struct")
    return target.pointer
