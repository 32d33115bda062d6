"""Addresses of a kernel to functions and Python source lines, and back, from its ELF file.

Function names come from the symbol table, where they are the dotted Python names; lines and inlined
functions from DWARF. The debug information is read on first use: a run that ends well never needs it.
"""

import bisect
import linecache
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.dwarf.descriptions import describe_form_class
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from macadamia.lab.catalogue import SOURCES
from macadamia.lab.errors import LabError, Status

_REPOSITORY = SOURCES.parent


@dataclass(frozen=True)
class Place:
    """A source line and the function it belongs to. `file` is "" and `line` 0 where DWARF knows nothing."""

    function: str
    file: str = ""
    line: int = 0

    def short(self) -> str:
        """file:line, the file as `short_path`; "" when unknown."""
        return f"{short_path(self.file)}:{self.line}" if self.file else ""

    def text(self) -> str:
        """The source line; "" when the file is gone."""
        return source_line(self.file, self.line)


def short_path(file: str) -> str:
    """`file` relative to the repository where it lies inside."""
    path = Path(file)
    return str(path.relative_to(_REPOSITORY)) if path.is_relative_to(_REPOSITORY) else file


def source_line(file: str, line: int) -> str:
    """The text of a source line without its end; "" when the file is unknown or gone."""
    return linecache.getline(file, line).rstrip("\n") if file else ""


