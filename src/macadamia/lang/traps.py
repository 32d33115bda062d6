"""What stops a kernel Python program: the kinds of trap and their messages.

CPython raises `Trap`; compiled code calls the panic handler with the same text.
"""

from __future__ import annotations

from enum import Enum


class TrapKind(Enum):
    """Why a program stopped; the value is the text that is printed when nothing more is known."""

    DIVISION_BY_ZERO = "division by zero"
    BOUNDS = "index out of range"
    NULL = "None dereferenced"
    MISALIGNED = "misaligned pointer"
    LOSSY = "value does not fit"
    SHIFT = "shift by the width or more"
    INVALID_ENUM = "not a member of the enum"
    ASSERT = "assertion failed"
    PANIC = "panic"


class Trap(Exception):  # noqa: N818 (the name of the field)
    """A checked program stops here. `str()` of it is the message; compiled code knows the place, too."""

    def __init__(self, kind: TrapKind, message: str | None = None, *, file: str = "", line: int = 0) -> None:
        super().__init__(kind.value if message is None else message)
        self.kind = kind
        self.file = file
        self.line = line
