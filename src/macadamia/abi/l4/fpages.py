"""Flexpages: regions of an address space of 2**s bytes (X.2 manual, section 4.1)."""

from enum import IntFlag

from macadamia.lang import bitfield, storage, u8, u64

SMALLEST_FPAGE = 12  # log2 bytes of the smallest region that can be mapped on amd64
COMPLETE_SPACE = 1  # the size field that stands for the whole address space
ADDRESS_BITS = 48  # of a canonical user address space, log2 of what the complete fpage spans
IO_FPAGE = 2  # the size field that makes an fpage one of I/O ports (IA-32, appendix A.4)


@storage(u8)
class Rights(IntFlag):
    """What a mapping allows."""

    EXECUTE = 1
    WRITE = 2
    READ = 4


ALL_RIGHTS = Rights.READ | Rights.WRITE | Rights.EXECUTE


class Fpage(u64):
    """A region and rights in one word."""

    rights = bitfield(Rights, 0, 3)
    size_field = bitfield(u8, 4, 6)
    base_field = bitfield(u64, 10, 54)
    io_size = bitfield(u8, 10, 6)  # log2 of the number of ports, where size_field is IO_FPAGE
    io_port = bitfield(u64, 16, 16)

    def is_nil(self) -> bool:
        return u64(self) & ~0xF == 0

    def is_complete(self) -> bool:
        """The whole user address space."""
        return self.size_field == COMPLETE_SPACE and self.base_field == 0

    def is_io(self) -> bool:
        return self.size_field == IO_FPAGE

    def size_log2(self) -> u8:
        """log2 of the size in bytes."""
        if self.is_complete():
            return u8(ADDRESS_BITS)
        return self.size_field

    def address(self) -> u64:
        """The first byte, with the bits below the size ignored as the manual has it."""
        return u64(self) >> self.size_log2() << self.size_log2()


NIL_FPAGE = Fpage(0)
COMPLETE_FPAGE = Fpage(COMPLETE_SPACE << 4 | 7)


def fpage(address: u64, size_log2: u8, rights: Rights) -> Fpage:
    """The region of 2**size_log2 bytes that contains `address`."""
    return Fpage(address >> size_log2 << size_log2 | u64(size_log2) << 4 | u64(rights))
