"""A counter of known frequency, to measure the others against: the ACPI timer, else the 8254.

Both exist to be read at boot only: each read is a slow access to the chipset.
"""

from macadamia.lang import Struct, static, u16, u64
from macadamia.machine.x86_64.acpi import find_table, number, signature, table_length
from macadamia.machine.x86_64.instructions import read_port8, read_port32, write_port8

ACPI_TIMER_FREQUENCY = 3_579_545  # Hz (ACPI 6.4, 4.8.3.3)
ACPI_TIMER_MASK = 0xFF_FFFF  # 24 bits are always there
FADT = signature("FACP")
FADT_TIMER_PORT = 76  # PM_TMR_BLK
FADT_TIMER_LENGTH = 91  # PM_TMR_LEN: 0 = no timer

PIT_FREQUENCY = 1_193_182  # Hz: a third of the 3.579545 MHz above
PIT_MASK = 0xFFFF
PIT_CHANNEL_2 = 0x42
PIT_COMMAND = 0x43
PIT_LATCH_CHANNEL_2 = 0x80
PIT_START_CHANNEL_2 = 0xB4  # both bytes, mode 2: counts down from 65,536 again and again
PORT_B = 0x61
PORT_B_GATE_2 = 1 << 0  # lets channel 2 count
PORT_B_SPEAKER = 1 << 1


class ReferenceTimer(Struct):
    """`read` counts up at `frequency`, modulo `mask` + 1."""

    frequency: u64
    mask: u64
    acpi_port: u16  # 0 = the 8254 is used

    def start(self) -> None:
        self.acpi_port = find_acpi_timer()
        self.frequency = ACPI_TIMER_FREQUENCY
        self.mask = ACPI_TIMER_MASK
        if self.acpi_port == 0:
            self.frequency = PIT_FREQUENCY
            self.mask = PIT_MASK
            start_pit()

    def read(self) -> u64:
        if self.acpi_port:
            return read_port32(self.acpi_port) & ACPI_TIMER_MASK
        write_port8(PIT_COMMAND, PIT_LATCH_CHANNEL_2)
        low = read_port8(PIT_CHANNEL_2)
        count = u64(read_port8(PIT_CHANNEL_2)) << 8 | low
        return (PIT_MASK + 1 - count) & PIT_MASK

    def since(self, earlier: u64) -> u64:
        """Counts since `earlier`, if that was less than a turn of the counter ago."""
        return (self.read() - earlier) & self.mask


reference_timer = static(ReferenceTimer)


def find_acpi_timer() -> u16:
    """The port of the ACPI timer, 0 when there is none."""
    fadt = find_table(FADT)
    if fadt is None or table_length(fadt) <= FADT_TIMER_LENGTH or fadt[FADT_TIMER_LENGTH] == 0:
        return 0
    return u16(number(fadt + FADT_TIMER_PORT, 4))


def start_pit() -> None:
    """Let channel 2 of the 8254 count, silently."""
    write_port8(PORT_B, read_port8(PORT_B) & ~PORT_B_SPEAKER | PORT_B_GATE_2)
    write_port8(PIT_COMMAND, PIT_START_CHANNEL_2)
    write_port8(PIT_CHANNEL_2, 0)
    write_port8(PIT_CHANNEL_2, 0)
