"""Address spaces.

A space has page tables, two areas that the kernel fills and that mapping never touches (the kernel
interface page, UTCBs), and privileges. Its control block is a pair of frames that begins with the root
table.
"""

from macadamia.abi.l4.errors import CallError
from macadamia.abi.l4.fpages import SMALLEST_FPAGE, Fpage, Rights
from macadamia.kernels.l4.kernel_memory import PAIR_SIZE, allocate_zeroed_page, kernel_memory
from macadamia.kernels.l4.page_table import LEVEL_1, PageTables, permissions, user_bits, word_of
from macadamia.kernels.l4.physical_memory import physical_memory
from macadamia.lang import Ptr, Struct, cast, fill_bytes, sizeof, u8, u64
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.interface import physical_pointer
from macadamia.machine.x86_64.address_space import USER_ENTRIES, AddressSpace
from macadamia.machine.x86_64.layout import USER_END
from macadamia.machine.x86_64.page_table import ACCESSED, DIRTY, PRESENT, WRITABLE, Entry, page_size

KIP_AREA_LOG2 = 12  # of the smallest KIP area (KipAreaInfo)
UTCB_AREA_LOG2 = SMALLEST_FPAGE  # of the smallest UTCB area (UtcbAreaInfo.s)


class SharedPages(Struct):
    """Pages that the kernel shows all spaces, at the end of user memory (stubs.py): mapping skips them."""

    start: u64  # USER_END if there are none


shared_pages = SharedPages()
shared_pages.start = USER_END


class Area(Struct):
    """Addresses from `start` to `end`; of no size while it is not set."""

    start: u64
    end: u64

    def set(self, region: Fpage) -> None:
        self.start = region.address()
        self.end = self.start + (u64(1) << region.size_log2())

    def clear(self) -> None:
        self.start = 0
        self.end = 0

    def overlaps(self, start: u64, end: u64) -> bool:
        return start < self.end and self.start < end


class Space(PageTables):
    """The control block. `threads` and `active_threads` are kept by who makes threads."""

    address_space: AddressSpace
    kip_area: Area
    utcb_area: Area
    threads: u64
    active_threads: u64
    privileged: bool  # its threads may call ThreadControl and SpaceControl
    is_sigma0: bool  # what it maps is physical memory (identity.py)

    def is_initialised(self) -> bool:
        """Whether SpaceControl set the areas."""
        return self.utcb_area.end != 0

    def in_kernel_areas(self, start: u64, end: u64) -> bool:
        """Whether any byte from `start` to `end` belongs to an area that mapping skips."""
        in_areas = self.kip_area.overlaps(start, end) or self.utcb_area.overlaps(start, end)
        return in_areas or end > shared_pages.start

    def utcb_fits(self, location: u64, size: u64) -> bool:
        """Whether a UTCB of `size` bytes, a power of two, may lie at `location`."""
        area = self.utcb_area
        return location % size == 0 and area.start <= location < area.end

    # Pages of the kernel: there until the kernel takes them away

    def map_kernel_page(self, address: VirtAddr, frame: PhysAddr, rights: Rights) -> bool:
        """Let users see a frame of the kernel where nothing is mapped. False when out of memory."""
        entry, _, count = self.find_or_make(address, LEVEL_1)
        if entry is None:
            return False
        assert not entry[0].present, "a page of the kernel on top of another one"
        count[0] += 1
        entry[0] = Entry(u64(frame) | user_bits(permissions(rights)))
        word_of(entry)[0] = 0
        return True

    def unmap_kernel_page(self, address: VirtAddr) -> PhysAddr:
        """The frame that was mapped, 0 if none; it stays what it is."""
        entry, _ = self.find(address)
        if not entry[0].present:
            return PhysAddr(0)
        frame = entry[0].address()
        entry[0] = Entry(0)
        self.release(address, LEVEL_1)
        self.address_space.forget(address)
        return frame

    def hold_utcb(self, address: VirtAddr) -> Ptr[u8] | None:
        """A thread needs the UTCB at `address`, in the UTCB area: the kernel's view of it. None: out of
        memory.

        Its page, zeroed when new, stays until as many threads dropped it.
        """
        page = address.page()
        entry, _ = self.find(page)
        if not entry[0].present:
            frame = allocate_zeroed_page()
            if frame == PhysAddr(0):
                return None
            if not self.map_kernel_page(page, frame, Rights.READ | Rights.WRITE):
                kernel_memory.free_page(frame)
                return None
            self.pages += 1
            entry, _ = self.find(page)
        word_of(entry)[0] += 1
        return physical_pointer(entry[0].address() + address.page_offset())

    def drop_utcb(self, address: VirtAddr) -> None:
        """A thread that held the UTCB at `address` is gone or has another one."""
        page = address.page()
        entry, _ = self.find(page)
        threads = word_of(entry)
        threads[0] -= 1
        if threads[0] == 0:
            kernel_memory.free_page(self.unmap_kernel_page(page))
            self.pages -= 1

    # SpaceControl

    def area_error(self, kip_area: Fpage, utcb_area: Fpage) -> CallError:
        """What is wrong with these areas (X.2 manual, SpaceControl)."""
        if not is_user_region(utcb_area, UTCB_AREA_LOG2):
            return CallError.UTCB_AREA
        if not is_user_region(kip_area, KIP_AREA_LOG2) or regions_overlap(kip_area, utcb_area):
            return CallError.KIP_AREA
        return CallError.OK


