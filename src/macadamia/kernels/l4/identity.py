"""sigma0's address space: physical memory, 1:1.

Its pages come into being when they are asked for, by a map item or by a fault of sigma0 itself, as large as
they can be. They are the roots of the mapping database, so that everything else is the same for all spaces.
What belongs to the kernel has no page, and neither has physical memory behind sigma0's own KIP and UTCB
areas.
"""

from macadamia.kernels.l4.mapping import Mapping, Outcome, mappings
from macadamia.kernels.l4.page_table import PERMISSIONS, page_sizes, user_bits
from macadamia.kernels.l4.physical_memory import physical_memory
from macadamia.kernels.l4.space import Space
from macadamia.lang import Ptr, u8, u64
from macadamia.machine.addresses import PhysAddr, VirtAddr
from macadamia.machine.x86_64.layout import USER_END
from macadamia.machine.x86_64.page_table import LARGE, Entry, page_size


def map_identity(space: Ptr[Space], address: VirtAddr) -> Outcome:
    """Give sigma0 the page of `address`: DONE, also if it has it already, NOT_THERE or OUT_OF_MEMORY."""
    if u64(address) >= USER_END:
        return Outcome.NOT_THERE
    found, level = space.find(address)
    if found[0].present:
        return Outcome.DONE
    level = largest_identity(space, u64(address), min(level, page_sizes.largest_level))
    if level == 0:
        return Outcome.NOT_THERE
    node = mappings.new()
    if node is None:
        return Outcome.OUT_OF_MEMORY
    start = VirtAddr(u64(address) & ~(page_size(level) - 1))
    entry, _, count = space.find_or_make(start, level)
    if entry is None:
        mappings.delete(node)
        return Outcome.OUT_OF_MEMORY
    count[0] += 1
    make_identity(node, space, start, level, entry)
    return Outcome.DONE


def largest_identity(space: Ptr[Space], address: u64, limit: u64) -> u64:
    """The level of the largest page, at most `limit`, that is all sigma0's to have; 0 = none."""
    level = limit
    while level > 0:
        start = address & ~(page_size(level) - 1)
        end = start + page_size(level)
        is_whole = end <= USER_END and not space.in_kernel_areas(start, end)
        if is_whole and physical_memory.is_free_of_kernel(start, end):
            return level
        level -= 1
    return level


def make_identity(
    node: Ptr[Mapping], space: Ptr[Space], address: VirtAddr, level: u64, entry: Ptr[Entry]
) -> None:
    """Fill in a root node and its entry, with all rights."""
    node.make_root()
    node.space = space
    node.entry = entry
    node.address = address
    node.level = u8(level)
    large: u64 = LARGE if level > 1 else 0
    node.fill(Entry(u64(PhysAddr(u64(address))) | user_bits(PERMISSIONS) | large))
