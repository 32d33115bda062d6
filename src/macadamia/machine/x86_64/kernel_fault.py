"""Exceptions the kernel itself caused: always a panic, with the exception in words."""

from typing import NoReturn

from macadamia.lang import Array, Ptr, cold, static
from macadamia.machine.text import log
from macadamia.machine.x86_64.frame import Frame, PageFault, Vector
from macadamia.machine.x86_64.instructions import read_cr2
from macadamia.machine.x86_64.kernel_space import is_guard_page
from macadamia.machine.x86_64.panic import begin_panic, stop_at

NAMES = {
    Vector.DIVIDE_ERROR: "division by zero or overflow of a division (#DE)",
    Vector.BREAKPOINT: "breakpoint (#BP)",
    Vector.OVERFLOW: "overflow (#OF)",
    Vector.BOUND_RANGE: "bound range exceeded (#BR)",
    Vector.INVALID_OPCODE: "invalid opcode (#UD)",
    Vector.DEVICE_NOT_AVAILABLE: "FPU instruction (#NM)",
    Vector.DOUBLE_FAULT: "double fault (#DF)",
    Vector.INVALID_TSS: "invalid TSS (#TS)",
    Vector.SEGMENT_NOT_PRESENT: "segment not present (#NP)",
    Vector.STACK_FAULT: "stack segment fault (#SS)",
    Vector.GENERAL_PROTECTION: "general protection (#GP)",
    Vector.FLOATING_POINT: "floating-point error (#MF)",
    Vector.ALIGNMENT_CHECK: "alignment check (#AC)",
    Vector.MACHINE_CHECK: "machine check (#MC): the hardware reports a fault",
    Vector.SIMD_FLOATING_POINT: "SIMD floating-point error (#XM)",
    Vector.CONTROL_PROTECTION: "control protection (#CP)",
}

names = static(Array[str, Vector.LAST_EXCEPTION + 1])
for _vector in range(Vector.LAST_EXCEPTION + 1):
    names[_vector] = NAMES.get(_vector, "reserved exception")


@cold
def kernel_fault(frame: Ptr[Frame]) -> NoReturn:
    """Report an exception in kernel mode, or a double fault or machine check anywhere."""
    begin_panic()
    if frame.vector == Vector.PAGE_FAULT:
        describe_page_fault(frame)
    elif frame.vector == Vector.DOUBLE_FAULT and is_guard_page(read_cr2()):
        log(f"panic: kernel stack overflow: the stack reached the guard page at {read_cr2():#x}")
    else:
        log(f"panic: exception in the kernel: {names[frame.vector]}, error code {frame.error:#x}")
    stop_at(frame)


def describe_page_fault(frame: Ptr[Frame]) -> None:
    address = read_cr2()
    if frame.error & PageFault.FETCH:
        log(f"panic: page fault: the kernel jumped to {address:#x}")
    elif frame.error & PageFault.WRITE and frame.error & PageFault.PRESENT:
        log(f"panic: page fault: the kernel wrote to {address:#x}, which is read-only or the user's")
    elif frame.error & PageFault.WRITE:
        log(f"panic: page fault: the kernel wrote to {address:#x}, where nothing is mapped")
    elif frame.error & PageFault.PRESENT:
        log(f"panic: page fault: the kernel read {address:#x}, which is the user's")
    else:
        log(f"panic: page fault: the kernel read {address:#x}, where nothing is mapped")
