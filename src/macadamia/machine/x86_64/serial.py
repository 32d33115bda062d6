"""16550 serial lines (National Semiconductor PC16550D): COM1 is the program console, COM2 the kernel log.

Output waits for the transmitter; input is polled, and COM1 can announce it on interrupt line 4. On a machine
without COM2 (QEMU microvm, Firecracker) the log goes to the console, too.
"""

from macadamia.lang import Struct, implements, range, static, u8, u16, u32
from macadamia.machine import interface
from macadamia.machine.x86_64.instructions import pause, read_port8, write_port8

COM1 = 0x3F8
COM2 = 0x2F8
COM1_LINE = 4  # interrupt line

DATA = 0  # register offsets; with DIVISOR_ACCESS, 0 and 1 are the divisor
INTERRUPT_ENABLE = 1
FIFO_CONTROL = 2
LINE_CONTROL = 3
MODEM_CONTROL = 4
LINE_STATUS = 5
SCRATCH = 7  # keeps what is written to it

DATA_READY = 1 << 0
TRANSMIT_EMPTY = 1 << 5
TRANSMITTER_IDLE = 1 << 6  # the last bit has left
DIVISOR_ACCESS = 0x80
EIGHT_BITS = 0x03  # no parity, one stop bit
DIVISOR_115200 = 1
FIFO_ENABLE_AND_CLEAR = 0x07
READY_OUTPUTS = 0x0B  # DTR, RTS, and OUT2, which connects the interrupt
SCRATCH_TEST = 0x5A
RECEIVE_INTERRUPT = 1 << 0
TRANSMIT_LIMIT = (
    100_000  # polls; longer than a byte takes at any speed. A line that is not there must not hang us
)


class LogLine(Struct):
    """Where the kernel log goes."""

    port: u16


log_line = static(LogLine)


def start_console_and_log() -> None:
    start_serial(COM1)
    start_serial(COM2)
    write_port8(COM2 + SCRATCH, SCRATCH_TEST)
    log_line.port = COM2 if read_port8(COM2 + SCRATCH) == SCRATCH_TEST else u16(COM1)


def start_serial(port: u16) -> None:
    """115,200 baud, 8N1, FIFOs on, no interrupts."""
    write_port8(port + INTERRUPT_ENABLE, 0)
    write_port8(port + LINE_CONTROL, DIVISOR_ACCESS)
    write_port8(port + DATA, DIVISOR_115200)
    write_port8(port + INTERRUPT_ENABLE, 0)
    write_port8(port + LINE_CONTROL, EIGHT_BITS)
    write_port8(port + FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR)
    write_port8(port + MODEM_CONTROL, READY_OUTPUTS)


def write_serial(port: u16, byte: u8) -> None:
    """Send a byte when the transmitter can take it; drop it when that never happens."""
    wait_for_status(port, TRANSMIT_EMPTY)
    write_port8(port + DATA, byte)


def wait_for_status(port: u16, wanted: u8) -> None:
    for _ in range(u32(TRANSMIT_LIMIT)):
        if read_port8(port + LINE_STATUS) & wanted:
            return
        pause()


def drain_serial(port: u16) -> None:
    """Wait until everything written has left the machine."""
    wait_for_status(port, TRANSMITTER_IDLE)


@implements(interface.console_write)
def console_write(byte: u8) -> None:
    write_serial(COM1, byte)


@implements(interface.console_read)
def console_read() -> tuple[u8, bool]:
    if read_port8(COM1 + LINE_STATUS) & DATA_READY == 0:
        return u8(0), False
    return read_port8(COM1 + DATA), True


def announce_console_input() -> None:
    """Let COM1 raise interrupt line COM1_LINE while there is input."""
    write_port8(COM1 + INTERRUPT_ENABLE, RECEIVE_INTERRUPT)


@implements(interface.log_write)
def log_write(byte: u8) -> None:
    write_serial(log_line.port, byte)
