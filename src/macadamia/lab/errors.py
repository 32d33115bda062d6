"""What the lab tells a person when something goes wrong, and the exit statuses of `mac`."""

from enum import IntEnum


class Status(IntEnum):
    """Exit statuses of `mac`; scripts rely on them (docs/command-line.md)."""

    OK = 0
    FAILED = 1  # the work was attempted and failed: a build error, a failing test
    USAGE = 2  # the command line is wrong: unknown system, missing file, bad option
    TIMED_OUT = 124  # the guest hung: --timeout passed, or it stayed silent (as timeout(1))
    CRASHED = 125  # the guest kernel panicked, or ended without an exit status
    NOT_STARTED = 126  # a tool is missing or too old, or QEMU refused to start
    INTERRUPTED = 130  # Ctrl-C (128 + SIGINT)
    BROKEN_PIPE = 141  # the reader of standard output went away (128 + SIGPIPE)


class LabError(Exception):
    """A problem to report to the person as one line on standard error, without a traceback.

    `status` is what `mac` exits with.
    """

    def __init__(self, message: str, status: Status = Status.FAILED) -> None:
        super().__init__(message)
        self.status = status


class DiagnosticsError(LabError):
    """Messages of the compiler: whole lines with file, line and caret, printed as they are."""
