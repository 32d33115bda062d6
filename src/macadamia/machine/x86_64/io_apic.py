"""I/O APICs: which pin an interrupt line is, and programming it (Intel 82093AA; ACPI 6.4, 5.2.12, the MADT).

A line is a global system interrupt number of ACPI, except that lines 0 to 15 mean the ISA interrupts, which
the MADT may route to other pins. Lines are silent until enabled.
"""

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    Volatile,
    field,
    panic,
    pointer_at,
    range,
    sizeof,
    static,
    u8,
    u32,
    u64,
)
from macadamia.machine.text import log
from macadamia.machine.x86_64.acpi import find_table, number, signature, table_length
from macadamia.machine.x86_64.kernel_space import map_device

MADT = signature("APIC")
MADT_ENTRIES = 44  # offset of the first entry
ENTRY_IO_APIC = 1
ENTRY_OVERRIDE = 2
OVERRIDE_ACTIVE_LOW = 3  # bits 1-0 of the flags (table 5.25)
OVERRIDE_LEVEL = 3 << 2

MAXIMUM_IO_APICS = 8
ISA_LINES = 16
LINES = 192  # one vector each

REGISTER_VERSION = 1
REGISTER_REDIRECTION = 0x10  # two registers per pin
ACTIVE_LOW = 1 << 13  # of a redirection entry
LEVEL_TRIGGERED = 1 << 15
MASKED = 1 << 16


class Registers(Struct):
    """The window of an I/O APIC: select a register, then access it."""

    select: Volatile[u32]
    value: Volatile[u32] = field(offset=0x10)


class IoApic(Struct):
    registers: u64  # virtual address
    first: u32  # global system interrupt of pin 0
    pins: u32

    def read(self, register: u32) -> u32:
        window = pointer_at(Registers, self.registers)
        window.select = register
        return window.value

    def write(self, register: u32, value: u32) -> None:
        window = pointer_at(Registers, self.registers)
        window.select = register
        window.value = value


class IsaLine(Struct):
    """Where an ISA interrupt arrives: its global system interrupt, and bits of the redirection entry."""

    interrupt: u32
    mode: u32


class Routing(Struct):
    io_apics: Array[IoApic, MAXIMUM_IO_APICS]
    count: u64
    isa: Array[IsaLine, ISA_LINES]


routing = static(Routing)


def find_io_apics() -> None:
    """Read the MADT and mask every pin."""
    for line in range(u32(ISA_LINES)):
        routing.isa[line].interrupt = line
    madt = find_table(MADT)
    if madt is None:
        log("machine: no ACPI interrupt table: devices cannot interrupt")
        return
    offset: u64 = MADT_ENTRIES
    while offset + 2 <= table_length(madt):
        entry = madt + offset
        size: u64 = entry[1]
        if size < 2:
            panic("corrupt ACPI tables: MADT entry")
        read_madt_entry(entry, size)
        offset += size


def read_madt_entry(entry: Ptr[u8], size: u64) -> None:
    if entry[0] == ENTRY_IO_APIC and size >= 12:
        add_io_apic(number(entry + 4, 4), u32(number(entry + 8, 4)))
    elif entry[0] == ENTRY_OVERRIDE and size >= 10 and entry[3] < ISA_LINES:
        line = routing.isa[entry[3]]
        line.interrupt = u32(number(entry + 4, 4))
        line.mode = override_mode(u32(number(entry + 8, 2)))


def override_mode(flags: u32) -> u32:
    """Redirection bits for the flags of an override; "as the bus" is ISA: edge, active high."""
    mode: u32 = 0
    if flags & OVERRIDE_ACTIVE_LOW == OVERRIDE_ACTIVE_LOW:
        mode |= ACTIVE_LOW
    if flags & OVERRIDE_LEVEL == OVERRIDE_LEVEL:
        mode |= LEVEL_TRIGGERED
    return mode


def add_io_apic(physical: u64, first: u32) -> None:
    if routing.count == MAXIMUM_IO_APICS:
        return
    io_apic = routing.io_apics[routing.count]
    routing.count += 1
    io_apic.registers = map_device(physical, sizeof(Registers))
    io_apic.first = first
    io_apic.pins = (io_apic.read(REGISTER_VERSION) >> 16 & 0xFF) + 1
    for pin in range(io_apic.pins):
        io_apic.write(REGISTER_REDIRECTION + 2 * pin, MASKED)


def find_pin(line: u32) -> tuple[Ptr[IoApic] | None, u32]:
    """The I/O APIC and redirection register of a line; None when there is no such line."""
    interrupt = routing.isa[line].interrupt if line < ISA_LINES else line
    for i in range(routing.count):
        io_apic = routing.io_apics[i]
        if io_apic.first <= interrupt < io_apic.first + io_apic.pins:
            return io_apic, REGISTER_REDIRECTION + 2 * (interrupt - io_apic.first)
    return None, u32(0)


def route_line(line: u32, vector: u32, processor: u32) -> bool:
    """Let `line` raise `vector` on the processor with that APIC number; False when there is no such line.

    Lines above the ISA ones are PCI interrupts: level triggered, active low (ACPI 6.4, 5.2.15).
    """
    io_apic, register = find_pin(line)
    if io_apic is None:
        return False
    mode = routing.isa[line].mode if line < ISA_LINES else u32(ACTIVE_LOW | LEVEL_TRIGGERED)
    io_apic.write(register + 1, processor << 24)
    io_apic.write(register, mode | vector)
    return True


def mask_line(line: u32, masked: u32) -> None:
    """`masked` is MASKED or 0. Nothing happens for a line that does not exist."""
    io_apic, register = find_pin(line)
    if io_apic is not None:
        io_apic.write(register, io_apic.read(register) & ~MASKED | masked)


def is_level_triggered(line: u32) -> bool:
    return line >= ISA_LINES or routing.isa[line].mode & LEVEL_TRIGGERED != 0
