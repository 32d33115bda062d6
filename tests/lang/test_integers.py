"""The sized integers in CPython: exhaustively for 8 bits, edges and random values for the others."""

import operator
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macadamia.lang import bitfield, i8, i16, i32, i64, storage, u8, u16, u32, u64, u128, usize
from macadamia.lang.integers import Integer
from macadamia.lang.traps import Trap, TrapKind

UNSIGNED: list[Any] = [u8, u16, u32, u64, u128]
SIGNED: list[Any] = [i8, i16, i32, i64]
ALL: list[Any] = UNSIGNED + SIGNED
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


class Opaque(u64):
    """Some address."""

    low = bitfield(u64, 0, 12)
    kind = bitfield(u8, 12, 3)
    present = bitfield(bool, 63, 1)

    def page(self) -> u64:
        return u64(self) >> 12


class Other(u64):
    """Another address."""


class Small(i16):
    """A signed opaque integer."""


@storage(u8)
class Colour(IntEnum):
    RED = 1


def values(kind: Any) -> range:
    """Every value of an 8-bit type."""
    return range(kind.MIN, kind.MAX + 1)


def wrapped(number: int, kind: Any) -> int:
    """Two's complement, from its definition: the representative of the residue class in the range."""
    while number > kind.MAX:
        number -= 1 << kind.BITS
    while number < kind.MIN:
        number += 1 << kind.BITS
    return number


def is_exactly(result: Any, kind: Any, number: int) -> bool:
    return type(result) is kind and int(result) == number


# Every pair of 8-bit values


@pytest.mark.parametrize("kind", [u8, i8])
@pytest.mark.parametrize("symbol", ARITHMETIC)
def test_arithmetic_of_all_pairs(kind: Any, symbol: str) -> None:
    compute = ARITHMETIC[symbol]
    table = {number: wrapped_once(number, kind) for number in range(-(1 << 15), 1 << 16)}
    for left in values(kind):
        typed = kind(left)
        for right in values(kind):
            if right == 0 and symbol in ("//", "%"):
                continue
            assert is_exactly(compute(typed, kind(right)), kind, table[compute(left, right)])


def wrapped_once(number: int, kind: Any) -> int:
    return int((number - kind.MIN) % (1 << kind.BITS) + kind.MIN)


@pytest.mark.parametrize("kind", [u8, i8])
def test_wrapping_agrees_with_its_definition(kind: Any) -> None:
    for number in range(-1000, 1000):
        assert wrapped_once(number, kind) == wrapped(number, kind)
        assert is_exactly(kind.wrap(number), kind, wrapped(number, kind))


@pytest.mark.parametrize("kind", [u8, i8])
def test_comparisons_of_all_pairs(kind: Any) -> None:
    for left in values(kind):
        for right in values(kind):
            for compare in COMPARISONS:
                assert compare(kind(left), kind(right)) is compare(left, right)


@pytest.mark.parametrize("kind", [u8, i8])
@pytest.mark.parametrize("symbol", ARITHMETIC)
def test_literals_on_either_side(kind: Any, symbol: str) -> None:
    """A literal that fits is the value of that type; one that does not is an error."""
    compute = ARITHMETIC[symbol]
    for number in values(kind):
        for literal in (*range(-130, -126), -2, -1, 0, 1, 7, *range(126, 130), 255, 256):
            for left, right in ((kind(number), literal), (literal, kind(number))):
                check_literal(compute, symbol, kind, left, right, literal)


def check_literal(compute: Any, symbol: str, kind: Any, left: Any, right: Any, literal: int) -> None:
    fits = kind.MIN <= literal <= kind.MAX or (symbol in "&|^" and -128 <= literal < 0)
    if not fits:
        with pytest.raises(OverflowError, match="does not fit"):
            compute(left, right)
    elif symbol in ("//", "%") and int(right) == 0:
        with pytest.raises(Trap, match="division by zero"):
            compute(left, right)
    else:
        exact = compute(wrapped_once(int(left), kind), wrapped_once(int(right), kind))
        assert is_exactly(compute(left, right), kind, wrapped(exact, kind))


@pytest.mark.parametrize("kind", [u8, i8])
def test_unary(kind: Any) -> None:
    for number in values(kind):
        assert is_exactly(-kind(number), kind, wrapped(-number, kind))
        assert is_exactly(~kind(number), kind, wrapped(~number, kind))
        assert is_exactly(+kind(number), kind, number)
        assert is_exactly(abs(kind(number)), kind, wrapped(abs(number), kind))
        assert bool(kind(number)) is bool(number)
        assert hash(kind(number)) == hash(number)


