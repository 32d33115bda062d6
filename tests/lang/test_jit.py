"""jit: values in and out, traps, faults, callbacks, and the memory shared with CPython."""

import builtins
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Any

import pytest

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    Trap,
    TrapKind,
    UserPtr,
    address_of,
    asm_value,
    i8,
    i16,
    i64,
    interface,
    local,
    memory,
    panic,
    pointer_at,
    range,
    static,
    storage,
    text_bytes,
    u8,
    u16,
    u32,
    u64,
    u128,
    unreachable,
    user_pointer_at,
)
from macadamia.lang.diagnostics import CompileErrors
from macadamia.lang.jit import Library, jit


class Port(u32):
    pass


@storage(u8)
class Colour(IntEnum):
    RED = 1
    GREEN = 2
    BLUE = 7


@storage(u16)
class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Pair(Struct):
    first: u32
    second: u64
    next: Ptr["Pair"] | None


pair = Pair()
numbers = static(Array[u32, 4])
counter = static(u64)

BOTH = pytest.mark.parametrize("optimize", [0, 2])


# Values


def same_u8(x: u8) -> u8:
    return x


def same_i16(x: i16) -> i16:
    return x


def same_u128(x: u128) -> u128:
    return x


def same_bool(x: bool) -> bool:
    return x


def same_colour(x: Colour) -> Colour:
    return x


def same_rights(x: Rights) -> Rights:
    return x


def same_port(x: Port) -> Port:
    return x


def same_text(x: str) -> str:
    return x


def same_pointer(x: Ptr[Pair] | None) -> Ptr[Pair] | None:
    return x


def same_array(x: Ptr[Array[u32, 4]]) -> Ptr[Array[u32, 4]]:
    return x


def same_scalar_pointer(x: Ptr[u64]) -> Ptr[u64]:
    return x


def same_user_pointer(x: UserPtr[u64]) -> UserPtr[u64]:
    return x


def many(a: bool, b: u128, c: i8, d: str, e: Colour) -> tuple[Colour, str, i8, u128, bool]:
    return e, d, c, b, a


def with_default(a: u32, b: u32 = 5) -> u32:
    return a * 100 + b


def nothing(a: u32) -> None:
    counter[0] = a


VALUES: list[tuple[Any, Any]] = [
    (same_u8, u8(255)),
    (same_i16, i16(-32768)),
    (same_i16, i16(32767)),
    (same_u128, u128(2**128 - 1)),
    (same_u128, u128(2**64)),
    (same_bool, True),
    (same_bool, False),
    (same_colour, Colour.BLUE),
    (same_rights, Rights.READ | Rights.WRITE),
    (same_port, Port(77)),
    (same_text, "some text"),
    (same_text, ""),
    (same_pointer, None),
    (same_pointer, pair),
    (same_array, numbers),
    (same_scalar_pointer, counter),
    (same_user_pointer, user_pointer_at(u64, 0xFFFF_0000_1234)),
]


@pytest.fixture(scope="module", params=[0, 2])
def library(request: pytest.FixtureRequest) -> Library:
    functions = list(dict.fromkeys(function for function, _ in VALUES))
    return jit([*functions, many, with_default, nothing], optimize=request.param)


class TestValues:
    @pytest.mark.parametrize(("function", "value"), VALUES)
    def test_go_in_and_come_out(self, library: Library, function: Callable[..., Any], value: Any) -> None:
        result = getattr(library, function.__name__)(value)
        assert result == value
        assert type(result) is type(value)

    def test_tuples(self, library: Library) -> None:
        arguments = (True, u128(2**127 + 1), i8(-1), "abc", Colour.GREEN)
        assert library.many(*arguments) == arguments[::-1]

    def test_literals_adapt(self, library: Library) -> None:
        assert library.same_u8(200) == u8(200)
        with pytest.raises((OverflowError, TypeError, Trap)):
            library.same_u8(256)

    def test_other_types_are_refused(self, library: Library) -> None:
        with pytest.raises(TypeError):
            library.same_u8(u16(1))
        with pytest.raises(TypeError):
            library.same_pointer(numbers)

    def test_defaults_and_keywords(self, library: Library) -> None:
        assert library.with_default(1) == 105
        assert library.with_default(b=u32(2), a=u32(1)) == 102
        with pytest.raises(TypeError):
            library.with_default()

    def test_none(self, library: Library) -> None:
        assert library.nothing(u32(9)) is None
        assert counter[0] == 9

    def test_unknown_names(self, library: Library) -> None:
        with pytest.raises(AttributeError, match="missing is not among the compiled functions"):
            library.missing  # noqa: B018

    def test_errors_of_the_checker(self) -> None:
        with pytest.raises(CompileErrors):
            jit([wrong])


