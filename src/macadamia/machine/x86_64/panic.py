"""Panic: say what happened, in a form that `mac` turns into names and source lines, and stop.

panic: MESSAGE
panic: at FILE:LINE
panic: register NAME 0x...
panic: return 0x...                  (innermost first)
"""

from typing import NoReturn

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    asm,
    asm_value,
    cast,
    cold,
    implements,
    noinline,
    offsetof,
    panic_handler,
    range,
    static,
    u32,
    u64,
)
from macadamia.machine.text import log
from macadamia.machine.x86_64.assembly import template
from macadamia.machine.x86_64.fixup import fixup
from macadamia.machine.x86_64.frame import Frame
from macadamia.machine.x86_64.instructions import disable_interrupts, read_cr2, read_cr3, read_frame_pointer
from macadamia.machine.x86_64.power import DEBUG_EXIT_PANIC, leave

MAXIMUM_RETURNS = 32

PRINTED = (
    *("rip", "rsp", "rbp", "rflags", "rax", "rbx", "rcx", "rdx", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cs", "ss"),
)
PRINTED_COUNT = len(PRINTED)
GENERAL = [name for name in PRINTED if name not in ("rip", "rflags", "cs", "ss", "rax")]

CAPTURE = template(
    *(f"movq %{name}, {offsetof(Frame, name)}(@0)" for name in GENERAL),
    "leaq 1f(%rip), %rbx",
    f"1: movq %rbx, {offsetof(Frame, 'rip')}(@0)",
    f"pushfq; popq {offsetof(Frame, 'rflags')}(@0)",
    f"movw %cs, {offsetof(Frame, 'cs')}(@0)",
    f"movw %ss, {offsetof(Frame, 'ss')}(@0)",
)

LOAD_OR_ZERO = template("xorl @k0, @k0; 1: movq (@1), @0; 2:", fixup("1b", "2b"))


class Register(Struct):
    """A line of the register list: a name and where in a frame the value is."""

    name: str
    offset: u64


class PanicState(Struct):
    depth: u32  # how many panics have begun: one while another prints must not print again


registers = static(Array[Register, PRINTED_COUNT])
for _register, _name in zip(registers, PRINTED, strict=True):
    _register.name = _name
    _register.offset = offsetof(Frame, _name)
state = static(PanicState)
captured = static(Frame)


@cold
@noinline
@implements(panic_handler)
def stop(message: str, file: str, line: u32) -> NoReturn:
    """A failed check, `panic` or `unreachable` in compiled code."""
    asm(CAPTURE, "{rax},~{rbx},~{memory}", captured)
    frame_pointer = read_frame_pointer()
    begin_panic()
    log(f"panic: {message}")
    log(f"panic: at {file}:{line}")
    print_registers(captured)
    print_returns(frame_pointer)
    leave(DEBUG_EXIT_PANIC)


@cold
def stop_at(frame: Ptr[Frame]) -> NoReturn:
    """The kernel faulted at `frame`; a message was printed."""
    print_registers(frame)
    log(f"panic: return {frame.rip:#x}")
    print_returns(frame.rbp)
    leave(DEBUG_EXIT_PANIC)


def begin_panic() -> None:
    """Before the first line. A panic in the middle of a panic ends at once."""
    disable_interrupts()
    state.depth += 1
    if state.depth > 1:
        log("panic: while reporting a panic")
        leave(DEBUG_EXIT_PANIC)


def print_registers(frame: Ptr[Frame]) -> None:
    values = cast(u64, frame)
    for i in range(u64(PRINTED_COUNT)):
        log(f"panic: register {registers[i].name} {values[registers[i].offset // 8]:#x}")
    log(f"panic: register cr2 {read_cr2():#x}")
    log(f"panic: register cr3 {read_cr3():#x}")


def print_returns(frame_pointer: u64) -> None:
    """Follow the chain of saved frame pointers (System V ABI 3.2.2) until it leaves the stack."""
    for _ in range(u64(MAXIMUM_RETURNS)):
        return_address = load_or_zero(frame_pointer + 8)
        next_pointer = load_or_zero(frame_pointer)
        if return_address == 0:
            return
        log(f"panic: return {return_address:#x}")
        if next_pointer <= frame_pointer:
            return
        frame_pointer = next_pointer


@noinline
def load_or_zero(address: u64) -> u64:
    """The word at `address`, 0 where nothing is mapped."""
    return asm_value(u64, LOAD_OR_ZERO, "=&r,r,~{memory},~{flags}", address)
