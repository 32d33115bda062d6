"""Memory, statics and pointers in CPython."""

from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macadamia.lang import (
    Array,
    Atomic,
    Ptr,
    Struct,
    Volatile,
    address_of,
    cast,
    constant,
    copy_bytes,
    fill_bytes,
    global_asm,
    i16,
    i64,
    local,
    memory,
    move_bytes,
    pointer_at,
    static,
    storage,
    text_bytes,
    u8,
    u16,
    u32,
    u64,
    u128,
    user_pointer_at,
)
from macadamia.lang.annotations import resolve_annotation
from macadamia.lang.intrinsics import assembly_of
from macadamia.lang.memory import (
    BASE,
    function_address,
    function_at,
    register_compiled,
    static_at,
)
from macadamia.lang.pointers import ArrayView, AtomicView, Pointer
from macadamia.lang.traps import Trap, TrapKind
from macadamia.lang.types import INTEGERS, U32, ArrayType


class Colour(IntEnum):
    RED = 1


storage(i16)(Colour)


@storage(u8)
class Rights(IntFlag):
    READ = 1
    WRITE = 4


class PhysAddr(u64):
    """An address."""


class Point(Struct):
    x: u32
    y: u32


@pytest.fixture(autouse=True)
def same_memory() -> Any:
    before = memory.save()
    yield
    memory.restore(before)


def trap_of(action: Callable[[], Any]) -> TrapKind:
    with pytest.raises(Trap) as trap:
        action()
    return trap.value.kind


# Loads and stores


@given(st.sampled_from(sorted(INTEGERS)), st.data())
def test_integers(name: str, data: st.DataObject) -> None:
    kind = INTEGERS[name]
    place = static(resolve_annotation(kind))
    number = data.draw(st.integers(kind.minimum, kind.maximum))
    place[0] = number
    assert (type(place[0]).__name__, int(place[0])) == (name, number)
    raw = memory.bytes_at(place.kernel_address, kind.size)
    assert int.from_bytes(raw, "little", signed=kind.signed) == number


@pytest.mark.parametrize(
    ("type_", "value", "raw"),
    [
        (bool, True, b"\1"),
        (Colour, Colour.RED, b"\1\0"),
        (Rights, Rights.READ | Rights.WRITE, b"\5"),
        (PhysAddr, PhysAddr(0x1234), b"\x34\x12\0\0\0\0\0\0"),
        (Volatile[u16], u16(0x1234), b"\x34\x12"),
        (u128, u128(1 << 127), bytes(15) + b"\x80"),
    ],
)
def test_scalars(type_: Any, value: Any, raw: bytes) -> None:
    place = static(type_)
    place[0] = value
    assert place[0] == value
    assert type(place[0]) is type(value)
    assert memory.bytes_at(place.kernel_address, len(raw)) == raw


def test_any_byte_but_zero_is_true() -> None:
    flag = static(bool)
    memory.write(flag.kernel_address, b"\x80")
    assert flag[0] is True


def test_an_invalid_enum_value_is_not_read() -> None:
    place = static(Colour)
    assert trap_of(lambda: place[0]) is TrapKind.INVALID_ENUM


def test_pointers_in_memory() -> None:
    point = static(Point)
    place = static(Ptr[Point] | None)
    assert place[0] is None
    place[0] = point
    assert place[0] == point
    assert int.from_bytes(memory.bytes_at(place.kernel_address, 8), "little") == point.kernel_address
    place[0] = None
    assert place[0] is None
    never_null = static(Ptr[Point])
    assert trap_of(lambda: never_null[0].x) is TrapKind.NULL
    with pytest.raises(TypeError, match=r"write cast\(Point, ...\)"):
        place[0] = static(u32)
    assert trap_of(lambda: never_null.__setitem__(0, None)) is TrapKind.NULL


def test_texts_in_memory() -> None:
    place = static(str)
    assert place[0] == ""
    place[0] = "hello"
    assert place[0] == "hello"
    data = text_bytes("hello")
    assert bytes(int(data[index]) for index in range(5)) == b"hello"
    assert text_bytes("hello") == data
    found = static_at(data.kernel_address)
    assert found is not None
    assert found.readonly
    with pytest.raises(TypeError, match="ASCII"):
        place[0] = "é"


def twice(x: u32) -> u32:
    return x * 2


