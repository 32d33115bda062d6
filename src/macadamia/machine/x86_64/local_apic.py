"""The local APIC of each processor (SDM volume 3, chapter 11): end of interrupt and the timer's counter."""

from macadamia.lang import Ptr, Struct, Volatile, field, pointer_at, static, u32, u64
from macadamia.machine.x86_64.control import MSR_APIC_BASE
from macadamia.machine.x86_64.instructions import read_msr, write_msr
from macadamia.machine.x86_64.kernel_space import map_device

APIC_BASE_ADDRESS = 0x000F_FFFF_FFFF_F000
APIC_BASE_EXTENDED = 1 << 10  # x2APIC mode, in which the registers are not in memory
APIC_BASE_ENABLE = 1 << 11
APIC_SIZE = 0x400

SPURIOUS_VECTOR = 0xFF
TIMER_VECTOR = 0xFE

SPURIOUS_ENABLE = 1 << 8  # the software enable bit
MASKED = 1 << 16
DELIVER_NMI = 4 << 8
TIMER_TSC_DEADLINE = 2 << 17
DIVIDE_BY_1 = 0xB
SELF_SHORTHAND = 1 << 18


class LocalApic(Struct):
    """Registers (table 11-1); each is 32 bits wide at a multiple of 16 bytes."""

    identity: Volatile[u32] = field(offset=0x20)
    task_priority: Volatile[u32] = field(offset=0x80)
    end_of_interrupt: Volatile[u32] = field(offset=0xB0)
    spurious: Volatile[u32] = field(offset=0xF0)
    command_low: Volatile[u32] = field(offset=0x300)
    command_high: Volatile[u32] = field(offset=0x310)
    local_timer: Volatile[u32] = field(offset=0x320)
    local_interrupt_0: Volatile[u32] = field(offset=0x350)
    local_interrupt_1: Volatile[u32] = field(offset=0x360)
    local_error: Volatile[u32] = field(offset=0x370)
    initial_count: Volatile[u32] = field(offset=0x380)
    current_count: Volatile[u32] = field(offset=0x390)
    divide: Volatile[u32] = field(offset=0x3E0)


class Place(Struct):
    """Where the registers of the processor that runs are seen; the same address on every processor."""

    registers: u64


place = static(Place)


def local_apic() -> Ptr[LocalApic]:
    return pointer_at(LocalApic, place.registers)


def start_local_apic() -> None:
    """Enable this processor's APIC with every local source masked but NMI."""
    base = read_msr(MSR_APIC_BASE) & ~(APIC_BASE_EXTENDED | APIC_BASE_ENABLE)
    if read_msr(MSR_APIC_BASE) & APIC_BASE_EXTENDED:
        write_msr(MSR_APIC_BASE, base)  # x2APIC mode is left through off (SDM volume 3, 11.12.5)
    write_msr(MSR_APIC_BASE, base | APIC_BASE_ENABLE)
    if place.registers == 0:
        place.registers = map_device(base & APIC_BASE_ADDRESS, APIC_SIZE)
    apic = local_apic()
    apic.task_priority = 0
    apic.local_interrupt_0 = MASKED
    apic.local_interrupt_1 = DELIVER_NMI
    apic.local_error = MASKED
    apic.local_timer = MASKED
    apic.divide = DIVIDE_BY_1
    apic.spurious = SPURIOUS_ENABLE | SPURIOUS_VECTOR
    end_interrupt()


def end_interrupt() -> None:
    """Let the APIC deliver interrupts of this priority and below again."""
    local_apic().end_of_interrupt = 0


def local_apic_id() -> u32:
    return local_apic().identity >> 24


def interrupt_self(vector: u32) -> None:
    """Send `vector` to this processor; it arrives when interrupts are next on (SDM volume 3, 11.6.1)."""
    local_apic().command_low = SELF_SHORTHAND | vector
