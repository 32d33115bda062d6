"""The shape of the code: how long functions and files are, and which module imports which.

The budgets are the project's (CONTRIBUTING.md): functions have a median of 10 lines, a 90th
percentile of 30 and at most 70; files at most 600 lines; imports form an acyclic graph in which each
layer knows only the layers below it. `mac test` enforces them.
"""

import ast
import statistics
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

MEDIAN_LINES = 10
PERCENTILE_90_LINES = 30
LONGEST_FUNCTION_LINES = 70
LONGEST_FILE_LINES = 600

# What each part may import, besides itself: the prefixes of module names under `macadamia.`.
# `systems` is absent as it may import everything; nothing but the lab's command line names systems,
# and that by string.
LAYERS = {
    "lang": (),
    "abi": ("lang",),
    "machine": ("lang", "abi"),
    "kernels.l4": ("lang", "abi", "machine"),
    "kernels.mach": ("lang", "abi", "machine"),
    "user": ("lang", "abi"),
    "servers": ("lang", "abi", "user"),
    "linux": ("lang", "abi", "user"),
    "linux.host": ("lang", "abi", "user", "linux", "machine", "kernels"),
    "examples": ("lang",),
    "lab": ("lang", "abi", "examples"),
}


@dataclass(frozen=True)
class Function:
    """A function and its length in lines: docstring, blank and comment lines do not count."""

    name: str
    file: Path
    line: int
    length: int


def measure(package: Path) -> list[Function]:
    """Every function under `package`, shortest first."""
    found = (function for path in sorted(package.rglob("*.py")) for function in _functions(path))
    return sorted(found, key=lambda function: function.length)


def summary(functions: list[Function]) -> str:
    """One line on the lengths of `functions`."""
    if not functions:
        return "functions: none"
    longest = functions[-1]
    return (f"functions: {len(functions)}, median {median(functions):g} lines, "
            f"90th percentile {percentile_90(functions)}, "
            f"longest {longest.length} ({longest.file.name}:{longest.line} {longest.name})")


def median(functions: list[Function]) -> float:
    """The median length."""
    return statistics.median(function.length for function in functions)


def percentile_90(functions: list[Function]) -> int:
    """The length that nine functions in ten do not exceed."""
    return functions[int(0.9 * (len(functions) - 1))].length


def _functions(path: Path) -> Iterator[Function]:
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            hidden = _docstring_lines(node)
            code = [number for number in body if number not in hidden and _is_code(lines[number - 1])]
            yield Function(node.name, path, node.lineno, len(code))


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> range:
    if ast.get_docstring(node, clean=False) is None:
        return range(0)
    first = node.body[0]
    return range(first.lineno, (first.end_lineno or first.lineno) + 1)


def _is_code(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith("#")


@dataclass(frozen=True)
class Import:
    """Module `importer` names `imported` in an import statement; both are modules of the project."""

    importer: str
    imported: str
    line: int


def imports(package: Path) -> list[Import]:
    """Every import among the modules of `package`, also inside functions, but not for type checkers only."""
    modules = {_module_name(package, path): path for path in sorted(package.rglob("*.py"))}
    return [Import(name, imported, line) for name, path in modules.items()
            for imported, line in _imported(path, modules.keys()) if imported != name]


def cycles(graph: list[Import]) -> list[list[str]]:
    """Import cycles, each as the modules along it; [] when the graph is acyclic."""
    following: dict[str, list[str]] = {}
    for edge in graph:
        following.setdefault(edge.importer, []).append(edge.imported)
    found: list[list[str]] = []
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module):], module])
        elif module not in finished:
            for imported in following.get(module, ()):
                visit(imported, [*path, module])
            finished.add(module)

    for module in sorted(following):
        visit(module, [])
    return found


def breaches(graph: list[Import]) -> list[str]:
    """Imports that a layer is not allowed, one sentence each."""
    return [f"{edge.importer} (line {edge.line}) must not import {edge.imported}" for edge in graph
            if not _allowed(edge.importer.partition(".")[2], edge.imported.partition(".")[2])]


def _allowed(importer: str, imported: str) -> bool:
    part = max((layer for layer in LAYERS if _within(importer, layer)), key=len, default=None)
    if part is None or not imported:
        return True
    return any(_within(imported, layer) for layer in (part, *LAYERS[part]))


def _within(module: str, layer: str) -> bool:
    return module == layer or module.startswith(layer + ".")


def _module_name(package: Path, path: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, modules: Collection[str]) -> Iterator[tuple[str, int]]:
    for node in _without_type_checking(ast.parse(path.read_bytes(), path)):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import name` names a module or something in the package.
            longer = [f"{node.module}.{alias.name}" for alias in node.names]
            named = [name if name in modules else node.module for name in longer]
        else:
            continue
        yield from ((name, node.lineno) for name in dict.fromkeys(named) if name in modules)


def _without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node`, leaving out `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
        yield child
        yield from _without_type_checking(child)