def wrong(x: u32) -> u64:
    return x + "a"  # type: ignore[operator]


# Traps


def divide(a: i64, b: i64) -> i64:
    return a // b


def element(i: u32) -> u32:
    return numbers[i]


def narrow(x: u64) -> u8:
    return u8(x)


def colour(x: u8) -> Colour:
    return Colour(x)


def shift(x: u32, n: u32) -> u32:
    return x << n


def follow(p: Ptr[Pair] | None) -> u32:
    return p.first  # type: ignore[union-attr]


def at_address(address: u64) -> u64:
    return pointer_at(u64, address)[0]


def asserts(x: u32) -> u32:
    assert x != 3, "not three"
    assert x != 4
    return x


def panics(x: u32) -> u32:
    if x == 1:
        panic("one is too many")
    if x == 2:
        unreachable("two")
    return x


def deep(n: u32, divisor: i64) -> i64:
    if n == 0:
        return divide(1, divisor)
    return deep(n - 1, divisor) + 1


TRAPPING: list[Callable[..., Any]] = [
    divide,
    element,
    narrow,
    colour,
    shift,
    follow,
    at_address,
    asserts,
    panics,
    deep,
]
STOPS: list[tuple[Callable[..., Any], tuple[Any, ...], TrapKind, str]] = [
    (divide, (i64(1), i64(0)), TrapKind.DIVISION_BY_ZERO, "division by zero"),
    (element, (u32(4),), TrapKind.BOUNDS, "index out of range"),
    (narrow, (u64(256),), TrapKind.LOSSY, "value does not fit"),
    (colour, (u8(3),), TrapKind.INVALID_ENUM, "not a member of the enum"),
    (shift, (u32(1), u32(32)), TrapKind.SHIFT, "shift by the width or more"),
    (follow, (None,), TrapKind.NULL, "None dereferenced"),
    (at_address, (u64(9),), TrapKind.MISALIGNED, "misaligned pointer"),
    (asserts, (u32(3),), TrapKind.ASSERT, "not three"),
    (asserts, (u32(4),), TrapKind.ASSERT, "assertion failed"),
    (panics, (u32(1),), TrapKind.PANIC, "one is too many"),
    (deep, (u32(50), i64(0)), TrapKind.DIVISION_BY_ZERO, "division by zero"),
]


@pytest.fixture(scope="module", params=[0, 2])
def trapping(request: pytest.FixtureRequest) -> Library:
    return jit(TRAPPING, optimize=request.param)


class TestTraps:
    @pytest.mark.parametrize(("function", "arguments", "kind", "message"), STOPS)
    def test_kind_message_file(
        self,
        trapping: Library,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        kind: TrapKind,
        message: str,
    ) -> None:
        with pytest.raises(Trap) as caught:
            getattr(trapping, function.__name__)(*arguments)
        assert (caught.value.kind, str(caught.value)) == (kind, message)
        assert caught.value.file == __file__

    def test_line(self, trapping: Library) -> None:
        with pytest.raises(Trap) as caught:
            trapping.asserts(u32(4))
        assert caught.value.line == asserts.__code__.co_firstlineno + 2

    def test_calls_go_on_working_after_a_trap(self, trapping: Library) -> None:
        for _ in builtins.range(1000):
            with pytest.raises(Trap):
                trapping.deep(u32(3), i64(0))
        assert trapping.deep(u32(3), i64(1)) == 4

    @pytest.mark.parametrize(
        ("address", "kind"),
        [
            (0xDEAD_0000, TrapKind.BOUNDS),
            (0xDEAD_0000_0000_0000, TrapKind.BOUNDS),
            (16, TrapKind.NULL),
        ],
    )
    def test_a_wild_pointer_is_a_trap_too(self, trapping: Library, address: int, kind: TrapKind) -> None:
        with pytest.raises(Trap) as caught:
            trapping.at_address(u64(address))
        assert caught.value.kind == kind

    def test_release_traps_only_where_it_must(self) -> None:
        release = jit(TRAPPING, profile="release")
        assert release.shift(u32(1), u32(32)) == 0
        assert release.narrow(u64(256)) == 0
        assert release.asserts(u32(3)) == 3
        with pytest.raises(Trap):
            release.divide(i64(1), i64(0))
        with pytest.raises(Trap):
            release.panics(u32(1))
        with pytest.raises(Trap) as caught:
            release.follow(None)
        assert caught.value.kind == TrapKind.NULL


