"""The typed tree: what the checker makes of a function and the emitter turns into LLVM text.

Every expression has a type; all names are resolved, literals adapted, conversions and checks explicit.
Nothing here can fail: an error a user can make is found by the checker. The emitter decides, by profile,
which checks become code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from macadamia.lang.types import Field, FunctionType, IntType, Type


@dataclass(frozen=True, slots=True)
class Place:
    """A source position; lines from 1, columns from 0."""

    file: str
    line: int
    column: int


@dataclass(eq=False, slots=True)
class Local:
    """A variable or parameter of a function. Struct, array and scalar memory is a `StackObject` instead."""

    name: str
    type: Type
    place: Place


@dataclass(eq=False, slots=True)
class StackObject:
    """Memory made by `local(T)`: one slot in the frame, zeroed each time the expression is evaluated."""

    type: Type
    place: Place


@dataclass(eq=False, slots=True)
class Function:
    """One compiled function (for a method: one per concrete class). `symbol` is its dotted Python name,
    with `[T]` parts for specialisations; `exported` a fixed symbol that replaces it."""

    symbol: str
    place: Place
    parameters: list[Local]
    result: Type
    body: list[Statement] = field(default_factory=list)
    locals: list[Local] = field(default_factory=list)
    stack: list[StackObject] = field(default_factory=list)
    naked: bool = False
    inline: bool = False
    noinline: bool = False
    cold: bool = False
    section: str | None = None
    exported: str | None = None
    callback: Callable[..., Any] | None = None  # jit only: a plain Python callable implements it


@dataclass(eq=False, slots=True)
class Static:
    """An object in the image: its type, and where its initial bytes lie in the CPython memory."""

    symbol: str
    type: Type
    address: int
    section: str | None = None
    readonly: bool = False
    alignment: int = 1
    exported: str | None = None


@dataclass(eq=False, slots=True)
class Program:
    """Everything reachable from the roots, in the order it was reached."""

    functions: list[Function]
    statics: list[Static]
    assembly: list[str]
    roots: list[Function]
    panic_handler: Function | None
    function_addresses: dict[int, Function] = field(default_factory=dict)  # as held in static contents


# Expressions. `type` first, `place` last, always.


@dataclass(slots=True)
class Expression:
    type: Type
    place: Place


@dataclass(slots=True)
class Constant(Expression):
    """An integer, bool (0, 1), enum or opaque integer; already within the range of its type."""

    value: int


@dataclass(slots=True)
class Null(Expression):
    """None as a nullable pointer or function."""


@dataclass(slots=True)
class Text(Expression):
    """A constant ASCII string (type STRING)."""

    value: str


@dataclass(slots=True)
class FunctionAddress(Expression):
    function: Function


@dataclass(slots=True)
class StaticAddress(Expression):
    static: Static


@dataclass(slots=True)
class StackAddress(Expression):
    """`local(T)`: zero the slot, give its address."""

    object: StackObject


@dataclass(slots=True)
class LocalValue(Expression):
    local: Local


@dataclass(slots=True)
class Load(Expression):
    """The value that `pointer` (of type Ptr[type]) points to. Scalars, pointers, str and functions only."""

    pointer: Expression
    volatile: bool = False


@dataclass(slots=True)
class LoadBits(Expression):
    """A bit-field: `pointer` points to its storage unit."""

    pointer: Expression
    field: Field


@dataclass(slots=True)
class FieldAddress(Expression):
    """`base` points to a struct; type is the pointer to the field (for a bit-field: to its unit).
    A null or misaligned base is caught here in checked."""

    base: Expression
    field: Field


@dataclass(slots=True)
class ElementAddress(Expression):
    """`base + index` elements. With `length` set, `base` points to an array of that many (checked);
    without, to the first of an unknown number. `index` is any integer type."""

    base: Expression
    index: Expression
    length: int | None


class Operator(Enum):
    ADD = auto()
    SUBTRACT = auto()
    MULTIPLY = auto()
    FLOOR_DIVIDE = auto()
    MODULO = auto()
    AND = auto()
    OR = auto()
    XOR = auto()
    SHIFT_LEFT = auto()
    SHIFT_RIGHT = auto()


class Comparison(Enum):
    EQUAL = auto()
    NOT_EQUAL = auto()
    LESS = auto()
    LESS_EQUAL = auto()
    GREATER = auto()
    GREATER_EQUAL = auto()


@dataclass(slots=True)
class Binary(Expression):
    """Both sides have the type of the result (or its base integer); the right of a shift any unsigned one."""

    operator: Operator
    left: Expression
    right: Expression


@dataclass(slots=True)
class Negate(Expression):
    value: Expression


@dataclass(slots=True)
class Invert(Expression):
    """Bitwise `~`. Of an IntFlag: within the mask of its members' bits, as Python's."""

    value: Expression


@dataclass(slots=True)
class Not(Expression):
    """Logical negation of a bool."""

    value: Expression


@dataclass(slots=True)
class Compare(Expression):
    """Integers (sign by their type), bools, enums, pointers: both sides of one type."""

    operator: Comparison
    left: Expression
    right: Expression


@dataclass(slots=True)
class Logical(Expression):
    """Short-circuit `and`/`or` of two bools."""

    conjunction: bool
    left: Expression
    right: Expression


@dataclass(slots=True)
class Conditional(Expression):
    """`then if test else otherwise`: only one side is evaluated."""

    test: Expression
    then: Expression
    otherwise: Expression


class Conversion(Enum):
    WIDEN = auto()  # same sign or to the same width: never loses
    TRUNCATE = auto()  # `T.wrap(x)`
    CHECKED = (
        auto()
    )  # `T(x)`: lossy values trap in checked, truncate in release; also to an enum (valid members)
    TRUTH = auto()  # integer not 0, nullable pointer not None -> bool
    REINTERPRET = auto()  # enum, opaque integer, pointer types of one representation
    ADDRESS = auto()  # pointer, user pointer or function -> u64
    POINTER = auto()  # u64 -> pointer


@dataclass(slots=True)
class Convert(Expression):
    """`value` converted to `type`. Sign- or zero-extension by the sign of the source."""

    kind: Conversion
    value: Expression


@dataclass(slots=True)
class Call(Expression):
    function: Function
    arguments: list[Expression]


@dataclass(slots=True)
class CallPointer(Expression):
    pointer: Expression
    signature: FunctionType
    arguments: list[Expression]


@dataclass(slots=True)
class TupleOf(Expression):
    items: list[Expression]


@dataclass(slots=True)
class TupleItem(Expression):
    value: Expression
    index: int


@dataclass(slots=True)
class Let(Expression):
    """Evaluate `value` once into `local`, then give `body`."""

    local: Local
    value: Expression
    body: Expression


class Intrinsic(Enum):
    """Built-in functions; the comment gives the arguments."""

    POPCOUNT = auto()  # x
    LEADING_ZEROS = auto()  # x
    TRAILING_ZEROS = auto()  # x
    BYTE_SWAP = auto()  # x
    ROTATE_LEFT = auto()  # x, n (converted to x's type, modulo the width)
    MULTIPLY_HIGH = auto()  # a, b: u64
    MINIMUM = auto()  # a, b of the result's type
    MAXIMUM = auto()  # a, b
    ABSOLUTE = auto()  # x (wraps for the most negative)
    COPY_BYTES = auto()  # to, from: pointers; n: u64
    MOVE_BYTES = auto()  # to, from, n
    FILL_BYTES = auto()  # to, value: u8, n
    VOLATILE_STORE = auto()  # pointer, value
    LIKELY = auto()  # bool
    UNLIKELY = auto()  # bool
    FENCE = auto()
    COMPILER_BARRIER = auto()
    ATOMIC_LOAD = auto()  # pointer to the value
    ATOMIC_STORE = auto()  # pointer, value
    ATOMIC_EXCHANGE = auto()  # pointer, value
    ATOMIC_ADD = auto()
    ATOMIC_SUBTRACT = auto()
    ATOMIC_AND = auto()
    ATOMIC_OR = auto()
    ATOMIC_COMPARE_EXCHANGE = auto()  # pointer, old, new -> old value
    TEXT_BYTES = auto()  # str -> Ptr[u8]
    TEXT_LENGTH = auto()  # str -> u64
    PANIC = auto()  # Text; type NEVER; stops in both profiles
    POINTER_DIFFERENCE = auto()  # p, q of one type -> i64 elements
    OFFSET_USER_POINTER = auto()  # UserPtr[T], i64 or u64 count of elements


@dataclass(slots=True)
class IntrinsicCall(Expression):
    intrinsic: Intrinsic
    arguments: list[Expression]


@dataclass(slots=True)
class Assembly(Expression):
    """`type` NONE, a scalar or a TupleType. Function addresses among the inputs are symbol operands."""

    template: str
    constraints: str
    inputs: list[Expression]


# Statements


@dataclass(slots=True)
class Statement:
    place: Place


@dataclass(slots=True)
class Evaluate(Statement):
    value: Expression


@dataclass(slots=True)
class Assign(Statement):
    local: Local
    value: Expression


@dataclass(slots=True)
class Store(Statement):
    """`value` is evaluated before `pointer`, as in Python's assignment."""

    pointer: Expression
    value: Expression
    volatile: bool = False


