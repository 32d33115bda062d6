"""A laboratory to test the lab with: a folder of fake systems, a cache of its own, and `mac` on them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

FAKE_MAC = Path(__file__).with_name("fake_mac.py")


class Laboratory:
    """Writes systems and runs `mac` (with the stand-in compiler of fake_mac.py) on them."""

    def __init__(self, folder: Path) -> None:
        self.sources = folder / "src"
        self.cache = folder / "cache"
        self.systems = self.sources / "macadamia" / "systems"
        self.systems.mkdir(parents=True)
        (self.sources / "macadamia" / "lang").mkdir()
        self.compiler = self.sources / "macadamia" / "lang" / "compiler.py"
        self.compiler.write_text("VERSION = 1\n")

    def write(self, name: str, code: str, *, more: str = "", age: float = 60.0) -> Path:
        """Define a system by a Python expression for its machine code, last saved `age` seconds ago."""
        path = self.systems / f"{name}.py"
        path.write_text(f'"""The {name} system."""\nPROGRAM = 1\nCODE = {code}\n{more}\n')
        when = time.time() - age
        os.utime(path, (when, when))
        os.utime(self.compiler, (when, when))
        return path

    def environment(self, **changes: str) -> dict[str, str]:
        return {**os.environ, "MACADAMIA_CACHE": str(self.cache), **changes}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", str(FAKE_MAC), str(self.sources), *arguments]

    def mac(self, *arguments: str, text: str | None = None,
            **changes: str) -> "subprocess.CompletedProcess[str]":
        """Run `mac ARGUMENTS` to its end with `text` as standard input (none: /dev/null)."""
        source: dict[str, object] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=60,
                              env=self.environment(**changes), **source)

    def start(self, *arguments: str, **streams: object) -> "subprocess.Popen[str]":
        """Start `mac ARGUMENTS` in the background, with pipes unless `streams` says otherwise."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command(*arguments), text=True, env=self.environment(),
                                **{**pipes, **streams})

    def builds(self) -> int:
        """How many times the compiler has run."""
        journal = self.sources / "builds"
        return len(journal.read_text().splitlines()) if journal.exists() else 0

    def objects(self) -> list[str]:
        """The names of all files in the cache's object folder."""
        return sorted(path.name for path in (self.cache / "objects").iterdir())

    def qemus(self) -> list[int]:
        """The QEMU processes that keep their kernel log in this laboratory's cache."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"qemu-system" in line.split(b"\0")[0] and os.fsencode(self.cache) in line:
                    found.append(int(entry.name))
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path)


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait for `condition`; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., bool]:
    return wait_until
