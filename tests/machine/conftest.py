"""Boots kernels in QEMU: one build per kernel and profile for the whole run, one QEMU per test."""

import fcntl
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from macadamia.lab import qemu
from macadamia.lab.initrd import write_cpio
from macadamia.lab.report import Panic, parse_panic
from macadamia.lang.build import build_program

ICOUNT = ("-icount", "shift=0,sleep=off")  # the time-stamp counter counts instructions
TIMEOUT = 60.0  # s; on a busy machine: alone none takes more than a few


@dataclass
class Outcome:
    """What a run left behind."""

    status: int  # of QEMU
    console: str
    log: str

    @property
    def exit_status(self) -> int:
        """What the kernel reported; fails when it did not end in good order."""
        assert self.status == qemu.debug_exit_status(qemu.EXIT_ORDERLY), self
        last = self.log.splitlines()[-1]
        assert last.startswith("macadamia: exit "), self
        return int(last.removeprefix("macadamia: exit "))

    @property
    def panic(self) -> Panic:
        assert self.status == qemu.debug_exit_status(qemu.EXIT_PANIC), self
        panic = parse_panic(self.log)
        assert panic is not None, self
        return panic

    @property
    def lines(self) -> list[str]:
        return self.console.splitlines()


class Guest:
    """A running QEMU, started with the files in `folder`; a context manager that ends it."""

    def __init__(
        self,
        folder: Path,
        kernel: Path,
        *options: str,
        initrd: bytes,
        cpu: str = "max",
        memory: str = "64M",
        machine: str = "q35",
    ) -> None:
        self.folder = folder
        (folder / "initrd").write_bytes(initrd)
        line = [
            *(qemu.PROGRAM, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
            *("-machine", machine, "-accel", "tcg", "-cpu", cpu, "-m", memory),
            *("-kernel", str(kernel), "-initrd", str(folder / "initrd")),
            *("-serial", "stdio", "-serial", f"file:{folder / 'log'}"),
            *("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"),
            *("-device", f"isa-debug-exit,iobase={qemu.EXIT_PORT:#x},iosize=4"),
        ]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen([*line, *options], **pipes)  # type: ignore[call-overload]

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()

    def finish(self, keys: bytes = b"") -> Outcome:
        """Type `keys` and wait for the end."""
        console, _ = self.process.communicate(keys, timeout=TIMEOUT)
        log = self.folder / "log"
        return Outcome(
            self.process.returncode,
            console.decode(errors="replace").replace("\r", ""),
            log.read_text(errors="replace").replace("\r", "") if log.exists() else "",
        )

    def wait_for(self, text: bytes) -> bytes:
        """Read the console up to `text`."""
        seen = b""
        assert self.process.stdout is not None
        while text not in seen:
            piece = os.read(self.process.stdout.fileno(), 4096)
            assert piece, f"the console ended before {text!r}: {seen!r}"
            seen += piece
        return seen

    @contextmanager
    def monitor(self) -> Iterator[Callable[[str], None]]:
        """A connection to QEMU's monitor: a function that executes a command."""
        connection = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                connection.connect(str(self.folder / "qmp"))
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        with connection:
            connection.recv(4096)  # the greeting

            def execute(command: str) -> None:
                with suppress(OSError):  # the guest may have ended
                    connection.sendall(json.dumps({"execute": command}).encode())
                    connection.recv(4096)

            execute("qmp_capabilities")
            yield execute


class Probe:
    """Runs scenarios of the probe kernel."""

    def __init__(self, folder: Path, build: Callable[[str, str], Path]) -> None:
        self.folder = folder
        self.build = build

    def kernel(self, profile: str = "checked") -> Path:
        return self.build("tests.machine.probe_kernel", profile)

    def run(self, scenario: str, *options: str, **settings: Any) -> Outcome:
        """Boot one scenario to its end. Settings as in `start`."""
        with self.start(scenario, *options, **settings) as guest:
            return guest.finish()

    def start(self, scenario: str, *options: str, profile: str = "checked", **settings: Any) -> Guest:
        """Start QEMU with more `options`. `initrd` replaces the archive that names the scenario."""
        settings.setdefault("initrd", write_cpio([("cmdline", scenario.encode() + b"\0")]))
        return Guest(self.folder, self.kernel(profile), *options, **settings)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, str], Path]:
    """The ELF file of a program's module for a profile, built by the first test process that needs it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def build_once(module: str, profile: str) -> Path:
        output = shared / f"{module}-{profile}.elf"
        with output.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not output.exists():
                build_program(module, profile, output)
        return output

    return build_once


@pytest.fixture
def probe(tmp_path: Path, build: Callable[[str, str], Path]) -> Probe:
    return Probe(tmp_path, build)


@pytest.fixture(params=["max", "qemu64"])
def cpu(request: pytest.FixtureRequest) -> str:
    """A processor with all that QEMU has, and the plainest 64-bit one (no SMEP, SMAP, UMIP, XSAVE)."""
    return str(request.param)
