"""The person's terminal: progress for what takes over a second, and the line's settings kept sane."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

PROGRESS_AFTER_SECONDS = 1.0
_ERASE_LINE = "\r\x1b[2K"


class Progress:
    """A context that says on standard error what is going on once it has taken over a second.

    On a terminal the line counts seconds and disappears at the end; elsewhere it is printed once.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _tick(self) -> None:
        start = time.monotonic()
        if self._done.wait(PROGRESS_AFTER_SECONDS):
            return
        if not sys.stderr.isatty():
            print(f"mac: {self._what}", file=sys.stderr, flush=True)
            return
        while not self._done.is_set():
            seconds = int(time.monotonic() - start)
            print(f"{_ERASE_LINE}mac: {self._what} ... {seconds} s", end="", file=sys.stderr, flush=True)
            self._done.wait(1.0)
        print(_ERASE_LINE, end="", file=sys.stderr, flush=True)


@contextmanager
def character_input(descriptor: int) -> Iterator[None]:
    """Let single keys reach the guest, without echo, while the context lasts.

    Ctrl-C keeps its meaning. Nothing is changed when `descriptor` is not a terminal or belongs to
    another job (a background process that sets terminal modes is stopped by SIGTTOU).
    """
    if not os.isatty(descriptor) or os.tcgetpgrp(descriptor) != os.getpgrp():
        yield
        return
    import termios  # only here: most commands never touch the terminal

    saved = termios.tcgetattr(descriptor)
    changed = termios.tcgetattr(descriptor)
    changed[3] &= ~(termios.ICANON | termios.ECHO)  # local modes, termios(3)
    try:
        termios.tcsetattr(descriptor, termios.TCSANOW, changed)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)
