"""Functions three ways: pointers to functions, closures, interfaces, generics, formatters."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    formatter,
    i64,
    implements,
    interface,
    range,
    static,
    text_bytes,
    u8,
    u16,
    u32,
    u64,
)
from tests.lang.three_ways import TrapKind, run_three_ways, trap_three_ways

# Pointers to functions


def twice(x: u32) -> u32:
    return x * 2


def squared(x: u32) -> u32:
    return x * x


class Device(Struct):
    handler: Callable[[u32], u32] | None
    count: u32


device = static(Device)


def choose(square: bool, x: u32) -> u32:
    function = squared if square else twice
    return function(x) + function(1)


def apply(function: Callable[[u32], u32], x: u32) -> u32:
    return function(function(x))


def passes_functions(x: u32) -> u32:
    return apply(twice, x) * 1000 + apply(squared, x)


def handler_field(x: u32) -> u32:
    if device.handler is None:
        device.handler = twice
        return 0
    device.count += 1
    return device.handler(x)


def calls_null(d: Ptr[Device]) -> u32:
    return d.handler(5)


class TestFunctionPointers:
    def test_chosen_and_passed(self) -> None:
        assert run_three_ways(choose, True, u32(7)) == 50
        assert run_three_ways(choose, False, u32(7)) == 16
        assert run_three_ways(passes_functions, u32(3)) == 12081

    def test_fields(self) -> None:
        device.handler = None
        assert trap_three_ways(calls_null, device) == TrapKind.NULL


# Closures: specialised functions made at import time


def adder(amount: int) -> Any:
    def add(x: u32) -> u32:
        return x + amount

    return add


def composed(*functions: Any) -> Any:
    """One function that applies the first two, in that order."""
    before, after = functions

    def compose(x: u32) -> u32:
        return after(before(x))

    return compose


def power(exponent: int) -> Any:
    """x ** exponent by recursive specialisation, as import-time Python makes it."""
    if exponent == 0:

        def one(_x: u64) -> u64:
            return 1

        return one
    rest = power(exponent - 1)

    def multiply(x: u64) -> u64:
        return x * rest(x)

    return multiply


def container(element: Any, capacity: int) -> Any:
    """A ring buffer made for one element type and size."""

    class Ring(Struct):
        start: u32
        count: u32
        items: Array[element, capacity]

        def put(self, item: element) -> bool:
            if self.count == capacity:
                return False
            self.items[(self.start + self.count) % capacity] = item
            self.count += 1
            return True

        def take(self) -> element:
            item = self.items[self.start]
            self.start = (self.start + 1) % capacity
            self.count -= 1
            return item

    return Ring


ByteRing = container(u8, 5)
WideRing = container(i64, 3)
byte_ring = static(ByteRing)
wide_ring = static(WideRing)


def through_rings(n: u32) -> i64:
    total = i64(0)
    for i in range(n):
        if not byte_ring.put(u8(i)):
            total += 1000
            total += i64(byte_ring.take())
        if not wide_ring.put(-i64(i)):
            total += wide_ring.take()
    return total


class TestClosures:
    def test_constants(self) -> None:
        assert run_three_ways(adder(5), u32(1)) == 6
        assert run_three_ways(adder(2**32 - 1), u32(1)) == 0

    def test_functions(self) -> None:
        assert run_three_ways(composed(adder(3), squared), u32(4)) == 49
        assert run_three_ways(composed(squared, composed(twice, adder(1))), u32(4)) == 33

    def test_recursive_specialisation(self) -> None:
        assert run_three_ways(power(13), u64(5)) == 5**13

    def test_specialised_structs(self) -> None:
        assert run_three_ways(through_rings, u32(9)) == reference_rings(9)


def reference_rings(n: int) -> int:
    total, narrow, wide = 0, [], []
    for i in [int(i) for i in range(n)]:
        if len(narrow) == 5:
            total += 1000 + narrow.pop(0)
        else:
            narrow.append(i)
        if len(wide) == 3:
            total += wide.pop(0)
        else:
            wide.append(-i)
    return total


# Generics

T = TypeVar("T")


class Stack(Struct, Generic[T]):
    LIMIT = 4
    depth: u32
    values: Array[T, 4]

    def push(self, value: T) -> None:
        assert self.depth < self.LIMIT
        self.values[self.depth] = value
        self.depth += 1

    def pop(self) -> T:
        self.depth -= 1
        return self.values[self.depth]

    def weight(self) -> u32:
        return self.depth * self.scale()

    def scale(self) -> u32:
        return 1


class HeavyStack(Stack[u16]):
    LIMIT = 2

    def scale(self) -> u32:
        return 50


class Ring(Struct):
    """A size given as a class keyword reaches __init_subclass__, which adds a field."""

    head: u32

    def __init_subclass__(cls, size: int, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.SIZE = size
        cls.__annotations__["slots"] = Array[u32, size]

    def advance(self, value: u32) -> u32:
        old = self.slots[self.head]
        self.slots[self.head] = value
        self.head = (self.head + 1) % self.SIZE
        return old


class SmallRing(Ring, size=3):
    pass


bytes_stack = static(Stack[u8])
heavy_stack = static(HeavyStack)
small_ring = static(SmallRing)


def uses_generics(n: u32) -> u32:
    for i in range(n):
        bytes_stack.push(u8(i) + 1)
    heavy_stack.push(1000)
    heavy_stack.push(2000)
    result = bytes_stack.weight() + heavy_stack.weight() + heavy_stack.pop() + heavy_stack.pop()
    return result * 10 + bytes_stack.pop()


def overflows_subclass() -> u32:
    heavy_stack.depth = 2
    heavy_stack.push(5)
    return heavy_stack.depth


def uses_keyword_class(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        total = total * 10 + small_ring.advance(i)
    return total


class TestGenerics:
    def test_specialisations(self) -> None:
        assert run_three_ways(uses_generics, u32(3)) == (3 + 100 + 3000) * 10 + 3

    def test_class_constants_are_bound_statically(self) -> None:
        assert trap_three_ways(overflows_subclass, release=...) == TrapKind.ASSERT

    def test_class_keywords(self) -> None:
        assert run_three_ways(uses_keyword_class, u32(6)) == 12


# Interfaces

output = static(Array[u8, 256])
output_length = static(u32)


@interface
def write_byte(byte: u8) -> None:
    """Where text goes."""


@interface
def transform(x: u32, y: u32) -> u32:
    """Something the test chooses."""


@implements(write_byte)
def write_to_memory(byte: u8) -> None:
    output[output_length[0]] = byte
    output_length[0] += 1


@implements(transform)
def multiply(x: u32, y: u32) -> u32:
    return x * y


@implements(transform)
def subtract(x: u32, y: u32) -> u32:
    return x - y


def uses_interface(x: u32) -> u32:
    write_byte(65)
    return transform(x, 3) + transform(10, x)


def put_text(text: str) -> None:
    data = text_bytes(text)
    for i in range(len(text)):
        write_byte(data[i])


def put_number(value: u64, negative: bool, base: u8, width: u8, fill: u8) -> None:
    """Print `value` in `base`, right-aligned in `width`."""
    digits = u8(1)
    rest = value
    while rest >= base:
        rest //= base
        digits += 1
    if negative:
        digits += 1
    if negative and fill == 48:
        write_byte(45)
    while digits < width:
        write_byte(fill)
        digits += 1
    if negative and fill != 48:
        write_byte(45)
    put_digits(value, base)


def put_digits(value: u64, base: u8) -> None:
    if value >= base:
        put_digits(value // base, base)
    digit = u8(value % base)
    write_byte(48 + digit if digit < 10 else 87 + digit)


log = formatter(put_text, put_number, end="\n")


def logs(a: u32, b: i64, name: str, flag: bool) -> None:
    log(f"{a} {a:x} {a:#x} {a:08x} {a:b}")
    log(f"{b} {b:6} {b:06d} <{name}> {flag} {{}}")


class TestInterfaces:
    def test_implementations_are_chosen(self) -> None:
        assert run_three_ways(uses_interface, u32(4), implementations=(write_to_memory, multiply)) == 12 + 40
        assert run_three_ways(uses_interface, u32(4), implementations=(write_to_memory, subtract)) == 1 + 6

    def test_plain_python_may_implement(self) -> None:
        written: list[int] = []

        def collect(byte: u8) -> None:
            written.append(int(byte))

        chosen = {write_byte: collect, transform: subtract}
        assert run_three_ways(uses_interface, u32(4), implementations=chosen) == 7
        assert set(written) == {65}

    @pytest.mark.parametrize(("a", "b"), [(255, -42), (0, 0), (2**32 - 1, -(2**63)), (10, 123456789)])
    def test_formatter_prints_as_python_does(self, a: int, b: int) -> None:
        output_length[0] = 0
        run_three_ways(logs, u32(a), i64(b), "Thread", True, implementations=(write_to_memory,))
        text = bytes(int(output[i]) for i in range(output_length[0])).decode()
        name, flag = "Thread", True
        assert text == f"{a} {a:x} {a:#x} {a:08x} {a:b}\n{b} {b:6} {b:06d} <{name}> {flag} {{}}\n"


class Base(Struct):
    x: u32

    def name(self) -> u32:
        return u32(1)

    def tenfold(self) -> u32:
        return self.name() * 10


class Derived(Base):
    y: u32

    def name(self) -> u32:
        return u32(2)

    def base_name(self) -> u32:
        return Base.name(self)


derived = Derived()


def through_the_base() -> u32:
    base: Ptr[Base] = derived
    return base.name() * 1000 + derived.name() * 100 + derived.base_name() * 10 + derived.tenfold()


def test_methods_are_bound_by_the_static_type() -> None:
    assert run_three_ways(through_the_base) == 1230  # `tenfold` compiled for Derived calls Derived.name
