"""Page tables: entries, walking, and making the tables on the way (SDM volume 3, 4.5).

Levels are numbered from the leaves: 1 = 4 KiB pages, 2 = 2 MiB, 3 = 1 GiB, 4 = root. Nothing here touches the
TLB: `address_space` does. The same code runs on the simulated machine, which differs only in
`physical_pointer`.
"""

from collections.abc import Callable

from macadamia.lang import Array, Ptr, Struct, bitfield, cast, pointer_to, range, u64
from macadamia.machine.addresses import PAGE_BITS, PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.interface import physical_pointer

ENTRIES = 512
INDEX_BITS = 9
ROOT_LEVEL = 4
LARGEST_PAGE_LEVEL = 3

PRESENT = 1 << 0
WRITABLE = 1 << 1
USER = 1 << 2
WRITE_THROUGH = 1 << 3
CACHE_DISABLE = 1 << 4
ACCESSED = 1 << 5
DIRTY = 1 << 6
LARGE = 1 << 7
GLOBAL = 1 << 8
NO_EXECUTE = 1 << 63
ADDRESS = 0x000F_FFFF_FFFF_F000

TABLE_RIGHTS = PRESENT | WRITABLE | USER
"""Entries that point to tables allow everything: the leaf alone decides."""


class Entry(u64):
    """One page-table entry. 0 maps nothing; so does any entry without PRESENT."""

    present = bitfield(u64, 0, 1)
    large = bitfield(u64, 7, 1)

    def address(self) -> PhysAddr:
        return PhysAddr(u64(self) & ADDRESS)

    def has(self, bits: u64) -> bool:
        """Whether all of `bits` are set."""
        return u64(self) & bits == bits

    def is_table(self, level: u64) -> bool:
        """Whether an entry at `level` points to a table of the level below."""
        return level > 1 and u64(self) & (PRESENT | LARGE) == PRESENT

    def flags(self) -> u64:
        return u64(self) & ~ADDRESS


class PageTable(Struct, align=PAGE_SIZE):
    entries: Array[Entry, ENTRIES]


AllocateTable = Callable[[], PhysAddr]
"""Gives a zeroed frame for a table, or 0 when there is none."""

FreeTable = Callable[[PhysAddr], None]


def page_size(level: u64) -> u64:
    """Bytes that one entry at `level` maps."""
    return u64(1) << (PAGE_BITS + INDEX_BITS * (level - 1))


def table_at(address: PhysAddr) -> Ptr[PageTable]:
    return cast(PageTable, physical_pointer(address))


def entry_of(table: PhysAddr, address: VirtAddr, level: u64) -> Ptr[Entry]:
    """The entry that maps `address` in `table`, a table of that level."""
    index = u64(address) >> (PAGE_BITS + INDEX_BITS * (level - 1)) & (ENTRIES - 1)
    return pointer_to(table_at(table).entries[index])


def walk(root: PhysAddr, address: VirtAddr) -> tuple[Ptr[Entry], u64]:
    """The entry where the processor's walk for `address` ends, present or not, and its level."""
    level: u64 = ROOT_LEVEL
    entry = entry_of(root, address, level)
    while entry[0].is_table(level):
        level -= 1
        entry = entry_of(entry[0].address(), address, level)
    return entry, level


def descend(root: PhysAddr, address: VirtAddr, level: u64, allocate: AllocateTable) -> Ptr[Entry] | None:
    """The entry for `address` at `level`, making the tables above it and splitting larger pages.

    None when a table cannot be allocated, or when the entry at `level` points to a table of smaller pages.
    """
    at: u64 = ROOT_LEVEL
    entry = entry_of(root, address, at)
    while at > level:
        if not entry[0].is_table(at) and not make_table(entry, at, allocate):
            return None
        at -= 1
        entry = entry_of(entry[0].address(), address, at)
    if entry[0].is_table(level):
        return None
    return entry


def make_table(entry: Ptr[Entry], level: u64, allocate: AllocateTable) -> bool:
    """Let `entry` point to a table that maps what it mapped. False when out of memory.

    The translations stay the same, so the TLB may keep the large one (SDM volume 3, 4.10.2.2).
    """
    table = allocate()
    if table == PhysAddr(0):
        return False
    if entry[0].present:
        split_into(table, entry[0], level - 1)
    entry[0] = Entry(u64(table) | TABLE_RIGHTS)
    return True


def split_into(table: PhysAddr, page: Entry, level: u64) -> None:
    """Fill `table` with pages of `level` that together map what the larger `page` maps."""
    flags = page.flags() if level > 1 else page.flags() & ~LARGE
    for index in range(u64(ENTRIES)):
        table_at(table).entries[index] = Entry(u64(page.address()) + index * page_size(level) | flags)


def leaf(address: PhysAddr, level: u64, rights: u64) -> Entry:
    """Maps the page at `address`, a multiple of its size, with `rights`; PRESENT is implied."""
    return Entry(u64(address) | rights | PRESENT | (LARGE if level > 1 else 0))


def largest_level(address: VirtAddr, physical: PhysAddr, size: u64, limit: u64) -> u64:
    """The level of the largest page, at most `limit`, that can start here and is not longer than `size`."""
    level = limit
    while level > 1:
        length = page_size(level)
        if (u64(address) | u64(physical)) % length == 0 and size >= length:
            return level
        level -= 1
    return level


def map_range(
    root: PhysAddr,
    address: VirtAddr,
    physical: PhysAddr,
    size: u64,
    rights: u64,
    limit: u64,
    allocate: AllocateTable,
) -> bool:
    """Map `size` bytes, a multiple of PAGE_SIZE, with the largest pages up to level `limit`.

    For ranges that are not mapped yet: nothing is invalidated. False when out of memory; what was mapped
    stays.
    """
    done: u64 = 0
    while done < size:
        level = largest_level(address + done, physical + done, size - done, limit)
        entry = descend(root, address + done, level, allocate)
        if entry is None:
            return False
        entry[0] = leaf(physical + done, level, rights)
        done += page_size(level)
    return True


def free_tables(table: PhysAddr, level: u64, first: u64, last: u64, free: FreeTable) -> None:
    """Free the tables that entries `first` to `last` of `table`, a table of `level`, lead to."""
    for index in range(first, last + 1):
        entry = table_at(table).entries[index]
        if entry.is_table(level):
            free_tables(entry.address(), level - 1, 0, ENTRIES - 1, free)
            free(entry.address())
            table_at(table).entries[index] = Entry(0)
