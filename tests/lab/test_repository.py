"""The rules of the house, checked: linters, types, layers, and the size of functions and files."""

import subprocess
import sys
from pathlib import Path

import pytest

from macadamia.lab import shape

TABLES: set[str] = set()
"""Functions that are tables and may be long, as FILE:FUNCTION."""


def run(repository: Path, *command: str) -> None:
    line = [sys.executable, "-P", "-m", *command]
    done = subprocess.run(line, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff(repository: Path):
    run(repository, "ruff", "check", "--output-format", "concise", ".")


def test_mypy_strict(repository: Path):
    run(repository, "mypy", "--strict", "src/macadamia")


def test_ruff_and_mypy_would_find_something(tmp_path: Path):
    """A check that can only pass proves nothing."""
    (tmp_path / "bad.py").write_text("import os\ndef f(x): return x\n")
    with pytest.raises(AssertionError):
        run(tmp_path, "ruff", "check", ".")
    with pytest.raises(AssertionError):
        run(tmp_path, "mypy", "--strict", "bad.py")


def test_imports_form_an_acyclic_graph(repository: Path):
    assert shape.cycles(shape.imports(repository / "src" / "macadamia")) == []


def test_layers_know_only_the_layers_below(repository: Path):
    assert shape.breaches(shape.imports(repository / "src" / "macadamia")) == []


def test_functions_fit_their_budgets(repository: Path):
    functions = shape.measure(repository / "src" / "macadamia")
    long = {f"{function.file.name}:{function.name}" for function in functions
            if function.length > shape.LONGEST_FUNCTION_LINES}
    assert long <= TABLES
    assert shape.median(functions) <= shape.MEDIAN_LINES
    assert shape.percentile_90(functions) <= shape.PERCENTILE_90_LINES


def test_files_fit_their_budget(repository: Path):
    lengths = {path: len(path.read_text().splitlines()) for path in (repository / "src").rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > shape.LONGEST_FILE_LINES} == {}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose parts break the rules in every way."""
    files = {"machine/a.py": "from macadamia.machine import b\nimport macadamia.kernels.l4.ipc\n",
             "machine/b.py": "def f():\n    from macadamia.machine.a import x\n",
             "kernels/l4/ipc.py": "if TYPE_CHECKING:\n    import macadamia.lab.x\n",
             "lab/x.py": "import os\nimport macadamia.machine.a\n",
             "systems/s.py": "import macadamia.machine.a, macadamia.kernels.l4.ipc\n"}
    for name, text in files.items():
        path = tmp_path / "macadamia" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "macadamia"


def test_cycles_are_found(package: Path):
    (cycle,) = shape.cycles(shape.imports(package))
    assert cycle == ["macadamia.machine.a", "macadamia.machine.b", "macadamia.machine.a"]


def test_breaches_are_found(package: Path):
    assert shape.breaches(shape.imports(package)) == [
        "macadamia.lab.x (line 2) must not import macadamia.machine.a",
        "macadamia.machine.a (line 2) must not import macadamia.kernels.l4.ipc"]
