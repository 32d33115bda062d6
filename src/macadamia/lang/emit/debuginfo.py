"""DWARF 5 debug information as LLVM metadata: lines, functions, variables, types.

The unit is tagged C11 although it is Python: that is the language whose structs, pointers and bit-fields gdb
and drgn know how to print, and kernel Python lays memory out as C does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from macadamia.lang import tree
from macadamia.lang.emit.types import escaped
from macadamia.lang.types import (
    U64,
    ArrayType,
    AtomicType,
    BoolType,
    EnumType,
    Field,
    FunctionType,
    IntType,
    NeverType,
    NewType,
    NoneType,
    PointerType,
    StringType,
    StructType,
    TupleType,
    Type,
    UserPointerType,
    VolatileType,
    round_up,
)

if TYPE_CHECKING:
    from macadamia.lang.emit.module import EmitOptions, Module

_MAXIMUM_COLUMN = 1 << 16  # LLVM keeps 16 bits of a column
_POINTER_BITS = 64


class Scope:
    """One function: its subprogram node, and the locations of its instructions."""

    def __init__(self, debug: DebugInfo, node: str, file: str) -> None:
        self.node = node
        self._debug = debug
        self._file = file
        self._locations: dict[int, str] = {}
        self._files: dict[str, str] = {}
        self._parameters = 0

    def location(self, place: tree.Place) -> str:
        """What is appended to an instruction that was written at `place`."""
        if place.file is not self._file and place.file != self._file:
            return ", !dbg " + self._debug.location(place, self._within(place.file))
        key = place.line * _MAXIMUM_COLUMN + place.column
        suffix = self._locations.get(key)
        if suffix is None:
            suffix = self._locations[key] = ", !dbg " + self._debug.location(place, self.node)
        return suffix

    def _within(self, file: str) -> str:
        """The part of this function that stands in another file."""
        node = self._files.get(file)
        if node is None:
            where = f"scope: {self.node}, file: {self._debug.file(file)}"
            node = self._files[file] = self._debug.add(f"!DILexicalBlockFile({where}, discriminator: 0)")
        return node

    def declare(self, parameters: list[tree.Local], slots: dict[tree.Local, str]) -> list[str]:
        """Records that say where variables lie. Those the compiler made have names no Python name has."""
        records = []
        for local, slot in slots.items():
            if not local.name.isidentifier():
                continue
            argument = f"arg: {parameters.index(local) + 1}, " if local in parameters else ""
            variable = self._debug.add(
                f'!DILocalVariable(name: "{local.name}", {argument}scope: {self.node}, '
                f"file: {self._debug.file(local.place.file)}, line: {local.place.line}, "
                f"type: {self._debug.type(local.type)})"
            )
            location = self._debug.location(local.place, self.node)
            records.append(f"    #dbg_declare(ptr {slot}, {variable}, !DIExpression(), {location})")
        return records


class DebugInfo:
    """The metadata of a module. Nodes are named `!N`."""

    def __init__(self, module: Module, options: EmitOptions) -> None:
        self.add: Callable[[str], str] = module.add_metadata
        self._module = module
        self._optimized = "true" if options.profile == "release" else "false"
        self._unit = self.add("")  # written last: it lists the statics
        self._statics: list[str] = []
        self._files: dict[str, str] = {}
        self._types: dict[int, str] = {}  # by identity; equal nodes are one for LLVM
        self._signatures: dict[tuple[str, ...], str] = {}

    # Places

    def file(self, path: str) -> str:
        node = self._files.get(path)
        if node is None:
            directory, name = os.path.split(os.path.abspath(path))
            text = f'!DIFile(filename: "{escaped(name)}", directory: "{escaped(directory)}")'
            node = self._files[path] = self.add(text)
        return node

    def location(self, place: tree.Place, scope: str) -> str:
        column = min(place.column + 1, _MAXIMUM_COLUMN - 1)
        return self.add(f"!DILocation(line: {place.line}, column: {column}, scope: {scope})")

    def subprogram(self, function: tree.Function) -> Scope:
        file = self.file(function.place.file)
        types = [self.type(function.result), *(self.type(local.type) for local in function.parameters)]
        line = function.place.line
        node = self.add(
            f'distinct !DISubprogram(name: "{escaped(function.symbol)}", scope: {file}, file: {file}, '
            f"line: {line}, type: {self._signature(tuple(types))}, scopeLine: {line}, "
            f"spFlags: DISPFlagDefinition | DISPFlagLocalToUnit, unit: {self._unit})"
        )
        return Scope(self, node, function.place.file)

    def _signature(self, types: tuple[str, ...]) -> str:
        node = self._signatures.get(types)
        if node is None:
            text = f"!DISubroutineType(types: !{{{', '.join(types)}}})"
            node = self._signatures[types] = self.add(text)
        return node

    def static(self, static: tree.Static) -> str:
        """The node that describes a static to the debugger."""
        name = static.exported or static.symbol
        variable = self.add(
            f'distinct !DIGlobalVariable(name: "{escaped(name)}", scope: {self._unit}, '
            f"type: {self.type(static.type)}, isLocal: true, isDefinition: true)"
        )
        node = self.add(f"!DIGlobalVariableExpression(var: {variable}, expr: !DIExpression())")
        self._statics.append(node)
        return node

    def module_lines(self) -> list[str]:
        """Finish the unit; the named metadata of the module."""
        roots = self._module.program.roots or self._module.program.functions
        file = self.file(roots[0].place.file if roots else "<program>")
        number = int(self._unit[1:])
        self._module.metadata[number] = (
            f'distinct !DICompileUnit(language: DW_LANG_C11, file: {file}, producer: "macadamia", '
            f"isOptimized: {self._optimized}, runtimeVersion: 0, emissionKind: FullDebug, "
            f"globals: !{{{', '.join(self._statics)}}}, splitDebugInlining: false, nameTableKind: None)"
        )
        version = self.add('!{i32 7, !"Dwarf Version", i32 5}')
        metadata = self.add('!{i32 2, !"Debug Info Version", i32 3}')
        return [f"!llvm.dbg.cu = !{{{self._unit}}}", f"!llvm.module.flags = !{{{version}, {metadata}}}"]

    # Types

    def type(self, type_: Type) -> str:
        """The node of a type; `null` for the result of a function that returns nothing."""
        node = self._types.get(id(type_))
        if node is None:
            node = self._types[id(type_)] = _WRITERS[type_.__class__](self, type_)
        return node

    def forward(self, type_: Type, write: Callable[[], str]) -> str:
        """A type that may contain itself: its node exists before its text is written."""
        node = self._types[id(type_)] = self.add("")
        self._module.metadata[int(node[1:])] = write()
        return node

    def derived(self, tag: str, base: Type, rest: str = "") -> str:
        return self.add(f"!DIDerivedType(tag: {tag}, baseType: {self.type(base)}{rest})")

    def pointer(self, base: str) -> str:
        return self.add(f"!DIDerivedType(tag: DW_TAG_pointer_type, baseType: {base}, size: {_POINTER_BITS})")

    def member(self, name: str, type_: str, size: int, offset: int, rest: str = "") -> str:
        """A field; `type_` is a node, `size` and `offset` are in bits."""
        return self.add(
            f'!DIDerivedType(tag: DW_TAG_member, name: "{escaped(name)}", baseType: {type_}, '
            f"size: {size}, offset: {offset}{rest})"
        )

    def structure(self, name: str, size: int, members: list[str]) -> str:
        """A struct of `size` bytes."""
        return self.add(structure(name, size, members))


def structure(name: str, size: int, members: list[str]) -> str:
    """The text of a struct of `size` bytes."""
    return (
        f'!DICompositeType(tag: DW_TAG_structure_type, name: "{escaped(name)}", '
        f"size: {size * 8}, elements: !{{{', '.join(members)}}})"
    )


def _basic(name: str, bits: int, encoding: str) -> str:
    return f'!DIBasicType(name: "{name}", size: {bits}, encoding: {encoding})'


def _integer(debug: DebugInfo, type_: IntType) -> str:
    return debug.add(_basic(type_.name, type_.bits, "DW_ATE_signed" if type_.signed else "DW_ATE_unsigned"))


def _bool(debug: DebugInfo, _type: BoolType) -> str:
    return debug.add(_basic("bool", 8, "DW_ATE_boolean"))


def _nothing(_debug: DebugInfo, _type: Type) -> str:
    return "null"


def _enum(debug: DebugInfo, type_: EnumType) -> str:
    unsigned = "" if type_.storage.signed else ", isUnsigned: true"
    members = [
        debug.add(f'!DIEnumerator(name: "{name}", value: {int(member)}{unsigned})')
        for name, member in type_.python.__members__.items()  # type: ignore[attr-defined]
    ]
    return debug.add(
        f'!DICompositeType(tag: DW_TAG_enumeration_type, name: "{type_}", size: {type_.size * 8}, '
        f"baseType: {debug.type(type_.storage)}, elements: !{{{', '.join(members)}}})"
    )


def _opaque(debug: DebugInfo, type_: NewType) -> str:
    return debug.derived("DW_TAG_typedef", type_.base, f', name: "{type_}"')


def _pointer(debug: DebugInfo, type_: PointerType | UserPointerType) -> str:
    tag = "tag: DW_TAG_pointer_type"

    def write() -> str:
        return f"!DIDerivedType({tag}, baseType: {debug.type(type_.target)}, size: {_POINTER_BITS})"

    return debug.forward(type_, write)


def _function(debug: DebugInfo, type_: FunctionType) -> str:
    types = ", ".join(map(debug.type, (type_.result, *type_.parameters)))
    return debug.pointer(debug.add(f"!DISubroutineType(types: !{{{types}}})"))


def _array(debug: DebugInfo, type_: ArrayType) -> str:
    length = debug.add(f"!DISubrange(count: {type_.length})")
    return debug.add(
        f"!DICompositeType(tag: DW_TAG_array_type, baseType: {debug.type(type_.element)}, "
        f"size: {type_.size * 8}, elements: !{{{length}}})"
    )


def _struct(debug: DebugInfo, type_: StructType) -> str:
    def write() -> str:
        return structure(str(type_), type_.size, [_field(debug, field) for field in type_.fields])

    return debug.forward(type_, write)


def _field(debug: DebugInfo, field: Field) -> str:
    unit, type_ = field.offset * 8, debug.type(field.type)
    if not field.bit_width:
        return debug.member(field.name, type_, field.type.size * 8, unit)
    rest = f", flags: DIFlagBitField, extraData: i64 {unit}"
    return debug.member(field.name, type_, field.bit_width, unit + field.bit, rest)


def _text(debug: DebugInfo, type_: StringType) -> str:
    character = debug.add(_basic("char", 8, "DW_ATE_unsigned_char"))
    address = debug.member("address", debug.pointer(character), _POINTER_BITS, 0)
    length = debug.member("length", debug.type(U64), U64.bits, _POINTER_BITS)
    return debug.structure("str", type_.size, [address, length])


def _tuple(debug: DebugInfo, type_: TupleType) -> str:
    """A struct with the members `_0`, `_1`, ... as LLVM lays them out."""
    members, offset = [], 0
    for index, item in enumerate(type_.items):
        offset = round_up(offset, item.alignment)
        members.append(debug.member(f"_{index}", debug.type(item), item.size * 8, offset * 8))
        offset += item.size
    size = round_up(offset, max(item.alignment for item in type_.items))
    return debug.structure(str(type_), size, members)


def _volatile(debug: DebugInfo, type_: VolatileType) -> str:
    return debug.derived("DW_TAG_volatile_type", type_.value)


def _atomic(debug: DebugInfo, type_: AtomicType) -> str:
    return debug.derived("DW_TAG_atomic_type", type_.value)


_WRITERS: dict[type, Callable[..., str]] = {
    IntType: _integer,
    BoolType: _bool,
    NoneType: _nothing,
    NeverType: _nothing,
    EnumType: _enum,
    NewType: _opaque,
    PointerType: _pointer,
    UserPointerType: _pointer,
    FunctionType: _function,
    ArrayType: _array,
    StructType: _struct,
    StringType: _text,
    TupleType: _tuple,
    VolatileType: _volatile,
    AtomicType: _atomic,
}
