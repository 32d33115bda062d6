"""The syntactic rewrite that lets CPython run a kernel function with the meaning of kernel Python.

Where the two languages differ, an operation becomes a method of `__frame__` (function.py), the first
parameter of the rewritten function:

    x: u32 = y           x = __frame__.declare("x", y)         the value takes the type of the name
    x = y                x = __frame__.assign("x", y)
    x += y               x = __frame__.assign("x", x + y)
    return y             return __frame__.result(y)
    f(y)                 __frame__.call(f, y)                  what is called runs rewritten, too
    p.a                  __frame__.get(p, "a")                 properties run rewritten; None is a Trap
    p.a = y, p[i] = y    __frame__.place(p).a = y              None is a Trap
    a if c else b        __frame__.choose(a if c else b, n)    both sides have one type
    assert c, "text"     if not c: __frame__.fail("text")
    f"{x:d}"             __frame__.text("", (x, "d"))          a formatter prints the parts
    pointer_to(p.a)      __frame__.field_pointer(p, "a")

Line numbers and file name stay, so pdb and coverage show the source.
"""

from __future__ import annotations

import ast
import builtins
import copy
import types as python_types
from collections.abc import Mapping
from typing import Any, TypeVar

from macadamia.lang.annotations import closure_of
from macadamia.lang.check.sources import definition_of
from macadamia.lang.functions import Formatter
from macadamia.lang.intrinsics import pointer_to

FRAME = "__frame__"


class Dynamic:
    """The answer of `Names.static` for what is computed at run time."""


DYNAMIC = Dynamic()


