"""Errors a person can use: where, what is wrong, what to write instead."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnostic:
    """One error. `column` and `end_column` count characters from 0 and delimit what the caret underlines."""

    file: str
    line: int
    column: int
    end_column: int
    message: str
    help: str

    def render(self) -> str:
        """`file:line:column: error: ...`, the source line, a caret, and the help; columns shown from 1."""
        text = f"{self.file}:{self.line}:{self.column + 1}: error: {self.message}\n"
        source = linecache.getline(self.file, self.line).rstrip("\n")
        if source:
            # Tabs are repeated so that the caret stands under the same column as the source.
            indent = "".join("\t" if letter == "\t" else " " for letter in source[: self.column])
            width = max(1, min(self.end_column, len(source)) - self.column)
            gutter = f"{self.line:5} | "
            text += f"{gutter}{source}\n{' ' * (len(gutter) - 2)}| {indent}^{'~' * (width - 1)}\n"
        return text + (f"  help: {self.help}\n" if self.help else "")


class CompileErrors(Exception):  # noqa: N818 (it is several)
    """Every error of one build, in source order."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = sorted(set(diagnostics), key=lambda d: (d.file, d.line, d.column, d.message))
        super().__init__(self.render())

    def render(self) -> str:
        count = len(self.diagnostics)
        body = "\n".join(item.render() for item in self.diagnostics)
        return f"{body}\n{count} error{'s' if count != 1 else ''}"


class Problem(Exception):  # noqa: N818 (an error once it is reported)
    """Raised where an error is found, caught where checking can go on (the next statement or function)."""

    def __init__(self, diagnostic: Diagnostic | None) -> None:
        super().__init__(diagnostic.message if diagnostic else "follows from an earlier error")
        self.diagnostic = diagnostic


def at_node(file: str, node: ast.AST, message: str, help_: str) -> Diagnostic:
    """A diagnostic that underlines `node` (its first line, when it spans several)."""
    line = getattr(node, "lineno", 1)
    source = linecache.getline(file, line)
    start = characters(source, getattr(node, "col_offset", 0))
    end_line = getattr(node, "end_lineno", line)
    end = getattr(node, "end_col_offset", None)
    end_column = characters(source, end) if end is not None and end_line == line else len(source.rstrip())
    return Diagnostic(file, line, start, max(end_column, start + 1), message, help_)


def characters(source: str, offset: int) -> int:
    """The AST counts columns in UTF-8 bytes; people and carets count characters."""
    return len(source.encode()[:offset].decode(errors="ignore"))
