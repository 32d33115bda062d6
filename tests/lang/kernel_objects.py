"""Types and statics of every kind, for the tests of memory and structs."""

from enum import IntEnum, IntFlag

from macadamia.lang import (
    Array,
    Atomic,
    Ptr,
    Struct,
    Volatile,
    bitfield,
    bits,
    constant,
    field,
    i8,
    i32,
    static,
    storage,
    u8,
    u16,
    u32,
    u64,
)


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
