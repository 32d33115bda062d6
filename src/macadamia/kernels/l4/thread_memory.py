"""Control blocks of threads on the bare machine: pages of kernel memory, found through a directory.

A page holds two neighbours; it is there while one of them is. All numbers without a page share one control
block that is always zero.
"""

from macadamia.kernels.l4.kernel_memory import allocate_zeroed_page, kernel_memory
from macadamia.kernels.l4.thread import Thread
from macadamia.kernels.l4.thread_table import (
    THREAD_NUMBERS,
    make_thread_slot,
    release_thread_slot,
    thread_slot,
)
from macadamia.lang import Array, Ptr, Struct, cast, implements, inline, sizeof, static, u32
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr
from macadamia.machine.interface import physical_pointer

SLOT_SIZE = 2048
SLOTS_PER_PAGE = PAGE_SIZE // SLOT_SIZE
assert sizeof(Thread) <= SLOT_SIZE


class Directory(Struct):
    """By thread number: the page that its control block is in."""

    frames: Array[PhysAddr, THREAD_NUMBERS // SLOTS_PER_PAGE]


directory = static(Directory)
absent_thread = static(Thread)


@inline
@implements(thread_slot)
def find_slot(number: u32) -> Ptr[Thread]:
    frame = directory.frames[number // SLOTS_PER_PAGE]
    if frame == PhysAddr(0):
        return absent_thread
    return slot_in(frame, number % SLOTS_PER_PAGE)


@inline
def slot_in(frame: PhysAddr, index: u32) -> Ptr[Thread]:
    return cast(Thread, physical_pointer(frame) + index * SLOT_SIZE)


@implements(make_thread_slot)
def make_slot(number: u32) -> bool:
    index = number // SLOTS_PER_PAGE
    if directory.frames[index] == PhysAddr(0):
        directory.frames[index] = allocate_zeroed_page()
    return directory.frames[index] != PhysAddr(0)


@implements(release_thread_slot)
def release_slot(number: u32) -> None:
    index = number // SLOTS_PER_PAGE
    frame = directory.frames[index]
    if not slot_in(frame, u32(0)).exists() and not slot_in(frame, u32(1)).exists():
        kernel_memory.free_page(frame)
        directory.frames[index] = PhysAddr(0)
