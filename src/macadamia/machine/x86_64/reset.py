"""Resetting the machine, by the register that ACPI names (6.4, 4.8.3.6) or by the keyboard controller."""

from macadamia.lang import Struct, static, u8, u16
from macadamia.machine.x86_64.acpi import find_table, number, signature, table_length
from macadamia.machine.x86_64.instructions import write_port8

FADT = signature("FACP")
FADT_FLAGS = 112
FADT_RESET_REGISTER = 116  # a generic address: kind of space, width, ..., address at 4
FADT_RESET_VALUE = 128
FLAG_RESET_REGISTER = 1 << 10
SPACE_IO = 1

KEYBOARD_COMMAND_PORT = 0x64
KEYBOARD_PULSE_RESET = 0xFE  # 8042 command: pulse output line 0, the processor's reset


class ResetRegister(Struct):
    port: u16  # 0 = none known
    value: u8


reset_register = static(ResetRegister)


def find_reset_register() -> None:
    """Look while all is well: `reset` is called when nothing can be relied on."""
    fadt = find_table(FADT)
    if fadt is None or table_length(fadt) <= FADT_RESET_VALUE:
        return
    flags = number(fadt + FADT_FLAGS, 4)
    if flags & FLAG_RESET_REGISTER and fadt[FADT_RESET_REGISTER] == SPACE_IO:
        reset_register.port = u16.wrap(number(fadt + FADT_RESET_REGISTER + 4, 8))
        reset_register.value = fadt[FADT_RESET_VALUE]


def reset() -> None:
    """Reset the machine. Returns where neither way works."""
    if reset_register.port:
        write_port8(reset_register.port, reset_register.value)
    write_port8(KEYBOARD_COMMAND_PORT, KEYBOARD_PULSE_RESET)
