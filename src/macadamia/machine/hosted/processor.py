"""Address translation as a processor does it: a TLB that keeps what it saw until it is told to forget.

A real TLB may drop entries at any time and load them at any time; this one drops none and, by `load_all`, has
loaded everything. A change of a page table that forgets an invalidation is thus always found. The walk here
is independent of the kernel's (x86_64/page_table.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from macadamia.lang import memory
from macadamia.machine.hosted.memory import RAM_SIZE, RAM_START, ram

PAGE_SIZE = 4096
TAG_MASK = 0xFFF  # of CR3: the PCID
NO_FLUSH = 1 << 63
ADDRESS = 0x000F_FFFF_FFFF_F000
PRESENT, WRITABLE, USER, ACCESSED, DIRTY, LARGE, GLOBAL, NO_EXECUTE = (
    *(1 << 0, 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 7, 1 << 8),
    1 << 63,
)
RIGHTS = PRESENT | WRITABLE | USER | NO_EXECUTE


class Access(Enum):
    """What an instruction does, and its bits in a page fault's error code (SDM volume 3, 4.7)."""

    READ = 0
    WRITE = 1 << 1
    FETCH = 1 << 4


class PageFault(Exception):  # noqa: N818
    """An access that the processor refuses. `error` is the error code."""

    def __init__(self, address: int, error: int) -> None:
        super().__init__(f"page fault at {address:#x}, error code {error:#x}")
        self.address = address
        self.error = error


@dataclass(frozen=True)
class Translation:
    """A page as the processor sees it: rights gathered from all levels."""

    address: int
    size: int
    physical: int
    rights: int  # PRESENT, WRITABLE, USER, NO_EXECUTE, and GLOBAL and DIRTY of the leaf
    place: int  # physical address of the leaf entry

    def covers(self, address: int) -> bool:
        return self.address <= address < self.address + self.size

    def allows(self, access: Access, *, user: bool) -> bool:
        if user and not self.rights & USER:
            return False
        if access is Access.WRITE:
            return bool(self.rights & WRITABLE)
        return access is not Access.FETCH or not self.rights & NO_EXECUTE


@dataclass
class Processor:
    """CR3 and the TLB, by tag."""

    cr3: int = 0
    tlb: dict[int, list[Translation]] = field(default_factory=dict)

    @property
    def root(self) -> int:
        return self.cr3 & ADDRESS

    @property
    def entries(self) -> list[Translation]:
        """The TLB's translations of the current tag."""
        return self.tlb.setdefault(self.cr3 & TAG_MASK, [])

    def load(self, cr3: int) -> None:
        """MOV to CR3: without NO_FLUSH the tag's translations are dropped (SDM volume 3, 4.10.4.1)."""
        self.cr3 = cr3 & ~NO_FLUSH
        if not cr3 & NO_FLUSH:
            self.entries[:] = [entry for entry in self.entries if entry.rights & GLOBAL]

    def invalidate(self, address: int) -> None:
        """INVLPG."""
        self.entries[:] = [entry for entry in self.entries if not entry.covers(address)]

    def translate(self, address: int, access: Access, *, user: bool = True) -> int:
        """The physical address an access reaches; sets ACCESSED and DIRTY. Raises PageFault."""
        for entry in self.entries:
            usable = entry.covers(address) and entry.allows(access, user=user)
            if usable and (access is not Access.WRITE or entry.rights & DIRTY):
                return entry.physical + address - entry.address
        self.invalidate(address)  # before it raises a fault the processor looks at memory again
        found = self.walk(address)
        if found is None or not found.allows(access, user=user):
            raise PageFault(address, (found is not None) | access.value | (4 if user else 0))
        self.entries.append(touched(found, access))
        return found.physical + address - found.address

    def walk(self, address: int) -> Translation | None:
        """What the page tables in memory say about an address."""
        return walk(self.root, address)

    def load_all(self) -> None:
        """Speculation at its worst: every page of the user half is in the TLB."""
        for page in pages(self.root):
            if not any(entry.covers(page.address) for entry in self.entries):
                self.entries.append(touched(page, Access.READ))

    def stale(self) -> list[Translation]:
        """Translations of the current tag that allow what the page tables do not."""
        return [entry for entry in self.entries if not self.is_current(entry)]

    def is_current(self, entry: Translation) -> bool:
        found = self.walk(entry.address)
        if found is None:
            return False
        same_place = found.physical - found.address == entry.physical - entry.address
        more = entry.rights & ~found.rights & (WRITABLE | USER) or ~entry.rights & found.rights & NO_EXECUTE
        return same_place and found.size >= entry.size and not more


def touched(page: Translation, access: Access) -> Translation:
    """`page` after an access: the processor writes ACCESSED and DIRTY to the leaf entry."""
    dirty = DIRTY if access is Access.WRITE else 0
    entry = read_word(page.place) | ACCESSED | dirty
    write_word(page.place, entry)
    return Translation(page.address, page.size, page.physical, page.rights | entry & DIRTY, page.place)


def walk(root: int, address: int) -> Translation | None:
    """The four-level walk (SDM volume 3, 4.5.4)."""
    table, rights = root, RIGHTS & ~NO_EXECUTE
    for level in (4, 3, 2, 1):
        shift = 12 + 9 * (level - 1)
        place = table + 8 * (address >> shift & 511)
        entry = read_word(place)
        if not entry & PRESENT:
            return None
        rights = combined(rights, entry)
        if level == 1 or entry & LARGE:
            size = 1 << shift
            leaf_rights = rights | entry & (GLOBAL | DIRTY)
            return Translation(address & -size, size, entry & ADDRESS & -size, leaf_rights, place)
        table = entry & ADDRESS
    raise AssertionError("unreachable")


def pages(root: int) -> Iterator[Translation]:
    """Every page of the user half."""
    address = 0
    while address < 1 << 47:
        found = walk(root, address)
        if found is not None:
            yield found
            address += found.size
        else:
            address = next_candidate(root, address)


def next_candidate(root: int, address: int) -> int:
    """The address after the largest hole that a table entry on the way to `address` leaves."""
    table = root
    for level in (4, 3, 2, 1):
        shift = 12 + 9 * (level - 1)
        entry = read_word(table + 8 * (address >> shift & 511))
        if not entry & PRESENT:
            return (address >> shift) + 1 << shift
        table = entry & ADDRESS
    raise AssertionError("unreachable")


def combined(rights: int, entry: int) -> int:
    """Rights narrow on the way down: writing and user mode need every level, NO_EXECUTE any."""
    return rights & (entry | NO_EXECUTE) & RIGHTS | entry & NO_EXECUTE


def is_ram(physical: int, size: int = 1) -> bool:
    return physical >= RAM_START and physical + size <= RAM_START + RAM_SIZE


def read_ram(physical: int, size: int) -> bytes:
    """Bytes of physical memory; zeroes where there is none."""
    if not is_ram(physical, size):
        return bytes(size)
    return memory.bytes_at(ram.kernel_address + physical - RAM_START, size)


def write_ram(physical: int, content: bytes) -> None:
    if is_ram(physical, len(content)):
        memory.write(ram.kernel_address + physical - RAM_START, content)


def read_word(physical: int) -> int:
    return int.from_bytes(read_ram(physical, 8), "little")


def write_word(physical: int, value: int) -> None:
    write_ram(physical, value.to_bytes(8, "little"))
