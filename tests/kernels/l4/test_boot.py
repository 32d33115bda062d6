"""The kernel in QEMU: how it starts, and unmodified programs of L4Ka::Pistachio on it.

The programs are no part of this project: tests that need them are skipped where L4_PROGRAMS (by default
/tmp/pistachio/bin) does not hold them. L4_LONG=1 runs all of l4test, which takes a minute.
"""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(os.environ.get("L4_PROGRAMS", "/tmp/pistachio/bin"))
PATIENCE = 120.0  # s; on a busy machine: alone each of them takes a few
SYSTEM = (sys.executable, "-m", "macadamia.lab", "run", "l4", "--memory", "256M")

needs_programs = pytest.mark.skipif(not PROGRAMS.is_dir(), reason=f"no Pistachio programs in {PROGRAMS}")
needs_patience = pytest.mark.skipif("L4_LONG" not in os.environ, reason="takes a minute: set L4_LONG=1")


class Console:
    """The console of a running guest."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.text = ""

    def wait_for(self, text: str) -> str:
        """Read until `text` has come; everything since the last call."""
        end = time.monotonic() + PATIENCE
        assert self.process.stdout is not None
        while text not in self.text:
            assert select.select([self.process.stdout], [], [], end - time.monotonic())[0], self.text
            piece = os.read(self.process.stdout.fileno(), 4096)
            assert piece, self.text
            self.text += piece.decode(errors="replace")
        found, _, self.text = self.text.partition(text)
        return found

    def press(self, key: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(key)
        self.process.stdin.flush()


def environment(repository: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(repository / "src")}


@contextmanager
def guest(repository: Path, program: str, profile: str) -> Iterator[Console]:
    modules = (f"--module=sigma0={PROGRAMS / 'sigma0'}", f"--module=root={PROGRAMS / program}")
    process = subprocess.Popen(
        [*SYSTEM, "--profile", profile, "--timeout", str(PATIENCE), *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(repository),
    )
    try:
        yield Console(process)
    finally:
        process.terminate()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def test_without_modules_it_says_what_is_missing(repository: Path) -> None:
    run = subprocess.run(
        [*SYSTEM, "--timeout", "60"],
        capture_output=True,
        text=True,
        env=environment(repository),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert run.returncode != 0
    assert "two boot modules are needed: sigma0 and the root task" in run.stderr


def test_a_module_that_is_no_program(repository: Path, tmp_path: Path) -> None:
    for name, content in (("one", b""), ("two", b"\x7fELF" + bytes(200))):
        (tmp_path / name).write_bytes(content)
    run = subprocess.run(
        [*SYSTEM, "--timeout", "60", "--module", str(tmp_path / "two"), "--module", str(tmp_path / "one")],
        capture_output=True,
        text=True,
        env=environment(repository),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert run.returncode != 0
    assert "no ELF program" in run.stderr


@needs_programs
@pytest.mark.parametrize("profile", ["checked", "release"])
def test_grabmem(repository: Path, profile: str) -> None:
    """sigma0 gives all memory that is free, in all sizes."""
    with guest(repository, "grabmem", profile) as console:
        console.wait_for("Allocated")
        console.wait_for("Total memory: ")
        found = re.search(r"(\d+)KB", console.wait_for("\n"))
        assert found is not None
        assert 200 << 10 < int(found[1]) < 256 << 10


@needs_programs
@pytest.mark.parametrize("profile", ["checked", "release"])
def test_pingpong(repository: Path, profile: str) -> None:
    """IPC between spaces, within one, and Lipc; threads and spaces are deleted and made again."""
    with guest(repository, "pingpong", profile) as console:
        for key in (b"1", b"2", b"3", b"1"):
            console.wait_for("SQLite table")
            console.press(key)
            console.wait_for("IPC ( 0 MRs)")
            console.wait_for("IPC (63 MRs)")
            console.wait_for("What now?")
            console.press(b"q")


@needs_programs
@needs_patience
@pytest.mark.parametrize("profile", ["checked", "release"])
def test_l4test(repository: Path, profile: str) -> None:
    """Pistachio's own test suite: 50 checks."""
    with guest(repository, "l4test", profile) as console:
        console.wait_for("8) All tests")
        console.press(b"8")
        output = console.wait_for("8) All tests")
        assert "FAILED" not in output
        assert output.count("\x1b[32;1mOK") == 50
