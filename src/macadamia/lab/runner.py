"""Runs a guest to its end: joins its console to ours, keeps its log, and notices every way to stop.

One loop waits on everything that can happen: console output, keys typed, QEMU's control channel and
complaints, QEMU's end, and three clocks (the time-out, the silence limit, following the log). It
ends with an `Ending`; lab/report.py turns that into words.
"""

import os
import re
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from macadamia.lab import qemu
from macadamia.lab.errors import Status
from macadamia.lab.guest import Guest
from macadamia.lab.terminal import character_input

SILENCE_SECONDS = 10.0
END_OF_INPUT = b"\x04"  # EOT, what a terminal sends for Ctrl-D: a serial line cannot be closed
_CHUNK_BYTES = 65536
_FOLLOW_SECONDS = 0.02
_CLOCK_SECONDS = 0.25


class How(Enum):
    """The ways a run ends."""

    EXITED = auto()  # the kernel reported the program's status
    PANICKED = auto()
    CRASHED = auto()  # the machine stopped without a report, as after a triple fault
    SILENT = auto()
    TIMED_OUT = auto()
    REFUSED = auto()  # QEMU did not start the machine


_STATUS_OF = {How.PANICKED: Status.CRASHED, How.CRASHED: Status.CRASHED, How.SILENT: Status.TIMED_OUT,
              How.TIMED_OUT: Status.TIMED_OUT, How.REFUSED: Status.NOT_STARTED}


@dataclass
class Ending:
    """How a run ended: the exit status for `mac`, the reason in words, and evidence for a report."""

    how: How
    status: int
    reason: str = ""
    registers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """Seconds until a run is ended: `timeout` from its start (None: never), `silence` without any output."""

    timeout: float | None = None
    silence: float = SILENCE_SECONDS


@dataclass(frozen=True)
class Streams:
    """Descriptors of the console's input (None: no input) and output, and whether to show the kernel log."""

    source: int | None = 0
    sink: int = 1
    follow_log: bool = False


def run_guest(guest: Guest, limits: Limits, streams: Streams) -> Ending:
    """Run `guest` to its end. KeyboardInterrupt and BrokenPipeError pass through."""
    if streams.source is None:
        return _Run(guest, limits, streams).to_the_end()
    with character_input(streams.source):
        return _Run(guest, limits, streams).to_the_end()


def logged_status(log: Path) -> int | None:
    """The status in the log's last `macadamia: exit` line."""
    found = re.findall(rb"^macadamia: exit (\d{1,3})\r?$", _read(log), re.MULTILINE)
    return int(found[-1]) & 0xFF if found else None