def test_functions_in_memory() -> None:
    place = static(Callable[[u32], u32] | None)
    assert place[0] is None
    place[0] = twice
    assert place[0] is twice
    assert int(address_of(twice)) == function_address(twice)
    register_compiled(twice, 0x1234_5000)
    assert function_at(0x1234_5000) is twice
    assert place[0] is twice  # stored under its old address
    assert trap_of(lambda: function_at(0x9999)) is TrapKind.BOUNDS


def test_conversion_on_store() -> None:
    place = static(u32)
    place[0] = u8(7)
    assert place[0] == 7
    place[0] = 9
    for wrong in (u64(1), i16(1), True, Colour.RED, 1.5, None, "1"):
        with pytest.raises(TypeError, match="u32"):
            place[0] = wrong
    with pytest.raises(OverflowError):
        place[0] = -1
    opaque = static(PhysAddr)
    for wrong in (1, u64(1), u8(1)):
        with pytest.raises(TypeError, match="PhysAddr"):
            opaque[0] = wrong


def test_where_nothing_is() -> None:
    assert trap_of(lambda: pointer_at(u32, u64(0))[0]) is TrapKind.NULL
    assert trap_of(lambda: pointer_at(u32, u64(BASE + 2))[0]) is TrapKind.MISALIGNED
    assert trap_of(lambda: pointer_at(u32, u64(4096))[0]) is TrapKind.BOUNDS
    assert trap_of(lambda: pointer_at(u8, u64(memory.end))[0]) is TrapKind.BOUNDS
    assert trap_of(lambda: pointer_at(Point, u64(BASE + 2)).x) is TrapKind.MISALIGNED
    assert memory.base == BASE


# Statics


def test_options_of_a_static() -> None:
    place = static(u32, 5, section=".rodata", readonly=True, align=4096, export="five")
    item = static_at(place.kernel_address + 3)
    assert item is not None
    assert (item.type, item.section, item.readonly, item.alignment, item.export) == (
        U32,
        ".rodata",
        True,
        4096,
        "five",
    )
    assert place.kernel_address % 4096 == 0
    assert place[0] == 5
    assert static_at(BASE - 1) is None
    assert static_at(memory.top) is None


def test_statics_are_found_by_any_of_their_bytes() -> None:
    made = [static(Array[u8, 5]), static(u64), Point(), Array[Point, 3]()]
    for place in made:
        for offset in (0, place.kernel_type.size - 1):
            item = static_at(place.kernel_address + offset)
            assert item is not None
            assert item.address == place.kernel_address
    assert memory.statics == sorted(memory.statics, key=lambda item: item.address)


def test_initial_values() -> None:
    assert list(Array[u16, 3]([1, 2])) == [1, 2, 0]
    grid = static(Array[Array[u8, 2], 2], [[1, 2], [3, 4]])
    assert [list(row) for row in grid] == [[1, 2], [3, 4]]
    assert static(PhysAddr, 0x1000)[0] == PhysAddr(0x1000)
    assert static(Colour, 1)[0] is Colour.RED
    assert static(bool, True)[0] is True
    assert static(Atomic[u32], 7).load() == 7
    point = static(Point, {"x": 3, "y": u8(4)})
    assert (point.x, point.y) == (3, 4)
    copy = static(Point, point)
    assert copy != point
    assert (copy.x, copy.y) == (3, 4)
    points = static(Array[Point, 2], [{"x": 1}, point])
    assert (points[0].x, points[1].y) == (1, 4)
    for wrong in ([1, 2, 3, 4], [1, "2"], [1.5]):
        with pytest.raises(TypeError):
            Array[u16, 3](wrong)
    with pytest.raises(OverflowError):
        Array[u8, 1]([256])


def test_constants() -> None:
    primes = constant(u16, [2, 3, 5])
    assert [primes[index] for index in range(3)] == [2, 3, 5]
    item = static_at(primes.kernel_address)
    assert item is not None
    assert item.readonly
    assert item.type == ArrayType(resolve_annotation(u16), 3)
    assert constant(u8, b"abc")[1] == ord("b")


def test_save_and_restore() -> None:
    place = static(u64, 1)
    before = memory.save()
    place[0] = 2
    assert memory.save() != before
    later = static(u64, 3)
    memory.restore(before)
    assert place[0] == 1
    assert later[0] == 3
    memory.restore(before)
    place[0] = 1
    assert memory.save().statics[: len(before.statics)] == before.statics


