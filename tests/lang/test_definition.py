"""The definition: kernel functions in CPython mean what docs/language.md says, not what plain Python does."""

import dis
import inspect
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Generic, TypeVar

import pytest

import macadamia.lang as lang
from macadamia.lang import (
    Array,
    Atomic,
    Ptr,
    Struct,
    address_of,
    asm,
    asm_value,
    bitfield,
    cast,
    formatter,
    i8,
    i32,
    i64,
    implements,
    interface,
    local,
    memory,
    panic,
    pointer_to,
    popcount,
    range,
    sizeof,
    static,
    storage,
    text_bytes,
    u8,
    u16,
    u32,
    u64,
    unreachable,
)
from macadamia.lang.definition import definition, meaning_of
from macadamia.lang.functions import bound
from macadamia.lang.traps import Trap, TrapKind

T = TypeVar("T")


@storage(u8)
class Colour(IntEnum):
    RED = 1
    BLUE = 2

    def next(self) -> "Colour":
        return Colour.BLUE if self == Colour.RED else Colour.RED


class PhysAddr(u64):
    low = bitfield(u64, 0, 12)

    @property
    def page(self) -> u64:
        number = u64(self)
        number >>= 12
        return number

    def moved(self, bytes_: u64) -> "PhysAddr":
        return self + bytes_


class Links(Struct):
    next: Ptr["Thread"] | None


class Thread(Struct):
    LIMIT = 10
    state: u32
    small: u8
    links: Links
    slots: Array[u16, 4]
    handler: Callable[[u8], u32] | None
    counter: Atomic[u32]
    other: Ptr["Thread"] | None
    address: PhysAddr

    def twice(self) -> u32:
        value = self.state
        value -= 1
        return value * 2 + self.extra()

    def extra(self) -> u32:
        return 0

    @property
    def doubled(self) -> u32:
        return self.state * 2

    @staticmethod
    def least(x: u8) -> u8:
        return x - 255


class Special(Thread):
    def extra(self) -> u32:
        return 1000


thread = Thread()
other = Thread()
special = Special()


@pytest.fixture(autouse=True)
def same_memory() -> Any:
    before = memory.save()
    yield
    memory.restore(before)


