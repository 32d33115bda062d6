"""8-bit arithmetic exhaustively: every operator over every pair of operands, against Python's own integers.

Compiled loops fill a table; its 65,536 entries are compared with what unbounded arithmetic, wrapped, gives.
The operators of CPython's u8 and i8 are compared on the same pairs.
"""

import builtins
import operator
from collections.abc import Callable
from typing import Any

import pytest

from macadamia.lang import (
    Array,
    i8,
    leading_zeros,
    popcount,
    range,
    rotate_left,
    static,
    trailing_zeros,
    u8,
    u16,
)
from macadamia.lang.types import INTEGERS
from tests.lang.three_ways import contents, fill, jit_levels

ALL = builtins.range(256)
Integer = Any
Function = Callable[..., Any]
table = static(Array[u8, 65536])
wide_table = static(Array[u16, 65536])


def operand(t: Integer, pattern: int) -> int:
    """The value of type t whose bits are `pattern`."""
    return INTEGERS[t.__name__].wrap(pattern)


def binary_operators(t: Integer) -> dict[str, tuple[Function, Function]]:
    """Name to (kernel Python function, the same on unbounded integers)."""

    def add(a: t, b: t) -> t:
        return a + b

    def subtract(a: t, b: t) -> t:
        return a - b

    def multiply(a: t, b: t) -> t:
        return a * b

    def and_(a: t, b: t) -> t:
        return a & b

    def or_(a: t, b: t) -> t:
        return a | b

    def xor(a: t, b: t) -> t:
        return a ^ b

    def floor_divide(a: t, b: t) -> t:
        return a // b

    def modulo(a: t, b: t) -> t:
        return a % b

    def shift_left(a: t, b: t) -> t:
        return a << u8.wrap(b)

    def shift_right(a: t, b: t) -> t:
        return a >> u8.wrap(b)

    def least(a: t, b: t) -> t:
        return min(a, b)

    def most(a: t, b: t) -> t:
        return max(a, b)

    def less(a: t, b: t) -> t:
        return t(a < b)

    def less_equal(a: t, b: t) -> t:
        return t(a <= b)

    def greater(a: t, b: t) -> t:
        return t(a > b)

    def greater_equal(a: t, b: t) -> t:
        return t(a >= b)

    def equal(a: t, b: t) -> t:
        return t(a == b)

    def not_equal(a: t, b: t) -> t:
        return t(a != b)

    def augmented(a: t, b: t) -> t:
        a += b
        a ^= 0x55
        a -= b * 3
        return a

    return {
        "+": (add, operator.add),
        "-": (subtract, operator.sub),
        "*": (multiply, operator.mul),
        "&": (and_, operator.and_),
        "|": (or_, operator.or_),
        "^": (xor, operator.xor),
        "//": (floor_divide, operator.floordiv),
        "%": (modulo, operator.mod),
        "<<": (shift_left, lambda a, b: a << b % 256),
        ">>": (shift_right, lambda a, b: a >> b % 256),
        "min": (least, min),
        "max": (most, max),
        "<": (less, operator.lt),
        "<=": (less_equal, operator.le),
        ">": (greater, operator.gt),
        ">=": (greater_equal, operator.ge),
        "==": (equal, operator.eq),
        "!=": (not_equal, operator.ne),
        "augmented": (augmented, lambda a, b: (a + b ^ 0x55) - b * 3),
    }


