"""`mac build`: from a system's name to its ELF file, through the cache."""

import os
from pathlib import Path

from macadamia.lab import packages
from macadamia.lab.cache import BuildCache, Compile, cache_directory
from macadamia.lab.catalogue import SOURCES, System
from macadamia.lab.errors import DiagnosticsError


def build_system(system: System, profile: str) -> Path:
    """The finished ELF file of `system`, in the cache. `DiagnosticsError` when the compiler refuses it."""
    cache = BuildCache(cache_directory(), sources=SOURCES)
    # With MACADAMIA_DEBUG the compiler writes out its stages (lang/dump.py): it has to run.
    return cache.build(system, profile, _compiler, anew="MACADAMIA_DEBUG" in os.environ)


def _compiler() -> Compile:
    """The compiler, imported only when something must be built: llvmlite alone takes 0.2 s."""
    packages.ensure("build")
    from macadamia.lang.build import BuildError, build_program

    def compile_program(module: str, profile: str, output: Path) -> list[Path]:
        try:
            return build_program(module, profile, output)
        except BuildError as error:
            raise DiagnosticsError(str(error)) from None
        except Exception as error:
            if _raised_while_importing(error):
                raise DiagnosticsError(_import_error(module, error)) from None
            raise

    return compile_program


def _raised_while_importing(error: Exception) -> bool:
    """Whether the system's own import-time Python raised `error`, rather than the compiler."""
    return _last_own_line(error) is not None or isinstance(error, SyntaxError)


def _import_error(module: str, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: error: {error.msg}"
    place = _last_own_line(error)
    return f"{place}: error: importing {module} raised {type(error).__name__}: {error}"


def _last_own_line(error: Exception) -> str | None:
    """file:line of the innermost frame outside the compiler and the lab, if the error passed through one."""
    trace, place = error.__traceback__, None
    tools = (str(SOURCES / "macadamia" / "lang"), str(SOURCES / "macadamia" / "lab"))
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(str(SOURCES)) and not file.startswith(tools):
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
