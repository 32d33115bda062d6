"""What kernel Python leaves out, and what to write instead: one entry per construct of Python's grammar."""

from __future__ import annotations

import ast

NO_HEAP = "there is no heap: use a struct, an Array or a container from macadamia.lang.containers"
NO_EXCEPTIONS = "there are no exceptions: return a result, or stop with panic()"
NO_COROUTINES = "write a loop or an explicit state machine"

DESCRIPTIONS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lambda: ("a lambda cannot be compiled", "define a function at module level and name it"),
    ast.Dict: ("a dict cannot be made in a compiled function", NO_HEAP),
    ast.Set: ("a set cannot be made in a compiled function", NO_HEAP),
    ast.List: ("a list cannot be made in a compiled function", NO_HEAP),
    ast.ListComp: ("a comprehension cannot be compiled", "write a for loop"),
    ast.SetComp: ("a comprehension cannot be compiled", "write a for loop"),
    ast.DictComp: ("a comprehension cannot be compiled", "write a for loop"),
    ast.GeneratorExp: ("a generator expression cannot be compiled", "write a for loop"),
    ast.Await: ("await cannot be compiled", NO_COROUTINES),
    ast.Yield: ("yield cannot be compiled", NO_COROUTINES),
    ast.YieldFrom: ("yield from cannot be compiled", NO_COROUTINES),
    ast.JoinedStr: (
        "an f-string can only be the argument of a formatter",
        'make one with formatter(...) and write log(f"...") as a statement of its own',
    ),
    ast.NamedExpr: ("':=' is not part of kernel Python", "assign in a statement of its own"),
    ast.Starred: ("'*' unpacking is not part of kernel Python", "name each value"),
    ast.Slice: ("slices are not part of kernel Python", "pass a pointer and a length"),
    ast.FunctionDef: (
        "a function cannot be defined inside a compiled function",
        "move it to module level, or make it at import time with a factory",
    ),
    ast.AsyncFunctionDef: ("an async function cannot be compiled", NO_COROUTINES),
    ast.ClassDef: ("a class cannot be defined inside a compiled function", "move it to module level"),
    ast.Delete: ("del is not part of kernel Python", "names need no release; write None or 0 over a field"),
    ast.AsyncFor: ("async for cannot be compiled", NO_COROUTINES),
    ast.AsyncWith: ("async with cannot be compiled", NO_COROUTINES),
    ast.With: ("with cannot be compiled", "call the function that begins and the one that ends"),
    ast.Raise: ("raise cannot be compiled", NO_EXCEPTIONS),
    ast.Try: ("try cannot be compiled", NO_EXCEPTIONS),
    ast.TryStar: ("try cannot be compiled", NO_EXCEPTIONS),
    ast.Import: ("import inside a function cannot be compiled", "import at the top of the module"),
    ast.ImportFrom: ("import inside a function cannot be compiled", "import at the top of the module"),
    ast.Global: (
        "global is not part of kernel Python",
        "keep state in a struct: `state = State()` at module level, then `state.field = value`",
    ),
    ast.Nonlocal: ("nonlocal is not part of kernel Python", "names of an enclosing function are constants"),
}


def describe(node: ast.AST) -> tuple[str, str]:
    """(message, help) for a node that no handler accepts."""
    if type(node) in DESCRIPTIONS:
        return DESCRIPTIONS[type(node)]
    return f"{type(node).__name__} is not part of kernel Python", "see docs/language.md"