class Names:
    """What the names in a function mean: its locals, or objects that were bound when the import ended."""

    def __init__(self, function: python_types.FunctionType, node: ast.FunctionDef) -> None:
        self.closure = closure_of(function)
        self.globals: Mapping[str, Any] = function.__globals__
        arguments = node.args
        self.locals = {item.arg for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        for item in ast.walk(node):
            if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
                self.locals.add(item.id)
            elif isinstance(item, ast.MatchAs) and item.name:
                self.locals.add(item.name)

    def static(self, node: ast.expr) -> Any:
        """The object that `node`, a name or an attribute of a module or class, means; else DYNAMIC."""
        if isinstance(node, ast.Attribute):
            base = self.static(node.value)
            if isinstance(base, python_types.ModuleType | type):
                return getattr(base, node.attr, DYNAMIC)
        if not isinstance(node, ast.Name) or node.id in self.locals:
            return DYNAMIC
        for names in (self.closure, self.globals):
            if node.id in names:
                return names[node.id]
        return getattr(builtins, node.id, DYNAMIC)


class Rewriter(ast.NodeTransformer):
    """Rewrites the body of one function. `choices` are its conditional expressions, by their number."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.choices: list[ast.IfExp] = []

    # Expressions

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A type variable means what the class that the method is called for bound it to."""
        if isinstance(node.ctx, ast.Load) and isinstance(self.names.static(node), TypeVar):
            return operation(node, "type_argument", node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        base = self.visit(node.value)
        if isinstance(node.ctx, ast.Load):
            return operation(node, "get", base, ast.Constant(node.attr))
        return like(node, ast.Attribute(operation(node, "place", base), node.attr, node.ctx))

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        base, index = self.visit(node.value), self.visit(node.slice)
        return like(node, ast.Subscript(operation(node, "place", base), index, node.ctx))

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.choices.append(copy.deepcopy(node))  # as written: its types are asked for later
        number = ast.Constant(len(self.choices) - 1)
        chosen = ast.IfExp(self.visit(node.test), self.visit(node.body), self.visit(node.orelse))
        return operation(node, "choose", like(node, chosen), number)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        parts: list[ast.expr] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                format_ = part.format_spec or ast.Constant("")
                parts.append(like(part, ast.Tuple([self.visit(part.value), format_], ast.Load())))
            else:
                parts.append(part)
        return operation(node, "text", *parts)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        callee = self.names.static(node.func)
        if callee is pointer_to and isinstance(node.args[0], ast.Attribute):
            target = node.args[0]
            return operation(node, "field_pointer", self.visit(target.value), ast.Constant(target.attr))
        if callee is pointer_to and isinstance(node.args[0], ast.Subscript):
            base, index = node.args[0].value, node.args[0].slice
            return operation(node, "element_pointer", self.visit(base), self.visit(index))
        arguments = [self.visit(argument) for argument in node.args]
        if isinstance(callee, Formatter) and isinstance(node.args[0], ast.Constant):
            arguments = [operation(node, "text", *arguments)]
        keywords = [like(item, ast.keyword(item.arg, self.visit(item.value))) for item in node.keywords]
        result = operation(node, "call", self.called(node.func), *arguments)
        result.keywords = keywords
        return result

    def called(self, node: ast.expr) -> ast.expr:
        """The function in a call; `Base.method(p)` has to remember the class."""
        if isinstance(node, ast.Attribute):
            return operation(node, "method", self.visit(node.value), ast.Constant(node.attr))
        function = self.visit(node)
        return operation(node, "place", function) if self.names.static(node) is DYNAMIC else function

    # Statements

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt]:
        value = self.visit(node.value)
        if len(node.targets) == 1 and not isinstance(node.targets[0], ast.Tuple):
            return [self.assignment(node.targets[0], value)]
        held = like(node, ast.Name("__value__", ast.Store()))
        result: list[ast.stmt] = [like(node, ast.Assign([held], value))]
        for target in node.targets:
            result += self.unpack(target, like(node, ast.Name("__value__", ast.Load())))
        return result

    def unpack(self, target: ast.expr, value: ast.expr) -> list[ast.stmt]:
        if not isinstance(target, ast.Tuple):
            return [self.assignment(target, value)]
        result = []
        for index, item in enumerate(target.elts):
            part = ast.Subscript(value, ast.Constant(index), ast.Load())
            result += self.unpack(item, like(target, part))
        return result

    def assignment(self, target: ast.expr, value: ast.expr) -> ast.stmt:
        if isinstance(target, ast.Name):
            value = operation(target, "assign", ast.Constant(target.id), value)
            return like(target, ast.Assign([target], value))
        return like(target, ast.Assign([self.visit(target)], value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None or not isinstance(node.target, ast.Name):
            return like(node, ast.Pass())
        return self.assignment(node.target, self.visit(node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        value = self.visit(node.value)
        if isinstance(node.target, ast.Name):
            old = like(node, ast.Name(node.target.id, ast.Load()))
            return self.assignment(node.target, like(node, ast.BinOp(old, node.op, value)))
        return like(node, ast.AugAssign(self.visit(node.target), node.op, value))

    def visit_For(self, node: ast.For) -> ast.stmt:
        body = self.block(node.body)
        if isinstance(node.target, ast.Name):
            name = like(node.target, ast.Name(node.target.id, ast.Load()))
            body.insert(0, self.assignment(node.target, name))
        values = operation(node.iter, "place", self.visit(node.iter))
        return like(node, ast.For(node.target, values, body, self.block(node.orelse)))

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            rewritten = self.visit(statement)
            result += rewritten if isinstance(rewritten, list) else [rewritten]
        return result

    def visit_match_case(self, node: ast.match_case) -> ast.match_case:
        """The pattern stays as it is: it names constants."""
        guard = self.visit(node.guard) if node.guard else None
        body = self.block(node.body)
        if isinstance(node.pattern, ast.MatchAs) and node.pattern.name:
            name = like(node.pattern, ast.Name(node.pattern.name, ast.Load()))
            body.insert(0, self.assignment(like(node.pattern, ast.Name(name.id, ast.Store())), name))
        return ast.match_case(node.pattern, guard, body)

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        value = self.visit(node.value) if node.value else like(node, ast.Constant(None))
        return like(node, ast.Return(operation(node, "result", value)))

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        message = node.msg or ast.Constant("")
        stop = like(node, ast.Expr(operation(node, "fail", message)))
        failed = like(node, ast.UnaryOp(ast.Not(), self.visit(node.test)))
        return like(node, ast.If(failed, [stop], []))


N = TypeVar("N", bound=ast.AST)


def like(original: ast.AST, node: N) -> N:
    """`node` at the place of `original`; so is all that is new inside it."""
    return ast.fix_missing_locations(ast.copy_location(node, original))


def operation(original: ast.AST, name: str, *arguments: ast.expr) -> ast.Call:
    """`__frame__.name(arguments)`."""
    method = ast.Attribute(ast.Name(FRAME, ast.Load()), name, ast.Load())
    return like(original, ast.Call(method, list(arguments), []))


def body_of(function: python_types.FunctionType) -> ast.FunctionDef:
    node = definition_of(function)
    if node is None:
        raise TypeError(
            f"the source of {function.__qualname__} cannot be read: kernel functions come from files"
        )
    return node


def rewrite(
    function: python_types.FunctionType, node: ast.FunctionDef, names: Names
) -> tuple[python_types.FunctionType, list[ast.IfExp]]:
    """`function` with a first parameter `__frame__` and a rewritten body, and its conditional expressions."""
    rewriter = Rewriter(names)
    body = copy.deepcopy(node.body)  # the checker reads the same tree
    entry = [parameter_statement(node, name) for name in parameter_names(function)]
    arguments = ast.arguments(
        posonlyargs=[ast.arg(FRAME), *map(bare, node.args.posonlyargs)],
        args=[*map(bare, node.args.args)],
        kwonlyargs=[*map(bare, node.args.kwonlyargs)],
        kw_defaults=[None for _ in node.args.kwonlyargs],
        defaults=[],
    )
    inner = function_node(node, arguments, [*entry, *rewriter.block(without_docstring(body))])
    free = [ast.arg(name) for name in function.__code__.co_freevars]
    outer = function_node(node, ast.arguments([], free, None, [], [], None, []), [inner])
    module = ast.Module([outer], [])
    compiled = compile(module, function.__code__.co_filename, "exec", dont_inherit=True)
    return with_code(function, code_within(code_within(compiled))), rewriter.choices


def bare(argument: ast.arg) -> ast.arg:
    return like(argument, ast.arg(argument.arg))


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if documented else body


def function_node(original: ast.AST, arguments: ast.arguments, body: list[ast.stmt]) -> ast.FunctionDef:
    """A function definition; parsed from text, since its fields vary with the version of Python."""
    result = ast.parse("def rewritten(): pass").body[0]
    assert isinstance(result, ast.FunctionDef)
    result.args, result.body = arguments, body
    return like(original, result)


def parameter_names(function: python_types.FunctionType) -> tuple[str, ...]:
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def parameter_statement(node: ast.FunctionDef, name: str) -> ast.stmt:
    value = operation(node, "parameter", ast.Constant(name), ast.Name(name, ast.Load()))
    return like(node, ast.Assign([ast.Name(name, ast.Store())], value))


def code_within(code: python_types.CodeType) -> python_types.CodeType:
    """The code object of the one function that is defined in `code`."""
    return next(item for item in code.co_consts if isinstance(item, python_types.CodeType))


def with_code(function: python_types.FunctionType, code: python_types.CodeType) -> python_types.FunctionType:
    """`function` with other code, in the same globals, closure and defaults."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(cells[name] for name in code.co_freevars)
    original = function.__code__
    code = code.replace(co_name=original.co_name, co_qualname=original.co_qualname)
    result = python_types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, closure
    )
    result.__kwdefaults__ = function.__kwdefaults__
    return result
