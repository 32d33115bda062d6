"""The page tables of an address space, each with a shadow.

A page table is an aligned pair of frames: the table that the processor reads, and right behind it a word of
ours for each entry, so that entry and word are one addition apart. What the word is depends on the entry:

    points to a table         how many entries of that table are in use
    maps a page               the address of the page's mapping node
    maps a kernel's page      a number below PAGE_SIZE (of a UTCB page: its threads); there is no node

A table is freed with its last entry. The root table has only a user half to keep words for; behind them lies
the rest of the address space's control block, so that a space is one pair of frames.

The entry that points to a table allows everything: rights are those of the leaf. Read always comes along.
"""

from macadamia.abi.l4.fpages import Rights
from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.lang import Array, Ptr, Struct, cast, fill_bytes, inline, local, noinline, pointer_to, u64
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.interface import physical_pointer
from macadamia.machine.x86_64.address_space import USER_ENTRIES
from macadamia.machine.x86_64.page_table import (
    ENTRIES,
    NO_EXECUTE,
    PRESENT,
    ROOT_LEVEL,
    TABLE_RIGHTS,
    USER,
    WRITABLE,
    Entry,
    entry_of,
)

PERMISSIONS = WRITABLE | NO_EXECUTE
"""What can be allowed beyond reading. In a set of permissions NO_EXECUTE means that execution is allowed."""
OTHER_BITS = (1 << 64) - 1 - PERMISSIONS

LEVEL_1 = 1
LEVEL_2 = 2
LEVEL_3 = 3  # whose entries map 4 KiB, 2 MiB, 1 GiB


class PageSizes(Struct):
    """What the processor can do."""

    largest_level: u64  # LEVEL_2, or LEVEL_3 if it has pages of 1 GiB


page_sizes = PageSizes()
page_sizes.largest_level = LEVEL_2


class Table(Struct, align=PAGE_SIZE):
    """A table and its shadow."""

    entries: Array[Entry, ENTRIES]
    words: Array[u64, ENTRIES]


def word_of(entry: Ptr[Entry]) -> Ptr[u64]:
    """The shadow of an entry."""
    return cast(u64, entry) + ENTRIES


def permissions(rights: Rights) -> u64:
    """Rights as a set of permissions."""
    write: u64 = WRITABLE if rights & Rights.WRITE else 0
    execute: u64 = NO_EXECUTE if rights & Rights.EXECUTE else 0
    return write | execute


def allowed(entry: Entry) -> u64:
    """The permissions that an entry gives."""
    return (u64(entry) ^ NO_EXECUTE) & PERMISSIONS


def with_permissions(entry: Entry, permitted: u64) -> Entry:
    """The entry, with other permissions."""
    return Entry(u64(entry) & OTHER_BITS | permitted ^ NO_EXECUTE)


def user_bits(permitted: u64) -> u64:
    """The bits of an entry that gives user mode these permissions."""
    return permitted ^ (NO_EXECUTE | PRESENT | USER)


