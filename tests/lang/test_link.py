"""From a program's module to a file that runs: the linker, the build, the debugger."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from macadamia.lang.backend import BackendOptions, compile_object
from macadamia.lang.build import BuildError, build_program
from macadamia.lang.linker import LinkError, link
from tests.lang import linux_program

SOURCE = Path(linux_program.__file__)
needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")

SCRIPT = """
SECTIONS {
    . = 0x400000;
    .text : { *(.text .text.*) }
    .rodata : { *(.rodata .rodata.*) }
    . = ALIGN(4096);
    .data : { *(.data .data.*) }
    .bss : { *(.bss .bss.*) }
    image_end = .;
}
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The Linux program in both profiles."""
    folder = tmp_path_factory.mktemp("programs")
    result = {profile: folder / profile for profile in ("checked", "release")}
    for profile, path in result.items():
        build_program(linux_program.__name__, profile, path)
    return result


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=10)


class TestPrograms:
    @pytest.mark.parametrize("profile", ["checked", "release"])
    def test_it_runs(self, programs: dict[str, Path], profile: str) -> None:
        done = run(programs[profile])
        assert done.stdout == "hello from kernel Python\none argument\n"
        assert done.returncode == 3 * 142 - 413

    def test_a_check_stops_it_with_message_and_file(self, programs: dict[str, Path]) -> None:
        done = run(programs["checked"], "two")
        assert done.returncode == linux_program.PANIC_STATUS
        assert done.stdout.splitlines()[1:] == ["panic: index out of range", str(SOURCE)]

    def test_release_is_smaller(self, programs: dict[str, Path]) -> None:
        def text_size(path: Path) -> int:
            return sum(section_sizes(path).get(name, 0) for name in (".text", ".rodata"))

        assert text_size(programs["release"]) < text_size(programs["checked"])

    def test_sources_are_reported(self, tmp_path: Path) -> None:
        used = build_program(linux_program.__name__, "release", tmp_path / "program")
        assert SOURCE in used
        assert not any("site-packages" in str(path) or "/lib/python3" in str(path) for path in used)

    def test_the_same_source_gives_the_same_file(self, programs: dict[str, Path], tmp_path: Path) -> None:
        build_program(linux_program.__name__, "release", tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == programs["release"].read_bytes()


def section_sizes(path: Path) -> dict[str, int]:
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        return {section.name: section["sh_size"] for section in ELFFile(file).iter_sections()}


# Errors


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that can be imported as `tried`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "tried.py"
    sys.modules.pop("tried", None)


HEAD = """
from macadamia.lang import *
from macadamia.lang.program import Program
"""


class TestErrors:
    def failure(self, module: Path, source: str, profile: str = "checked") -> str:
        module.write_text(HEAD + source)
        output = module.with_name("output")
        with pytest.raises(BuildError) as caught:
            build_program("tried", profile, output)
        assert not output.exists()
        assert sorted(path.name for path in module.parent.iterdir() if path.name != "__pycache__") == [
            "tried.py"
        ]
        return str(caught.value)

    def test_no_program(self, module: Path) -> None:
        assert self.failure(module, "") == "tried does not define a Program named PROGRAM"

    def test_unknown_profile(self, module: Path) -> None:
        assert self.failure(module, "", "fast") == "the profile is checked or release, not fast"

    def test_errors_of_the_checker(self, module: Path) -> None:
        text = self.failure(
            module, "def f() -> u32:\n    return missing\nPROGRAM = Program('x', f, target='user')\n"
        )
        assert text.startswith(f"{module}:5:12: error: the name missing is not defined")

    def test_errors_in_assembly(self, module: Path) -> None:
        text = self.failure(
            module, "def f() -> None:\n    asm('bogus', '')\nPROGRAM = Program('x', f, target='user')\n"
        )
        assert text.startswith(f"{module}:5:1: error: invalid instruction mnemonic 'bogus'")

    def test_undefined_symbols(self, module: Path) -> None:
        text = self.failure(
            module,
            "def f() -> None:\n    asm('call somewhere; call elsewhere', '')\n"
            "PROGRAM = Program('x', f, target='user')\n",
        )
        assert text.startswith("undefined symbols: somewhere, elsewhere: ")
        assert "\n" not in text

    def test_a_bad_linker_script(self, module: Path) -> None:
        text = self.failure(
            module,
            "def f() -> None:\n    pass\n"
            "PROGRAM = Program('x', f, target='user', linker_script='SECTIONS {')\n",
        )
        assert text.startswith("ld.lld: layout.ld:1: unexpected EOF")

    def test_lld_is_missing(self, module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(module.parent))
        text = self.failure(module, "def f() -> None:\n    pass\nPROGRAM = Program('x', f, target='user')\n")
        assert text == "ld.lld is not installed: install Debian's package lld"


def test_linker_script(tmp_path: Path) -> None:
    """Sections go where the script says, and its symbols can be used."""
    text = 'target triple = "x86_64-unknown-none-elf"\n@image_end = external global i8\n'
    text += 'define ptr @"a.b"() {\n  ret ptr @image_end\n}\n'
    link(compile_object(text, BackendOptions("user")), tmp_path / "program", entry="a.b", script=SCRIPT)
    from elftools.elf.elffile import ELFFile

    with (tmp_path / "program").open("rb") as file:
        assert ELFFile(file).header["e_entry"] == 0x400000


def test_a_failed_link_leaves_the_old_file(tmp_path: Path) -> None:
    output = tmp_path / "program"
    output.write_text("old")
    text = 'declare void @"kernel.missing"()\n'
    text += 'define void @start() {\n  call void @"kernel.missing"()\n  ret void\n}\n'
    with pytest.raises(LinkError, match=r"undefined symbols: kernel\.missing"):
        link(compile_object(text, BackendOptions("user")), output, entry="start")
    assert output.read_text() == "old"
    assert os.listdir(tmp_path) == ["program"]


# Debugger


@needs_gdb
class TestDebugger:
    def gdb(self, program: Path, *commands: str) -> str:
        arguments = [part for command in commands for part in ("-ex", command)]
        done = subprocess.run(
            ["gdb", "-nx", "-batch", *arguments, str(program)], capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def line_of(self, text: str) -> int:
        lines = SOURCE.read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)

    def stopped(self, programs: dict[str, Path], profile: str, text: str, *commands: str) -> str:
        """What gdb says to `commands` when it has stopped at the line that contains `text`."""
        place = f"{SOURCE.name}:{self.line_of(text)}"
        return self.gdb(programs[profile], f"break {place}", "run", *commands)

    @pytest.mark.parametrize("profile", ["checked", "release"])
    def test_break_on_a_python_line(self, programs: dict[str, Path], profile: str) -> None:
        output = self.stopped(programs, profile, "total += node.value", "backtrace")
        assert "total += node.value" in output
        assert "tests.lang.linux_program.sum_of" in output
        assert "tests.lang.linux_program.main" in output

    def test_structs_by_field(self, programs: dict[str, Path]) -> None:
        output = self.stopped(
            programs, "checked", "total += node.value", "print *node", "print node->next->value"
        )
        assert "value = 242" in output
        assert "mood = BUSY" in output
        assert "low = 5" in output
        assert "high = 2" in output
        assert "$2 = 142" in output

    def test_arrays_parameters_and_types(self, programs: dict[str, Path]) -> None:
        output = self.stopped(
            programs, "checked", "total += node.value", "print/d node->digits", "ptype node", "info locals"
        )
        assert "$1 = {7, 7, 7, 7}" in output
        assert "struct Node *next;" in output
        assert "u8 high : 5;" in output
        assert "total = 0" in output

    def test_statics_by_name(self, programs: dict[str, Path]) -> None:
        output = self.stopped(
            programs, "checked", "return squares[", "print 'tests.lang.linux_program.squares'"
        )
        assert "$1 = {0, 1, 4, 9, 16, 25, 36, 49}" in output

    def test_step(self, programs: dict[str, Path]) -> None:
        output = self.stopped(programs, "checked", "total: u32 = 0", "next", "next", "next", "print total")
        assert "total += node.value" in output
