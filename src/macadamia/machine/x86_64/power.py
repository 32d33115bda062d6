"""The end: telling QEMU, or whatever this machine is, that it is over.

QEMU's isa-debug-exit device (at port 0xF4) ends the emulator with a status made from what is written: that
and the last line of the log are the contract with `mac run`. A machine without it is reset;
where that does nothing, the processor halts for good.
"""

from typing import NoReturn

from macadamia.lang import implements, u8
from macadamia.machine import interface
from macadamia.machine.text import log
from macadamia.machine.x86_64.instructions import disable_interrupts, halt, write_port8
from macadamia.machine.x86_64.reset import reset
from macadamia.machine.x86_64.serial import COM1, COM2, drain_serial

DEBUG_EXIT_PORT = 0xF4
DEBUG_EXIT_ORDERLY = 0x31
DEBUG_EXIT_PANIC = 0x33


@implements(interface.power_off)
def power_off(status: u8) -> NoReturn:
    log(f"macadamia: exit {status}")
    leave(DEBUG_EXIT_ORDERLY)


def leave(code: u8) -> NoReturn:
    """End the machine once all output is out."""
    disable_interrupts()
    drain_serial(COM1)
    drain_serial(COM2)
    write_port8(DEBUG_EXIT_PORT, code)
    reset()
    while True:
        halt()
