"""The objects of the image: their initial contents come from CPython's memory.

Bytes are copied; words that hold pointers become relocations: to the static that contains the address, to a
function, or to a text. Other addresses (device registers) stay numbers.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import TYPE_CHECKING

from macadamia.lang import tree
from macadamia.lang.emit.types import escaped_bytes, quoted
from macadamia.lang.memory import memory
from macadamia.lang.types import (
    WORD,
    ArrayType,
    AtomicType,
    FunctionType,
    PointerType,
    StringType,
    StructType,
    Type,
    VolatileType,
)

if TYPE_CHECKING:
    from macadamia.lang.emit.module import Module

_LONG = 64  # from this many zero bytes at the end on, they are written as zeroinitializer


def relocated(type_: Type, offset: int = 0) -> Iterator[tuple[int, Type]]:
    """Offset and type of every word of an object that is not merely copied."""
    if isinstance(type_, PointerType | FunctionType | StringType):
        yield offset, type_
    elif isinstance(type_, VolatileType | AtomicType):
        yield from relocated(type_.value, offset)
    elif isinstance(type_, ArrayType):
        inner = list(relocated(type_.element))
        if inner:
            for start in range(offset, offset + type_.size, type_.element.size):
                yield from ((start + place, item) for place, item in inner)
    elif isinstance(type_, StructType):
        for field in type_.fields:
            yield from relocated(field.type, offset + field.offset)


class StaticsWriter:
    """Writes the definitions of a program's statics."""

    def __init__(self, module: Module, program: tree.Program) -> None:
        self._module = module
        self._functions = program.function_addresses
        self._statics = sorted(program.statics, key=lambda static: static.address)
        self._addresses = [static.address for static in self._statics]

    @staticmethod
    def symbol(static: tree.Static) -> str:
        return "@" + quoted(static.exported or static.symbol)

    def definitions(self) -> list[str]:
        lines = [self._definition(static) for static in self._statics]
        kept = [f"ptr {self.symbol(static)}" for static in self._statics if static.section]
        if kept:  # what a section holds is found through the section, not by name
            lines.append(
                f"@llvm.compiler.used = appending global [{len(kept)} x ptr] [{', '.join(kept)}], "
                'section "llvm.metadata"'
            )
        return lines

    def _definition(self, static: tree.Static) -> str:
        linkage = "" if static.exported else "internal "
        kind = "constant" if static.readonly else "global"
        section = f", section {quoted(static.section)}" if static.section else ""
        debug = self._module.debug
        attachment = f", !dbg {debug.static(static)}" if debug else ""
        contents = self._contents(static)
        alignment = max(1, static.alignment)
        return f"{self.symbol(static)} = {linkage}{kind} {contents}{section}, align {alignment}{attachment}"

    def _contents(self, static: tree.Static) -> str:
        """Type and value of the initialiser."""
        size = static.type.size
        content = memory.bytes_at(static.address, size)
        if not any(content):
            return f"[{size} x i8] zeroinitializer"
        if size in (1, 2, 4, 8) and not isinstance(static.type, PointerType | FunctionType | StructType):
            return f"i{size * 8} {int.from_bytes(content, 'little')}"
        pieces, end = [], 0
        for offset, type_ in relocated(static.type):
            if offset > end:
                pieces += _bytes(content[end:offset])
            pieces.append(self._word(type_, content[offset : offset + type_.size]))
            end = offset + type_.size
        pieces += _bytes(content[end:])
        if len(pieces) == 1:
            return pieces[0]
        types, values = [], []
        for piece in pieces:
            types.append(_type_of(piece))
            values.append(piece)
        return f"<{{ {', '.join(types)} }}> <{{ {', '.join(values)} }}>"

    def _word(self, type_: Type, content: bytes) -> str:
        value = int.from_bytes(content[:WORD], "little")
        if isinstance(type_, StringType):
            length = int.from_bytes(content[WORD:], "little")
            text = memory.bytes_at(value, length).decode("ascii") if length else ""
            return f"{{ ptr, i64 }} {self._module.text(text)}"
        if value == 0:
            return "ptr null"
        if isinstance(type_, FunctionType):
            return f"ptr {self._module.symbol(self._functions[value])}"
        return f"ptr {self._pointer(value)}"

    def _pointer(self, address: int) -> str:
        index = bisect.bisect_right(self._addresses, address) - 1
        if index >= 0:
            static = self._statics[index]
            offset = address - static.address
            if offset == 0:
                return self.symbol(static)
            if offset < static.type.size:
                return f"getelementptr (i8, ptr {self.symbol(static)}, i64 {offset})"
        return f"inttoptr (i64 {address} to ptr)"


def _bytes(content: bytes) -> list[str]:
    """Bytes as typed constants, zeros at the end apart if they are many."""
    if not content:
        return []
    used = len(content.rstrip(b"\0"))
    zeros = len(content) - used
    if zeros < _LONG:
        return [f'[{len(content)} x i8] c"{escaped_bytes(content)}"']
    head = [f'[{used} x i8] c"{escaped_bytes(content[:used])}"'] if used else []
    return [*head, f"[{zeros} x i8] zeroinitializer"]


def _type_of(piece: str) -> str:
    """The type at the start of a typed constant."""
    if piece.startswith("["):
        return piece[: piece.index("]") + 1]
    if piece.startswith("{"):
        return piece[: piece.index("}") + 1]
    return "ptr"
