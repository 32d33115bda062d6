"""Memory three ways: pointers, structs, bit-fields, arrays, enums, opaque integers, statics, texts."""

from enum import IntEnum, IntFlag
from typing import Any

import pytest

from macadamia.lang import (
    Array,
    Atomic,
    Ptr,
    Struct,
    UserPtr,
    Volatile,
    address_of,
    alignof,
    bitfield,
    bits,
    cast,
    compiler_barrier,
    constant,
    copy_bytes,
    fence,
    field,
    fill_bytes,
    i8,
    i32,
    i64,
    local,
    move_bytes,
    offsetof,
    pointer_at,
    pointer_to,
    range,
    sizeof,
    static,
    storage,
    text_bytes,
    u8,
    u16,
    u32,
    u64,
    u128,
    user_pointer_at,
    volatile_load,
    volatile_store,
)
from tests.lang.three_ways import TrapKind, contents, run_three_ways, trap_three_ways


@storage(u32)
class Colour(IntEnum):
    RED = 1
    GREEN = 2
    BLUE = 5


@storage(u8)
class Rights(IntFlag):
    READ = 1
    WRITE = 2
    EXECUTE = 4


@storage(i8)
class Level(IntEnum):
    LOW = -3
    HIGH = 100


class PhysAddr(u64):
    def frame(self) -> u64:
        return u64(self) >> 12

    @property
    def offset(self) -> u64:
        return u64(self) & 0xFFF


class Tag(u64):
    untyped = bitfield(u64, 0, 6)
    typed = bitfield(u64, 6, 6)
    label = bitfield(u64, 16, 48)


class Links(Struct):
    next: Ptr["Thread"] | None
    previous: Ptr["Thread"] | None


