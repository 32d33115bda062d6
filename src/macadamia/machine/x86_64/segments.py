"""Segment descriptors and the task register (SDM volume 3, 3.4.5 and 7.2.3).

Long mode needs little of them: one code and one data segment per privilege level in the order SYSCALL and
SYSRET expect, and a TSS. There is no 32-bit user code segment, so user mode has exactly one CS and one SS.
"""

from macadamia.lang import Ptr, Struct, address_of, asm, local, pointer_to, sizeof, u16, u32, u64
from macadamia.machine.x86_64 import control
from macadamia.machine.x86_64.assembly import template
from macadamia.machine.x86_64.frame import KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_DATA
from macadamia.machine.x86_64.instructions import write_msr
from macadamia.machine.x86_64.processor import (
    IO_BITMAP_NONE,
    TASK_STATE_LIMIT,
    TASK_STATE_START,
    Processor,
)

KERNEL_CODE_DESCRIPTOR = 0x00AF_9B00_0000_FFFF  # present, accessed, ring 0, 64-bit code
DATA_DESCRIPTOR = 0x00CF_9300_0000_FFFF  # present, accessed, ring 0, writable data
USER_CODE_DESCRIPTOR = 0x00AF_FB00_0000_FFFF
USER_DATA_DESCRIPTOR = 0x00CF_F300_0000_FFFF
TASK_DESCRIPTOR = 0x0000_8900_0000_0000  # present, available 64-bit TSS

TASK_SELECTOR = 0x30
SYSRET_BASE = USER_DATA - 8  # SYSRET loads SS = base + 8 and CS = base + 16 (SDM volume 2, SYSRET)


class DescriptorPointer(Struct):
    """Operand of LGDT and LIDT; the six bytes before `limit` only align `base`."""

    padding: u16
    padding_2: u32
    limit: u16
    base_low: u16
    base_middle: u32
    base_high: u16

    def set(self, base: u64, limit: u16) -> None:
        self.limit = limit
        self.base_low = u16.wrap(base)
        self.base_middle = u32.wrap(base >> 16)
        self.base_high = u16.wrap(base >> 48)


RELOAD_SEGMENTS = template(f"""
    lgdt (@0)
    pushq ${KERNEL_CODE:#x}
    leaq 1f(%rip), %rax
    pushq %rax
    lretq
1:  movw ${KERNEL_DATA:#x}, %ax
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw ${TASK_SELECTOR:#x}, %ax
    ltr %ax
""")


def load_segments(processor: Ptr[Processor]) -> None:
    """Give `processor`, the one running this, its descriptors, task state and GS base."""
    table = processor.descriptors
    table[KERNEL_CODE >> 3] = KERNEL_CODE_DESCRIPTOR
    table[KERNEL_DATA >> 3] = DATA_DESCRIPTOR
    table[USER_DATA >> 3] = USER_DATA_DESCRIPTOR
    table[USER_CODE >> 3] = USER_CODE_DESCRIPTOR
    task = address_of(processor.task) + TASK_STATE_START
    table[TASK_SELECTOR >> 3] = task_descriptor(task)
    table[(TASK_SELECTOR >> 3) + 1] = task >> 32
    processor.task.io_bitmap_offset = IO_BITMAP_NONE
    processor.task.io_bitmap_end = 0xFF

    pointer = local(DescriptorPointer)
    pointer.set(address_of(table), sizeof(u64) * 8 - 1)
    asm(RELOAD_SEGMENTS, "r,~{rax},~{memory}", pointer_to(pointer.limit))
    processor.self = processor
    write_msr(control.MSR_GS_BASE, address_of(processor))
    write_msr(control.MSR_KERNEL_GS_BASE, 0)


def task_descriptor(base: u64) -> u64:
    """Low half of the descriptor of a TSS at `base`; the high half is the upper 32 bits of the address."""
    return TASK_DESCRIPTOR | TASK_STATE_LIMIT | (base & 0xFF_FFFF) << 16 | (base >> 24 & 0xFF) << 56
