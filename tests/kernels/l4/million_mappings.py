"""A million mappings of 4 KiB: how much memory they take, and that all of it comes back.

A program of its own (run by test_kernel_memory.py), for it needs more memory than other tests like to save.
Prints bytes of kernel memory per mapping.
"""

from macadamia.abi.l4.fpages import COMPLETE_FPAGE, Rights, fpage
from macadamia.abi.l4.messages import MAP_ITEM, ItemHeader
from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.kernels.l4.map_item import MapOperation
from macadamia.kernels.l4.mapping import Outcome, mappings, preemption_point
from macadamia.kernels.l4.physical_memory import physical_memory
from macadamia.kernels.l4.space import Space, create_space
from macadamia.kernels.l4.space_control import delete_space
from macadamia.lang import Array, Ptr, cast, implements, local, range, static, u8, u64
from macadamia.lang.jit import jit
from macadamia.machine import interface
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.x86_64.address_space import spaces

COUNT = 1_000_000
POOL = 0x1000_0000
POOL_SIZE = 96 << 20
USER_MEMORY = 1 << 32

pool = static(Array[u8, POOL_SIZE], align=2 * PAGE_SIZE)


@implements(interface.physical_pointer)
def physical_pointer(address: PhysAddr) -> Ptr[u8]:
    return cast(u8, pool) + (u64(address) - POOL)


@implements(interface.load_page_table)
def load_page_table(_cr3: u64) -> None:
    pass


@implements(interface.invalidate_page)
def invalidate_page(_address: VirtAddr) -> None:
    pass


@implements(preemption_point)
def never() -> bool:
    return False


def start() -> None:
    kernel_memory.donate(PhysAddr(POOL + PAGE_SIZE), PhysAddr(POOL + POOL_SIZE))
    physical_memory.end = 1 << 46
    spaces.kernel_root = PhysAddr(POOL)


def map_all(sender: Ptr[Space], receiver: Ptr[Space]) -> u64:
    """One item for each page, as page faults would do it. The number of pages mapped."""
    operation = local(MapOperation)
    for number in range(u64(COUNT)):
        address = USER_MEMORY + number * PAGE_SIZE
        region = fpage(address, u8(12), Rights.READ | Rights.WRITE)
        item = ItemHeader(address | MAP_ITEM << 1)
        operation.prepare(sender, receiver, item, region, COMPLETE_FPAGE)
        if operation.run() != Outcome.DONE:
            return number
    return u64(COUNT)


def main() -> None:
    library = jit([start, map_all, create_space, delete_space],
                  [physical_pointer, load_page_table, invalidate_page, never], "release")  # fmt: skip
    library.start()
    free = kernel_memory.free_pages
    sigma0, receiver = library.create_space(), library.create_space()
    sigma0.is_sigma0 = True
    before = kernel_memory.free_pages
    assert library.map_all(sigma0, receiver) == COUNT
    used = int(before - kernel_memory.free_pages) * PAGE_SIZE
    assert library.delete_space(sigma0) == library.delete_space(receiver) == Outcome.DONE
    assert (kernel_memory.free_pages, mappings.used) == (free, 0)
    print(used / COUNT)


if __name__ == "__main__":
    main()
