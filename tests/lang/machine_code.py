"""Compiled functions as instructions, for tests that look at what the processor gets."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import capstone
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from macadamia.lang.backend import BackendOptions, compile_object
from macadamia.lang.check.program import check_program
from macadamia.lang.emit import EmitOptions, Profile, Target, emit

__all__ = ["disassemble", "instructions", "llvm_text", "object_file"]

Function = Callable[..., Any]


def llvm_text(
    functions: Sequence[Function],
    profile: Profile = "checked",
    target: Target = "bare",
    *,
    debug: bool = False,
    implementations: Sequence[Function] = (),
) -> str:
    """The LLVM text of a program with these roots."""
    program = check_program(functions, implementations)
    return emit(program, EmitOptions(profile, target, debug))


def object_file(text: str, target: Target = "bare", optimize: int = 2) -> ELFFile:
    """The compiled object of an LLVM text."""
    return ELFFile(io.BytesIO(compile_object(text, BackendOptions(target, optimize))))


def disassemble(elf: ELFFile, symbol: str) -> list[capstone.CsInsn]:
    """The instructions of one function of an object file."""
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    found = next(iter(symbols.get_symbol_by_name(symbol) or ()), None)
    assert found is not None, f"no function {symbol}"
    section = elf.get_section(found["st_shndx"])
    start = found["st_value"]
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    return list(decoder.disasm(section.data()[start : start + found["st_size"]], start))


def instructions(function: Function, profile: Profile = "release", target: Target = "bare") -> list[str]:
    """The instructions of one function without its frame, such as "mov eax, dword ptr [rdi]"."""
    elf = object_file(llvm_text([function], profile, target), target)
    symbol = f"{function.__module__}.{function.__qualname__}"
    lines = [f"{item.mnemonic} {item.op_str}".strip() for item in disassemble(elf, symbol)]
    return [line for line in lines if line not in FRAME]


FRAME = {"push rbp", "mov rbp, rsp", "pop rbp"}