@pytest.mark.parametrize("kind", [u8, i8])
@pytest.mark.parametrize("amount_type", [int, *UNSIGNED])
def test_shifts(kind: Any, amount_type: Any) -> None:
    for number in values(kind):
        for amount in range(8):
            left, right = kind(number) << amount_type(amount), kind(number) >> amount_type(amount)
            assert is_exactly(left, kind, wrapped(number * 2**amount, kind))
            assert is_exactly(right, kind, number // 2**amount)
    for amount in (8, 9, 100, 255):
        for shift in (operator.lshift, operator.rshift):
            with pytest.raises(Trap) as trap:
                shift(kind(1), amount_type(amount))
            assert trap.value.kind is TrapKind.SHIFT


@pytest.mark.parametrize("kind", [u8, i8])
def test_division(kind: Any) -> None:
    for left in values(kind):
        for right in values(kind):
            if right == 0:
                for divide in (operator.floordiv, operator.mod, divmod):
                    with pytest.raises(Trap) as trap:
                        divide(kind(left), kind(right))
                    assert trap.value.kind is TrapKind.DIVISION_BY_ZERO
            else:
                quotient, remainder = divmod(kind(left), kind(right))
                assert is_exactly(quotient, kind, wrapped(left // right, kind))
                assert is_exactly(remainder, kind, wrapped(left % right, kind))


# All widths


def numbers(kind: Any) -> st.SearchStrategy[int]:
    edges = [kind.MIN, kind.MIN + 1, -1, 0, 1, kind.MAX // 2, kind.MAX - 1, kind.MAX]
    return st.sampled_from([n for n in edges if n >= kind.MIN]) | st.integers(kind.MIN, kind.MAX)


@given(st.data())
@pytest.mark.parametrize("family", [UNSIGNED, SIGNED])
def test_the_narrower_operand_widens(family: list[Any], data: st.DataObject) -> None:
    left_type, right_type = data.draw(st.sampled_from(family)), data.draw(st.sampled_from(family))
    left, right = data.draw(numbers(left_type)), data.draw(numbers(right_type))
    wider = max(left_type, right_type, key=lambda kind: int(kind.BITS))
    for symbol, compute in ARITHMETIC.items():
        if right or symbol not in ("//", "%"):
            exact = compute(left, right)
            assert is_exactly(compute(left_type(left), right_type(right)), wider, wrapped_once(exact, wider))
    for compare in COMPARISONS:
        assert compare(left_type(left), right_type(right)) is compare(left, right)


@given(st.data())
@pytest.mark.parametrize("target", ALL)
def test_conversion(target: Any, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([*ALL, int]))
    number = data.draw(st.integers(-(2**130), 2**130) if source is int else numbers(source))
    if target.MIN <= number <= target.MAX:
        assert is_exactly(target(source(number)), target, number)
    else:
        with pytest.raises(Trap, match="value does not fit") as trap:
            target(source(number))
        assert trap.value.kind is TrapKind.LOSSY
    assert is_exactly(target.wrap(source(number)), target, wrapped_once(number, target))


@pytest.mark.parametrize("kind", ALL)
def test_constants(kind: Any) -> None:
    assert all(type(constant) is int for constant in (kind.MIN, kind.MAX, kind.BITS))
    assert kind.MAX - kind.MIN + 1 == 1 << kind.BITS
    assert (kind.MIN < 0) is (kind in SIGNED)
    assert kind.__kernel_type__.name == kind.__name__


def test_other_things_convert() -> None:
    assert is_exactly(u8(True), u8, 1)
    assert is_exactly(u32(Colour.RED), u32, 1)
    assert is_exactly(u64(Opaque(7)), u64, 7)
    for nonsense in (1.5, "1", None):
        with pytest.raises(TypeError):
            u32(nonsense)  # type: ignore[arg-type]


def test_text() -> None:
    assert repr(u32(5)) == "u32(5)"
    assert str(i8(-5)) == "-5"
    assert f"{u32(255):#06x} {i8(-3)} {u8(7):>3}" == "0x00ff -3   7"
    assert usize is u64


# What does not mix


@pytest.mark.parametrize("symbol", ARITHMETIC)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (u32(1), i32(1)),
        (i64(1), u8(1)),
        (u32(1), True),
        (u32(1), Colour.RED),
        (u64(1), Opaque(1)),
        (Opaque(1), Other(1)),
        (Opaque(1), i8(1)),
        (Opaque(1), True),
        (4096, Opaque(1)),
        (Small(1), i32(1)),
        (u8(1), 1.5),
        (u8(1), "1"),
        (u8(1), None),
    ],
)
def test_mixing(symbol: str, left: Any, right: Any) -> None:
    with pytest.raises(TypeError):
        ARITHMETIC[symbol](left, right)


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_do_not_mix(compare: Any) -> None:
    for left, right in ((u32(1), i32(1)), (u8(1), True), (Opaque(1), u64(1)), (Opaque(1), Other(1))):
        with pytest.raises(TypeError, match="do not mix"):
            compare(left, right)


@pytest.mark.parametrize("compare", COMPARISONS[:4])
def test_order_needs_a_literal_that_fits(compare: Any) -> None:
    with pytest.raises(OverflowError):
        compare(u8(1), 300)


def test_equality_with_any_number() -> None:
    assert u8(44) != 300
    assert (u8(44) == 300) is False
    assert u8(44) == 44


def test_equality_with_what_is_no_number() -> None:
    assert u8(1) != "1"
    assert operator.eq(u8(1), None) is False


@pytest.mark.parametrize("kind", ALL)
def test_missing_operators(kind: Any) -> None:
    one = kind(1)
    for attempt in (lambda: one / one, lambda: 1 / one, lambda: one / 1):
        with pytest.raises(TypeError, match="write //"):
            attempt()
    for attempt in (lambda: one**2, lambda: 2**one):
        with pytest.raises(TypeError, match=r"has no \*\*"):
            attempt()
    for attempt in (lambda: 1 << one, lambda: 1 >> one):
        with pytest.raises(TypeError, match="no width to shift in"):
            attempt()
    for amount in (i8(1), -1, True, Colour.RED):
        with pytest.raises(TypeError):
            one << amount
    with pytest.raises(TypeError):
        kind(1.0)


# Opaque integers


def test_opaque_operators() -> None:
    address: Any = Opaque(0x5123)
    assert is_exactly(address + 1, Opaque, 0x5124)
    assert is_exactly(address - u64(0x123), Opaque, 0x5000)
    assert is_exactly(address & ~0xFFF, Opaque, 0x5000)
    assert is_exactly(address | u8(4), Opaque, 0x5127)
    assert is_exactly(address ^ 1, Opaque, 0x5122)
    assert is_exactly(address // 0x1000, Opaque, 5)
    assert is_exactly(address % 0x1000, Opaque, 0x123)
    assert is_exactly(address << 4, Opaque, 0x51230)
    assert is_exactly(address >> u8(12), Opaque, 5)
    assert is_exactly(~address, Opaque, 2**64 - 1 - 0x5123)
    assert is_exactly(address - Opaque(0x5000), u64, 0x123)
    assert is_exactly(address - Opaque(0x6000), u64, 2**64 - 0xEDD)
    assert is_exactly(address.page(), u64, 5)
    assert address < Opaque(0x6000) <= Opaque(0x6000) != Opaque(1)
    assert is_exactly(Small(5) - Small(-9), i16, 14)
    for attempt in (lambda: address * 2, lambda: -address, lambda: abs(address), lambda: address + address):
        with pytest.raises(TypeError):
            attempt()
    with pytest.raises(OverflowError):
        address + 2**64


def test_bitfields() -> None:
    value = Opaque(0x8000_0000_0000_3456)
    assert is_exactly(value.low, u64, 0x456)
    assert is_exactly(value.kind, u8, 3)
    assert value.present is True
    changed = value.replace(low=u64(1), kind=7, present=False)
    assert is_exactly(changed, Opaque, 0x7001)
    assert is_exactly(value, Opaque, 0x8000_0000_0000_3456)
    assert (Opaque.low.base, Opaque.low.low, Opaque.low.width) == (u64, 0, 12)
    with pytest.raises(TypeError, match="no bitfield"):
        value.replace(nothing=1)


@pytest.mark.parametrize(("low", "width"), [(60, 8), (-1, 2), (0, 0), (64, 1)])
def test_bitfields_lie_within_their_type(low: int, width: int) -> None:
    with pytest.raises((TypeError, RuntimeError)) as error:  # CPython 3.11 wraps errors of __set_name__
        type("Bad", (u64,), {"part": bitfield(u64, low, width)})
    assert "does not lie within" in str(error.value.__cause__ or error.value)


def test_integer_types_are_ints() -> None:
    """They index lists, format, and serve wherever import-time Python wants a number."""
    assert [10, 20, 30][u8(1)] == 20
    assert isinstance(u8(1), int)
    assert issubclass(u8, Integer)
    assert {u8(5): "five"}[u8(5)] == "five"
    assert list(range(u32(3))) == [0, 1, 2]
