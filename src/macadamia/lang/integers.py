"""Sized integers: `u8 ... u128`, `i8 ... i64`, `usize`, and opaque integers such as `class PhysAddr(u64)`.

A value is an `int` that knows its width. Arithmetic is done exactly, by Python, and the result is then
wrapped to the width: that is all there is to two's complement. What must not happen by accident is a
TypeError: mixing signs, mixing an opaque integer with another, narrowing.

A plain `int` is a literal. It adapts to the integer it meets, and must fit it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Self,
    SupportsIndex,
    TypeGuard,
    TypeVar,
    cast,
    overload,
)

from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import INTEGERS, IntType, NewType

T = TypeVar("T")

if TYPE_CHECKING:

    class Number:
        """What mypy sees in the place of `int`: were u32 and i32 both `int`, they would mix."""

        def __new__(cls, value: SupportsIndex = 0) -> Self: ...
        def __int__(self) -> int: ...
        def __index__(self) -> int: ...
        def __bool__(self) -> bool: ...
        def __hash__(self) -> int: ...
        def bit_length(self) -> int: ...
        def bit_count(self) -> int: ...

else:
    Number = int

EXACT: dict[str, Callable[[int, int], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
BITWISE = frozenset("&|^")
COMPARISONS = frozenset(("<", "<=", ">", ">=", "==", "!="))
OPAQUE_OPERATORS = frozenset(("+", "-", "&", "|", "^", "//", "%"))
CLASSES: dict[IntType, type[Integer]] = {}  # u8 ... i64 by what they are


class Integer(Number):
    """The operators of every sized integer, opaque ones included."""

    __slots__ = ()
    __kernel_type__: ClassVar[IntType | NewType]
    representation: ClassVar[IntType]
    BITS: ClassVar[int]
    MIN: ClassVar[int]
    MAX: ClassVar[int]

    def __init_subclass__(cls, kind: IntType | None = None) -> None:
        """`class u8(Integer, kind=U8)` is an integer type; a class derived from that one is opaque."""
        super().__init_subclass__()
        if kind is None:
            cls.__kernel_type__ = NewType(cls, cls.representation)
            return
        cls.__kernel_type__ = cls.representation = kind
        cls.BITS, cls.MIN, cls.MAX = kind.bits, kind.minimum, kind.maximum
        CLASSES[kind] = cls

    def __new__(cls, value: SupportsIndex = 0) -> Self:
        """`u32(x)` converts any integer, bool or enum. A value that does not fit is a Trap."""
        if not cls.representation.holds(number := operator.index(value)):
            raise Trap(TrapKind.LOSSY)
        return super().__new__(cls, number)

    @classmethod
    def wrap(cls, value: SupportsIndex) -> Self:
        """The value modulo 2**BITS, in the range of this type."""
        return super().__new__(cls, cls.representation.wrap(operator.index(value)))

    def replace(self, **fields: object) -> Self:
        """The same value with other contents in the named bit-fields (of an opaque integer)."""
        value = int(self)
        for name, content in fields.items():
            field = getattr(type(self), name, None)
            if not isinstance(field, bitfield):
                raise TypeError(f"{type(self).__name__} has no bitfield {name}")
            value = field.insert(value, content)
        return self.wrap(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self)})"

    def __str__(self) -> str:
        return str(int(self))

    def __format__(self, specification: str) -> str:
        return format(int(self), specification)

    def __hash__(self) -> int:
        return hash(int(self))

    def __pos__(self) -> Self:
        return self

    def __neg__(self) -> Self:
        forbid_opaque(self, "unary -")
        return self.wrap(-int(self))

    def __invert__(self) -> Self:
        return self.wrap(~int(self))

    def __abs__(self) -> Self:
        forbid_opaque(self, "abs")
        return self.wrap(abs(int(self)))

    def __add__(self, other: Integer | int) -> Self:
        return arithmetic(self, "+", other)

    def __sub__(self, other: Integer | int) -> Self:
        return arithmetic(self, "-", other)

    def __mul__(self, other: Integer | int) -> Self:
        return arithmetic(self, "*", other)

    def __floordiv__(self, other: Integer | int) -> Self:
        return arithmetic(self, "//", other)

    def __mod__(self, other: Integer | int) -> Self:
        return arithmetic(self, "%", other)

    def __divmod__(self, other: Integer | int) -> tuple[Self, Self]:
        return self // other, self % other

    def __and__(self, other: Integer | int) -> Self:
        return arithmetic(self, "&", other)

    def __or__(self, other: Integer | int) -> Self:
        return arithmetic(self, "|", other)

    def __xor__(self, other: Integer | int) -> Self:
        return arithmetic(self, "^", other)

    def __lshift__(self, other: Integer | int) -> Self:
        return shift(self, "<<", other)

    def __rshift__(self, other: Integer | int) -> Self:
        return shift(self, ">>", other)

    # Python calls these when the left operand is a literal: two sized integers meet in the methods above.

    def __radd__(self, other: int) -> Self:
        return arithmetic(first(other, type(self), "+"), "+", self)

    def __rsub__(self, other: int) -> Self:
        return arithmetic(first(other, type(self), "-"), "-", self)

    def __rmul__(self, other: int) -> Self:
        return arithmetic(first(other, type(self), "*"), "*", self)

    def __rfloordiv__(self, other: int) -> Self:
        return arithmetic(first(other, type(self), "//"), "//", self)

    def __rmod__(self, other: int) -> Self:
        return arithmetic(first(other, type(self), "%"), "%", self)

    def __rdivmod__(self, other: int) -> tuple[Self, Self]:
        return divmod(first(other, type(self), "//"), self)

    def __rand__(self, other: int) -> Self:
        return arithmetic(first(other, type(self), "&"), "&", self)

    def __ror__(self, other: int) -> Self:
        return arithmetic(first(other, type(self), "|"), "|", self)

    def __rxor__(self, other: int) -> Self:
        return arithmetic(first(other, type(self), "^"), "^", self)

    def __lt__(self, other: Integer | int) -> bool:
        return compare(self, "<", other)

    def __le__(self, other: Integer | int) -> bool:
        return compare(self, "<=", other)

    def __gt__(self, other: Integer | int) -> bool:
        return compare(self, ">", other)

    def __ge__(self, other: Integer | int) -> bool:
        return compare(self, ">=", other)

    # A number that does not fit is not equal: import-time code and tests may compare with any.

    def __eq__(self, other: object) -> bool:
        if type(other) is int:
            return int(self) == other
        return compare(self, "==", other) if isinstance(other, int | Integer) else NotImplemented

    def __ne__(self, other: object) -> bool:
        if type(other) is int:
            return int(self) != other
        return compare(self, "!=", other) if isinstance(other, int | Integer) else NotImplemented

    if not TYPE_CHECKING:  # for mypy these operators do not exist at all

        def __truediv__(self, other):
            raise TypeError(f"{type(self).__name__} has no /: write //")

        def __rtruediv__(self, other):
            raise TypeError(f"{type(self).__name__} has no /: write //")

        def __pow__(self, other, modulus=None):
            raise TypeError(f"{type(self).__name__} has no **: only literals have")

        def __rpow__(self, other, modulus=None):
            raise TypeError(f"{type(self).__name__} has no **: only literals have")

        def __rlshift__(self, other):
            raise TypeError(f"the literal {other} has no width to shift in: write u64({other}) << ...")

        def __rrshift__(self, other):
            raise TypeError(f"the literal {other} has no width to shift in: write u64({other}) >> ...")


I = TypeVar("I", bound=Integer)  # noqa: E741


def arithmetic(left: I, symbol: str, right: Integer | int) -> I:
    """The exact result of `left symbol right`, wrapped to the type the operands agree on."""
    kind = common_type(left, symbol, right)
    if symbol in ("//", "%") and int(right) == 0:
        raise Trap(TrapKind.DIVISION_BY_ZERO)
    return cast(I, kind.wrap(EXACT[symbol](int(left), int(right))))


def shift(left: I, symbol: str, amount: Integer | int) -> I:
    """A shift has the type of its left side; the amount is a literal or unsigned, of any width."""
    if type(amount) is not int and not is_plain(amount, signed=False):
        raise TypeError(f"the amount of {symbol} must be unsigned, not {type(amount).__name__}")
    if int(amount) < 0:
        raise TypeError(f"{symbol} by {amount}: the amount must not be negative")
    if int(amount) >= left.BITS:
        raise Trap(TrapKind.SHIFT)
    return left.wrap(EXACT[symbol](int(left), int(amount)))


def compare(left: Integer, symbol: str, right: Integer | int) -> bool:
    common_type(left, symbol, right)
    return bool(EXACT[symbol](int(left), int(right)))


def common_type(left: Integer, symbol: str, right: Integer | int) -> type[Integer]:
    """The type in which `left symbol right` is computed; TypeError if there is none."""
    own = type(left)
    plain = not is_opaque(own)
    comparison = symbol in COMPARISONS
    if type(right) is int:
        if plain or comparison or symbol in OPAQUE_OPERATORS:
            adapted(right, own, symbol)
            return own
    elif type(right) is own:
        if plain or comparison:
            return own
        if symbol == "-":
            return CLASSES[own.representation]  # the distance between two opaque integers
    elif is_plain(right, signed=own.representation.signed):
        if plain:
            return max(own, type(right), key=lambda kind: kind.BITS)
        if symbol in OPAQUE_OPERATORS and type(right).BITS <= own.BITS:
            return own
    raise TypeError(mixing_text(left, symbol, right))


def adapted(literal: object, kind: type[I], symbol: str) -> I:
    """A literal as a value of `kind`. Beside & | ^ a negative one is its two's complement: `x & ~0xFFF`."""
    if type(literal) is not int:
        raise TypeError(f"{type(literal).__name__} {symbol} {kind.__name__}: convert one of the two")
    if kind.representation.holds(literal):
        return kind(literal)
    if symbol in BITWISE and -(1 << (kind.BITS - 1)) <= literal < 0:
        return kind.wrap(literal)
    raise OverflowError(f"the literal {literal} does not fit {kind.__name__}")


