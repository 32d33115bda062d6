"""`mac build` with the real compiler: broken programs, and that a warm build is fast."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from macadamia.lab import build, shape
from macadamia.lab.catalogue import System
from macadamia.lab.errors import DiagnosticsError, Status

_numbers = itertools.count()


@pytest.fixture
def compile_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Builds a program's text with the real compiler, which must refuse it; what it says."""
    monkeypatch.setenv("MACADAMIA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def compile_text(text: str) -> str:
        name = f"broken_program_{os.getpid()}_{next(_numbers)}"  # modules are imported once
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        with pytest.raises(DiagnosticsError) as raised:
            build.build_system(System("broken", name, path, ""), "checked")
        assert raised.value.status == Status.FAILED
        assert list((tmp_path / "cache" / "objects").iterdir()) == []
        return str(raised.value).replace(str(path), "FILE")

    return compile_text


def test_a_syntax_error_names_its_line(compile_text: Callable[[str], str]):
    assert compile_text("a = 1\nb = (\n") == "FILE:2: error: '(' was never closed"


def test_an_error_while_importing_names_its_line(compile_text: Callable[[str], str]):
    said = compile_text("a = 1\nb = a / 0\n")
    assert said.startswith("FILE:2: error: importing ")
    assert said.endswith(" raised ZeroDivisionError: division by zero")


def test_a_missing_module_names_the_import(compile_text: Callable[[str], str]):
    assert "FILE:1: error: " in compile_text("import no_such_module_here\n")


def test_a_module_without_program_is_explained(compile_text: Callable[[str], str]):
    assert "PROGRAM" in compile_text("a = 1\n")


@pytest.fixture
def real_mac(repository: Path, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the checkout's own `./mac` with a cache of the test's own."""
    def run(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "MACADAMIA_CACHE": str(tmp_path / "cache"), **changes}
        return subprocess.run([repository / "mac", *arguments], env=environment, capture_output=True,
                              text=True, timeout=120, stdin=subprocess.DEVNULL)

    return run


def test_hello_builds_and_a_warm_build_imports_no_compiler(real_mac: Callable[..., object], repository: Path):
    """The target is 0.3 s; half a second allows for other work on the machine."""
    real_mac("build", "hello")
    real_mac("build", "hello")  # a source saved just before the first build leaves it uncertain
    seconds = []
    for _ in range(5):
        start = time.monotonic()
        done = real_mac("build", "hello", PYTHONPROFILEIMPORTTIME="1")
        seconds.append(time.monotonic() - start)
    assert done.returncode == 0
    assert "llvmlite" not in done.stderr
    assert "macadamia.systems" not in done.stderr
    assert min(seconds) < 0.5


def test_the_dependencies_of_a_system_include_compiler_and_kernel_modules(real_mac, tmp_path: Path):
    real_mac("build", "hello")
    (manifest,) = (tmp_path / "cache" / "manifests").iterdir()
    text = manifest.read_text()
    for module in ("systems/hello.py", "machine/x86_64/boot.py", "lang/types.py", "lang/backend.py"):
        assert f"/macadamia/{module}" in text


def test_a_compiled_copy_is_written_where_asked(real_mac, tmp_path: Path):
    done = real_mac("build", "hello", "-o", str(tmp_path / "hello.elf"))
    assert done.stdout == f"{tmp_path}/hello.elf\n"
    assert (tmp_path / "hello.elf").read_bytes()[:4] == b"\x7fELF"


def test_a_missing_linker_without_root_is_one_line(real_mac, tmp_path: Path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "env", "cmp", "dirname", "readlink", "id"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    done = real_mac("build", "hello", PATH=str(tools))  # no apt-get either: nothing can be installed
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (Status.NOT_STARTED, "", 1)
    assert done.stderr == "mac: missing: lld (Debian's names); install them with your package manager\n"


def test_ctrl_c_ends_the_tests_with_their_workers(repository: Path, tmp_path: Path, wait_until):
    """Ctrl-C goes to the whole process group, as from a terminal."""
    (tmp_path / "test_slow.py").write_text(
        "import time, os, pathlib\ndef test_slow():\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n    time.sleep(60)\n")
    line = [sys.executable, "-P", "-m", "macadamia.lab", "test", str(tmp_path / "test_slow.py"), "-n", "2",
            "-p", "no:cacheprovider"]
    running = subprocess.Popen(line, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    assert wait_until((tmp_path / "pid").exists, 60)
    worker = int((tmp_path / "pid").read_text() or 0)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == Status.INTERRUPTED
    assert "Traceback" not in errors
    assert wait_until(lambda: not Path(f"/proc/{worker}").exists())


def test_no_module_of_the_lab_is_imported_before_it_is_needed():
    """What `mac` imports before it knows the command is what every command pays for."""
    graph = shape.imports(Path(build.__file__).parents[1])
    reached = {edge.imported for edge in graph if edge.importer == "macadamia.lab.errors"}
    assert reached == set()
    shown = subprocess.run([sys.executable, "-c", "import sys, macadamia.lab.cli; print(*sys.modules)"],
                           capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in shown if name.startswith("macadamia.")} == {
        "macadamia.lab", "macadamia.lab.cli", "macadamia.lab.errors"}