def run(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    return definition(function)(*arguments, **keywords)


def trap_of(function: Callable[..., Any], *arguments: Any) -> Trap:
    with pytest.raises(Trap) as trap:
        run(function, *arguments)
    return trap.value


def exactly(value: Any, kind: Any, number: int) -> bool:
    return type(value) is kind and int(value) == number


# Names and their types


def literals_in_and_out(x: u8, y: u32 = 7, *, z: i8 = -1) -> u64:
    return x + y + u32(z + 1)


def annotated(x: u8) -> u32:
    wide: u32 = x
    wide -= 1
    return wide


def declared_first(x: u8) -> u32:
    wide: u32
    if x > 5:  # noqa: SIM108
        wide = x
    else:
        wide = 0
    return wide - 1


def keeps_its_type(n: u8) -> u8:
    total = n
    total = 0
    total -= 1
    return total


def literal_runs_first(c: bool, x: u16) -> u16:
    """The type is that of the first assignment in the source, whichever runs first."""
    if c:  # noqa: SIM108
        value = x
    else:
        value = 0
    value -= 1
    return value


def literal_of_a_pair(c: bool, x: u16) -> u16:
    if c:
        _, value = divmod(x, 7)
    else:
        value = 0
    return value - 1


def literal_after_a_loop(n: u8) -> u8:
    if n > 200:
        for i in range(n):  # noqa: B007
            pass
    else:
        i = 0
    return i - 1


def becomes_none() -> u32:
    found = thread
    found = thread.other
    return found.state


def tuple_of_pointers(c: bool) -> bool:
    pair = both(c)
    pair = both(False)
    return pair[0] is None


def both(c: bool) -> tuple[Ptr[Thread] | None, u8]:
    return thread if c else None, 5


def none_first(c: bool) -> bool:
    found = thread.other
    if c:
        found = None
    return found is None


def test_names() -> None:
    assert exactly(run(literals_in_and_out, 250), u64, 257)
    assert exactly(run(literals_in_and_out, u8(250), u8(1), z=0), u64, 252)
    assert exactly(run(annotated, u8(0)), u32, 2**32 - 1)
    assert exactly(run(declared_first, u8(6)), u32, 5)
    assert exactly(run(declared_first, u8(5)), u32, 2**32 - 1)
    assert exactly(run(keeps_its_type, u8(9)), u8, 255)
    assert exactly(run(literal_runs_first, True, u16(5)), u16, 4)
    assert exactly(run(literal_runs_first, False, u16(5)), u16, 65535)
    assert exactly(run(literal_of_a_pair, False, u16(5)), u16, 65535)
    assert exactly(run(literal_after_a_loop, u8(3)), u8, 255)
    assert run(none_first, False) is True
    assert run(tuple_of_pointers, True) is True
    assert trap_of(becomes_none).kind is TrapKind.NULL


def holds_a_literal() -> u64:
    x = 5
    return x  # noqa: RET504


def narrows(x: u64) -> u32:
    return x


def changes_type(x: u64) -> u64:
    y = x
    y = i64(1)
    return y  # noqa: RET504


def wants_u32(x: u32) -> None:
    pass


def passes_a_sign(x: i32) -> None:
    wants_u32(x)


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        (holds_a_literal, (), "x cannot hold the literal 5: write x: u64 = 5"),
        (narrows, (u64(1),), "where u32 is wanted: write u32"),
        (changes_type, (u64(1),), "where u64 is wanted: write u64"),
        (passes_a_sign, (i32(1),), "where u32 is wanted: write u32"),
        (wants_u32, (None,), "where u32 is wanted"),
    ],
)
def test_type_errors(function: Any, arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        run(function, *arguments)


# Expressions


def chosen(c: bool, x: u8) -> u64:
    value = 0 if c else x
    value -= 1
    return value


def chosen_by_pointer(t: Ptr[Thread]) -> u32:
    state = t.other.state if t.other is not None else 0
    return state - 1


def chosen_widens(c: bool, a: u8, b: u32) -> u32:
    either = a if c else b
    return either - 1


def chosen_many(n: u8, t: Ptr[Thread]) -> u64:
    a = t.slots[1] if n > 0 else 0
    b = t.doubled if n > 0 else 0
    c = t.twice() if n > 0 else 0
    d = popcount(n) if n > 0 else 0
    e = min(n, 5) if n > 0 else 0
    f = t.counter.load() if n > 0 else 0
    g = t.address.low if n > 0 else 0
    h = t.address.page if n > 0 else 0
    i = len("text") if n > 0 else u8(0)
    j = -n if n > 0 else 0
    k = n + u16(1) if n > 0 else 0
    m = u16.wrap(n) if n > 0 else 0
    o = cast(u16, t.slots)[0] if n > 0 else 0
    p = (n << 2) if n > 0 else 0
    q = asm_value(u32, "", "") if n > 200 else 0
    r = t.handler(n) if n > 200 else 0
    s = (n + u16(1) if n > 0 else 0) if n < 100 else n
    narrow = ones(a - 1) + ones(b - 1) + ones(c - 1) + ones(d - 1) + ones(e - 1) + ones(f - 1) + ones(g - 1)
    others = ones(h - 1) + ones(i - 1) + ones(j - 1) + ones(k - 1) + ones(m - 1) + ones(o - 1) + ones(p - 1)
    return narrow + others + ones(q - 1) + ones(r - 1) + ones(s - 1)


def ones(x: u64) -> u64:
    """Of the all-ones value of a narrower type: its width."""
    return popcount(x)


def swaps(a: u8, b: u8) -> tuple[u8, u64]:
    a, b = b, a
    first = second = a - b
    thread.small, (first, rest) = first, (second, u64(3))
    return first, rest


def minimum(a: u8, b: u32) -> tuple[u32, u8, u8, u32]:
    return min(a, b), max(a, 3), abs(a), max(min(b, 1000), 1)


def lengths() -> tuple[u64, u64]:
    array = local(Array[u8, 5])
    n = len("four")
    return n - 5, len(array)


def test_conditional_expressions_have_one_type() -> None:
    assert exactly(run(chosen, True, u8(5)), u64, 255)
    assert exactly(run(chosen, False, u8(5)), u64, 4)
    assert exactly(run(chosen_by_pointer, thread), u32, 2**32 - 1)
    assert exactly(run(chosen_widens, True, u8(0), u32(1)), u32, 2**32 - 1)
    widths = [16, 32, 32, 8, 8, 32, 64, 64, 64, 8, 16, 16, 16, 8, 32, 32, 16]
    assert run(chosen_many, u8(0), thread) == sum(widths)


def test_tuples_and_functions_of_python() -> None:
    assert run(swaps, u8(3), u8(1)) == (u8(254), u64(3))
    assert thread.small == 254
    assert [type(item) for item in run(minimum, u8(9), u32(5))] == [u32, u8, u8, u32]
    assert run(lengths) == (u64(2**64 - 1), u64(5))


def matches(x: u8) -> u16:
    match x:
        case 1 | 2:
            return 12
        case other_ if other_ > 250:
            other_ -= 1
            return other_
        case _:
            return 0


def matches_enum(c: Colour) -> u8:
    match c:
        case Colour.RED:
            return 10
        case Colour.BLUE:
            return 20


def test_match() -> None:
    assert [int(run(matches, u8(n))) for n in (1, 2, 3, 255)] == [12, 12, 0, 254]
    assert [int(run(matches_enum, colour)) for colour in Colour] == [10, 20]


# Calls


def calls_methods(t: Ptr[Thread]) -> u32:
    return t.twice() + t.doubled + Thread.least(1)


def calls_the_base() -> u32:
    return Thread.twice(cast(Thread, special)) + special.twice()


def methods_of_values(a: PhysAddr, c: Colour) -> u64:
    return a.moved(0x1000).page + u64(c.next())


def factorial(n: u64) -> u64:
    return 1 if n == 0 else n * factorial(n - 1)


def made_with(constant: int, function: Any) -> Any:
    def inner(x: u8) -> u32:
        return function(x + constant)

    return inner


def next_value(x: u8) -> u32:
    return x + 1


def by_pointer(x: u8) -> u32:
    function = next_value
    thread.handler = function
    if thread.handler is not None:
        return thread.handler(x) + function(x)
    return 0


def test_what_is_called_runs_rewritten_too() -> None:
    thread.state = 0
    assert exactly(run(calls_methods, thread), u32, 0)
    special.state = 0
    assert exactly(run(calls_the_base), u32, (2**32 - 2 + 2**32 - 2 + 1000) % 2**32)
    assert run(methods_of_values, PhysAddr(0x5123), Colour.RED) == 8
    assert run(factorial, 20) == 2432902008176640000
    assert exactly(run(made_with(250, next_value), u8(10)), u32, 5)
    assert exactly(run(by_pointer, u8(255)), u32, 0)
    assert exactly(definition(thread.twice)(), u32, 2**32 - 2)


def upcasts() -> u32:
    base: Ptr[Thread] = special
    return base.state


def test_a_derived_struct_goes_where_its_base_is_wanted() -> None:
    special.state = 5
    assert exactly(run(upcasts), u32, 5)


class Stack(Struct, Generic[T]):
    SIZE = 4
    depth: u8
    values: Array[T, 4]

    def push(self, value: T) -> T:
        kept: T = value
        scratch = local(T)
        scratch[0] = kept
        self.values[self.depth] = scratch[0]
        self.depth += 1
        return cast(T, self.values)[self.depth - 1]

    def size(self) -> u64:
        return u64(sizeof(T)) * self.SIZE


class WideStack(Stack[u64]):
    SIZE = 2


narrow = static(Stack[u8])
wide = static(WideStack)


def uses_stacks() -> tuple[u8, u64, u64, u64]:
    return narrow.push(7), wide.push(9), narrow.size(), wide.size()


def test_generics() -> None:
    assert [type(item) for item in run(uses_stacks)] == [u8, u64, u64, u64]
    assert run(uses_stacks) == (7, 9, 4, 16)


def makes_a_struct() -> None:
    Thread()


def uses_assembly() -> None:
    asm("hlt", "")


def test_what_cannot_run() -> None:
    with pytest.raises(TypeError, match=r"write local\(Thread\)"):
        run(makes_a_struct)
    with pytest.raises(RuntimeError, match="behind an @interface"):
        run(uses_assembly)
    with pytest.raises(TypeError, match=r"source of .* cannot be read"):
        run(eval("lambda x: x"))


# Memory


def local_memory(n: u8) -> u8:
    scratch = local(Array[u8, 64])
    scratch[n] = 5
    if n > 0:
        return local_memory(n - 1) + scratch[n]
    return scratch[1]


def traps_with_locals() -> None:
    local(Array[u8, 64])
    panic("stop")


def points_into(t: Ptr[Thread]) -> u32:
    state = pointer_to(t.state)
    slot = pointer_to(t.slots[2])
    state[0] = 5
    slot[0] += 300
    nested = pointer_to(t.links)
    assert address_of(nested) == address_of(t.links)
    after = pointer_to(state[1])
    return t.state + t.slots[2] + u32(address_of(after) - address_of(state))


def stores(t: Ptr[Thread], x: u8) -> None:
    t.state = x
    t.state += 1
    t.slots[0] = x
    t.slots[0] -= 1
    t.links.next = t
    t.links.next.small = 3
    t.links.next = None


def test_memory() -> None:
    mark = memory.stack_top
    assert run(local_memory, u8(3)) == 15
    assert memory.stack_top == mark
    assert trap_of(traps_with_locals).kind is TrapKind.PANIC
    assert memory.stack_top == mark
    assert run(points_into, thread) == 5 + 300 + 4
    run(stores, thread, u8(0))
    assert (thread.state, thread.slots[0], thread.small, thread.links.next) == (1, 65535, 3, None)


# Traps


def reads_none(t: Ptr[Thread] | None) -> u32:
    return t.state


def writes_none(t: Ptr[Thread] | None) -> None:
    t.state = 1


def indexes_none(p: Ptr[u8] | None) -> u8:
    return p[0]


def calls_none(t: Ptr[Thread]) -> u32:
    return t.handler(5)


def method_of_none(t: Ptr[Thread]) -> u32:
    return t.other.twice()


def passes_none(t: Ptr[Thread]) -> u32:
    return calls_none(t.other)


def returns_none(t: Ptr[Thread]) -> Ptr[Thread]:
    return t.other


def invalid_enum(x: u8) -> Colour:
    return Colour(x)


def asserts(x: u8) -> None:
    assert x != 0, "x is zero"
    assert x != 1


def unreachable_code() -> None:
    unreachable("never")


@pytest.mark.parametrize("function", [reads_none, writes_none, indexes_none])
def test_none_is_not_dereferenced(function: Any) -> None:
    trap = trap_of(function, None)
    assert (trap.kind, str(trap)) == (TrapKind.NULL, "None dereferenced")


@pytest.mark.parametrize("function", [calls_none, method_of_none, passes_none, returns_none])
def test_none_in_a_field(function: Any) -> None:
    assert trap_of(function, thread).kind is TrapKind.NULL


def test_other_traps() -> None:
    assert run(invalid_enum, u8(2)) is Colour.BLUE
    assert str(trap_of(invalid_enum, u8(7))) == "not a member of the enum"
    assert str(trap_of(asserts, u8(0))) == "x is zero"
    assert str(trap_of(asserts, u8(1))) == "assertion failed"
    assert trap_of(asserts, u8(1)).kind is TrapKind.ASSERT
    assert str(trap_of(unreachable_code)) == "never"


# Interfaces and formatters

written: list[str] = []


@interface
def put(text: str) -> None: ...


@interface
def transform(x: u8) -> u32: ...


@implements(put)
def put_to_list(text: str) -> None:
    put_twice(text)


@interface
def put_twice(text: str) -> None: ...


def put_number(value: u64, negative: bool, base: u8, width: u8, fill: u8) -> None:
    put_fields(value, negative, base, width, fill)


@interface
def put_fields(value: u64, negative: bool, base: u8, width: u8, fill: u8) -> None: ...


log = formatter(put, put_number, end="\n")


def transforms(x: u8) -> u32:
    return transform(x) - 1


def logs(x: u32, y: i8, name: str, flag: bool, c: Colour) -> None:
    log(f"x {x:#06x}, {y:4}{y:b} {name} {flag} {c} {5}")
    log("plain")
    log(name)


def test_plain_python_implements_an_interface() -> None:
    seen: list[Any] = []

    def plain(x: Any) -> int:
        seen.append(x)
        return 0

    assert exactly(definition(transforms, {transform: plain})(u8(3)), u32, 2**32 - 1)
    assert exactly(seen[0], u8, 3)
    with pytest.raises(TypeError, match="transform has no implementation"):
        run(transforms, u8(3))
    with pytest.raises(TypeError, match="where u32 is wanted"):
        definition(transforms, {transform: lambda _: "text"})(u8(3))


def test_implementations_by_decorator() -> None:
    @implements(transform)
    def wraps(x: u8) -> u32:
        x -= 255
        return x

    assert exactly(definition(transforms, (wraps,))(u8(1)), u32, 1)
    with pytest.raises(TypeError, match="two implementations"):
        definition(transforms, (wraps, wraps))
    with pytest.raises(TypeError, match="implements nothing"):
        definition(transforms, (next_value,))
    with bound((wraps,)):
        assert transform(u8(255)) == 0  # plain CPython reaches it as well
    with pytest.raises(TypeError, match="not an @interface function"):
        implements(next_value)


def test_formatters() -> None:
    calls: list[Any] = []
    implementations = {
        put: lambda text: calls.append(str(text)),
        put_fields: lambda *fields: calls.append(tuple(map(int, fields))),
    }
    definition(logs, implementations)(u32(255), i8(-5), "n", True, Colour.BLUE)
    blank, zero = ord(" "), ord("0")
    assert calls == [
        "x 0x",
        (255, 0, 16, 4, zero),
        ", ",
        (5, 1, 10, 4, blank),
        (5, 1, 2, 0, blank),
        " ",
        "n",
        " ",
        "True",
        " ",
        (2, 0, 10, 0, blank),
        " ",
        (5, 0, 10, 0, blank),
        "\n",
        "plain\n",
        "n",
        "\n",
    ]


# It stays Python


def test_the_module_stays_ordinary() -> None:
    assert annotated(u8(0)) == -1 or annotated(u8(0)) == 255  # plain Python: the annotation converts nothing
    assert not hasattr(annotated, "__frame__")
    assert "__frame__" not in annotated.__code__.co_varnames
    assert [i.opname for i in dis.get_instructions(annotated)]


def fails_on_its_third_line(x: u8) -> u8:
    y = x
    y += 1
    return y // (y - y)


def test_tracebacks_show_the_source() -> None:
    try:
        run(fails_on_its_third_line, u8(1))
    except Trap as trap:
        frames = traceback.extract_tb(trap.__traceback__)
    found = [
        frame for frame in frames if frame.filename == __file__ and frame.name == "fails_on_its_third_line"
    ]
    first = inspect.getsourcelines(fails_on_its_third_line)[1]
    assert [frame.lineno for frame in found] == [first + 3]


def test_debuggers_and_coverage_see_the_lines() -> None:
    lines: set[int] = set()

    def trace(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != __file__:
            return None
        if event == "line" and frame.f_code.co_name == "literal_runs_first":
            lines.add(frame.f_lineno)
        return trace

    sys.settrace(trace)
    try:
        run(literal_runs_first, False, u16(1))
    finally:
        sys.settrace(None)
    first = inspect.getsourcelines(literal_runs_first)[1]
    assert {line - first for line in lines} - {0} == {2, 5, 6, 7}


def test_rewritten_once() -> None:
    assert meaning_of(annotated) is meaning_of(annotated)  # type: ignore[arg-type]
    assert meaning_of(Stack.push, WideStack) is not meaning_of(Stack.push, Stack[u8])  # type: ignore[arg-type]


def uses_module_names(x: u8) -> u64:
    p = lang.pointer_to(thread.slots[1])
    p[0] = lang.u16(x)
    q = lang.local(u16)
    for i in lang.range(3):
        q[0] += u16(i)
    return thread.slots[1] + q[0] + text_bytes("A")[0]


def test_names_of_modules() -> None:
    assert run(uses_module_names, u8(9)) == 9 + 3 + 65
