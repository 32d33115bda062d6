"""Loading the initial servers: ELF programs whose segments go to their physical addresses
(System V ABI, chapter 5)."""

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    cast,
    copy_bytes,
    fill_bytes,
    local,
    range,
    sizeof,
    u8,
    u16,
    u32,
    u64,
)
from macadamia.machine.addresses import PhysAddr
from macadamia.machine.interface import physical_pointer

MAGIC = 0x464C_457F
PROGRAM_LOAD = 1


class Header(Struct):
    """Elf64_Ehdr."""

    magic: u32
    identification: Array[u8, 12]
    type: u16
    machine: u16
    version: u32
    entry: u64
    program_headers: u64  # offset in the file
    section_headers: u64
    flags: u32
    size: u16
    program_header_size: u16
    program_header_count: u16
    section_header_size: u16
    section_header_count: u16
    section_names: u16


class ProgramHeader(Struct):
    """Elf64_Phdr."""

    type: u32
    flags: u32
    offset: u64
    virtual_address: u64
    physical_address: u64
    file_size: u64
    memory_size: u64
    alignment: u64


class Image(Struct):
    """A program in memory."""

    entry: u64
    low: u64
    high: u64  # first byte after


def measure(image: Ptr[Image], file: Ptr[u8], size: u64) -> bool:
    """Fill in where the program goes. False if the file is none."""
    header = local(Header)
    if size < sizeof(Header):
        return False
    copy_bytes(cast(u8, header), file, sizeof(Header))
    if header.magic != MAGIC or header.program_header_size != sizeof(ProgramHeader):
        return False
    image.entry = header.entry
    image.low = u64(u64.MAX)
    image.high = 0
    segment = local(ProgramHeader)
    for index in range(u64(header.program_header_count)):
        if not read_segment(segment, file, size, header.program_headers, index):
            return False
        if segment.type == PROGRAM_LOAD:
            image.low = min(image.low, segment.physical_address)
            image.high = max(image.high, segment.physical_address + segment.memory_size)
    return image.low < image.high


def read_segment(segment: Ptr[ProgramHeader], file: Ptr[u8], size: u64, table: u64, index: u64) -> bool:
    """Program header number `index`; False when it or its segment is not in the file."""
    offset = table + index * sizeof(ProgramHeader)
    if offset > size or size - offset < sizeof(ProgramHeader):
        return False
    copy_bytes(cast(u8, segment), file + offset, sizeof(ProgramHeader))
    if segment.type != PROGRAM_LOAD:
        return True
    return (
        segment.offset <= size
        and segment.file_size <= size - segment.offset
        and segment.file_size <= segment.memory_size
        and segment.physical_address <= u64(u64.MAX) - segment.memory_size
    )


def load(file: Ptr[u8], size: u64) -> None:
    """Copy the segments of a program that was measured, whose memory is free."""
    header = local(Header)
    copy_bytes(cast(u8, header), file, sizeof(Header))
    segment = local(ProgramHeader)
    for index in range(u64(header.program_header_count)):
        if read_segment(segment, file, size, header.program_headers, index) and segment.type == PROGRAM_LOAD:
            to = physical_pointer(PhysAddr(segment.physical_address))
            copy_bytes(to, file + segment.offset, segment.file_size)
            fill_bytes(to + segment.file_size, 0, segment.memory_size - segment.file_size)
