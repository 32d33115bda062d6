"""From a Python function object to its syntax tree, with each file read and parsed once."""

from __future__ import annotations

import ast
import linecache
import types
from functools import cache


@cache
def definitions(file: str) -> dict[tuple[str, int], ast.FunctionDef]:
    """Every function of a file by its name and the first line of its code object (its first decorator's)."""
    source = "".join(linecache.getlines(file))
    result = {}
    for node in ast.walk(ast.parse(source, file)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            result[node.name, first] = node
    return result


def definition_of(function: types.FunctionType) -> ast.FunctionDef | None:
    """The syntax tree of `function`; None for a lambda or a function whose source cannot be had."""
    code = function.__code__
    try:
        return definitions(code.co_filename).get((code.co_name, code.co_firstlineno))
    except SyntaxError:
        return None
