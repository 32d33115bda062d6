"""How fast the compiler reads kernel Python: source lines per second, before LLVM.

The measured program is the examples, copied under new names often enough to have the size of a kernel: code
that people wrote, with structs, methods, loops and tables in their natural proportions. Importing it, which
runs ordinary Python, is not counted.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from macadamia.lab.catalogue import SOURCES

EXAMPLES = SOURCES / "macadamia" / "examples"
COPIES = 10
PACKAGE = "macadamia_copies"
ROUNDS = 3


@dataclass(frozen=True)
class Throughput:
    """Seconds that each stage took for `lines` lines of source; the best of some rounds."""

    lines: int
    check: float
    emit: float
    optimise: float


def measure() -> Throughput:
    """Compile the copies several times, every time as if they had never been seen."""
    rounds = [measure_once(f"{PACKAGE}{number}") for number in range(ROUNDS)]
    best = [min(times) for times in zip(*((r.check, r.emit, r.optimise) for r in rounds), strict=True)]
    return Throughput(rounds[0].lines, *best)


def measure_once(package: str) -> Throughput:
    with tempfile.TemporaryDirectory(prefix="macadamia-") as name, importable(Path(name)):
        lines = write_copies(Path(name), package)
        return Throughput(lines, *compile_once(import_roots(package)))


def write_copies(folder: Path, package: str) -> int:
    """Write the packages `package`.copy0, copy1, ... and count their lines, without the empty ones."""
    lines = 0
    for copy in range(COPIES):
        target = folder / package / f"copy{copy}"
        target.mkdir(parents=True)
        for source in sorted(EXAMPLES.glob("*.py")):
            text = source.read_text().replace("macadamia.examples", f"{package}.copy{copy}")
            (target / source.name).write_text(text.replace('("python_', f'("copy{copy}_'))
            lines += sum(1 for line in text.splitlines() if line.strip())
    return lines


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """`folder` on the path of imports, and nothing left of what was imported from it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]


def import_roots(package: str) -> list[Callable[..., Any]]:
    """The functions from which everything in the copies is reached."""
    modules = [importlib.import_module(f"{package}.copy{copy}.measured") for copy in range(COPIES)]
    return [
        getattr(module, f"{case}_{stage}")
        for module in modules
        for case in module.CASES
        for stage in module.STAGES
    ]


def compile_once(roots: list[Callable[..., Any]]) -> tuple[float, float, float]:
    """Seconds in the checker, the emitter and LLVM."""
    from macadamia.lang.backend import BackendOptions, compile_object
    from macadamia.lang.check.program import check_program
    from macadamia.lang.emit import EmitOptions, emit

    times = [time.perf_counter()]
    program = check_program(roots)
    times.append(time.perf_counter())
    text = emit(program, EmitOptions())
    times.append(time.perf_counter())
    compile_object(text, BackendOptions())
    times.append(time.perf_counter())
    check, emitted, optimised = (after - before for before, after in pairwise(times))
    return check, emitted, optimised