def first(literal: object, kind: type[I], symbol: str) -> I:
    """The literal on the left of an operator, as a value of the type on the right."""
    if is_opaque(kind):
        raise TypeError(f"{literal} {symbol} {kind.__name__}: write the {kind.__name__} first, or convert it")
    return adapted(literal, kind, symbol)


def is_opaque(kind: type[Integer]) -> bool:
    return isinstance(kind.__kernel_type__, NewType)


def is_plain(value: object, *, signed: bool) -> TypeGuard[Integer]:
    """Whether `value` is a sized integer of that sign, and not opaque."""
    kind = getattr(type(value), "__kernel_type__", None)
    return isinstance(kind, IntType) and kind.signed == signed


def forbid_opaque(value: Integer, what: str) -> None:
    if is_opaque(type(value)):
        raise TypeError(f"{type(value).__name__} is opaque and has no {what}")


def mixing_text(left: Integer, symbol: str, right: object) -> str:
    names = f"{type(left).__name__} {symbol} {type(right).__name__}"
    if isinstance(right, Integer) and left.representation.signed != right.representation.signed:
        return f"{names}: signs do not mix: convert one, as in {type(left).__name__}(...)"
    return f"{names}: these do not mix: convert one of the two"


class u8(Integer, kind=INTEGERS["u8"]):  # noqa: N801
    """0 to 255."""


