"""`mac debug`: a guest stopped before its first instruction, and gdb on the Python source of its kernel.

QEMU listens on a socket in a private folder; gdb gets the kernel's symbols, the source path, and the
commands of lab/gdb_commands.py. The guest's console and its kernel log go to files that these
commands show, so that gdb has the terminal to itself. When gdb ends, so does the guest.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from macadamia.lab import packages, qemu
from macadamia.lab.build import build_system
from macadamia.lab.catalogue import SOURCES, find_system
from macadamia.lab.errors import LabError, Status
from macadamia.lab.guest import Guest
from macadamia.lab.initrd import build_initrd
from macadamia.lab.run import Options, new_log

_COMMANDS = Path(__file__).with_name("gdb_commands.py")
_START_SECONDS = 20.0


def debug_system(name: str, command: Sequence[str], options: Options, extra: Sequence[str]) -> int:
    """Build and debug the system called `name`; gdb gets the arguments `extra` too. gdb's exit status."""
    system = find_system(name)
    initrd = build_initrd(command, options.modules)
    packages.ensure("debug")
    kernel = build_system(system, options.profile)
    qemu.check_memory(options.machine, kernel, len(initrd))
    with tempfile.TemporaryDirectory(prefix="macadamia-") as folder:
        stub, console = Path(folder) / "gdb", Path(folder) / "console"
        log = new_log(system.name)
        with Guest(options.machine, kernel, log, initrd=initrd, gdb=stub, console_file=console) as guest:
            _await(stub, guest)
            return _run_gdb(gdb_command(kernel, stub, extra), console, log)


def gdb_command(kernel: Path, stub: Path, extra: Sequence[str]) -> list[str]:
    """The gdb command that debugs `kernel` through the socket `stub`, then does what `extra` says."""
    return ["gdb", "--nx", "--quiet",
            "--init-eval-command", "set confirm off",
            "--init-eval-command", "set pagination off",
            "--init-eval-command", f"set auto-load safe-path {SOURCES.parent}",
            "--directory", str(SOURCES),
            "--eval-command", f"file {kernel}",
            "--command", str(_COMMANDS),
            "--eval-command", f"target remote {stub}", *extra]


def _await(stub: Path, guest: Guest) -> None:
    """Wait until QEMU listens on `stub`."""
    deadline = time.monotonic() + _START_SECONDS
    while not stub.exists():
        if guest.process.poll() is not None or time.monotonic() > deadline:
            try:
                said = os.read(guest.complaints, 4096).decode(errors="replace").strip()
            except BlockingIOError:
                said = ""
            raise LabError(f"QEMU did not start the machine: {said or 'it gave no reason'}",
                           Status.NOT_STARTED)
        time.sleep(0.01)


def _run_gdb(line: list[str], console: Path, log: Path) -> int:
    """Run gdb in the foreground. Ctrl-C is gdb's: it interrupts the guest, not the debugger."""
    environment = {**os.environ, "MACADAMIA_CONSOLE": str(console), "MACADAMIA_LOG": str(log)}
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # gdb must not inherit that Ctrl-C is ignored.
        with subprocess.Popen(line, env=environment, preexec_fn=_heed_interrupts) as gdb:
            try:
                return gdb.wait()
            except BaseException:
                gdb.terminate()
                raise
    finally:
        signal.signal(signal.SIGINT, previous)


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
