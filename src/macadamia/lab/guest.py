"""A QEMU process with its pipes: started so that it cannot outlive the runner, and ended for good."""

import ctypes
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from macadamia.lab.errors import LabError, Status
from macadamia.lab.monitor import Monitor
from macadamia.lab.qemu import Connections, Machine, command_line

_PR_SET_PDEATHSIG = 1  # prctl(2)
_EXIT_BAD_START = 127


class Guest:
    """A running guest. A context manager: leaving it kills QEMU and closes everything.

    `console` is a socket to COM1; `log` is the file that receives COM2; `complaints` is the read end
    of QEMU's own standard error. With `gdb`, the machine waits there for a debugger before it starts.
    With `console_file`, COM1 only writes to that file.
    """

    def __init__(self, machine: Machine, kernel: Path, log: Path, *, initrd: bytes | None = None,
                 gdb: Path | None = None, console_file: Path | None = None) -> None:
        self.log = log
        self.console, console_end = socket.socketpair()
        control, control_end = socket.socketpair()
        self.complaints, complaints_end = os.pipe()
        self._folder = tempfile.TemporaryDirectory(prefix="macadamia-")
        try:
            connections = Connections(log, control_end.fileno(), console_file or console_end.fileno(), gdb)
            initrd_file = self._place(initrd)
            self.process = subprocess.Popen(
                command_line(machine, kernel, initrd_file, connections), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=complaints_end, start_new_session=True,
                pass_fds=(console_end.fileno(), control_end.fileno()), preexec_fn=_die_with_parent())
        except OSError as error:
            self._folder.cleanup()
            raise LabError(f"cannot start QEMU: {error.strerror or error}", Status.NOT_STARTED) from None
        except BaseException:
            self._folder.cleanup()
            raise
        finally:
            console_end.close()
            control_end.close()
            os.close(complaints_end)
        self.monitor = Monitor(control)
        self._control = control
        os.set_blocking(self.complaints, False)

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        # A second Ctrl-C must not leave QEMU behind.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.kill()
            self.console.close()
            self._control.close()
            os.close(self.complaints)
            self._folder.cleanup()
        finally:
            signal.signal(signal.SIGINT, previous)

    def kill(self) -> None:
        """End QEMU and whatever it started, at once, and wait for that. Harmless when it has ended."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _place(self, initrd: bytes | None) -> Path | None:
        if initrd is None:
            return None
        path = Path(self._folder.name) / "initrd"
        path.write_bytes(initrd)
        return path


def _die_with_parent() -> Callable[[], None]:
    """What the child runs before QEMU: ask the kernel to kill it when the runner dies, even by SIGKILL."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the request
            os._exit(_EXIT_BAD_START)

    return arrange