# Callbacks


@interface
def ask(number: u64, name: str, colour: Colour) -> tuple[u64, bool]: ...


@interface
def look(p: Ptr[Pair]) -> None: ...


def asks(x: u64) -> u64:
    a, ok = ask(x, "who", Colour.GREEN)
    return a + 1 if ok else 0


def shows_local(x: u32) -> u64:
    mine = local(Pair)
    mine.first = x
    look(mine)
    return mine.second


def locals_deep(n: u32) -> u64:
    """Each level has its own memory, and gets it back unharmed."""
    mine = local(Array[u32, 64])
    for i in range(64):
        mine[i] = n
    below: u64 = 0
    if n != 0:
        below = locals_deep(n - 1)
    total: u64 = below
    for i in range(64):
        total += mine[i]
    return total


def locals_wide(n: u32) -> u64:
    mine = local(Array[u32, 65536])
    mine[n] = n
    return mine[n] + (locals_wide(n - 1) if n != 0 else 0)


def endless(n: u64) -> u64:
    return endless(n + 1) + n * 3 ^ endless(n + 2)


class TestCallbacks:
    @BOTH
    def test_arguments_and_result(self, optimize: int) -> None:
        seen: list[Any] = []

        def answer(number: u64, name: str, colour: Colour) -> tuple[u64, bool]:
            seen.append((number, name, colour))
            return number * 2, number != 3

        library = jit([asks], {ask: answer}, optimize=optimize)
        assert library.asks(u64(20)) == 41
        assert library.asks(u64(3)) == 0
        assert seen == [(20, "who", Colour.GREEN), (3, "who", Colour.GREEN)]
        assert type(seen[0][0]) is u64

    @BOTH
    def test_an_exception_passes_through(self, optimize: int) -> None:
        def fail(number: u64, _name: str, _colour: Colour) -> tuple[u64, bool]:
            raise ValueError(f"no {number}")

        library = jit([asks], {ask: fail}, optimize=optimize)
        for _ in builtins.range(100):
            with pytest.raises(ValueError, match="no 4"):
                library.asks(u64(4))

    def test_a_wrong_result_is_a_type_error(self) -> None:
        library = jit([asks], {ask: lambda *_: (u32(1), 2)})
        with pytest.raises(TypeError):
            library.asks(u64(4))

    @BOTH
    def test_nesting(self, optimize: int) -> None:
        """Compiled code, Python, compiled code that stops, Python that catches, and back."""

        def divides(number: u64, _name: str, _colour: Colour) -> tuple[u64, bool]:
            if number == 0:
                with pytest.raises(Trap):
                    inner.divide(i64(1), i64(0))
                return u64(100), True
            return outer.asks(number - 1), True

        inner = jit([divide], optimize=optimize)
        outer = jit([asks], {ask: divides}, optimize=optimize)
        assert outer.asks(u64(10)) == 111

    @BOTH
    def test_a_trap_inside_a_callback_passes_through(self, optimize: int) -> None:
        inner = jit([divide], optimize=optimize)
        outer = jit([asks], {ask: lambda n, _s, _c: (inner.divide(i64(1), i64(n)), True)}, optimize=optimize)
        with pytest.raises(Trap) as caught:
            outer.asks(u64(0))
        assert caught.value.kind == TrapKind.DIVISION_BY_ZERO

    @BOTH
    def test_python_sees_locals(self, optimize: int) -> None:
        def double(p: Pair) -> None:
            p.second = u64(p.first) * 2

        before = memory.stack_top
        library = jit([shows_local], {look: double}, optimize=optimize)
        assert library.shows_local(u32(21)) == 42
        assert memory.stack_top == before

    @BOTH
    def test_locals_of_recursive_calls(self, optimize: int) -> None:
        library = jit([locals_deep], optimize=optimize)
        assert library.locals_deep(u32(100)) == 64 * sum(builtins.range(101))

    def test_the_stack_of_locals_can_be_full(self) -> None:
        library = jit([locals_wide])
        with pytest.raises(Trap, match=r"the stack of local\(...\) is full"):
            library.locals_wide(u32(1000))
        assert library.locals_wide(u32(1)) == 1

    @BOTH
    def test_endless_recursion_is_a_trap(self, optimize: int) -> None:
        library = jit([endless], optimize=optimize)
        for _ in builtins.range(3):
            with pytest.raises(Trap, match="recursion is too deep"):
                library.endless(u64(1))