@dataclass(slots=True)
class StoreBits(Statement):
    pointer: Expression
    field: Field
    value: Expression


@dataclass(slots=True)
class If(Statement):
    test: Expression
    then: list[Statement]
    otherwise: list[Statement]


@dataclass(slots=True)
class While(Statement):
    test: Expression
    body: list[Statement]


@dataclass(slots=True)
class ForRange(Statement):
    """`start`, `stop` and `step` (a nonzero literal) are of the type of `local`; evaluated once, in order."""

    local: Local
    start: Expression
    stop: Expression
    step: int
    body: list[Statement]


@dataclass(slots=True)
class Case:
    values: list[int]
    body: list[Statement]


@dataclass(slots=True)
class Switch(Statement):
    """`match` without guards: constants to bodies. `values` are in the range of the subject's type."""

    subject: Expression
    cases: list[Case]
    otherwise: list[Statement]


@dataclass(slots=True)
class Return(Statement):
    value: Expression | None


@dataclass(slots=True)
class Break(Statement):
    pass


@dataclass(slots=True)
class Continue(Statement):
    pass


@dataclass(slots=True)
class Assert(Statement):
    """`assert`: checked only; `message` is what the panic prints."""

    test: Expression
    message: str


def integer_of(type_: Type) -> IntType:
    """The integer that represents a value of an integer, enum, opaque or bool type."""
    from macadamia.lang.types import U8, BoolType, EnumType, NewType

    if isinstance(type_, IntType):
        return type_
    if isinstance(type_, EnumType):
        return type_.storage
    if isinstance(type_, NewType):
        return type_.base
    if isinstance(type_, BoolType):
        return U8
    raise TypeError(f"{type_} is not an integer")
