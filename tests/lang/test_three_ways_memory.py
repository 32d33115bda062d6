"""Memory three ways: pointers, statics, texts, volatile and atomic access."""

from typing import Any

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    UserPtr,
    address_of,
    cast,
    compiler_barrier,
    copy_bytes,
    fence,
    fill_bytes,
    i32,
    i64,
    move_bytes,
    pointer_at,
    pointer_to,
    range,
    static,
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
from tests.lang.kernel_objects import (
    POWERS,
    PRIMES,
    Colour,
    Thread,
    bytes_,
    first,
    initial,
    number,
    second,
    words,
    words_of,
)
from tests.lang.three_ways import TrapKind, contents, run_three_ways, trap_three_ways

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
