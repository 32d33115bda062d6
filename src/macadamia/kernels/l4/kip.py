"""The kernel interface page (X.2 manual, section 1.1; offsets in the fact sheet, section 3).

Built when this module is imported, a page of the kernel's image; what only the running machine knows is added
at start (boot.py).
"""

from macadamia.abi.l4.messages import LABEL_SHIFT
from macadamia.abi.l4.utcb import UTCB_SIZE_LOG2
from macadamia.kernels.l4.space import KIP_AREA_LOG2, UTCB_AREA_LOG2
from macadamia.kernels.l4.stubs import Call, stub_address
from macadamia.kernels.l4.thread_table import INTERRUPT_LINES, THREAD_NUMBERS, USER_BASE
from macadamia.lang import Array, Struct, static, u64
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr

API_VERSION = 0x8405_0000
API_FLAGS = 0x4  # little endian, 64 bits
KERNEL_ID = 0x0402_0000  # as Pistachio's: programs compiled for it look at nothing else
WORD = 8
PROCESSOR_DESCRIPTORS = 0x240
PROCESSOR_DESCRIPTOR_LOG2 = 5
DESCRIPTION = 0x260
MEMORY_DESCRIPTORS = 0x2E0
MEMORY_DESCRIPTOR_SIZE = 2 * WORD
MAXIMUM_DESCRIPTORS = (PAGE_SIZE - MEMORY_DESCRIPTORS) // MEMORY_DESCRIPTOR_SIZE
CLOCK_PRECISION = 1  # microseconds, as a time: of reading and of scheduling
PAGE_RIGHTS = 7
PAGE_SIZES = 1 << 12 | 1 << 21
MEMORY_GRAIN = 0x3FF  # descriptors count in KiB


class Offset:
    """Of the fields that are filled in at start."""

    SIGMA0 = 0x40  # sp, ip, low, high
    ROOT = 0x80
    MEMORY_INFO = 0xA8
    RESERVED_MEMORY_0 = 0xD0
    BOOT_INFO = 0x170


class MemoryType:
    """Types of memory descriptors (fact sheet, section 2.2)."""

    CONVENTIONAL = 1
    RESERVED = 2
    SHARED = 4
    BOOT_LOADER = 0xE
    INITIAL_SERVER = 0x2E
    MODULE = 0x3E
    ARCHITECTURE = 0xF
    VIRTUAL = 1 << 9


CALL_FIELDS = {
    0x1A0: Call.SPACE_CONTROL,
    0x1A8: Call.THREAD_CONTROL,
    0x1B0: Call.PROCESSOR_CONTROL,
    0x1B8: Call.MEMORY_CONTROL,
    0x1C0: Call.IPC,
    0x1C8: Call.LIPC,
    0x1D0: Call.UNMAP,
    0x1D8: Call.EXCHANGE_REGISTERS,
    0x1E0: Call.SYSTEM_CLOCK,
    0x1E8: Call.THREAD_SWITCH,
    0x1F0: Call.SCHEDULE,
}


def description() -> bytes:
    """Kernel id, date, version, supplier; then the version and the feature strings.

    There are none, though ExchangeRegisters does what Pistachio calls "pagerexregs": its user library takes
    any feature for the one that is asked for.
    """
    words = (4 << 24 | 2 << 16, 23 | 11 << 5 | 26 << 9, 1 << 16)
    supplier = int.from_bytes(b"Maca", "little")
    head = b"".join(word.to_bytes(WORD, "little") for word in (*words, supplier))
    return head + b"Macadamia L4\0" + b"\0"


def page_content() -> bytes:
    """The page as far as it is known before the machine is."""
    page = bytearray(PAGE_SIZE)

    def put(offset: int, value: int) -> None:
        page[offset : offset + WORD] = value.to_bytes(WORD, "little")

    put(0x00, int.from_bytes(b"L4\xe6K", "little"))
    put(0x08, API_VERSION)
    put(0x10, API_FLAGS)
    put(0x18, DESCRIPTION)
    put(Offset.MEMORY_INFO, MEMORY_DESCRIPTORS << 32)
    put(0x150, UTCB_AREA_LOG2 << LABEL_SHIFT | UTCB_SIZE_LOG2 << 10 | 1)
    put(0x158, KIP_AREA_LOG2)
    put(0x178, PROCESSOR_DESCRIPTORS)
    put(0x180, CLOCK_PRECISION << 16 | CLOCK_PRECISION)
    put(0x188, USER_BASE << 20 | INTERRUPT_LINES << 8 | THREAD_NUMBERS.bit_length() - 1)
    put(0x190, PAGE_SIZES & ~MEMORY_GRAIN | PAGE_RIGHTS)
    put(0x198, PROCESSOR_DESCRIPTOR_LOG2 << 60)
    for offset, call in CALL_FIELDS.items():
        put(offset, stub_address(call))
    text = description()
    assert DESCRIPTION + len(text) <= MEMORY_DESCRIPTORS
    page[DESCRIPTION : DESCRIPTION + len(text)] = text
    return bytes(page)


class KernelInterface(Struct):
    """Where the page is."""

    frame: PhysAddr


kernel_interface = KernelInterface()
interface_words = static(Array[u64, PAGE_SIZE // WORD], align=PAGE_SIZE)
for _index in range(PAGE_SIZE // WORD):
    interface_words[_index] = int.from_bytes(page_content()[WORD * _index : WORD * _index + WORD], "little")


def kernel_interface_page() -> PhysAddr:
    """The frame that is mapped into every space."""
    return kernel_interface.frame


def set_interface_word(offset: u64, value: u64) -> None:
    interface_words[offset // WORD] = value


def add_memory_descriptor(type_: u64, start: u64, end: u64) -> None:
    """Describe the memory from `start` to `end` to sigma0: a MemoryType. Later ones override earlier ones."""
    info = interface_words[Offset.MEMORY_INFO // WORD]
    count = info & 0xFFFF_FFFF
    if count == MAXIMUM_DESCRIPTORS or start >= end:
        return
    place = (MEMORY_DESCRIPTORS + count * MEMORY_DESCRIPTOR_SIZE) // WORD
    interface_words[place] = start & ~MEMORY_GRAIN | type_
    interface_words[place + 1] = (end - 1) & ~MEMORY_GRAIN
    interface_words[Offset.MEMORY_INFO // WORD] = info + 1
