"""Opaque addresses: a physical and a virtual address never mix by accident."""

from macadamia.lang import u64

PAGE_BITS = 12
PAGE_SIZE = 1 << PAGE_BITS


class PhysAddr(u64):
    """An address on the memory bus. It can be used only through the physical map or a page table."""

    def page(self) -> "PhysAddr":
        """The address of the 4 KiB page this address is in."""
        return self & ~(PAGE_SIZE - 1)

    def page_offset(self) -> u64:
        return u64(self) & (PAGE_SIZE - 1)


class VirtAddr(u64):
    """An address as the processor translates it, in the current or in another address space."""

    def page(self) -> "VirtAddr":
        """The address of the 4 KiB page this address is in."""
        return self & ~(PAGE_SIZE - 1)

    def page_offset(self) -> u64:
        return u64(self) & (PAGE_SIZE - 1)


def round_down(value: u64, alignment: u64) -> u64:
    """`value` down to a multiple of `alignment`, a power of two."""
    return value & ~(alignment - 1)


def round_up(value: u64, alignment: u64) -> u64:
    """`value` up to a multiple of `alignment`, a power of two. Wraps to 0 above the last multiple."""
    return (value + alignment - 1) & ~(alignment - 1)
