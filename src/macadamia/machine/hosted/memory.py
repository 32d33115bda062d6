"""Physical memory of the simulated machine: a part of the memory that CPython and jit share."""

from macadamia.lang import Array, Ptr, cast, implements, panic, static, u8, u64
from macadamia.machine import interface
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr

RAM_START = 0x10_0000
RAM_SIZE = 4 << 20

ram = static(Array[u8, RAM_SIZE], align=PAGE_SIZE)


@implements(interface.physical_pointer)
def physical_pointer(address: PhysAddr) -> Ptr[u8]:
    """As the real one; memory that is not there is a panic instead of a page fault."""
    offset = u64(address) - RAM_START
    if offset >= RAM_SIZE:
        panic("the kernel touches physical memory that is not there")
    return cast(u8, ram) + offset
