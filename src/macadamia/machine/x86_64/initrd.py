"""The initrd: a cpio archive.

Its format is "newc" (Linux Documentation/driver-api/early-userspace/buffer-format.rst).

Member `cmdline` holds the arguments of the run, each ended by a NUL. Every other member is a boot module;
`NAME.cmdline` is not a module but the arguments of module NAME, and follows it.
"""

from macadamia.lang import Array, Ptr, Struct, panic, range, static, text_bytes, u8, u64
from macadamia.machine.addresses import PhysAddr
from macadamia.machine.interface import physical_pointer

MAGIC = "070701"
TRAILER = "TRAILER!!!"
ARGUMENTS = "cmdline"
COMMAND_LINE_SUFFIX = ".cmdline"
MAXIMUM_MODULES = 32

HEADER_SIZE = 110  # the magic and 13 fields of 8 hexadecimal digits
FILE_SIZE_OFFSET = 54
NAME_SIZE_OFFSET = 94
FIELD_DIGITS = 8
ALIGNMENT = 4  # of file contents and of the next header, counted from the start of the archive
NOT_A_NUMBER = 1 << 32


class Bytes(Struct):
    """A part of the archive. All zero = it is not there."""

    start: Ptr[u8] | None
    size: u64

    def set(self, start: Ptr[u8], size: u64) -> None:
        self.start = start
        self.size = size

    def equals(self, text: str) -> bool:
        return self.size == len(text) and same_bytes(self.start, text)


class Module(Struct):
    """A boot module. `physical` is where its contents lie, at no particular alignment."""

    name: Bytes
    content: Bytes
    arguments: Bytes
    physical: PhysAddr


class Initrd(Struct):
    """What the archive holds, in its order."""

    arguments: Bytes
    modules: Array[Module, MAXIMUM_MODULES]
    count: u64


initrd = static(Initrd)


def read_initrd(start: PhysAddr, size: u64) -> None:
    """Fill in `initrd` from the archive; panics when it is corrupt.

    Nothing is copied: its memory stays in use.
    """
    archive = physical_pointer(start)
    header: u64 = 0
    while header < size:
        check_header(archive + header, size - header)
        name_size = hexadecimal(archive + header + NAME_SIZE_OFFSET)
        content_size = hexadecimal(archive + header + FILE_SIZE_OFFSET)
        content = aligned(header + HEADER_SIZE + name_size)
        if name_size == 0 or name_size == NOT_A_NUMBER or content_size == NOT_A_NUMBER:
            panic("corrupt initrd: a member without a valid size")
        if content > size or content_size > size - content:
            panic("corrupt initrd: a member is longer than the archive")
        name = archive + header + HEADER_SIZE
        if name_size == len(TRAILER) + 1 and same_bytes(name, TRAILER):
            return
        add_member(name, name_size - 1, archive + content, content_size, start + content)
        header = aligned(content + content_size)
    panic("corrupt initrd: the archive has no end")


def check_header(header: Ptr[u8], left: u64) -> None:
    if left < HEADER_SIZE or not same_bytes(header, MAGIC):
        panic("corrupt initrd: no cpio header where one should be")


def add_member(
    name: Ptr[u8], name_size: u64, content: Ptr[u8], content_size: u64, physical: PhysAddr
) -> None:
    if name_size == len(ARGUMENTS) and same_bytes(name, ARGUMENTS):
        initrd.arguments.set(content, content_size)
    elif ends_with_suffix(name, name_size):
        if initrd.count == 0:
            panic("corrupt initrd: arguments of a module come before it")
        initrd.modules[initrd.count - 1].arguments.set(content, content_size)
    else:
        if initrd.count == MAXIMUM_MODULES:
            panic("the initrd holds more than 32 modules")
        module = initrd.modules[initrd.count]
        module.name.set(name, name_size)
        module.content.set(content, content_size)
        module.physical = physical
        initrd.count += 1


def ends_with_suffix(name: Ptr[u8], size: u64) -> bool:
    suffix: u64 = len(COMMAND_LINE_SUFFIX)
    return size > suffix and same_bytes(name + (size - suffix), COMMAND_LINE_SUFFIX)


def same_bytes(memory: Ptr[u8] | None, text: str) -> bool:
    """Whether memory begins with `text`."""
    if memory is None:
        return False
    wanted = text_bytes(text)
    for i in range(len(text)):  # noqa: SIM110
        if memory[i] != wanted[i]:
            return False
    return True


def hexadecimal(digits: Ptr[u8]) -> u64:
    """The value of eight hexadecimal digits, or NOT_A_NUMBER."""
    value: u64 = 0
    for i in range(u64(FIELD_DIGITS)):
        digit = hexadecimal_digit(digits[i])
        if digit > 15:
            return NOT_A_NUMBER
        value = value << 4 | digit
    return value


def hexadecimal_digit(character: u8) -> u8:
    """0 to 15; above that when it is none."""
    if 0x30 <= character <= 0x39:
        return character - 0x30
    letter = character | 0x20
    return letter - 0x61 + 10 if 0x61 <= letter <= 0x66 else 0xFF


def aligned(offset: u64) -> u64:
    return (offset + ALIGNMENT - 1) & ~(ALIGNMENT - 1)
