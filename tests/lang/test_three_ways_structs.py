"""Structs three ways: fields, bit-fields, nesting, arrays, inheritance, enums, flags, opaque integers."""

import pytest

from macadamia.lang import (
    Array,
    Ptr,
    alignof,
    cast,
    i32,
    i64,
    local,
    offsetof,
    range,
    sizeof,
    u8,
    u16,
    u32,
    u64,
)
from tests.lang.kernel_objects import (
    Base,
    Colour,
    Derived,
    Grid,
    Level,
    Packed,
    PhysAddr,
    Rights,
    Tag,
    Thread,
    derived,
    first,
    grid,
    packed,
    second,
)
from tests.lang.three_ways import TrapKind, run_three_ways, trap_three_ways

# Structs


def fields(t: Ptr[Thread], state: u32) -> u32:
    t.state = state
    t.priority = 9
    t.flags = 5
    t.ready = 1
    t.delta = -7
    t.priority += 3
    return t.state + u32(t.priority) * 1000 + u32(t.flags) * 100 + t.ready * 10


def signed_field(t: Ptr[Thread]) -> i32:
    t.delta = -100
    t.delta -= 27
    t.delta -= 2
    return t.delta


def methods(t: Ptr[Thread], other: Ptr[Thread]) -> u64:
    t.link(other)
    t.state = 6
    return t.stack_words() + u64(t.is_ready(2)) + u64(t.is_ready(1)) * 2 + Thread.STACK_SIZE


def follow(t: Ptr[Thread]) -> u32:
    following = t.links.next
    if following is None:
        return 0
    back = following.links.previous
    if back is None:
        return 1
    return following.state * 2 + back.state


def nested_pointer(t: Ptr[Thread]) -> bool:
    links = t.links
    links.next = t
    return t.links.next == t


def array_field(t: Ptr[Thread], n: u64) -> u64:
    slots = t.slots
    for i in range(n):
        slots[i] = i * i
    total = u64(0)
    for slot in t.slots:
        total += slot
    return total + len(t.slots) * 1000


def inherited(d: Ptr[Derived]) -> u64:
    d.first = 3
    d.second = 4
    d.third = 5
    base = cast(Base, d)
    return u64(d.total()) * 1000 + d.third + base.second


def bit_fields(p: Ptr[Packed], x: u32) -> u64:
    p.a = x & 31
    p.b = x >> 5
    p.c = x & 1
    p.d = u16.wrap(x) & 0x1FF
    p.e = u16.wrap(x >> 9) & 0x1FF
    p.f = u8.wrap(x)
    p.g = u64(x) * 255 & 0xFF_FFFF_FFFF
    p.h = u64(x) & 0xFF_FFFF
    p.on = x % 2 == 1
    p.rights = Rights.READ | Rights.EXECUTE
    return u64(p.a) ^ u64(p.b) ^ u64(p.c) ^ u64(p.d) ^ u64(p.e) ^ p.g ^ p.h ^ u64(p.on) ^ u64(p.f)


def signed_bit_fields(p: Ptr[Packed], x: i32) -> i32:
    p.i = x % 64 - 32
    p.j = x % 1000 - 500
    return p.i * 10000 + p.j


def bit_field_overflow(p: Ptr[Packed], x: u32) -> u32:
    p.a = x
    return p.a


def two_dimensions(g: Ptr[Grid], i: u64, j: u64) -> u32:
    g.rows[i][j] = 500
    row = g.rows[i]
    row[0] += 7
    g.points[1].f = 9
    return g.rows[i][j] + row[0] + g.points[1].f


def structs_in_locals(n: u32) -> u32:
    a = local(Packed)
    b = local(Packed)
    a.b = n
    b.b = 3
    table = local(Array[u32, 8])
    table[2] = a.b
    return table[2] * 10 + b.b + table[7]


def local_is_zeroed_each_time(n: u32) -> u32:
    total = u32(0)
    for i in range(n):
        table = local(Array[u32, 4])
        total += table[1]
        table[1] = i + 1
    return total


def pointer_into_local() -> u32:
    value = local(u32)
    add_to(value, 5)
    add_to(value, 6)
    return value[0]


def add_to(p: Ptr[u32], amount: u32) -> None:
    p[0] += amount


def layout() -> tuple[u64, u64, u64, u64]:
    return (
        u64(sizeof(Thread)),
        u64(alignof(Thread)),
        u64(offsetof(Thread, "status")),
        u64(sizeof(Array[Packed, 3])),
    )


