"""ACPI tables, as far as the machine needs them (ACPI specification 6.4, chapter 5.2).

Tables lie at any address, so their fields are read byte by byte; a table is believed when its bytes add up to
0.
"""

from macadamia.lang import Ptr, panic, pointer_at, range, u8, u64
from macadamia.machine.x86_64.kernel_space import map_firmware
from macadamia.machine.x86_64.start_info import boot_info

ROOT_POINTER_SIZE = 36  # RSDP (5.2.5.3)
ROOT_POINTER_SIZE_1 = 20  # the part of version 1, which has its own checksum
REVISION_OFFSET = 15
RSDT_OFFSET = 16
XSDT_OFFSET = 24
REVISION_WITH_XSDT = 2

HEADER_SIZE = 36  # of every table (5.2.6): signature, length, ...
LENGTH_OFFSET = 4
LONGEST_TABLE = 1 << 20


def signature(text: str) -> int:
    """Import time: a table's four-character signature as a number."""
    return int.from_bytes(text.encode("ascii"), "little")


def find_table(wanted: u64) -> Ptr[u8] | None:
    """The first table with that signature; None when the machine has no ACPI or no such table."""
    if boot_info.acpi_root == 0:
        return None
    root = map_bytes(boot_info.acpi_root, ROOT_POINTER_SIZE)
    if not sums_to_zero(root, ROOT_POINTER_SIZE_1):
        panic("corrupt ACPI tables: checksum of the root pointer")
    xsdt = number(root + XSDT_OFFSET, 8) if root[REVISION_OFFSET] >= REVISION_WITH_XSDT else 0
    if xsdt:
        return find_in_list(map_table(xsdt), wanted, 8)
    return find_in_list(map_table(number(root + RSDT_OFFSET, 4)), wanted, 4)


def find_in_list(tables: Ptr[u8], wanted: u64, address_size: u64) -> Ptr[u8] | None:
    """Search the RSDT (32-bit addresses) or the XSDT (64-bit addresses)."""
    offset: u64 = HEADER_SIZE
    while offset < table_length(tables):
        address = number(tables + offset, address_size)
        if number(map_bytes(address, HEADER_SIZE), 4) == wanted:
            return map_table(address)
        offset += address_size
    return None


def map_table(address: u64) -> Ptr[u8]:
    """Map a table whole; panics when it is damaged."""
    length = table_length(map_bytes(address, HEADER_SIZE))
    if length < HEADER_SIZE or length > LONGEST_TABLE:
        panic("corrupt ACPI tables: length of a table")
    table = map_bytes(address, length)
    if not sums_to_zero(table, length):
        panic("corrupt ACPI tables: checksum of a table")
    return table


def table_length(table: Ptr[u8]) -> u64:
    """Bytes in a table, header included."""
    return number(table + LENGTH_OFFSET, 4)


def map_bytes(address: u64, size: u64) -> Ptr[u8]:
    return pointer_at(u8, map_firmware(address, size))


def number(start: Ptr[u8], size: u64) -> u64:
    """A little-endian number of `size` bytes, up to 8."""
    value: u64 = 0
    for i in range(size):
        value |= u64(start[i]) << (i * 8)
    return value


def sums_to_zero(start: Ptr[u8], size: u64) -> bool:
    """The checksum of all ACPI structures: their bytes add up to 0 modulo 256."""
    total: u8 = 0
    for i in range(size):
        total += start[i]
    return total == 0