def is_user_region(region: Fpage, smallest_log2: u64) -> bool:
    """Whether an fpage is at least that large and lies in user memory, whatever bits it has."""
    size_log2 = u64(region.size_log2())
    if size_log2 < smallest_log2 or region.is_io():
        return False
    size = u64(1) << size_log2
    end = shared_pages.start
    return size <= end and region.address() <= end - size


def regions_overlap(one: Fpage, other: Fpage) -> bool:
    """Whether two fpages share an address: as both are aligned, one then contains the other."""
    larger = max(one.size_log2(), other.size_log2())
    return u64(one) >> larger == u64(other) >> larger


def create_space() -> Ptr[Space] | None:
    """An empty space, not initialised; None when kernel memory is exhausted."""
    frame = kernel_memory.allocate_pair()
    if frame == PhysAddr(0):
        return None
    memory = physical_pointer(frame)
    fill_bytes(memory, 0, sizeof(Space))
    space = cast(Space, memory)
    space.root = frame
    space.pages = PAIR_SIZE // PAGE_SIZE
    space.address_space.create(frame)
    return space


def keep_table(_table: PhysAddr) -> None:
    """For AddressSpace.destroy: an empty space has no tables left."""


def free_space(space: Ptr[Space]) -> None:
    """End of an empty space that is not current."""
    assert space.root_count == 0, "a space that is not empty"
    if shared_pages.start < USER_END:
        space.entries[USER_ENTRIES - 1] = Entry(0)
    space.address_space.destroy(keep_table)
    kernel_memory.free_pair(space.root)


def user_memory(space: Ptr[Space], address: u64, write: bool) -> Ptr[u8] | None:
    """The kernel's view of one byte of user memory, and of those after it up to the end of the 4 KiB page.

    None where a user's own access would fault, and where there is no RAM. Like an access of the user's it
    leaves its mark in the page table.
    """
    if address >= USER_END:
        return None
    entry, level = space.find(VirtAddr(address))
    needed: u64 = PRESENT | WRITABLE if write else PRESENT
    if not entry[0].has(needed):
        return None
    target = entry[0].address() + (address & (page_size(level) - 1))
    if not physical_memory.is_ram(target.page()):
        return None
    entry[0] |= ACCESSED
    if write:
        entry[0] |= DIRTY
    return physical_pointer(target)
