"""The examples of docs/language.md: they run, compiled and not, and say what the page says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from macadamia.lang.check import check_program
from macadamia.lang.definition import definition
from macadamia.lang.diagnostics import CompileErrors
from macadamia.lang.functions import interface_options
from macadamia.lang.jit import jit

PAGE = Path(__file__).resolve().parents[2] / "docs" / "language.md"
BLOCK = re.compile(r"^```(python error|python|pycon|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    guide = PAGE.read_text().split("# Reference")[0]
    return BLOCK.findall(guide)


def load(source: str, folder: Path, name: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(source)
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """All the page's code in order, as one module."""
    source = "".join(text for kind, text in blocks() if kind == "python")
    return load(source, tmp_path_factory.mktemp("page"), "language_page")


def examples() -> list[tuple[str, str]]:
    """(expression, what it prints) of every `>>>` line."""
    found = []
    for kind, text in blocks():
        if kind == "pycon":
            found += re.findall(r"^>>> (.*)\n(.*)$", text, re.MULTILINE)
    return found


def implementations(module: ModuleType) -> list[Any]:
    functions = [value for value in vars(module).values() if isinstance(value, FunctionType)]
    return [
        function
        for function in functions
        if (options := interface_options(function)) is not None and options.implements is not None
    ]


@pytest.mark.parametrize(("expression", "printed"), examples())
@pytest.mark.parametrize("way", ["CPython", "compiled"])
def test_example(expression: str, printed: str, way: str, guide: ModuleType) -> None:
    name = re.match(r"\w+", expression)
    assert name is not None
    function = getattr(guide, name.group())
    if way == "CPython":
        run = definition(function, implementations=implementations(guide))
    else:
        run = getattr(jit([function], implementations=implementations(guide)), function.__name__)
    assert repr(eval(expression, vars(guide) | {name.group(): run})) == printed


def test_there_are_examples() -> None:
    assert len(examples()) >= 6


def test_errors_read_as_the_page_says(tmp_path: Path, guide: ModuleType) -> None:
    found = blocks()
    wrong = [
        (text, found[index + 1][1]) for index, (kind, text) in enumerate(found) if kind == "python error"
    ]
    assert wrong
    for source, said in wrong:
        path = tmp_path / "wrong.py"
        path.write_text(source)
        names = dict(vars(guide), __name__="wrong")
        exec(compile(source, str(path), "exec"), names)
        function = next(names[name] for name in re.findall(r"^def (\w+)", source, re.MULTILINE))
        with pytest.raises(CompileErrors) as raised:
            check_program([function])
        assert said.strip() in str(raised.value)
