"""The kernel half of every address space: physical map, kernel image, window.

Made once at boot from the largest pages the processor has. Kernel text is executable and read-only, constants
are read-only, everything else is not executable, and that holds for the image's second appearance in the
physical map, too. All of it is global: it stays in the TLB across address-space switches.
"""

from macadamia.lang import Ptr, Struct, implements, panic, pointer_at, range, static, u8, u64
from macadamia.machine import interface
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr, round_down, round_up
from macadamia.machine.x86_64 import layout
from macadamia.machine.x86_64.address_space import NO_FLUSH, spaces
from macadamia.machine.x86_64.features import Feature, has
from macadamia.machine.x86_64.frames import allocate_table, frame_pool
from macadamia.machine.x86_64.instructions import invalidate_page_translation, write_cr3
from macadamia.machine.x86_64.page_table import (
    CACHE_DISABLE,
    GLOBAL,
    LARGEST_PAGE_LEVEL,
    NO_EXECUTE,
    WRITABLE,
    WRITE_THROUGH,
    map_range,
)
from macadamia.machine.x86_64.start_info import MemoryType, boot_info

READ_ONLY = GLOBAL | NO_EXECUTE
READ_WRITE = GLOBAL | NO_EXECUTE | WRITABLE
EXECUTABLE = GLOBAL
DEVICE = READ_WRITE | CACHE_DISABLE | WRITE_THROUGH


class Window(Struct):
    """The part of the kernel half that is given out piece by piece and never taken back."""

    next: u64


window = static(Window)


@implements(interface.physical_pointer)
def physical_pointer(address: PhysAddr) -> Ptr[u8]:
    return pointer_at(u8, layout.PHYSICAL_MAP) + u64(address)


@implements(interface.load_page_table)
def load_page_table(cr3: u64) -> None:
    write_cr3(cr3)


@implements(interface.invalidate_page)
def invalidate_page(address: VirtAddr) -> None:
    invalidate_page_translation(u64(address))


def make_kernel_space() -> None:
    """Build the kernel half and switch to it."""
    window.next = layout.WINDOW
    spaces.kernel_root = allocate_table()
    map_physical_memory()
    map_image()
    spaces.no_flush = NO_FLUSH if has(Feature.PCID) else u64(0)
    write_cr3(u64(spaces.kernel_root))


def map_physical_memory() -> None:
    """Map all memory that is not the kernel's text and constants writable, those read-only."""
    image = layout.image_start() - layout.KERNEL_BASE
    constants_end = layout.rodata_end() - layout.KERNEL_BASE
    for i in range(boot_info.range_count):
        found = boot_info.ranges[i]
        if found.type == MemoryType.RAM:
            start = round_down(found.start, PAGE_SIZE)
            end = round_up(found.start + found.size, PAGE_SIZE)
            map_part(start, end, 0, image, READ_WRITE)
            map_part(start, end, image, constants_end, READ_ONLY)
            map_part(start, end, constants_end, layout.PHYSICAL_MAP_SIZE, READ_WRITE)


def map_part(start: u64, end: u64, low: u64, high: u64, rights: u64) -> None:
    """Map in the physical map what of `start` to `end` lies between `low` and `high`."""
    first = max(start, low)
    last = min(end, high)
    if first < last:
        map_kernel(layout.PHYSICAL_MAP + first, first, last - first, rights)


def map_image() -> None:
    map_image_part(layout.image_start(), layout.text_end(), EXECUTABLE)
    map_image_part(layout.text_end(), layout.rodata_end(), READ_ONLY)
    map_image_part(layout.rodata_end(), layout.image_end(), READ_WRITE)


def map_image_part(start: u64, end: u64, rights: u64) -> None:
    map_kernel(start, start - layout.KERNEL_BASE, end - start, rights)


def map_kernel(address: u64, physical: u64, size: u64, rights: u64) -> None:
    """Map a part of the kernel half; panics when memory is exhausted."""
    largest: u64 = LARGEST_PAGE_LEVEL if has(Feature.GIBIBYTE_PAGES) else LARGEST_PAGE_LEVEL - 1
    root = spaces.kernel_root
    if not map_range(root, VirtAddr(address), PhysAddr(physical), size, rights, largest, allocate_table):
        panic("too little memory for the kernel's page tables")


def map_device(physical: u64, size: u64) -> u64:
    """Map device registers, uncached. The virtual address of the first one."""
    return map_in_window(physical, size, DEVICE)


def map_firmware(physical: u64, size: u64) -> u64:
    """Map tables of the firmware, read-only: they may lie outside of what the memory map calls RAM."""
    return map_in_window(physical, size, READ_ONLY)


def map_in_window(physical: u64, size: u64, rights: u64) -> u64:
    offset = physical & (PAGE_SIZE - 1)
    length = round_up(offset + size, PAGE_SIZE)
    address = window.next
    map_kernel(address, physical - offset, length, rights)
    window.next += length
    return address + offset


def allocate_stack(size: u64) -> u64:
    """A kernel stack of `size` bytes, a multiple of PAGE_SIZE. Its top; below it lies a guard page."""
    bottom = window.next + PAGE_SIZE
    for offset in range(0, size, PAGE_SIZE):
        frame = frame_pool.allocate()
        if frame == PhysAddr(0):
            panic("too little memory for a kernel stack")
        map_kernel(bottom + offset, u64(frame), PAGE_SIZE, READ_WRITE)
    window.next = bottom + size
    return window.next


def is_guard_page(address: u64) -> bool:
    """Whether a fault at `address` is the overflow of a kernel stack: only guard pages are unmapped there."""
    return layout.WINDOW <= address < window.next
