"""Text output: numbers and lines of text on a function that writes one byte.

`printer(write)` makes, at import time, a function to be called with an f-string.
"""

from collections.abc import Callable

from macadamia.lang import Array, Formatter, formatter, local, range, text_bytes, u8, u64
from macadamia.machine.interface import console_write, log_write

LONGEST_NUMBER = 64  # binary digits


def printer(write: Callable[[u8], None], end: str = "\n") -> Formatter:
    """Import time: a function that writes its f-string and `end` by calls of `write`."""

    def put_text(text: str) -> None:
        characters = text_bytes(text)
        for i in range(len(text)):
            write(characters[i])

    def put_number(value: u64, negative: bool, base: u8, width: u8, fill: u8) -> None:
        digits = local(Array[u8, LONGEST_NUMBER])
        count: u8 = 0
        while value or count == 0:
            digits[count] = digit_character(u8(value % base))
            value //= base
            count += 1
        signs: u8 = 1 if negative else 0
        if negative and fill == 0x30:
            write(0x2D)
        for _ in range(width - min(width, count + signs)):
            write(fill)
        if negative and fill != 0x30:
            write(0x2D)
        for i in range(count):
            write(digits[count - 1 - i])

    return formatter(put_text, put_number, end=end)


def digit_character(digit: u8) -> u8:
    return digit + (0x30 if digit < 10 else 0x61 - 10)


log = printer(log_write)
"""Write a line to the kernel log."""

log_part = printer(log_write, end="")
"""Write a part of a line to the kernel log."""

put = printer(console_write)
"""Write a line to the program console."""
