"""Boots the probe kernel in QEMU: one build per profile for the whole run, one QEMU per test."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from macadamia.lab import qemu
from macadamia.lab.initrd import write_cpio
from macadamia.lab.report import Panic, parse_panic
from macadamia.lang.build import build_program

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


class Probe:
    """Runs scenarios of the probe kernel."""

    def __init__(self, folder: Path, kernel: Callable[[str], Path]) -> None:
        self.folder = folder
        self.kernel = kernel

    def run(self, scenario: str, *options: str, **settings: object) -> Outcome:
        """Boot one scenario to its end. Settings as in `start`."""
        with self.start(scenario, *options, **settings) as guest:  # type: ignore[arg-type]
            return guest.finish()

    def start(
        self,
        scenario: str,
        *options: str,
        cpu: str = "max",
        memory: str = "64M",
        profile: str = "checked",
        machine: str = "q35",
        initrd: bytes | None = None,
    ) -> "Guest":
        """Start QEMU; `options` are more of its options.

        `initrd` replaces the archive that names the scenario.
        """
        if initrd is None:
            initrd = write_cpio([("cmdline", scenario.encode() + b"\0")])
        (self.folder / "initrd").write_bytes(initrd)
        line = [
            qemu.PROGRAM,
            "-no-user-config",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-machine",
            machine,
            "-accel",
            "tcg",
            "-cpu",
            cpu,
            "-m",
            memory,
            "-kernel",
            str(self.kernel(profile)),
            "-initrd",
            str(self.folder / "initrd"),
            "-serial",
            "stdio",
            "-serial",
            f"file:{self.folder / 'log'}",
            "-qmp",
            f"unix:{self.folder / 'qmp'},server=on,wait=off",
            "-device",
            f"isa-debug-exit,iobase={qemu.EXIT_PORT:#x},iosize=4",
            *options,
        ]
        return Guest(
            self.folder,
            subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT),
        )


class Guest:
    """A running QEMU."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.process = process

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


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Path]:
    """The ELF file of the probe for a profile, built by the first test process that needs it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def build(profile: str) -> Path:
        output = shared / f"probe-{profile}.elf"
        with FileLock(f"{output}.lock"):
            if not output.exists():
                build_program("tests.machine.probe_kernel", profile, output)
        return output

    return build


@pytest.fixture
def probe(tmp_path: Path, kernel: Callable[[str], Path]) -> Probe:
    return Probe(tmp_path, kernel)


@pytest.fixture(params=["max", "qemu64"])
def cpu(request: pytest.FixtureRequest) -> str:
    """A processor with all that QEMU has, and the plainest 64-bit one (no SMEP, SMAP, UMIP, XSAVE)."""
    return str(request.param)
