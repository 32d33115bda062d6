"""The systems that can be built: the modules of `macadamia.systems` that define PROGRAM.

They are found by reading their source, not by importing them: an import runs the system's whole
import-time Python, and listing must work when one of them is broken.
"""

import ast
import difflib
from dataclasses import dataclass
from pathlib import Path

from macadamia.lab.errors import LabError, Status

SOURCES = Path(__file__).resolve().parents[2]
"""The folder that holds the `macadamia` package."""


@dataclass(frozen=True)
class System:
    """A program for the bare machine, `macadamia.systems.NAME`."""

    name: str
    module: str
    source: Path
    summary: str


def all_systems(sources: Path = SOURCES) -> list[System]:
    """Every system in alphabetical order."""
    found = (_read(path) for path in sorted((sources / "macadamia" / "systems").glob("*.py")))
    return [system for system in found if system is not None]


def find_system(name: str, sources: Path = SOURCES) -> System:
    """The system called `name` (`-` and `_` are the same), or a `LabError` that names the nearest one."""
    path = sources / "macadamia" / "systems" / f"{name.replace('-', '_')}.py"
    system = _read(path) if name.replace("-", "_").isidentifier() and path.is_file() else None
    if system is None:
        known = [known.name for known in all_systems(sources)]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "mac systems lists them"
        raise LabError(f"no system is called {name!r}; {hint}", Status.USAGE)
    return system


def _read(path: Path) -> System | None:
    """The system that `path` defines. A source that does not parse counts: building it shows the error."""
    name = path.stem
    module = f"macadamia.systems.{name}"
    if name.startswith("_"):
        return None
    try:
        tree = ast.parse(path.read_bytes(), path)
    except (SyntaxError, ValueError):
        return System(name, module, path, "(does not parse)")
    if not any(_binds_program(statement) for statement in tree.body):
        return None
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return System(name, module, path, summary)


def _binds_program(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign(targets=targets):
            return any(isinstance(target, ast.Name) and target.id == "PROGRAM" for target in targets)
        case ast.AnnAssign(target=ast.Name(id="PROGRAM")):
            return True
    return False
