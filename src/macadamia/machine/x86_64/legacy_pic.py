"""The two 8259A interrupt controllers of the old PC: moved out of the way and masked for good."""

from macadamia.machine.x86_64.instructions import write_port8

FIRST_COMMAND = 0x20
FIRST_DATA = 0x21
SECOND_COMMAND = 0xA0
SECOND_DATA = 0xA1

INITIALISE = 0x11  # ICW1: edge triggered, cascade, ICW4 follows
SECOND_ON_LINE_2 = 1 << 2  # ICW3 of the first
CASCADE_IDENTITY = 2  # ICW3 of the second
MODE_8086 = 0x01  # ICW4
ALL_MASKED = 0xFF
SPURIOUS_BASE = 0xF0  # even masked, an 8259A may raise its line 7: where no exception is mistaken for it


def mask_legacy_pic() -> None:
    write_port8(FIRST_COMMAND, INITIALISE)
    write_port8(SECOND_COMMAND, INITIALISE)
    write_port8(FIRST_DATA, SPURIOUS_BASE)
    write_port8(SECOND_DATA, SPURIOUS_BASE)
    write_port8(FIRST_DATA, SECOND_ON_LINE_2)
    write_port8(SECOND_DATA, CASCADE_IDENTITY)
    write_port8(FIRST_DATA, MODE_8086)
    write_port8(SECOND_DATA, MODE_8086)
    write_port8(FIRST_DATA, ALL_MASKED)
    write_port8(SECOND_DATA, ALL_MASKED)
