"""Integers three ways: arithmetic, conversions, shifts, division, comparison, bit operations."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from macadamia.lang import (
    byte_swap,
    i8,
    i16,
    i32,
    i64,
    leading_zeros,
    multiply_high,
    popcount,
    rotate_left,
    trailing_zeros,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from macadamia.lang.types import INTEGERS, IntType
from tests.lang.three_ways import TrapKind, run_three_ways, trap_three_ways

TYPES = [u8, u16, u32, u64, u128, i8, i16, i32, i64]

SIGNED = [i8, i16, i32, i64]
DIVISIBLE = [t for t in TYPES if t is not u128]
UNSIGNED = [u8, u16, u32, u64, u128]
Integer = Any


def kind(type_: Integer) -> IntType:
    return INTEGERS[type_.__name__]


def interesting(type_: Integer) -> list[int]:
    """Values near which arithmetic goes wrong."""
    least, most = kind(type_).minimum, kind(type_).maximum
    return sorted({least, least + 1, most // 3, most - 1, most, 0, 1, 2, 7, max(least, -1), max(least, -3)})


@cache
def arithmetic(t: Integer) -> dict[str, Callable[..., Any]]:
    """One function for each operator, specialised to t."""

    def add(a: t, b: t) -> t:
        return a + b

    def subtract(a: t, b: t) -> t:
        return a - b

    def multiply(a: t, b: t) -> t:
        return a * b

    def floor_divide(a: t, b: t) -> t:
        return a // b

    def modulo(a: t, b: t) -> t:
        return a % b

    def and_(a: t, b: t) -> t:
        return a & b

    def or_(a: t, b: t) -> t:
        return a | b

    def xor(a: t, b: t) -> t:
        return a ^ b

    return {
        "add": add,
        "subtract": subtract,
        "multiply": multiply,
        "floor_divide": floor_divide,
        "modulo": modulo,
        "and": and_,
        "or": or_,
        "xor": xor,
    }


REFERENCE: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "floor_divide": lambda a, b: a // b,
    "modulo": lambda a, b: a % b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}


DIVISIONS = ("floor_divide", "modulo")


@pytest.mark.parametrize("type_", TYPES)
class TestArithmetic:
    @pytest.mark.parametrize("operator", REFERENCE)
    def test_wraps_at_the_width(self, type_: Integer, operator: str) -> None:
        if type_ is u128 and operator in DIVISIONS:
            pytest.skip("u128 cannot be divided")
        function = arithmetic(type_)[operator]
        for a in interesting(type_):
            for b in interesting(type_):
                if b == 0 and operator in DIVISIONS:
                    continue
                expected = kind(type_).wrap(REFERENCE[operator](a, b))
                assert run_three_ways(function, type_(a), type_(b)) == expected, (a, b)

    def test_negate_and_invert(self, type_: Integer) -> None:
        def negate(a: type_) -> type_:
            return -a

        def invert(a: type_) -> type_:
            return ~a

        for a in interesting(type_):
            assert run_three_ways(negate, type_(a)) == kind(type_).wrap(-a)
            assert run_three_ways(invert, type_(a)) == kind(type_).wrap(~a)

    def test_min_max_abs(self, type_: Integer) -> None:
        def extremes(a: type_, b: type_) -> tuple[type_, type_, type_]:
            return min(a, b), max(a, b), abs(a)

        for a in interesting(type_):
            for b in interesting(type_):
                expected = (min(a, b), max(a, b), kind(type_).wrap(abs(a)))
                assert run_three_ways(extremes, type_(a), type_(b)) == expected

    def test_compare(self, type_: Integer) -> None:
        def compare(a: type_, b: type_) -> u8:
            result = u8(0)
            result |= u8(a == b) << 0
            result |= u8(a != b) << 1
            result |= u8(a < b) << 2
            result |= u8(a <= b) << 3
            result |= u8(a > b) << 4
            result |= u8(a >= b) << 5
            return result

        for a in interesting(type_):
            for b in interesting(type_):
                bits = [a == b, a != b, a < b, a <= b, a > b, a >= b]
                expected = sum(bit << i for i, bit in enumerate(bits))
                assert run_three_ways(compare, type_(a), type_(b)) == expected

    def test_literals_adapt(self, type_: Integer) -> None:
        def mixed(a: type_) -> type_:
            return ((7 + a) * 3 - 1) & 127 | 1 ^ a

        for a in interesting(type_):
            t = kind(type_)
            expected = t.wrap(t.wrap(t.wrap(7 + a) * 3 - 1) & 127 | (1 ^ a))
            assert run_three_ways(mixed, type_(a)) == expected

    def test_negative_literal_beside_a_mask(self, type_: Integer) -> None:
        def align(a: type_) -> type_:
            return a & ~7 | -128

        for a in interesting(type_):
            assert run_three_ways(align, type_(a)) == kind(type_).wrap(a & ~7 | -128)


class TestDivision:
    @pytest.mark.parametrize("type_", DIVISIBLE)
    @pytest.mark.parametrize("operator", DIVISIONS)
    def test_division_by_zero_traps(self, type_: Integer, operator: str) -> None:
        function = arithmetic(type_)[operator]
        assert trap_three_ways(function, type_(7), type_(0)) == TrapKind.DIVISION_BY_ZERO

    @pytest.mark.parametrize("type_", DIVISIBLE)
    def test_divmod(self, type_: Integer) -> None:
        def both(a: type_, b: type_) -> tuple[type_, type_]:
            return divmod(a, b)

        for a in interesting(type_):
            for b in interesting(type_):
                if b != 0 and (a, b) != (kind(type_).minimum, -1):
                    assert run_three_ways(both, type_(a), type_(b)) == divmod(a, b)

    def test_rounds_towards_minus_infinity(self) -> None:
        function = arithmetic(i32)["floor_divide"]
        cases = [(7, 2, 3), (-7, 2, -4), (7, -2, -4), (-7, -2, 3)]
        for a, b, expected in cases:
            assert run_three_ways(function, i32(a), i32(b)) == expected

    @pytest.mark.parametrize("type_", SIGNED)
    def test_most_negative_by_minus_one_wraps(self, type_: Integer) -> None:
        least = type_(kind(type_).minimum)
        assert run_three_ways(arithmetic(type_)["floor_divide"], least, type_(-1)) == least
        assert run_three_ways(arithmetic(type_)["modulo"], least, type_(-1)) == 0

    @pytest.mark.parametrize("divisor", [1, 2, 3, 7, 8, 10, 64, 100, -1, -2, -3, -8, -10])
    def test_by_a_constant(self, divisor: int) -> None:
        def by_constant(a: i16) -> tuple[i16, i16]:
            return a // divisor, a % divisor

        for a in (*interesting(i16), -100, -99, -64, -63, 63, 64, 99, 100):
            expected = (i16(kind(i16).wrap(a // divisor)), i16(a % divisor))
            assert run_three_ways(by_constant, i16(a)) == expected


@pytest.mark.parametrize("type_", TYPES)
class TestShifts:
    def test_by_a_variable(self, type_: Integer) -> None:
        def shifts(a: type_, n: u8) -> tuple[type_, type_]:
            return a << n, a >> n

        width = kind(type_).bits
        for a in interesting(type_):
            for n in {0, 1, 2, width // 2, width - 1}:
                expected = (kind(type_).wrap(a << n), a >> n)
                assert run_three_ways(shifts, type_(a), u8(n)) == expected

    def test_by_a_literal(self, type_: Integer) -> None:
        def shifts(a: type_) -> tuple[type_, type_, type_]:
            return a << 3, a >> 3, a >> 7

        for a in interesting(type_):
            assert run_three_ways(shifts, type_(a)) == (kind(type_).wrap(a << 3), a >> 3, a >> 7)

    @pytest.mark.parametrize("amount_type", UNSIGNED)
    def test_amount_of_any_width(self, type_: Integer, amount_type: Integer) -> None:
        def left(a: type_, n: amount_type) -> type_:
            return a << n

        assert run_three_ways(left, type_(3), amount_type(5)) == kind(type_).wrap(3 << 5)

    def test_amount_of_the_width_or_more(self, type_: Integer) -> None:
        """A trap in checked; in release what Python's unbounded shift gives after wrapping."""

        def left(a: type_, n: u64) -> type_:
            return a << n

        def right(a: type_, n: u64) -> type_:
            return a >> n

        width = kind(type_).bits
        for a in interesting(type_):
            for n in (width, width + 1, 200, 256, 2**32, 2**63):
                assert trap_three_ways(left, type_(a), u64(n), release=0) == TrapKind.SHIFT
                assert trap_three_ways(right, type_(a), u64(n), release=-1 if a < 0 else 0) == TrapKind.SHIFT


