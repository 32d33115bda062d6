"""Walking a four-level page table (Intel SDM, volume 3A, section 4.5.4) over simulated physical memory."""

from macadamia.lang import Array, Ptr, Struct, range, u64

PAGE_SHIFT = 12
INDEX_BITS = 9
ENTRIES = 1 << INDEX_BITS
LEVELS = 4
PRESENT = 1 << 0
WRITABLE = 1 << 1
LARGE = 1 << 7  # in a page directory or a page-directory-pointer entry: maps 2 MiB or 1 GiB
FRAME = 0x000F_FFFF_FFFF_F000  # bits 51:12 of an entry
FRAMES = 64
NOT_MAPPED = (1 << 64) - 1


class Table(Struct, align=4096):
    """One table of any level."""

    entries: Array[u64, ENTRIES]


class PhysicalMemory(Struct):
    """Page frames for tables, taken in order. Frame 0 is the root table."""

    frames: Array[Table, FRAMES]
    used: u64

    def clear(self) -> None:
        """An empty root table and no other."""
        self.used = 0
        self.allocate()

    def table_at(self, entry: u64) -> Ptr[Table]:
        """The table that `entry` refers to."""
        return self.frames[(entry & FRAME) >> PAGE_SHIFT]

    def allocate(self) -> u64:
        """The physical address of a fresh frame, or 0 when none is left."""
        if self.used == FRAMES:
            return 0
        table = self.frames[self.used]
        for i in range(ENTRIES):
            table.entries[i] = 0
        self.used += 1
        return self.used - 1 << PAGE_SHIFT


def index_at(address: u64, level: u64) -> u64:
    """Which entry of a table of `level` (1 is the lowest) translates `address`."""
    return address >> PAGE_SHIFT + INDEX_BITS * (level - 1) & ENTRIES - 1


def translate(memory: Ptr[PhysicalMemory], address: u64) -> u64:
    """The physical address that a virtual `address` is mapped to, or NOT_MAPPED."""
    table = memory.frames[0]
    for level in range(LEVELS, 0, -1):
        entry = table.entries[index_at(address, level)]
        if not entry & PRESENT:
            return NOT_MAPPED
        if level == 1 or entry & LARGE:
            offset_mask = (u64(1) << PAGE_SHIFT + INDEX_BITS * (level - 1)) - 1
            return entry & FRAME & ~offset_mask | address & offset_mask
        table = memory.table_at(entry)
    return NOT_MAPPED


def map_page(memory: Ptr[PhysicalMemory], address: u64, frame: u64, leaf_level: u64) -> bool:
    """Map the page at `address` (4 KiB at leaf_level 1, 2 MiB at 2) to `frame`. False when tables run out."""
    table = memory.frames[0]
    for level in range(u64(LEVELS), leaf_level, -1):
        index = index_at(address, level)
        if not table.entries[index] & PRESENT:
            fresh = memory.allocate()
            if fresh == 0:
                return False
            table.entries[index] = fresh | PRESENT | WRITABLE
        table = memory.table_at(table.entries[index])
    large = u64(LARGE) if leaf_level > 1 else u64(0)
    table.entries[index_at(address, leaf_level)] = frame | large | PRESENT | WRITABLE
    return True
