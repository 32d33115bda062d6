"""Address spaces: a root page table, its tag in the TLB, and changes that the TLB hears about.

With PCID (SDM volume 3, 4.10.1) the TLB keeps translations of several spaces apart by a tag of 12 bits. Tags
are fewer than spaces: `tag_owner` says whose translations a tag has, and a space that finds another one there
flushes the tag as it is loaded. A change to a space that is not current flushes the same way, at its next
load.
"""

from macadamia.lang import Array, Ptr, Struct, copy_bytes, static, u64
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.interface import invalidate_page, load_page_table, physical_pointer
from macadamia.machine.x86_64.layout import USER_END
from macadamia.machine.x86_64.page_table import (
    ENTRIES,
    PRESENT,
    ROOT_LEVEL,
    AllocateTable,
    Entry,
    FreeTable,
    descend,
    free_tables,
    leaf,
    page_size,
    walk,
)

TAGS = 256  # of the 4,096 PCIDs; a power of two. Tag 0 is for processors without PCID
NO_FLUSH = 1 << 63  # in CR3: keep the translations of this tag
USER_ENTRIES = ENTRIES // 2  # of the root table


class Spaces(Struct):
    """What the address spaces of a processor share."""

    current: Ptr["AddressSpace"] | None
    kernel_root: PhysAddr
    no_flush: u64  # NO_FLUSH if the processor has PCID, else 0
    last_tag: u64
    tag_owner: Array[u64, TAGS]  # root table of the space whose translations each tag has; 0 = none

    def take_tag(self) -> u64:
        """A tag for a new space: the next one, 1 to TAGS - 1 in turn; 0 without PCID."""
        if self.no_flush == 0:
            return 0
        self.last_tag = self.last_tag % (TAGS - 1) + 1
        return self.last_tag


spaces = static(Spaces)


class AddressSpace(Struct):
    """User memory of some threads. Make it with `create`, end it with `destroy`."""

    root: PhysAddr
    next_cr3: u64  # what to load next time: with or without NO_FLUSH
    kept_cr3: u64  # what to load while nothing has to be flushed
    tag: u64

    def create(self, root: PhysAddr) -> None:
        """An empty user half in `root`, a frame whose content is overwritten, and the kernel half.

        The first load flushes the tag: an earlier space may have had the same root and tag.
        """
        copy_bytes(physical_pointer(root), physical_pointer(spaces.kernel_root), PAGE_SIZE)
        self.root = root
        self.tag = spaces.take_tag()
        self.next_cr3 = u64(root) | self.tag
        self.kept_cr3 = self.next_cr3 | spaces.no_flush

    def load(self) -> None:
        """Make this the current address space."""
        if spaces.tag_owner[self.tag] != u64(self.root):
            spaces.tag_owner[self.tag] = u64(self.root)
            self.next_cr3 = u64(self.root) | self.tag
        spaces.current = self
        load_page_table(self.next_cr3)
        self.next_cr3 = self.kept_cr3

    def map(
        self, address: VirtAddr, physical: PhysAddr, level: u64, rights: u64, allocate: AllocateTable
    ) -> bool:
        """Map one user page of `level`; replaces what was there. `rights`: bits of page_table.

        False: address outside of user space or not a multiple of the page size, smaller pages in the way, or
        no memory for a table.
        """
        size = page_size(level)
        if (u64(address) | u64(physical)) & (size - 1) or u64(address) > USER_END - size:
            return False
        entry = descend(self.root, address, level, allocate)
        if entry is None:
            return False
        self.replace(entry, address, leaf(physical, level, rights))
        return True

    def unmap(self, address: VirtAddr) -> Entry:
        """Unmap the page, of any size, that contains `address`.

        Gives its old entry, with ACCESSED and DIRTY.
        """
        entry, _ = walk(self.root, address)
        old = entry[0]
        self.replace(entry, address, Entry(0))
        return old

    def replace(self, entry: Ptr[Entry], address: VirtAddr, new: Entry) -> None:
        """Set a leaf entry of this space, and forget its old translation if there may be one."""
        old = entry[0]
        entry[0] = new
        if old.has(PRESENT):
            self.forget(address)

    def forget(self, address: VirtAddr) -> None:
        """No access to the page of `address` in this space uses an old translation from now on."""
        if spaces.current == self:
            invalidate_page(address)
        else:
            self.next_cr3 = u64(self.root) | self.tag

    def translate(self, address: VirtAddr) -> tuple[PhysAddr, Entry]:
        """The physical address behind `address` and its leaf entry, 0 where nothing is mapped."""
        entry, level = walk(self.root, address)
        if not entry[0].has(PRESENT):
            return PhysAddr(0), Entry(0)
        offset = u64(address) & (page_size(level) - 1)
        return entry[0].address() + offset, entry[0]

    def destroy(self, free: FreeTable) -> None:
        """Free all tables of the user half; the root is the caller's. Must not be the current space."""
        free_tables(self.root, ROOT_LEVEL, 0, USER_ENTRIES - 1, free)
