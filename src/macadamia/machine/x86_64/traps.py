"""What the entry code calls: sort an event by vector and hand it to the kernel.

Interrupts are off in all of this. A fault of the kernel itself is a panic, unless it was expected (fixup.py).
"""

from macadamia.lang import Ptr, u64
from macadamia.machine.addresses import VirtAddr
from macadamia.machine.interface import (
    handle_exception,
    handle_non_maskable_interrupt,
    handle_page_fault,
    handle_system_call,
)
from macadamia.machine.x86_64.fixup import recover
from macadamia.machine.x86_64.fpu import first_use
from macadamia.machine.x86_64.frame import Frame, Vector
from macadamia.machine.x86_64.instructions import read_cr2, read_dr6, write_dr6
from macadamia.machine.x86_64.interrupts import interrupt
from macadamia.machine.x86_64.kernel_fault import kernel_fault
from macadamia.machine.x86_64.processor import this_processor

DR6_FIXED = 0xFFFF_0FF0  # DR6 with no cause recorded (SDM volume 3, 17.2.3)


def system_call(frame: Ptr[Frame]) -> None:
    handle_system_call(frame)
    assert frame.is_consistent(), "a frame that cannot return to user mode"


def trap_from_user(frame: Ptr[Frame]) -> None:
    """An exception or interrupt in user mode; `frame` is the current thread's."""
    vector = frame.vector
    if vector == Vector.PAGE_FAULT:
        handle_page_fault(frame, VirtAddr(read_cr2()))
    elif vector > Vector.LAST_EXCEPTION:
        interrupt(vector)
    else:
        exception_from_user(frame)


def exception_from_user(frame: Ptr[Frame]) -> None:
    if frame.vector == Vector.DEVICE_NOT_AVAILABLE and first_use():
        return
    if frame.vector == Vector.DEBUG:
        frame.error = take_debug_status()
    handle_exception(frame)


def trap_from_kernel(frame: Ptr[Frame]) -> None:
    """An interrupt that `idle` or `allow_interrupts` let through, or a fault of the kernel."""
    if frame.vector > Vector.LAST_EXCEPTION:
        interrupt(frame.vector)
    elif not recover(frame):
        kernel_fault(frame)


def trap_on_own_stack(frame: Ptr[Frame]) -> None:
    """NMI, double fault, machine check from anywhere; #DB from kernel mode."""
    if frame.vector == Vector.NON_MASKABLE_INTERRUPT:
        this_processor().non_maskable_interrupts += 1
        handle_non_maskable_interrupt()
    elif frame.vector == Vector.DEBUG:
        take_debug_status()  # a user's data breakpoint that the kernel hit on the user's behalf
    else:
        kernel_fault(frame)


def take_debug_status() -> u64:
    """DR6, cleared for the next time as SDM volume 3, 17.2.3 asks."""
    status = read_dr6()
    write_dr6(DR6_FIXED)
    return status