# Shared memory


class Holder(Struct):
    action: Callable[[u64], u64]
    optional: Callable[[u64], u64] | None
    text: str


def double(x: u64) -> u64:
    return x * 2


def increment(x: u64) -> u64:
    return x + 1


def elsewhere(x: u64) -> u64:
    return x + 1000


holder = Holder()
holder.action = double


def set_action(twice: bool) -> None:
    holder.action = double if twice else increment


def call_action(x: u64) -> u64:
    return holder.action(x)


def call_optional(x: u64) -> u64:
    action = holder.optional
    if action is None:
        return 0
    return action(x)


def call_given(action: Callable[[u64], u64], x: u64) -> u64:
    return action(x)


def choose(twice: bool) -> Callable[[u64], u64]:
    return double if twice else increment


def set_text() -> None:
    holder.text = "from compiled code"


def first_byte(s: str) -> Ptr[u8]:
    return text_bytes(s)


def link_pair() -> Ptr[Pair]:
    pair.next = pair
    pair.first += 1
    return pair.next


def where() -> u64:
    return address_of(pair)


class TestSharedMemory:
    def test_statics(self) -> None:
        pair.first = u32(1)
        fast, slow = jit([link_pair, where]), jit([link_pair, where], optimize=0)
        assert fast.link_pair() == pair
        assert slow.link_pair() == pair
        assert pair.first == 3
        assert pair.next == pair
        assert fast.where() == slow.where() == address_of(pair)

    def test_function_pointers(self) -> None:
        functions: list[Any] = [set_action, call_action, call_given, choose]
        fast, slow = jit(functions), jit(functions, optimize=0)
        assert fast.call_action(u64(5)) == 10
        slow.set_action(False)
        assert holder.action is increment
        assert fast.call_action(u64(5)) == 6
        holder.action = double
        assert slow.call_action(u64(5)) == 10
        assert fast.call_given(slow.choose(True), u64(4)) == 8

    def test_functions_that_are_not_compiled(self) -> None:
        library = jit([call_given, call_action, call_optional])
        assert library.call_given(elsewhere, u64(1)) == 1001
        assert library.call_optional(u64(1)) == 0
        holder.optional = lambda x: x * 7
        assert library.call_optional(u64(6)) == 42
        holder.optional = None

    def test_texts(self) -> None:
        library = jit([set_text, first_byte])
        library.set_text()
        assert holder.text == "from compiled code"
        assert library.first_byte("xyz")[1] == ord("y")


# Machine


def swap(a: u64, b: u64) -> tuple[u64, u64]:
    return asm_value(tuple[u64, u64], "xchgq $0, $1", "=r,=r,0,1", a, b)


def is_five(x: u64) -> bool:
    return asm_value(bool, "cmpq $$5, $1\nsete $0", "=r,r", x)


@BOTH
def test_assembly(optimize: int) -> None:
    library = jit([swap, is_five], optimize=optimize)
    assert library.swap(u64(1), u64(2)) == (2, 1)
    assert library.is_five(u64(5)) is True
    assert library.is_five(u64(6)) is False