def test_locals_are_zeroed_and_released_by_the_stack_pointer() -> None:
    mark = memory.stack_top
    first = local(Array[u32, 4])
    first[2] = 9
    memory.stack_top = mark
    second = local(Array[u32, 4])
    assert second == first
    assert list(second) == [0, 0, 0, 0]
    local(u8)
    assert local(u64).kernel_address % 8 == 0


def test_global_assembly_belongs_to_its_module() -> None:
    global_asm("nop")
    assert assembly_of[__name__][-1] == "nop"


def test_memory_is_limited() -> None:
    with pytest.raises(MemoryError, match="no room"):
        memory.allocate(1 << 40, 1)
    with pytest.raises(MemoryError, match="stack"):
        local(Array[u8, 1 << 30])


# Pointers


def test_arithmetic() -> None:
    array = static(Array[u32, 8], range(8))
    p = cast(u32, array)
    assert isinstance(p, Pointer)
    assert (p + 3)[0] == 3
    assert (p + 3)[-1] == 2
    assert p[u64(5)] == 5
    assert (p + 5) - (p + 1) == 4
    assert type((p + 1) - p) is i64
    assert p - (p + 2) == -2
    assert (p + 2) - 2 == p
    assert p != p + 1
    assert len({p, cast(u32, array), p + 0}) == 1
    assert bool(pointer_at(u32, u64(0))) is True
    (p + 1)[0] = 77
    assert array[1] == 77
    wide = Array[Point, 3]()
    assert (wide[0] + 2) == wide[2]
    assert wide[2] - wide[0] == 2
    assert wide[0][1] == wide[1]


def test_arrays() -> None:
    array = Array[u8, 4]([1, 2, 3, 4])
    assert isinstance(array, ArrayView)
    assert len(array) == 4
    assert list(array) == [1, 2, 3, 4]
    for index in (4, -1, u64(2**63)):
        assert trap_of(lambda index=index: array[index]) is TrapKind.BOUNDS
        assert trap_of(lambda index=index: array.__setitem__(index, 1)) is TrapKind.BOUNDS
    points = Array[Point, 2]()
    with pytest.raises(TypeError, match="as a whole"):
        points[0] = Point()


def test_atomics() -> None:
    atomic = static(Atomic[u8], 250)
    assert isinstance(atomic, AtomicView)
    assert atomic.fetch_add(10) == 250
    assert atomic.load() == 4
    assert atomic.fetch_sub(5) == 4
    assert atomic.load() == 255
    assert atomic.fetch_and(0xF0) == 255
    assert atomic.fetch_or(1) == 0xF0
    assert atomic.exchange(9) == 0xF1
    assert atomic.compare_exchange(8, 1) == 9
    assert atomic.load() == 9
    assert atomic.compare_exchange(9, 1) == 9
    assert atomic.load() == 1
    atomic.store(u8(3))
    assert atomic.load() == 3
    with pytest.raises(OverflowError):
        atomic.store(256)


def test_user_pointers() -> None:
    p: Any = user_pointer_at(u32, u64(0x1000))
    assert address_of(p + 2) == 0x1008
    assert (p + 2) - p == 2
    assert p < p + 1 <= p + 1 != p
    assert p + 1 > p >= p
    assert address_of(cast(u8, p)) == 0x1000
    with pytest.raises(TypeError):
        p[0]


def test_addresses() -> None:
    place = static(u32)
    assert address_of(place) == place.kernel_address
    assert address_of(None) == 0
    assert pointer_at(u32, address_of(place)) == place
    assert cast(u8, None) is None
    with pytest.raises(TypeError, match="not a pointer"):
        address_of(5)


def test_bytes() -> None:
    array = Array[u8, 8](range(8))
    move_bytes(cast(u8, array) + 2, array, 4)
    assert list(array) == [0, 1, 0, 1, 2, 3, 6, 7]
    other = Array[u8, 8]()
    copy_bytes(other, array, u32(3))
    fill_bytes(cast(u8, other) + 3, u8(9), 2)
    assert list(other) == [0, 1, 0, 9, 9, 0, 0, 0]
    fill_bytes(pointer_at(u8, u64(0)), u8(1), 0)  # nothing is touched
    assert trap_of(lambda: fill_bytes(pointer_at(u8, u64(0)), u8(1), 1)) is TrapKind.NULL
