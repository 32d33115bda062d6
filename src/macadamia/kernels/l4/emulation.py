"""Exceptions that are calls to the kernel: KernelInterface (LOCK NOP) and the kernel debugger's operations
(fact sheet, sections 1.1 and 1.4). Of the debugger there is only its console."""

from macadamia.kernels.l4 import scheduler
from macadamia.kernels.l4.kip import API_FLAGS, API_VERSION, KERNEL_ID
from macadamia.kernels.l4.space import user_memory
from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Ptr, range, u8, u64
from macadamia.machine.interface import console_read, console_write
from macadamia.machine.x86_64.frame import Vector

LOCK = 0xF0
NOP = 0x90
COMPARE_AL = 0x3C
JUMP_SHORT = 0xEB
KERNEL_INTERFACE_LENGTH = 2
INT3_LENGTH = 1
LONGEST_TEXT = 4096


class Operation:
    """What follows INT3: the operand of CMP AL."""

    PRINT_CHARACTER = 0x00
    PRINT_STRING = 0x01
    READ_NO_WAIT = 0x08
    READ = 0x0D


def user_byte(thread: Ptr[Thread], address: u64) -> u8:
    """A byte of the thread's memory, 0 where there is none."""
    space = thread.space
    if space is None:
        return 0
    place = user_memory(space, address, False)
    return u8(0) if place is None else place[0]


def emulate(thread: Ptr[Thread]) -> bool:
    """Whether the exception that the running thread raised was such a call, which is done then."""
    frame = thread.frame
    match frame.vector:
        case Vector.INVALID_OPCODE:
            is_call = user_byte(thread, frame.rip) == LOCK and user_byte(thread, frame.rip + 1) == NOP
            if is_call:
                kernel_interface_call(thread)
            return is_call
        case Vector.BREAKPOINT:
            debugger_call(thread)
            return True
        case _:
            return False


def kernel_interface_call(thread: Ptr[Thread]) -> None:
    """RAX = where the thread sees the kernel interface page; what it says of the version in RCX, RDX, RSI."""
    space = thread.space
    assert space is not None
    frame = thread.frame
    frame.rax = space.kip_area.start
    frame.rcx = API_VERSION
    frame.rdx = API_FLAGS
    frame.rsi = KERNEL_ID
    frame.jump(frame.rip + KERNEL_INTERFACE_LENGTH)


def debugger_call(thread: Ptr[Thread]) -> None:
    """INT3. "Enter debugger" and unknown operations do nothing; the marker after INT3 is harmless to
    execute."""
    frame = thread.frame
    marker = frame.rip
    if user_byte(thread, marker) == NOP:
        marker += 1
    if user_byte(thread, marker) != COMPARE_AL:
        return
    match user_byte(thread, marker + 1):
        case Operation.PRINT_CHARACTER:
            console_write(u8.wrap(frame.rax))
        case Operation.PRINT_STRING:
            print_string(thread, frame.rax)
        case Operation.READ_NO_WAIT:
            byte, _ = console_read()
            frame.rax = u64(byte)
        case Operation.READ:
            read(thread)
        case _:
            pass


def print_string(thread: Ptr[Thread], address: u64) -> None:
    """Print a text of the thread that ends with a zero byte."""
    for index in range(u64(LONGEST_TEXT)):
        byte = user_byte(thread, address + index)
        if byte == 0:
            return
        console_write(byte)


def read(thread: Ptr[Thread]) -> None:
    """Read a character. While there is none the thread executes INT3 again and again, after all others."""
    byte, there = console_read()
    if there:
        thread.frame.rax = u64(byte)
    else:
        thread.frame.jump(thread.frame.rip - INT3_LENGTH)
        scheduler.give_up_slice(thread)