class u16(Integer, kind=INTEGERS["u16"]):  # noqa: N801
    """0 to 2**16 - 1."""


class u32(Integer, kind=INTEGERS["u32"]):  # noqa: N801
    """0 to 2**32 - 1."""


class u64(Integer, kind=INTEGERS["u64"]):  # noqa: N801
    """0 to 2**64 - 1."""


class u128(Integer, kind=INTEGERS["u128"]):  # noqa: N801
    """0 to 2**128 - 1."""


class i8(Integer, kind=INTEGERS["i8"]):  # noqa: N801
    """-128 to 127."""


class i16(Integer, kind=INTEGERS["i16"]):  # noqa: N801
    """-2**15 to 2**15 - 1."""


class i32(Integer, kind=INTEGERS["i32"]):  # noqa: N801
    """-2**31 to 2**31 - 1."""


class i64(Integer, kind=INTEGERS["i64"]):  # noqa: N801
    """-2**63 to 2**63 - 1."""


usize = u64


class bitfield(Generic[T]):  # noqa: N801
    """Bits `low` to `low + width - 1` of an opaque integer, read as a value of type `base`.

    >>> class Tag(u64):
    ...     untyped = bitfield(u64, 0, 6)
    ...     label = bitfield(u64, 16, 48)
    >>> Tag(0x10003).label, Tag(0x10003).replace(untyped=5)
    (u64(1), Tag(65541))
    """

    def __init__(self, base: type[T], low: int, width: int) -> None:
        self.base = base
        self.low = low
        self.width = width

    def __set_name__(self, owner: type[Integer], name: str) -> None:
        self.name = name
        if not (self.width > 0 and 0 <= self.low <= owner.BITS - self.width):
            raise TypeError(f"bitfield {name} does not lie within the {owner.BITS} bits of {owner.__name__}")

    @overload
    def __get__(self, value: None, owner: type[Integer]) -> bitfield[T]: ...
    @overload
    def __get__(self, value: Integer, owner: type[Integer]) -> T: ...
    def __get__(self, value: Integer | None, owner: type[Integer]) -> bitfield[T] | T:
        if value is None:
            return self
        return cast(Callable[[int], T], self.base)(int(value) >> self.low & self.mask)

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1

    def insert(self, value: int, content: object) -> int:
        """`value` with `content` in these bits; bits beyond them are cut off."""
        bits = operator.index(cast(SupportsIndex, content)) & self.mask
        return value & ~(self.mask << self.low) | bits << self.low
