"""Random programs three ways: expressions of all types, and whole functions with memory, loops and calls.

`./mac test tests/lang/test_hypothesis_programs.py --hypothesis-profile=long` runs until it is stopped;
`--hypothesis-seed=N` repeats a run. A failure is shrunk, and printed as a module to paste into a file.
"""

from __future__ import annotations

import importlib.util
import itertools
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, note, settings

from macadamia.lang.check.sources import definitions
from macadamia.lang.definition import definition, meaning_of
from macadamia.lang.jit import Library, jit
from macadamia.lang.memory import memory
from tests.lang.random_programs import Program, expression_programs, whole_programs
from tests.lang.three_ways import CHECKED_LEVELS, RELEASE_LEVELS, STOPS_IN_RELEASE, agree, outcome_of

PARTS = range(4)  # each runs in a worker of its own, on other programs
serial = itertools.count()
generated = settings(suppress_health_check=list(HealthCheck))  # programs are large, and rightly so


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.mark.parametrize("part", PARTS)
@generated
@given(program=expression_programs())
def test_expressions(folder: Path, part: int, program: Program) -> None:
    run_all_ways(program, folder)


@pytest.mark.parametrize("part", PARTS)
@generated
@given(program=whole_programs())
def test_whole_functions(folder: Path, part: int, program: Program) -> None:
    run_all_ways(program, folder)


def run_all_ways(program: Program, folder: Path) -> None:
    """Make every call of the program every way; memory goes on from one call to the next."""
    note(program.source)
    with imported(program.source, folder) as module:
        functions = [getattr(module, name) for name in program.functions]
        libraries = {
            (profile, optimize): jit(functions, (), profile, optimize)
            for profile, optimize in (*CHECKED_LEVELS, *RELEASE_LEVELS)
        }
        for call in program.calls:
            compare(module, call.function, call.arguments, libraries)


def compare(
    module: ModuleType,
    name: str,
    arguments: tuple[int | bool, ...],
    libraries: dict[tuple[str, int], Library],
) -> None:
    function = getattr(module, name)
    expected = outcome_of(definition(function), arguments, restore=True)
    for (profile, optimize), library in libraries.items():
        if profile == "release" and expected.trap not in (None, *STOPS_IN_RELEASE):
            continue
        outcome = outcome_of(getattr(library, name), arguments, restore=True)
        agree(function, arguments, expected, outcome, f"{profile} -O{optimize}")
    memory.write(memory.base, expected.memory)


@contextmanager
def imported(source: str, folder: Path) -> Iterator[ModuleType]:
    """The module of that source. Afterwards nothing is left of it, nor of its statics."""
    name = f"random_program_{next(serial)}"
    file = folder / f"{name}.py"
    file.write_text(source)
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    top, statics = memory.top, len(memory.statics)
    try:
        specification.loader.exec_module(module)
        yield module
    finally:
        memory.write(top, bytes(memory.top - top))
        memory.top = top
        del memory.statics[statics:], sys.modules[name]
        linecache.cache.pop(str(file), None)
        definitions.cache_clear()
        meaning_of.cache_clear()
        file.unlink()