class TestStructs:
    def test_fields(self) -> None:
        assert run_three_ways(fields, first, u32(7)) == 7 + 12000 + 500 + 10
        assert run_three_ways(signed_field, first) == 127

    def test_methods(self) -> None:
        assert run_three_ways(methods, first, second) == 512 + 1 + 4096
        second.state = 40
        first.state = 2
        assert run_three_ways(follow, first) == 82

    def test_nested(self) -> None:
        assert run_three_ways(nested_pointer, first) is True

    def test_array_field(self) -> None:
        assert run_three_ways(array_field, first, u64(8)) == sum(int(i) ** 2 for i in range(8)) + 8000
        assert trap_three_ways(array_field, first, u64(9)) == TrapKind.BOUNDS

    def test_inheritance(self) -> None:
        assert run_three_ways(inherited, derived) == 43 * 1000 + 5 + 4

    @pytest.mark.parametrize("x", [0, 1, 0x12345678, 0xFFFFFFFF, 0xAAAAAAAA, 0x55555555])
    def test_bit_fields(self, x: int) -> None:
        a, b, c, d, e, f = x & 31, x >> 5, x & 1, x & 0x1FF, x >> 9 & 0x1FF, x & 255
        expected = a ^ b ^ c ^ d ^ e ^ f ^ (x * 255 & 0xFF_FFFF_FFFF) ^ (x & 0xFF_FFFF) ^ (x & 1)
        assert run_three_ways(bit_fields, packed, u32(x)) == expected
        signed = x if x < 2**31 else x - 2**32
        assert (
            run_three_ways(signed_bit_fields, packed, i32(signed))
            == (signed % 64 - 32) * 10000 + signed % 1000 - 500
        )

    def test_bit_field_keeps_its_low_bits(self) -> None:
        assert run_three_ways(bit_field_overflow, packed, u32(31)) == 31
        assert run_three_ways(bit_field_overflow, packed, u32(32 + 5)) == 5

    def test_arrays_of_arrays(self) -> None:
        assert run_three_ways(two_dimensions, grid, u64(2), u64(3)) == 500 + grid.rows[2][0] + 9
        assert trap_three_ways(two_dimensions, grid, u64(3), u64(0)) == TrapKind.BOUNDS
        assert trap_three_ways(two_dimensions, grid, u64(0), u64(4)) == TrapKind.BOUNDS

    def test_locals(self) -> None:
        assert run_three_ways(structs_in_locals, u32(1234)) == 12343
        assert run_three_ways(local_is_zeroed_each_time, u32(5)) == 0
        assert run_three_ways(pointer_into_local) == 11

    def test_layout(self) -> None:
        assert run_three_ways(layout) == (sizeof(Thread), 8, 0xC0, 3 * sizeof(Packed))


# Enums, flags, opaque integers


def enums(t: Ptr[Thread], c: Colour) -> Colour:
    t.colour = c
    t.level = Level.LOW
    if t.colour == Colour.RED:
        t.colour = Colour.BLUE
    match t.colour:
        case Colour.RED:
            return Colour.GREEN
        case Colour.BLUE:
            return Colour.RED
        case _:
            return Colour.BLUE


def to_enum(x: u32) -> Colour:
    return Colour(x)


def from_enum(c: Colour, level: Level) -> i64:
    return i64(c) * 1000 + i64(level)


def flags(t: Ptr[Thread], r: Rights) -> Rights:
    t.rights = r | Rights.WRITE
    t.rights &= ~Rights.READ
    if r & Rights.EXECUTE:
        t.rights ^= Rights.WRITE | Rights.EXECUTE
    return t.rights


def inverted(r: Rights) -> Rights:
    return ~r


def addresses(a: PhysAddr, b: PhysAddr) -> tuple[PhysAddr, u64, u64, u64, bool]:
    return (a + 4096) & ~0xFFF, a - b, a.frame(), a.offset, a < b


def tags(x: u64) -> tuple[u64, u64, u64, Tag]:
    tag = Tag(x)
    changed = tag.replace(untyped=3, label=tag.label + 1 & 0xFFFF)
    return tag.untyped, tag.typed, changed.label, changed


def opaque_field(t: Ptr[Thread], a: PhysAddr) -> PhysAddr:
    t.where = a
    t.where += 8
    return t.where


class TestEnumsAndOpaqueIntegers:
    def test_enum(self) -> None:
        for before, after in [
            (Colour.RED, Colour.RED),
            (Colour.GREEN, Colour.BLUE),
            (Colour.BLUE, Colour.RED),
        ]:
            assert run_three_ways(enums, first, before) is after

    def test_conversion(self) -> None:
        assert run_three_ways(to_enum, u32(5)) is Colour.BLUE
        assert trap_three_ways(to_enum, u32(3), release=...) == TrapKind.INVALID_ENUM
        assert trap_three_ways(to_enum, u32(6), release=...) == TrapKind.INVALID_ENUM
        assert run_three_ways(from_enum, Colour.BLUE, Level.LOW) == 4997

    def test_flags(self) -> None:
        for value in range(8):
            rights = Rights(int(value))
            expected = (rights | Rights.WRITE) & ~Rights.READ
            if rights & Rights.EXECUTE:
                expected ^= Rights.WRITE | Rights.EXECUTE
            assert run_three_ways(flags, first, rights) == expected
            assert run_three_ways(inverted, rights) == ~rights

    def test_opaque(self) -> None:
        a, b = 0x12345, 0x20000
        expected = (0x13000, (a - b) % 2**64, 0x12, 0x345, True)
        assert run_three_ways(addresses, PhysAddr(a), PhysAddr(b)) == expected
        assert run_three_ways(opaque_field, first, PhysAddr(40)) == PhysAddr(48)

    def test_bitfields_of_values(self) -> None:
        x = 0x1234_5678_9ABC_DEF5
        changed = (x >> 16) + 1 & 0xFFFF
        expected = (x & 63, x >> 6 & 63, changed, changed << 16 | x & 0xFFC0 | 3)
        assert run_three_ways(tags, u64(x)) == expected