@dataclass(frozen=True)
class Function:
    """A function in the image: its name and the addresses from `start` up to, not including, `end`."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Row:
    """A row of the line table: the instructions from `start` up to `end` come from `file`:`line`."""

    start: int
    end: int
    file: str
    line: int


class Symbols:
    """What the ELF file at `path` says of its addresses."""

    def __init__(self, path: Path, elf: ELFFile) -> None:
        self.path = path
        self._elf = elf

    @classmethod
    def load(cls, path: Path) -> "Symbols":
        """Open `path`; `LabError` when it is not an ELF file."""
        try:
            return cls(path, ELFFile(path.open("rb")))
        except (OSError, ELFError) as error:
            raise LabError(f"{path} is not a readable ELF file: {error}", Status.USAGE) from None

    @cached_property
    def functions(self) -> list[Function]:
        """All functions by address. One without a size reaches to the next."""
        found: dict[int, tuple[str, int]] = {}
        for section in self._elf.iter_sections():
            if isinstance(section, SymbolTableSection):
                for symbol in section.iter_symbols():
                    if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF":
                        found[symbol["st_value"]] = (symbol.name, symbol["st_size"])
        starts = sorted(found)
        following = [*starts[1:], starts[-1] + 1] if starts else []
        return [Function(found[start][0], start, start + found[start][1] if found[start][1] else next_start)
                for start, next_start in zip(starts, following, strict=True)]

    @cached_property
    def rows(self) -> list[Row]:
        """The line table by address, without the rows that carry no line."""
        rows: list[Row] = []
        if not self._elf.has_dwarf_info():
            return rows
        dwarf = self._elf.get_dwarf_info()
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            if program is None:
                continue
            files = _file_names(unit, program)
            previous = None
            for entry in program.get_entries():
                state = entry.state
                if state is None:
                    continue
                if previous is not None and previous.line and state.address > previous.address:
                    file = files.get(previous.file, "")
                    rows.append(Row(previous.address, state.address, file, previous.line))
                previous = None if state.end_sequence else state
        return sorted(rows, key=lambda row: row.start)

    def function_at(self, address: int) -> Function | None:
        """The function that contains `address`."""
        index = bisect.bisect_right(self.functions, address, key=lambda function: function.start) - 1
        if index >= 0 and address < self.functions[index].end:
            return self.functions[index]
        return None

    def row_at(self, address: int) -> Row | None:
        """The line-table row that covers `address`."""
        index = bisect.bisect_right(self.rows, address, key=lambda row: row.start) - 1
        if index >= 0 and address < self.rows[index].end:
            return self.rows[index]
        return None

    def defined_at(self, file: str, line: int) -> list[Function]:
        """The compiled functions whose definition begins at `file`:`line`."""
        found = []
        for die in self._subprograms():
            if "DW_AT_low_pc" not in die.attributes or _number(die, "DW_AT_decl_line") != line:
                continue
            if _unit_files(die).get(_number(die, "DW_AT_decl_file")) == file:
                found.append(self.function_at(_number(die, "DW_AT_low_pc")))
        return [function for function in found if function is not None]

    def places(self, address: int) -> list[Place]:
        """Where `address` is in the source, innermost inlined function first; [] when it is unknown."""
        function = self.function_at(address)
        row = self.row_at(address)
        if function is None and row is None:
            return []
        file, line = (row.file, row.line) if row else ("", 0)
        places = []
        for die in reversed(self._inlined_at(address)):
            places.append(Place(_name_of(die), file, line))
            unit_files = _unit_files(die)
            file = unit_files.get(_number(die, "DW_AT_call_file"), file)
            line = _number(die, "DW_AT_call_line")
        return [*places, Place(function.name if function else "(unknown)", file, line)]

    def code(self, start: int, end: int) -> bytes:
        """The bytes of the image from address `start` up to `end`, all in one segment; b"" if not loaded."""
        for segment in self._elf.iter_segments("PT_LOAD"):
            first = segment["p_vaddr"]
            if first <= start and end <= first + segment["p_filesz"]:
                return bytes(segment.data()[start - first:end - first])
        return b""

    def _inlined_at(self, address: int) -> list[DIE]:
        """The inlined calls that contain `address`, outermost first."""
        for die in self._subprograms():
            if _covers(die, address):
                return _descend(die, address)
        return []

    def _subprograms(self) -> Iterator[DIE]:
        if self._elf.has_dwarf_info():
            for unit in self._elf.get_dwarf_info().iter_CUs():
                children = unit.get_top_DIE().iter_children()
                yield from (die for die in children if die.tag == "DW_TAG_subprogram")


def _descend(die: DIE, address: int) -> list[DIE]:
    for child in die.iter_children():
        if child.tag in ("DW_TAG_inlined_subroutine", "DW_TAG_lexical_block") and _covers(child, address):
            own = [child] if child.tag == "DW_TAG_inlined_subroutine" else []
            return own + _descend(child, address)
    return []


def _covers(die: DIE, address: int) -> bool:
    if "DW_AT_ranges" in die.attributes:
        return any(start <= address < end for start, end in _ranges(die))
    if "DW_AT_low_pc" not in die.attributes or "DW_AT_high_pc" not in die.attributes:
        return False
    low, high = die.attributes["DW_AT_low_pc"].value, die.attributes["DW_AT_high_pc"]
    # DWARF 4 and later: a constant is the size, an address is the end.
    end = low + high.value if describe_form_class(high.form) == "constant" else high.value
    return bool(low <= address < end)


def _ranges(die: DIE) -> list[tuple[int, int]]:
    """The address ranges of `die` (DWARF 5, section 2.17.3)."""
    unit: Any = die.cu
    base = _number(unit.get_top_DIE(), "DW_AT_low_pc")
    lists: Any = unit.dwarfinfo.range_lists()
    ranges = []
    for entry in lists.get_range_list_at_offset(die.attributes["DW_AT_ranges"].value, cu=unit):
        if hasattr(entry, "base_address"):
            base = entry.base_address
        elif getattr(entry, "is_absolute", False):
            ranges.append((entry.begin_offset, entry.end_offset))
        else:
            ranges.append((base + entry.begin_offset, base + entry.end_offset))
    return ranges


def _name_of(die: DIE) -> str:
    """The name of an inlined function, which stands at its abstract origin."""
    origin = die.get_DIE_from_attribute("DW_AT_abstract_origin")
    for attribute in ("DW_AT_linkage_name", "DW_AT_name"):
        if attribute in origin.attributes:
            return str(origin.attributes[attribute].value.decode(errors="replace"))
    return "(unnamed)"


def _number(die: DIE, attribute: str) -> int:
    return int(die.attributes[attribute].value) if attribute in die.attributes else 0


def _unit_files(die: DIE) -> dict[int, str]:
    unit: Any = die.cu
    program = unit.dwarfinfo.line_program_for_CU(unit)
    return _file_names(unit, program) if program is not None else {}


def _file_names(unit: Any, program: Any) -> dict[int, str]:
    """File number to absolute path. Numbers count from 0 in DWARF 5 and from 1 before (section 6.2.4)."""
    top = unit.get_top_DIE().attributes
    compiled_in = top["DW_AT_comp_dir"].value.decode() if "DW_AT_comp_dir" in top else ""
    folders = [folder.decode() for folder in program["include_directory"]]
    first = 0 if program["version"] >= 5 else 1
    if first:
        folders.insert(0, compiled_in)
    names = {}
    for number, entry in enumerate(program["file_entry"], start=first):
        folder = folders[entry.dir_index] if entry.dir_index < len(folders) else ""
        names[number] = os.path.normpath(os.path.join(compiled_in, folder, entry.name.decode()))
    return names
