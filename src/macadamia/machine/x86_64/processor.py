"""What each processor has of its own.

In kernel mode the GS base points here, in user mode KERNEL_GS_BASE does.

The task state segment is part of it, so that the pointer to the current thread's frame exists once: `rsp0`,
where the processor itself pushes on an interrupt from user mode, is also what the SYSCALL entry loads.
"""

from macadamia.lang import Array, Ptr, Struct, asm_value, inline, offsetof, static, u8, u16, u32, u64
from macadamia.machine.addresses import PAGE_SIZE
from macadamia.machine.io_permissions import BITMAP_BYTES
from macadamia.machine.x86_64.frame import FpuState

STACK_NON_MASKABLE = 1  # interrupt stack table slots (SDM volume 3, 6.14.5)
STACK_DOUBLE_FAULT = 2
STACK_MACHINE_CHECK = 3
STACK_DEBUG = 4
INTERRUPT_STACKS = 4
INTERRUPT_STACK_SIZE = 2 * PAGE_SIZE


class TaskState(Struct, align=8):
    """The 64-bit TSS (SDM volume 3, 7.7). It starts at `reserved_0`: its 64-bit fields are at 4 modulo 8."""

    padding: u32
    reserved_0: u32
    rsp0: u64
    rsp1: u64
    rsp2: u64
    reserved_1: u64
    interrupt_stacks: Array[u64, 7]  # slot n of the interrupt stack table is element n - 1
    reserved_2: u64
    reserved_3: u16
    io_bitmap_offset: u16  # from the start of the TSS; beyond its limit = no ports
    io_bitmap: Array[u8, BITMAP_BYTES]  # bit clear = port allowed
    io_bitmap_end: u8  # the processor reads two bytes: one of ones must follow


TASK_STATE_START = offsetof(TaskState, "reserved_0")
TASK_STATE_LIMIT = offsetof(TaskState, "io_bitmap_end") - TASK_STATE_START
IO_BITMAP_OFFSET = offsetof(TaskState, "io_bitmap") - TASK_STATE_START
IO_BITMAP_NONE = 0xFFFF


class Processor(Struct, align=64):
    """One per processor; reached by `this_processor()`."""

    self: Ptr["Processor"]
    kernel_stack: u64  # top; kernel code starts here on every entry from user mode
    user_stack: u64  # scratch of the SYSCALL entry
    fpu: Ptr[FpuState] | None  # whose FPU state the current thread has; None: FPU instructions are exceptions
    number: u32
    non_maskable_interrupts: u32  # how many arrived
    io_version: u64  # of the set of I/O ports in task.io_bitmap; 0 = none
    descriptors: Array[u64, 8]  # GDT
    task: TaskState


GS_SELF = offsetof(Processor, "self")
GS_KERNEL_STACK = offsetof(Processor, "kernel_stack")
GS_USER_STACK = offsetof(Processor, "user_stack")
GS_RSP0 = offsetof(Processor, "task") + offsetof(TaskState, "rsp0")

LOAD_SELF = f"movq %gs:{GS_SELF}, $0"
boot_processor = static(Processor)


@inline
def this_processor() -> Ptr[Processor]:
    """The processor this code runs on."""
    return asm_value(Ptr[Processor], LOAD_SELF, "=r")
