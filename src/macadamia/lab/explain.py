"""`mac explain`: a Python line or a machine address as source and machine code side by side, with costs.

Costs are static: how many instructions, in how many bytes, a line became. A line that was inlined in
several functions is shown in each; the line of a `def` stands for the whole function.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from macadamia.lab.errors import LabError, Status
from macadamia.lab.symbols import Function, Row, Symbols, short_path, source_line

_WIDEST_BYTES = 11
"""Instruction bytes shown before they are cut; x86 instructions have up to 15, few more than 11."""


@dataclass(frozen=True)
class Instruction:
    """A machine instruction and the source line it came from (None: the line table has none)."""

    address: int
    code: bytes
    text: str
    row: Row | None


def explain(where: str, symbols: Symbols) -> str:
    """The listing for `where`, an address (0x... or hexadecimal digits) or FILE:LINE."""
    if re.fullmatch(r"(0x)?[0-9a-fA-F]{4,16}", where):
        return _explain_address(int(where, 16), symbols)
    file, colon, line = where.rpartition(":")
    if not colon or not file or not line.isdecimal():
        raise LabError(f"{where}: give FILE:LINE or an address such as 0xffffffff80001000", Status.USAGE)
    return _explain_line(file, int(line), symbols)


def _explain_address(address: int, symbols: Symbols) -> str:
    function = symbols.function_at(address)
    if function is None:
        raise LabError(f"{address:#x} is in no function of {symbols.path.name}", Status.USAGE)
    places = symbols.places(address)
    lines = [f"{address:#x} is at"]
    lines += [f"    {place.short() or '(no source line)'} in {place.function}" for place in places]
    instructions = disassemble(function, symbols)
    return "\n".join([*lines, "", *_listing(function, instructions, marked=address),
                      "", *_costs(instructions)])


def _explain_line(file: str, line: int, symbols: Symbols) -> str:
    name = _resolve(file, symbols)
    whole = symbols.defined_at(name, line)
    rows = [row for row in symbols.rows if row.file == name and row.line == line]
    if not whole and not rows:
        raise LabError(_no_code(name, line, symbols), Status.USAGE)
    sections = [f"{short_path(name)}:{line}  {source_line(name, line)}"]
    for function in whole or _functions_of(rows, symbols):
        instructions = [each for each in disassemble(function, symbols)
                        if whole or _is_from(each, name, line)]
        sections += ["", *_listing(function, instructions), "", *_costs(instructions)]
    return "\n".join(sections)


def disassemble(function: Function, symbols: Symbols) -> list[Instruction]:
    """The instructions of `function`, with the names of the functions that they call."""
    import capstone

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoded = decoder.disasm(symbols.code(function.start, function.end), function.start)
    return [Instruction(each.address, bytes(each.bytes), _with_name(each.mnemonic, each.op_str, symbols),
                        symbols.row_at(each.address)) for each in decoded]


def _with_name(mnemonic: str, operands: str, symbols: Symbols) -> str:
    """The instruction's text; the name of a target that is the start of a function follows its address."""
    target = int(operands, 16) if re.fullmatch("0x[0-9a-f]+", operands) else 0
    function = symbols.function_at(target)
    known = function is not None and function.start == target
    return f"{mnemonic} {operands}{f' <{function.name}>' if known and function else ''}".rstrip()


def _listing(function: Function, instructions: list[Instruction], *,
             marked: int | None = None) -> Iterator[str]:
    """Source lines, each followed by its instructions, in the order of addresses."""
    yield f"{function.name}: {_size(instructions)}"
    shown: tuple[str, int] | None = None
    for each in instructions:
        here = (each.row.file, each.row.line) if each.row else None
        if here != shown and here is not None:
            yield f"{short_path(here[0])}:{here[1]}  {source_line(*here)}"
        shown = here
        after = each.address + len(each.code)
        mark = "=>" if marked is not None and each.address <= marked < after else "  "
        code = each.code[:_WIDEST_BYTES].hex(" ") + ("+" if len(each.code) > _WIDEST_BYTES else "")
        yield f"  {mark} {each.address:x}  {code:<{3 * _WIDEST_BYTES}} {each.text}"


def _costs(instructions: list[Instruction]) -> Iterator[str]:
    """A table of the source lines in `instructions` and what each became."""
    of_line: dict[tuple[str, int], list[Instruction]] = defaultdict(list)
    for each in instructions:
        of_line[(each.row.file, each.row.line) if each.row else ("", 0)].append(each)
    yield "instructions  bytes  line"
    for (file, line), group in sorted(of_line.items()):
        size = sum(len(each.code) for each in group)
        place = f"{short_path(file)}:{line}" if file else "(no line)"
        yield f"{len(group):>12}  {size:>5}  {place}  {source_line(file, line)}".rstrip()


def _size(instructions: list[Instruction]) -> str:
    size = sum(len(each.code) for each in instructions)
    return f"{len(instructions)} instruction{'s' * (len(instructions) != 1)}, {size} bytes"


def _resolve(file: str, symbols: Symbols) -> str:
    """The one source file of the program that `file` names: a path, or the end of one."""
    files = {row.file for row in symbols.rows}
    whole = str(Path(file).absolute())
    if whole in files:
        return whole
    ending = "/" + file.removeprefix("./")
    found = sorted(name for name in files if name.endswith(ending))
    if len(found) != 1:
        several = f"may be {' or '.join(map(short_path, found))}"
        what = several if found else f"is no source of {symbols.path.name}"
        raise LabError(f"{file} {what}", Status.USAGE)
    return found[0]


def _no_code(file: str, line: int, symbols: Symbols) -> str:
    lines = {row.line for row in symbols.rows if row.file == file}
    before = max((each for each in lines if each < line), default=None)
    after = min((each for each in lines if each > line), default=None)
    near = " and ".join(str(each) for each in (before, after) if each is not None)
    return f"{short_path(file)}:{line} became no machine code; the nearest lines that did: {near}"


def _functions_of(rows: list[Row], symbols: Symbols) -> list[Function]:
    found = (symbols.function_at(row.start) for row in rows)
    return list(dict.fromkeys(function for function in found if function is not None))


def _is_from(instruction: Instruction, file: str, line: int) -> bool:
    return instruction.row is not None and (instruction.row.file, instruction.row.line) == (file, line)