def unary_operators(t: Integer) -> dict[str, tuple[Function, Function]]:
    def negate(a: t) -> t:
        return -a

    def invert(a: t) -> t:
        return ~a

    def absolute(a: t) -> t:
        return abs(a)

    def from_bool(a: t) -> t:
        return t(not a) + t(a != 0) * 2

    def halves(a: t) -> t:
        return a // 2 + a % 2 * 4

    def thirds(a: t) -> t:
        return a // 3 + a % 3 * 5

    def by_minus_seven(a: i8) -> i8:
        return a // -7 + a % -7 * 5

    def literal_left(a: t) -> t:
        return 100 - a + (3 ^ a) * (5 | a)

    functions = {
        "-": (negate, operator.neg),
        "~": (invert, operator.invert),
        "abs": (absolute, abs),
        "bool": (from_bool, lambda a: 2 if a else 1),
        "by 2": (halves, lambda a: a // 2 + a % 2 * 4),
        "by 3": (thirds, lambda a: a // 3 + a % 3 * 5),
        "literals": (literal_left, lambda a: 100 - a + (3 ^ a) * (5 | a)),
    }
    if t is i8:
        functions["by -7"] = (by_minus_seven, lambda a: a // -7 + a % -7 * 5)
    return functions


def needs_release(name: str) -> bool:
    """A shift by the width or more traps in checked."""
    return name in ("<<", ">>")


def fill_pairs(t: Integer, function: Function, *, divides: bool) -> Function:
    """A compiled loop over all pairs of bit patterns; a division by zero is left out."""

    def loop() -> None:
        for a in range(256):
            for b in range(256):
                if not divides or b != 0:
                    table[a * 256 + b] = u8.wrap(function(t.wrap(a), t.wrap(b)))

    return loop


def fill_values(t: Integer, function: Function) -> Function:
    def loop() -> None:
        for a in range(256):
            table[a] = u8.wrap(function(t.wrap(a)))

    return loop


@pytest.mark.parametrize("t", [u8, i8])
class TestBinary:
    @pytest.mark.parametrize("name", [*binary_operators(u8)])
    def test_compiled(self, t: Integer, name: str) -> None:
        function, exact = binary_operators(t)[name]
        divides = name in ("//", "%")
        expected = bytes(
            0 if divides and b == 0 else exact(operand(t, a), operand(t, b)) & 0xFF for a in ALL for b in ALL
        )
        loop = fill_pairs(t, function, divides=divides)
        for compiled in jit_levels(loop, checked=not needs_release(name)):
            fill(table, 0 if divides else 0xAA)
            compiled()
            assert contents(table) == expected

    @pytest.mark.parametrize("name", [*binary_operators(u8)])
    def test_definition(self, t: Integer, name: str) -> None:
        function, exact = binary_operators(t)[name]
        wrap = INTEGERS[t.__name__].wrap
        last = 7 if needs_release(name) else 255
        for a in ALL:
            left = t.wrap(a)
            for b in builtins.range(1 if name in ("//", "%") else 0, last + 1):
                result = function(left, t.wrap(b))
                assert type(result) is t
                assert result == wrap(exact(operand(t, a), operand(t, b)))


@pytest.mark.parametrize("t", [u8, i8])
def test_unary(t: Integer) -> None:
    for name, (function, exact) in unary_operators(t).items():
        expected = bytes(int(exact(operand(t, a))) & 0xFF for a in ALL)
        assert bytes(int(function(t.wrap(a))) & 0xFF for a in ALL) == expected, name
        for compiled in jit_levels(fill_values(t, function)):
            fill(table, 0xAA)
            compiled()
            assert contents(table)[:256] == expected, name


def test_bit_functions() -> None:
    def bits() -> None:
        for a in range(256):
            x = u8(a)
            wide_table[a] = u16(popcount(x)) | u16(leading_zeros(x)) << 4 | u16(trailing_zeros(x)) << 8

    def rotate() -> None:
        for a in range(256):
            for b in range(256):
                table[a * 256 + b] = rotate_left(u8(a), u8(b))

    def low_zeros(a: int) -> int:
        return (a & -a).bit_length() - 1 if a else 8

    counts = [a.bit_count() | 8 - a.bit_length() << 4 | low_zeros(a) << 8 for a in ALL]
    rotated = bytes((a << b % 8 | a >> 8 - b % 8) & 0xFF for a in ALL for b in ALL)
    for compiled in jit_levels(bits):
        compiled()
        assert contents(wide_table)[:512] == b"".join(count.to_bytes(2, "little") for count in counts)
    for compiled in jit_levels(rotate):
        fill(table, 0xAA)
        compiled()
        assert contents(table) == rotated


@pytest.mark.parametrize("source", [u8, i8])
def test_conversions_from_8_bits(source: Integer) -> None:
    """Widening, and truncation of what widening gave, keep every value; wrapping changes only its reading."""

    def convert() -> None:
        for a in range(256):
            x = source.wrap(a)
            wide_table[a] = u16.wrap(x)
            table[a] = u8.wrap(i8.wrap(x)) ^ u8.wrap(u8.wrap(x)) ^ u8.wrap(u16.wrap(x))

    for compiled in jit_levels(convert):
        fill(table, 0xAA)
        compiled()
        expected = [operand(source, a) & 0xFFFF for a in ALL]
        assert contents(wide_table)[:512] == b"".join(value.to_bytes(2, "little") for value in expected)
        assert contents(table)[:256] == bytes(ALL)


@pytest.mark.parametrize("target", [u8, i8])
def test_conversions_to_8_bits(target: Integer) -> None:
    """All 65,536 values of u16 truncated."""

    def convert() -> None:
        for a in range(65536):
            table[a] = u8.wrap(target.wrap(u16(a)))

    for compiled in jit_levels(convert):
        fill(table, 0xAA)
        compiled()
        assert contents(table) == bytes(ALL) * 256