class Thread(Struct):
    STACK_SIZE = 4096
    state: u32
    priority: u8 = bits(4)
    flags: u8 = bits(3)
    ready: u8 = bits(1)
    links: Links
    slots: Array[u64, 8]
    colour: Colour
    rights: Rights
    level: Level
    delta: i8
    name: str
    where: PhysAddr
    status: Volatile[u32] = field(offset=0xC0)
    pending: Atomic[u64]

    def is_ready(self, mask: u32) -> bool:
        return self.state & mask != 0

    def link(self, next_thread: Ptr["Thread"]) -> None:
        self.links.next = next_thread
        next_thread.links.previous = self

    def stack_words(self) -> u64:
        return u64(self.STACK_SIZE // 8)


class Base(Struct):
    first: u16
    second: u32

    def total(self) -> u32:
        return self.first + self.second * self.weight()

    def weight(self) -> u32:
        return 1


class Derived(Base):
    third: u64

    def weight(self) -> u32:
        return 10


class Packed(Struct):
    """Bit-fields that share units, cross into new ones, and lie beside ordinary fields."""

    a: u32 = bits(5)
    b: u32 = bits(27)
    c: u32 = bits(1)
    d: u16 = bits(9)
    e: u16 = bits(9)
    f: u8
    g: u64 = bits(40)
    h: u64 = bits(24)
    i: i32 = bits(7)
    j: i32 = bits(25)
    on: bool = bits(1)
    rights: Rights = bits(3)


class Grid(Struct):
    rows: Array[Array[u16, 4], 3]
    points: Array[Packed, 2]


first = static(Thread)
second = static(Thread)
derived = static(Derived)
packed = static(Packed)
grid = static(Grid)
words = static(Array[u32, 16])
bytes_ = static(Array[u8, 32])
number = static(u32, 41)
PRIMES = static(Array[u16, 6], [2, 3, 5, 7, 11, 13], readonly=True)
POWERS = constant(u32, [1, 10, 100, 1000])
words_of = [5, 6, 7]
initial = Array[u32, 4]([1, 2, 3, 4])
second.state = 0x1234
second.links.previous = first


# Pointers


def indexing(p: Ptr[u32], i: u64) -> u32:
    p[i] = p[i + 1] + 1
    p[0] += 5
    return p[i] * 10 + p[0]


def arithmetic(p: Ptr[u32]) -> i64:
    q = p + 5
    r = q - 2
    r[0] = 77
    return (q - p) * 100 + (r - p) * 10 + (p - q)


def negative_offset(p: Ptr[u32], n: i64) -> u32:
    q = p + 8
    return q[n] + (q + n)[0]


def walk(p: Ptr[u8], count: u64) -> u32:
    total = u32(0)
    end = p + count
    while p != end:
        total = total * 31 + p[0]
        p += 1
    return total


def compare_pointers(p: Ptr[u32], q: Ptr[u32]) -> u8:
    return u8(p == q) + u8(p != q) * 2


def reinterpret(p: Ptr[u32]) -> u64:
    b = cast(u8, p)
    b[1] = 0xAB
    return cast(u64, p)[0]


def through_addresses(p: Ptr[u32]) -> u32:
    address = address_of(p) + 8
    pointer_at(u32, address)[0] = 9
    return pointer_at(u32, address - 4)[1]


def scalar_pointers(t: Ptr[Thread]) -> u32:
    state = pointer_to(t.state)
    slot = pointer_to(t.slots[3])
    state[0] += 5
    slot[0] = u64(state[0]) * 2
    return t.state + u32(t.slots[3])


def null_checks(p: Ptr[u32] | None) -> u32:
    if p is None:
        return 1
    if p[0] == 0:
        return 2
    return p[0]


def dereference(p: Ptr[u32] | None) -> u32:
    return p[0]


def misaligned(p: Ptr[u8], offset: u64) -> u32:
    return cast(u32, p + offset)[0]


def user_pointers(address: u64) -> u64:
    p = user_pointer_at(u32, address)
    q = p + 3
    return address_of(q) + u64(p == q) + u64(q != p)


def passes_user_pointer(p: UserPtr[u8]) -> UserPtr[u8]:
    return p + 1


def nullable(t: Ptr[Thread], other: Ptr[Thread] | None) -> u32:
    t.links.next = other
    if t.links.next and t.links.next == t:
        return 3
    return 1 if t.links.next else 2


class TestPointers:
    def test_indexing(self) -> None:
        words[4] = 9
        assert run_three_ways(indexing, cast(u32, words), u64(3)) == 100 + words[0]

    def test_arithmetic(self) -> None:
        assert run_three_ways(arithmetic, cast(u32, words)) == 500 + 30 - 5
        assert words[3] == 77

    def test_negative_offset(self) -> None:
        words[6] = 21
        assert run_three_ways(negative_offset, cast(u32, words), i64(-2)) == 42

    def test_walk(self) -> None:
        for i in range(32):
            bytes_[i] = u8(i)
        expected = 0
        for i in range(9):
            expected = (expected * 31 + int(i)) % 2**32
        assert run_three_ways(walk, cast(u8, bytes_), u64(9)) == expected

    def test_compare(self) -> None:
        p, q = cast(u32, words), cast(u32, words) + 1
        assert run_three_ways(compare_pointers, p, p) == 1
        assert run_three_ways(compare_pointers, p, q) == 2

    def test_cast_and_addresses(self) -> None:
        words[0], words[1], words[2] = u32(0x11223344), u32(5), u32(6)
        assert run_three_ways(reinterpret, cast(u32, words)) == 5 << 32 | 0x1122AB44
        assert run_three_ways(through_addresses, cast(u32, words)) == 9

    def test_pointer_to_scalars(self) -> None:
        first.state = 100
        assert run_three_ways(scalar_pointers, first) == 105 + 210

    def test_null(self) -> None:
        number[0] = 41
        assert run_three_ways(null_checks, None) == 1
        assert run_three_ways(null_checks, number) == 41
        assert trap_three_ways(dereference, None) == TrapKind.NULL
        assert run_three_ways(dereference, number) == 41

    def test_misaligned(self) -> None:
        assert run_three_ways(misaligned, cast(u8, bytes_), u64(8)) == contents_word(bytes_, 8)
        release = contents_word(bytes_, 5)
        assert trap_three_ways(misaligned, cast(u8, bytes_), u64(5), release=release) == TrapKind.MISALIGNED

    def test_user_pointers(self) -> None:
        assert run_three_ways(user_pointers, u64(0x1000)) == 0x100C + 1
        moved = run_three_ways(passes_user_pointer, user_pointer_at(u8, 0x5000))
        assert moved == user_pointer_at(u8, 0x5001)

    def test_nullable_fields(self) -> None:
        assert run_three_ways(nullable, first, None) == 2
        assert run_three_ways(nullable, first, second) == 1
        assert run_three_ways(nullable, first, first) == 3


def contents_word(array: Any, offset: int) -> int:
    return int.from_bytes(contents(array)[offset : offset + 4], "little")


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


# Statics and constants


def uses_statics() -> u32:
    number[0] += 1
    return number[0] + PRIMES[4] + initial[3] + second.state + words_of_sum + POWERS[2]


words_of_sum = sum(words_of)


def bounds(i: u64) -> u16:
    return PRIMES[i]


def signed_index(i: i32) -> u16:
    return PRIMES[i]


class TestStatics:
    def test_initial_contents(self) -> None:
        number[0], second.state = 41, 0x1234
        assert run_three_ways(uses_statics) == 42 + 11 + 4 + 0x1234 + 18 + 100
        assert second.links.previous == first

    def test_bounds(self) -> None:
        assert run_three_ways(bounds, u64(5)) == 13
        for i in (6, 7, 2**32, 2**64 - 1):
            assert trap_three_ways(bounds, u64(i)) == TrapKind.BOUNDS
        assert trap_three_ways(signed_index, i32(-1)) == TrapKind.BOUNDS


# Strings and bytes


def text_sum(text: str) -> u64:
    total = u64(0)
    data = text_bytes(text)
    for i in range(len(text)):
        total = total * 7 + data[i]
    return total


def texts(choice: u32) -> u64:
    text = "hello" if choice == 0 else "kernel Python"
    return text_sum(text) + text_sum("") + len(text)


def text_field(t: Ptr[Thread]) -> u64:
    t.name = "thread"
    return text_sum(t.name)


def copies(n: u64) -> None:
    fill_bytes(bytes_, 0xEE, 4)
    copy_bytes(pointer_to(bytes_[4]), pointer_to(bytes_[16]), n)
    move_bytes(pointer_to(bytes_[17]), pointer_to(bytes_[16]), n)
    move_bytes(pointer_to(bytes_[9]), pointer_to(bytes_[10]), n)


class TestStringsAndBytes:
    def test_texts(self) -> None:
        def reference(text: str) -> int:
            total = 0
            for character in text.encode():
                total = (total * 7 + character) % 2**64
            return total

        assert run_three_ways(texts, u32(0)) == reference("hello") + 5
        assert run_three_ways(texts, u32(1)) == reference("kernel Python") + 13
        assert run_three_ways(text_field, first, same_memory=False) == reference("thread")

    def test_bytes(self) -> None:
        for n in (0, 1, 5):
            data = bytearray(contents(bytes_))
            data[0:4] = b"\xee" * 4
            data[4 : 4 + n] = data[16 : 16 + n]
            data[17 : 17 + n] = data[16 : 16 + n]
            data[9 : 9 + n] = data[10 : 10 + n]
            run_three_ways(copies, u64(n))
            assert contents(bytes_) == bytes(data)


# Volatile and atomic


def volatiles(t: Ptr[Thread], p: Ptr[u32]) -> u32:
    t.status = 5
    t.status |= 0x80
    fence()
    volatile_store(p, t.status + 1)
    compiler_barrier()
    return volatile_load(p) + t.status


def atomics(t: Ptr[Thread], x: u64) -> u64:
    t.pending.store(x)
    total = t.pending.fetch_add(5)
    total = total * 3 + t.pending.fetch_sub(2)
    total = total * 3 + t.pending.fetch_or(0x100)
    total = total * 3 + t.pending.fetch_and(0x1FF)
    total = total * 3 + t.pending.exchange(77)
    total = total * 3 + t.pending.compare_exchange(77, 78)
    total = total * 3 + t.pending.compare_exchange(77, 79)
    return total * 3 + t.pending.load()


class TestVolatileAndAtomic:
    def test_volatile(self) -> None:
        assert run_three_ways(volatiles, first, number) == 0x86 + 0x85

    def test_atomic(self) -> None:
        steps = [10, 15, 13, 0x10D, 0x10D, 77, 78, 78]
        expected = 0
        for step in steps:
            expected = expected * 3 + step
        assert run_three_ways(atomics, first, u64(10)) == expected


def wide(a: u128, b: u128, p: Ptr[u128]) -> u128:
    p[0] = a * b
    p[1] = p[0] >> 64
    return (p[0] ^ b) + p[1]


wide_memory = static(Array[u128, 2])


def test_u128_in_memory() -> None:
    a, b = 2**100 + 3, 2**90 + 5
    product = a * b % 2**128
    expected = ((product ^ b) + (product >> 64)) % 2**128
    assert run_three_ways(wide, u128(a), u128(b), cast(u128, wide_memory)) == expected


class Painted(Struct):
    colour: Colour


painted = Painted()


def read_after_store(value: u8) -> bool:
    pointer = cast(u8, painted)
    pointer[0] = value
    return painted.colour == Colour.RED


def test_an_enum_read_from_memory_is_a_member() -> None:
    assert run_three_ways(read_after_store, u8(int(Colour.RED))) is True
    assert trap_three_ways(read_after_store, u8(200)) is TrapKind.INVALID_ENUM
