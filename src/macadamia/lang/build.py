"""From a program's module to its ELF file: import, check, emit, optimise, link."""

from __future__ import annotations

import importlib
import site
import sys
import sysconfig
from pathlib import Path
from typing import Any, cast

from macadamia.lang.backend import BackendError, BackendOptions, compile_object
from macadamia.lang.check.program import check_program
from macadamia.lang.diagnostics import CompileErrors
from macadamia.lang.dump import dump_stages, level
from macadamia.lang.emit import EmitOptions, Profile, emit
from macadamia.lang.linker import LinkError, link
from macadamia.lang.program import Program

_SOURCES = Path(__file__).resolve().parents[2]
_TOOLS = "macadamia.lab"  # runs builds; no part of any program


class BuildError(Exception):
    """The program cannot be built; `str()` of it is for the user."""


def build_program(program_module: str, profile: str, output: Path) -> list[Path]:
    """Build the PROGRAM of a module into the ELF file `output`; the source files that went into it.

    `profile` is "checked" or "release". BuildError tells what is wrong with the program; what its import-time
    Python raises passes through.
    """
    if profile not in ("checked", "release"):
        raise BuildError(f"the profile is checked or release, not {profile}")
    program = getattr(importlib.import_module(program_module), "PROGRAM", None)
    if not isinstance(program, Program):
        raise BuildError(f"{program_module} does not define a Program named PROGRAM")
    try:
        image, entry = compile_program(program, cast(Profile, profile))
        link(image, output, entry=entry, script=program.linker_script)
    except (CompileErrors, BackendError, LinkError) as error:
        raise BuildError(str(error)) from None
    return sources()


def compile_program(program: Program, profile: Profile) -> tuple[bytes, str]:
    """The object file of a program, and the symbol where it starts."""
    roots = [program.entry, *(root for root in program.roots if root is not program.entry)]
    checked = check_program(roots, program.implementations, program.modules)
    options = EmitOptions(profile, program.target, debug=True, source_root=str(_SOURCES))
    text = emit(checked, options)
    backend = BackendOptions(program.target, cpu=program.cpu)
    if level():
        dump_stages(f"{program.name}-{profile}", checked, text, backend)
    start = checked.roots[0]
    return compile_object(text, backend), start.exported or start.symbol


def sources() -> list[Path]:
    """The files of all imported modules but Python's own, installed packages and the tools around us."""
    installed = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()]
    prefixes = tuple(f"{folder}/" for folder in (*installed, site.getusersitepackages()))
    files = set()
    for name, module in list(sys.modules.items()):
        file = cast(Any, module).__dict__.get("__file__") if hasattr(module, "__dict__") else None
        if not file or name.startswith(_TOOLS) or file.startswith(prefixes) or not file.endswith(".py"):
            continue
        files.add(Path(file).resolve())
    return sorted(files)