@cache
def conversion(source: Integer, target: Integer) -> Callable[..., Any]:
    def convert(a: source) -> target:
        return target(a)

    return convert


@cache
def wrapping(source: Integer, target: Integer) -> Callable[..., Any]:
    def wrap(a: source) -> target:
        return target.wrap(a)

    return wrap


class TestConversions:
    @pytest.mark.parametrize("target", TYPES)
    @pytest.mark.parametrize("source", TYPES)
    def test_between_all_types(self, source: Integer, target: Integer) -> None:
        for a in interesting(source):
            wrapped = kind(target).wrap(a)
            assert run_three_ways(wrapping(source, target), source(a)) == wrapped
            if kind(target).holds(a):
                assert run_three_ways(conversion(source, target), source(a)) == a
            else:
                kind_of_trap = trap_three_ways(conversion(source, target), source(a), release=wrapped)
                assert kind_of_trap == TrapKind.LOSSY

    @pytest.mark.parametrize("type_", TYPES)
    def test_bool(self, type_: Integer) -> None:
        def there_and_back(a: bool) -> tuple[type_, bool]:
            number = type_(a)
            return number, number != 0

        assert run_three_ways(there_and_back, True) == (1, True)
        assert run_three_ways(there_and_back, False) == (0, False)

    @pytest.mark.parametrize(
        ("narrow", "wide"), [(u8, u16), (u8, u64), (u32, u64), (u64, u128), (i8, i64), (i16, i32)]
    )
    def test_widening_is_implicit(self, narrow: Integer, wide: Integer) -> None:
        def widen(a: narrow, b: wide) -> wide:
            c: wide = a
            c += a
            return c + a * 2 + (b - a)

        for a in interesting(narrow):
            for b in interesting(wide):
                expected = kind(wide).wrap(2 * a + kind(narrow).wrap(a * 2) + (b - a))
                assert run_three_ways(widen, narrow(a), wide(b)) == expected

    def test_wrap_of_a_literal_expression(self) -> None:
        def constants() -> tuple[u8, i8, u16, u64]:
            return u8.wrap(-1), i8.wrap(200), u16.wrap(0x12345), u64(2**70 // 2**10 - 1 >> 1)

        assert run_three_ways(constants) == (255, -56, 0x2345, 2**59 - 1)


class TestComparisonChains:
    def test_chain(self) -> None:
        def between(low: i32, x: i32, high: i32) -> bool:
            return low <= x < high

        for x in range(-3, 4):
            assert run_three_ways(between, i32(-2), i32(x), i32(2)) is (-2 <= x < 2)

    def test_long_mixed_chain(self) -> None:
        def chain(a: u8, b: u8, c: u8, d: u8) -> bool:
            return a < b <= c != d == 5

        for a, b, c, d in [(1, 2, 2, 5), (1, 2, 5, 5), (2, 2, 3, 5), (1, 2, 3, 4), (1, 4, 3, 5)]:
            assert run_three_ways(chain, u8(a), u8(b), u8(c), u8(d)) is (a < b <= c != d == 5)

    def test_chain_with_widening_and_literals(self) -> None:
        def chain(a: u8, b: u32) -> bool:
            return 3 < a < b < 1000

        for a, b in [(3, 50), (4, 50), (50, 50), (255, 256), (255, 1000)]:
            assert run_three_ways(chain, u8(a), u32(b)) is (3 < a < b < 1000)


class TestBits:
    @pytest.mark.parametrize("type_", UNSIGNED[:4])
    def test_counts(self, type_: Integer) -> None:
        def counts(a: type_) -> tuple[type_, type_, type_]:
            return popcount(a), leading_zeros(a), trailing_zeros(a)

        width = kind(type_).bits
        for a in (*interesting(type_), 1 << width - 1, 0x50, 0x0F):
            low = (a & -a).bit_length() - 1 if a else width
            assert run_three_ways(counts, type_(a)) == (a.bit_count(), width - a.bit_length(), low)

    @pytest.mark.parametrize("type_", UNSIGNED[1:4])
    def test_byte_swap(self, type_: Integer) -> None:
        def swap(a: type_) -> type_:
            return byte_swap(a)

        for a in interesting(type_):
            size = kind(type_).size
            assert run_three_ways(swap, type_(a)) == int.from_bytes(a.to_bytes(size, "little"), "big")

    @pytest.mark.parametrize("type_", UNSIGNED[:4])
    def test_rotate_left(self, type_: Integer) -> None:
        def rotate(a: type_, n: u8) -> type_:
            return rotate_left(a, n)

        width = kind(type_).bits
        for a in interesting(type_):
            for n in (0, 1, width // 2, width - 1, width, width + 3):
                expected = kind(type_).wrap(a << n % width | a >> (width - n) % width) if n % width else a
                assert run_three_ways(rotate, type_(a), u8(n)) == expected

    def test_multiply_high(self) -> None:
        def high(a: u64, b: u64) -> u64:
            return multiply_high(a, b)

        for a in interesting(u64):
            for b in interesting(u64):
                assert run_three_ways(high, u64(a), u64(b)) == a * b >> 64


def test_interesting_values_are_in_range() -> None:
    assert all(kind(t).holds(a) for t in TYPES for a in interesting(t))
