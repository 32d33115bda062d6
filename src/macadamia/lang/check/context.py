"""What the checker knows while it reads one function, and the table of how each syntax node is checked.

Handlers for expressions and statements are spread over the modules of this package by subject; each registers
itself here, so that the modules need not import each other.
"""

from __future__ import annotations

import ast
import builtins
import types as python_types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from macadamia.lang import tree
from macadamia.lang.annotations import resolve_annotation
from macadamia.lang.diagnostics import Problem, at_node
from macadamia.lang.types import AnnotationError, LiteralType, Type

if TYPE_CHECKING:
    from macadamia.lang.check.program import ProgramChecker

ExpressionHandler = Callable[["Context", Any, "Type | None"], tree.Expression]
StatementHandler = Callable[["Context", Any], list[tree.Statement]]
Handler = TypeVar("Handler", bound=Callable[..., Any])

EXPRESSIONS: dict[type[ast.AST], ExpressionHandler] = {}
STATEMENTS: dict[type[ast.AST], StatementHandler] = {}


def expression_of(*nodes: type[ast.AST]) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of these expression nodes."""

    def register(handler: Handler) -> Handler:
        for node in nodes:
            EXPRESSIONS[node] = handler
        return handler

    return register


def statement_of(*nodes: type[ast.AST]) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of these statement nodes."""

    def register(handler: Handler) -> Handler:
        for node in nodes:
            STATEMENTS[node] = handler
        return handler

    return register


class NotStatic:
    """The answer of `static_object` for an expression that is computed at run time."""


NOT_STATIC = NotStatic()