class _Run:
    def __init__(self, guest: Guest, limits: Limits, streams: Streams) -> None:
        self._guest = guest
        self._limits = limits
        self._streams = streams
        self._started = time.monotonic()
        self._alive = False  # the guest has shown a sign of life
        self._complaints = b""
        self._shown = 0  # bytes of the log that were shown
        self._ending: Ending | None = None
        self._selector = selectors.DefaultSelector()
        self._exit = os.pidfd_open(guest.process.pid)
        self._wait_for(guest.console, self._console_ready)
        self._wait_for(guest.monitor, self._monitor_ready)
        self._wait_for(guest.complaints, self._complaints_ready)
        self._wait_for(self._exit, self._qemu_ended)

    def to_the_end(self) -> Ending:
        pause = _FOLLOW_SECONDS if self._streams.follow_log else _CLOCK_SECONDS
        try:
            while self._ending is None:
                for key, _ in self._selector.select(pause):
                    key.data()
                    if self._ending is not None:
                        break
                self._look_at_log()
                self._look_at_clock()
            return self._ending
        finally:
            self._selector.close()
            os.close(self._exit)

    def _wait_for(self, source: object, action: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, action)  # type: ignore[arg-type]

    # The guest's output and input.

    def _console_ready(self) -> None:
        try:
            output = self._guest.console.recv(_CHUNK_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            output = b""
        if not output:
            self._selector.unregister(self._guest.console)
            return
        self._show_life()
        while output:
            output = output[os.write(self._streams.sink, output):]

    def _show_life(self) -> None:
        """Start to forward input: the guest drops what comes before it has set up its serial line."""
        if not self._alive and self._streams.source is not None:
            # A thread, because neither a regular file nor a terminal can be waited on together with
            # a guest that is slow to take its input.
            threading.Thread(target=_forward, args=(self._streams.source, self._guest.console),
                             daemon=True).start()
        self._alive = True

    # QEMU.

    def _monitor_ready(self) -> None:
        monitor = self._guest.monitor
        monitor.receive()
        if monitor.closed:
            self._selector.unregister(monitor)
        if monitor.version is not None:
            qemu.check_version(monitor.version)
        for event in monitor.events:
            if event["event"] == "SHUTDOWN":
                self._machine_stopped(str(event["data"].get("reason")))
        monitor.events.clear()

    def _complaints_ready(self) -> None:
        said = os.read(self._guest.complaints, _CHUNK_BYTES)
        if not said:
            self._selector.unregister(self._guest.complaints)
        self._complaints += said

    def _machine_stopped(self, reason: str) -> None:
        """The machine was reset or switched off instead of ending through the exit port."""
        status = logged_status(self._guest.log)
        if reason == "guest-shutdown" and status is not None:
            self._end(How.EXITED, "", status=status)
        elif reason == "guest-reset":
            self._end(How.CRASHED, "the guest reset the machine: most likely a triple fault "
                                   "(an exception while the processor could not deliver another)")
        else:
            self._end(How.CRASHED, f"the machine stopped ({reason}) without an exit status")

    def _qemu_ended(self) -> None:
        """QEMU is gone: take in what it left behind, then judge by its exit status and the log."""
        code = self._guest.process.wait()
        self._drain()
        status = logged_status(self._guest.log)
        if code == qemu.debug_exit_status(qemu.EXIT_PANIC):
            self._end(How.PANICKED, "the kernel panicked")
        elif code == qemu.debug_exit_status(qemu.EXIT_ORDERLY) and status is not None:
            self._end(How.EXITED, "", status=status)
        elif code == qemu.debug_exit_status(qemu.EXIT_ORDERLY):
            self._end(How.CRASHED, "the kernel ended without its line 'macadamia: exit STATUS'")
        elif code < 0:
            self._end(How.CRASHED, f"QEMU was killed by signal {-code}")
        elif self._alive:
            self._end(How.CRASHED, f"QEMU ended with status {code}: {self._complaint()}")
        else:
            qemu.check_version(qemu.version_of(qemu.program()))
            self._end(How.REFUSED, f"QEMU did not start the machine: {self._complaint()}")

    def _drain(self) -> None:
        while self._guest.console in self._selector.get_map():
            self._console_ready()
        while self._guest.complaints in self._selector.get_map():
            self._complaints_ready()

    def _complaint(self) -> str:
        lines = self._complaints.decode(errors="replace").strip().splitlines()
        return lines[0] if lines else "it gave no reason"

    # Clocks.

    def _look_at_log(self) -> None:
        if not self._streams.follow_log:
            return
        with self._guest.log.open("rb") as file:
            file.seek(self._shown)
            fresh = file.read()
        self._shown += len(fresh)
        if fresh:
            sys.stderr.write(fresh.decode(errors="replace"))
            sys.stderr.flush()

    def _look_at_clock(self) -> None:
        passed = time.monotonic() - self._started
        if not self._alive and _size(self._guest.log) > 0:
            self._show_life()
        if self._ending is not None:
            return
        if self._limits.timeout is not None and passed > self._limits.timeout:
            self._end(How.TIMED_OUT, f"timed out after {self._limits.timeout:g} s")
        elif not self._alive and passed > self._limits.silence:
            state = self._guest.monitor.status()
            self._end(How.SILENT, f"the guest wrote nothing for {self._limits.silence:g} s "
                                  f"(QEMU is {state})")

    def _end(self, how: How, reason: str, *, status: int | None = None) -> None:
        registers = {} if self._guest.process.poll() is not None else self._guest.monitor.registers()
        self._ending = Ending(how, _STATUS_OF[how] if status is None else status, reason, registers)


def _forward(source: int, console: socket.socket) -> None:
    """Copy `source` to the guest's console until either ends; the end of input is sent as a character."""
    with suppress(OSError):
        while typed := os.read(source, _CHUNK_BYTES):
            console.sendall(typed)
        console.sendall(END_OF_INPUT)


def _read(log: Path) -> bytes:
    try:
        return log.read_bytes()
    except FileNotFoundError:
        return b""


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0
