"""Words for a run that did not end well: panics with names and source lines, and explained silences.

On a panic the kernel prints to COM2, one fact per line,

    panic: MESSAGE
    panic: at FILE:LINE
    panic: register rax 0x...
    panic: return 0xADDRESS          (one per frame, innermost first)

and leaves to this module what needs the symbol table and the sources.
"""

import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from macadamia.lab.runner import Ending, How
from macadamia.lab.symbols import Place, Symbols

LAST_LOG_LINES = 12
_REGISTERS_PER_ROW = 4
_PANIC_MACHINERY = ("macadamia.stop.", "macadamia.machine.x86_64.panic.")


@dataclass
class Panic:
    """The `panic: ` lines of a kernel log. `place` is FILE:LINE, the file as the compiler recorded it."""

    messages: list[str] = field(default_factory=list)
    place: str = ""
    registers: dict[str, int] = field(default_factory=dict)
    returns: list[int] = field(default_factory=list)


class _Frame(NamedTuple):
    """An address to show, and one `within` the instruction that it is about, to look up."""

    address: int
    within: int


def parse_panic(log: str) -> Panic | None:
    """The panic that `log` tells of, or None. A line that is cut short counts as a message."""
    lines = re.findall(r"^panic: (.*?)\r?$", log, re.MULTILINE)
    if not lines:
        return None
    panic = Panic()
    for line in lines:
        match line.split():
            case ["at", where] if not panic.place:
                panic.place = where
            case ["register", name, value] if (number := _hexadecimal(value)) is not None:
                panic.registers[name] = number
            case ["return", value] if (number := _hexadecimal(value)) is not None:
                panic.returns.append(number)
            case _:
                panic.messages.append(line)
    return panic


def describe(ending: Ending, log_path: Path, kernel: Path) -> str:
    """The report for `ending`, several lines; "" when the guest ended in good order."""
    if ending.how is How.EXITED:
        return ""
    log = log_path.read_text(errors="replace") if log_path.exists() else ""
    symbols = Symbols.load(kernel)
    panic = parse_panic(log)
    lines = [f"mac: {ending.reason}"]
    if panic is not None:
        lines += _panic_lines(panic, symbols)
    if ending.registers.get("rip"):
        lines += ["the processor was at", *_frame(_stopped_at(ending.registers["rip"]), symbols),
                  *_register_rows(ending.registers)]
    tail = [line for line in log.splitlines() if not line.startswith("panic: ")][-LAST_LOG_LINES:]
    if tail:
        lines += ["last lines of the kernel log:", *(f"    {line}" for line in tail)]
    lines.append(f"kernel log: {log_path}")
    return "\n".join(lines)


def _panic_lines(panic: Panic, symbols: Symbols) -> list[str]:
    lines = [f"kernel panic: {message}" for message in panic.messages]
    if panic.place:
        lines.append(f"    at {panic.place}")
    frames = [_stopped_at(address) for name, address in panic.registers.items() if name == "rip"]
    frames += [_returning_to(address) for address in panic.returns]
    if frames:
        lines.append("backtrace, innermost first:")
        # How a panic comes about is the same each time; where it was called from is what matters.
        for frame in itertools.dropwhile(lambda frame: _is_machinery(frame, symbols), frames):
            lines += _frame(frame, symbols)
    return lines + _register_rows(panic.registers)


def _stopped_at(address: int) -> _Frame:
    return _Frame(address, address)


def _returning_to(address: int) -> _Frame:
    """The frame of a call, which may be the last instruction of its line, or even of its function."""
    return _Frame(address, address - 1)


def _is_machinery(frame: _Frame, symbols: Symbols) -> bool:
    """Whether `frame` is in the code that prints panics, or in a call to it that the compiler made."""
    function = symbols.function_at(frame.within)
    return function is not None and function.name.startswith(_PANIC_MACHINERY)


def _frame(frame: _Frame, symbols: Symbols) -> list[str]:
    """One frame, with the inlined functions it stands in, and the source line of each."""
    places = symbols.places(frame.within)
    if not places:
        return [f"    {frame.address:#018x}  (unknown)"]
    lines = []
    for index, place in enumerate(places):
        lead = f"{frame.address:#018x}" if index == len(places) - 1 else f"{'inlined':>18}"
        lines += [f"    {lead}  {place.function}  {place.short()}".rstrip(), *_quote(place)]
    return lines


def _quote(place: Place) -> list[str]:
    text = place.text().strip()
    return [f"    {'':18}      {text}"] if text else []


def _register_rows(registers: dict[str, int]) -> list[str]:
    cells = [f"{name:>6} {value:#018x}" for name, value in registers.items()]
    rows = [cells[start:start + _REGISTERS_PER_ROW] for start in range(0, len(cells), _REGISTERS_PER_ROW)]
    return ["registers:", *(" ".join(row) for row in rows)] if rows else []


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None
