"""The stages of a compilation as text, for people: set MACADAMIA_DEBUG to 1, 2 or 3.

1 writes the typed tree, 2 also the LLVM text, 3 also the optimised assembly, as files NAME.tree, NAME.ll and
NAME.s in the folder MACADAMIA_DUMP (default: macadamia-dump in the current one).
"""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from macadamia.lang import tree
from macadamia.lang.backend import BackendOptions, compile_assembly
from macadamia.lang.types import Type


def level() -> int:
    """How many stages are wanted."""
    text = os.environ.get("MACADAMIA_DEBUG", "0")
    return int(text) if text.isdecimal() else 0


def dump_stages(name: str, program: tree.Program, text: str, options: BackendOptions) -> None:
    """Write the wanted stages of the compilation of `program`, whose LLVM text is `text`."""
    stages: list[tuple[str, Callable[[], str]]] = [
        ("tree", lambda: tree_text(program)),
        ("ll", lambda: text),
        ("s", lambda: compile_assembly(text, options)),
    ]
    folder = Path(os.environ.get("MACADAMIA_DUMP", "macadamia-dump"))
    for suffix, make in stages[: level()]:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.{suffix}"
        path.write_text(make())
        print(f"wrote {path}", file=sys.stderr)


def tree_text(program: tree.Program) -> str:
    """The typed tree, one node a line, indented."""
    lines: list[str] = []
    for function in program.functions:
        parameters = ", ".join(f"{local.name}: {local.type}" for local in function.parameters)
        lines.append(f"{function.symbol}({parameters}) -> {function.result}  # {_place(function.place)}")
        for statement in function.body:
            _write(statement, "    ", "", lines)
    return "\n".join(lines) + "\n"


def _place(place: tree.Place) -> str:
    return f"{place.file}:{place.line}:{place.column + 1}"


def _write(value: Any, indent: str, label: str, lines: list[str]) -> None:
    """`value` and, deeper, the nodes in it."""
    if isinstance(value, list):
        for item in value:
            _write(item, indent, label, lines)
        return
    if not isinstance(value, tree.Expression | tree.Statement | tree.Case):
        lines.append(f"{indent}{label}{_name(value)}")
        return
    parts = [(field.name, getattr(value, field.name)) for field in fields(value)]
    inner = [(name, part) for name, part in parts if _is_node(part)]
    flat = [_name(part) for name, part in parts if not _is_node(part) and name != "place"]
    lines.append(f"{indent}{label}{type(value).__name__} {' '.join(flat)}".rstrip())
    for name, part in inner:
        _write(part, indent + "    ", f"{name}: ", lines)


def _is_node(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and _is_node(value[0])
    return isinstance(value, tree.Expression | tree.Statement | tree.Case)


def _name(value: Any) -> str:
    """What a line says of a leaf."""
    if isinstance(value, tree.Function | tree.Static):
        return value.symbol
    if isinstance(value, enum.Enum | tree.Local) or (is_dataclass(value) and hasattr(value, "name")):
        return str(value.name)
    if isinstance(value, Type):
        return f"<{value}>"
    return repr(value)