class Context:
    """One function being checked.

    `assigned` holds the names that have a value on every path to the current point, or None where no path
    leads (after a return): there every name counts as assigned.
    """

    def __init__(
        self,
        program: ProgramChecker,
        function: tree.Function,
        python: python_types.FunctionType,
        owner: Any,
        definition: ast.FunctionDef,
    ) -> None:
        self.program = program
        self.function = function
        self.python = python
        self.owner = owner
        self.definition = definition
        self.file = function.place.file
        self.local_names = local_names_of(definition)
        self.closure = closure_of(python)
        self.locals: dict[str, tree.Local] = {}
        self.declared: set[str] = set()
        self.poisoned: set[str] = set()
        self.assigned: set[str] | None = set()
        self.loops: list[list[set[str] | None]] = []  # per loop: what was assigned at each break
        self._temporaries = 0

    # Places and errors

    def place(self, node: ast.AST) -> tree.Place:
        return tree.Place(self.file, node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def problem(self, node: ast.AST, message: str, help_: str = "") -> Problem:
        return Problem(at_node(self.file, node, message, help_))

    def report(self, problem: Problem) -> None:
        if problem.diagnostic is not None:
            self.program.diagnostics.append(problem.diagnostic)

    # Checking

    def expression(self, node: ast.expr, hint: Type | None = None) -> tree.Expression:
        """The typed form of `node`. `hint` is the type wanted, for literals that have no other."""
        handler = EXPRESSIONS.get(type(node))
        if handler is None:
            raise self.problem(node, *unsupported(node))
        return handler(self, node, hint)

    def typed(self, node: ast.expr, hint: Type | None = None) -> tree.Expression:
        """As `expression`, but a literal is an error: it has no type here."""
        result = self.expression(node, hint)
        if isinstance(result.type, LiteralType):
            raise self.problem(
                node, f"the literal {result.type.value} has no type here", f"write u64({result.type.value})"
            )
        return result

    def statements(self, nodes: list[ast.stmt]) -> list[tree.Statement]:
        """Check statements in order; an error in one does not hide errors in the next."""
        result: list[tree.Statement] = []
        for node in nodes:
            handler = STATEMENTS.get(type(node))
            reachable = self.assigned is not None
            try:
                if handler is None:
                    raise self.problem(node, *unsupported(node))
                checked = handler(self, node)
            except Problem as problem:
                self.report(problem)
                self.poison_targets(node)
                continue
            except AnnotationError as error:  # a struct laid out on its first use
                self.report(self.problem(node, str(error)))
                self.poison_targets(node)
                continue
            if reachable:
                result += checked
        return result

    def poison_targets(self, node: ast.stmt) -> None:
        """After an error, the names a statement would have assigned are used without further complaint."""
        for name in stored_names(node):
            if name not in self.locals:
                self.poisoned.add(name)
            if self.assigned is not None:
                self.assigned.add(name)
        if isinstance(node, ast.Return):
            self.assigned = None

    # Locals

    def new_local(self, name: str, type_: Type, place: tree.Place) -> tree.Local:
        local = tree.Local(name, type_, place)
        self.function.locals.append(local)
        return local

    def temporary(self, type_: Type, place: tree.Place) -> tree.Local:
        self._temporaries += 1
        return self.new_local(f".{self._temporaries}", type_, place)

    # Compile-time objects

    def static_object(self, node: ast.expr) -> Any:
        """The Python object that `node` names at the end of the import, or NOT_STATIC.

        Goes through modules, classes and subscripted types only: the attributes of objects that lie in
        memory are read at run time.
        """
        if isinstance(node, ast.Name):
            return self.static_name(node)
        if isinstance(node, ast.Attribute):
            base = self.static_object(node.value)
            if isinstance(base, python_types.ModuleType | type):
                return self.static_attribute(node, base)
            return NOT_STATIC
        if isinstance(node, ast.Subscript):
            base = self.static_object(node.value)
            if isinstance(base, type) or is_type_form(base):
                return self.evaluate(node)
        return NOT_STATIC

    def static_name(self, node: ast.Name) -> Any:
        name = node.id
        if name in self.local_names:
            return NOT_STATIC
        if name in self.closure:
            return self.substitute(self.closure[name])
        if name in self.python.__globals__:
            return self.substitute(self.python.__globals__[name])
        if hasattr(builtins, name):
            return getattr(builtins, name)
        raise self.problem(
            node, f"the name {name} is not defined", "import it, define it, or assign it first"
        )

    def substitute(self, value: Any) -> Any:
        """A TypeVar means what the specialised class being compiled bound it to."""
        if isinstance(value, TypeVar) and self.owner is not None:
            arguments = getattr(self.owner, "__kernel_type_arguments__", {})
            return arguments.get(value, value)
        return value

    def static_attribute(self, node: ast.Attribute, base: Any) -> Any:
        try:
            return getattr(base, node.attr)
        except AttributeError:
            kind = "module" if isinstance(base, python_types.ModuleType) else "class"
            raise self.problem(node, f"{kind} {base.__name__} has no {node.attr}") from None

    def evaluate(self, node: ast.expr) -> Any:
        """Evaluate an annotation or type expression in the function's import-time scope."""
        code = compile(ast.Expression(node), self.file, "eval")
        scope = {name: self.substitute(value) for name, value in self.closure.items()}
        try:
            return eval(code, self.python.__globals__, TypeScope(scope, self))
        except Problem:
            raise
        except Exception as error:
            raise self.problem(node, f"this type cannot be evaluated: {error}") from None

    def resolve(self, annotation: object) -> Type:
        return resolve_annotation(annotation, self.owner)

    def type_from(self, node: ast.expr) -> Type:
        """The type that a type expression (an annotation, the argument of sizeof, ...) names."""
        try:
            return resolve_annotation(self.evaluate(node), self.owner)
        except AnnotationError as error:
            raise self.problem(node, str(error)) from None


class TypeScope(dict[str, Any]):
    """Names of a type expression: closure, then globals with TypeVars replaced by their bindings."""

    def __init__(self, closure: dict[str, Any], context: Context) -> None:
        super().__init__(closure)
        self.context = context

    def __missing__(self, name: str) -> Any:
        return self.context.substitute(self.context.python.__globals__[name])


def is_type_form(value: Any) -> bool:
    """Whether `value` is one of the subscriptable type names (`Ptr`, `Array`, ...)."""
    return getattr(value, "__kernel_type_form__", False) is True


def closure_of(function: python_types.FunctionType) -> dict[str, Any]:
    """Names of enclosing functions: constants at the end of the import."""
    result: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            result[name] = cell.cell_contents
        except ValueError:  # never bound: reported as undefined where it is used
            continue
    return result


def stored_names(node: ast.AST) -> set[str]:
    """Every name that `node` assigns anywhere inside it."""
    names = {
        item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)
    }
    return names | {item.name for item in ast.walk(node) if isinstance(item, ast.MatchAs) and item.name}


def local_names_of(definition: ast.FunctionDef) -> set[str]:
    """Python's rule: a name that a function assigns anywhere is local in all of it."""
    arguments = definition.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names = {parameter.arg for parameter in parameters}
    for statement in definition.body:
        names |= stored_names(statement)
    return names


def unsupported(node: ast.AST) -> tuple[str, str]:
    """Message and help for a construct that kernel Python does not have."""
    from macadamia.lang.check.unsupported import describe

    return describe(node)
