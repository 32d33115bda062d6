"""A kernel for the lab's tests: ends in the way that its argument names."""

from typing import NoReturn

from macadamia.lang import Ptr, Struct, implements, noinline, panic, range, static, u8, u32, u64
from macadamia.lang.program import Program
from macadamia.machine import interface
from macadamia.machine.addresses import VirtAddr
from macadamia.machine.text import log
from macadamia.machine.x86_64 import machine
from macadamia.machine.x86_64.frame import Frame
from macadamia.machine.x86_64.initrd import initrd
from macadamia.machine.x86_64.instructions import write_port8
from macadamia.machine.x86_64.reset import KEYBOARD_COMMAND_PORT, KEYBOARD_PULSE_RESET


class Counter(Struct):
    """What the debugger's test looks at."""

    steps: u64
    calls: u32


counter = static(Counter)


@noinline
def step(amount: u64) -> u64:
    counter.steps += amount
    counter.calls += 1
    return counter.steps


@noinline
def divide(by: u64) -> u64:
    return 100 // by


@implements(interface.kernel_main)
def kernel_main() -> NoReturn:
    log("lab kernel runs")
    for _ in range(3):
        step(2)
    if initrd.arguments.equals("panic\0"):
        panic("asked to panic")
    if initrd.arguments.equals("divide\0"):
        divide(0)
    if initrd.arguments.equals("reset\0"):
        write_port8(KEYBOARD_COMMAND_PORT, KEYBOARD_PULSE_RESET)
    interface.power_off(u8(5))


@implements(interface.handle_system_call)
def handle_system_call(frame: Ptr[Frame]) -> None:
    pass


@implements(interface.handle_page_fault)
def handle_page_fault(frame: Ptr[Frame], address: VirtAddr) -> None:
    pass


@implements(interface.handle_exception)
def handle_exception(frame: Ptr[Frame]) -> None:
    pass


@implements(interface.handle_interrupt)
def handle_interrupt(line: u32) -> None:
    pass


@implements(interface.handle_timer)
def handle_timer() -> None:
    pass


@implements(interface.handle_non_maskable_interrupt)
def handle_non_maskable_interrupt() -> None:
    pass


PROGRAM = Program(
    name="lab_kernel",
    entry=machine.ENTRY,
    roots=machine.ROOTS,
    linker_script=machine.LINKER_SCRIPT,
    implementations=(*machine.IMPLEMENTATIONS, kernel_main, handle_system_call, handle_page_fault,
                     handle_exception, handle_interrupt, handle_timer, handle_non_maskable_interrupt),
)