class PageTables(Struct, align=PAGE_SIZE):
    """The tables of a space; this is the root table, too."""

    entries: Array[Entry, ENTRIES]
    words: Array[u64, USER_ENTRIES]  # the shadow
    root: PhysAddr  # where this is
    root_count: u64  # entries of the user half in use
    pages: u64  # frames of kernel memory that this space holds: tables, UTCBs and this

    def root_entry(self, address: VirtAddr) -> Ptr[Entry]:
        return entry_of(self.root, address, ROOT_LEVEL)

    @inline
    def find(self, address: VirtAddr) -> tuple[Ptr[Entry], u64]:
        """The entry where the processor's walk for a user address ends, present or not, and its level."""
        entry = self.root_entry(address)
        if not entry[0].present:
            return entry, ROOT_LEVEL
        entry = entry_of(entry[0].address(), address, LEVEL_3)
        if not entry[0].is_table(LEVEL_3):
            return entry, LEVEL_3
        entry = entry_of(entry[0].address(), address, LEVEL_2)
        if not entry[0].is_table(LEVEL_2):
            return entry, LEVEL_2
        return entry_of(entry[0].address(), address, LEVEL_1), LEVEL_1

    @inline
    def find_small(self, address: VirtAddr) -> tuple[Ptr[Entry] | None, Ptr[u64]]:
        """The entry of a 4 KiB page and the count of its table, if there is that table. One way, no loop."""
        entry = self.root_entry(address)
        if entry[0].present:
            entry = entry_of(entry[0].address(), address, LEVEL_3)
            if entry[0].is_table(LEVEL_3):
                entry = entry_of(entry[0].address(), address, LEVEL_2)
                if entry[0].is_table(LEVEL_2):
                    return entry_of(entry[0].address(), address, LEVEL_1), word_of(entry)
        return None, pointer_to(self.root_count)

    @inline
    def find_or_make(self, address: VirtAddr, level: u64) -> tuple[Ptr[Entry] | None, u64, Ptr[u64]]:
        """The entry for `address` at `level`, its level, and the count of the table it is in.

        Missing tables are made; None if there is no memory for one. Where a larger page is mapped already,
        its entry and level are given. At `level` the entry may be anything, also a table. Whoever fills an
        empty entry counts it; who leaves it empty calls `leave_empty`.
        """
        if level == LEVEL_1:
            small, small_count = self.find_small(address)
            if small is not None:
                return small, LEVEL_1, small_count
        return self.make_path(address, level)

    @noinline
    def make_path(self, address: VirtAddr, level: u64) -> tuple[Ptr[Entry] | None, u64, Ptr[u64]]:
        """`find_or_make` where something may have to be made."""
        at: u64 = ROOT_LEVEL
        entry = self.root_entry(address)
        count = pointer_to(self.root_count)
        while at > level:
            if not entry[0].present:
                table = allocate_table()
                if table == PhysAddr(0):
                    self.leave_empty(address, at, count)
                    return None, at, count
                self.pages += 2
                count[0] += 1
                entry[0] = Entry(u64(table) | TABLE_RIGHTS)
                word_of(entry)[0] = 0
            elif not entry[0].is_table(at):
                return entry, at, count
            count = word_of(entry)
            at -= 1
            entry = entry_of(entry[0].address(), address, at)
        return entry, at, count

    def leave_empty(self, address: VirtAddr, level: u64, count: Ptr[u64]) -> None:
        """The empty entry that `find_or_make` gave stays empty: free the tables that were made for it."""
        if count[0] == 0 and level < ROOT_LEVEL:
            count[0] = 1
            self.release(address, level)

    @inline
    def release(self, address: VirtAddr, level: u64) -> None:
        """The entry for `address` at `level` was cleared: count that, and free tables that became empty."""
        if level == LEVEL_1:
            _, count = self.find_small(address)
            if count[0] > 1:
                count[0] -= 1
                return
        self.release_path(address, level)

    @noinline
    def release_path(self, address: VirtAddr, level: u64) -> None:
        """`release` where a table becomes empty."""
        path = local(Array[Ptr[Entry], ROOT_LEVEL + 1])
        at: u64 = ROOT_LEVEL
        entry = self.root_entry(address)
        while at > level:
            path[at] = entry
            at -= 1
            entry = entry_of(entry[0].address(), address, at)
        while at < ROOT_LEVEL:
            at += 1
            entry = path[at]
            count = word_of(entry)
            count[0] -= 1
            if count[0] != 0:
                return
            kernel_memory.free_pair(entry[0].address())
            self.pages -= 2
            entry[0] = Entry(0)
        self.root_count -= 1


def allocate_table() -> PhysAddr:
    """A pair of frames for an empty table and its shadow; 0 when kernel memory is exhausted."""
    table = kernel_memory.allocate_pair()
    if table != PhysAddr(0):
        fill_bytes(physical_pointer(table), 0, PAGE_SIZE)
    return table
