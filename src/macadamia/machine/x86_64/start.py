"""Boot, from the first line of kernel Python to `kernel_main`."""

from typing import NoReturn

from macadamia.lang import Ptr, asm, export, global_asm, range, u64, unreachable
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr
from macadamia.machine.interface import kernel_main
from macadamia.machine.text import log
from macadamia.machine.x86_64 import boot, layout
from macadamia.machine.x86_64.assembly import template
from macadamia.machine.x86_64.clock import clock, note_start, start_clock
from macadamia.machine.x86_64.entry import enable_system_calls
from macadamia.machine.x86_64.features import Feature, enable_protection, has, log_features, read_features
from macadamia.machine.x86_64.fpu import start_fpu
from macadamia.machine.x86_64.frames import frame_pool
from macadamia.machine.x86_64.initrd import initrd, read_initrd
from macadamia.machine.x86_64.interrupt_table import fill_interrupt_table, load_interrupt_table
from macadamia.machine.x86_64.io_apic import find_io_apics
from macadamia.machine.x86_64.kernel_space import allocate_stack, make_kernel_space
from macadamia.machine.x86_64.legacy_pic import mask_legacy_pic
from macadamia.machine.x86_64.local_apic import start_local_apic
from macadamia.machine.x86_64.processor import (
    INTERRUPT_STACK_SIZE,
    INTERRUPT_STACKS,
    Processor,
    boot_processor,
)
from macadamia.machine.x86_64.reset import find_reset_register
from macadamia.machine.x86_64.segments import load_segments
from macadamia.machine.x86_64.serial import start_console_and_log
from macadamia.machine.x86_64.smap import patch_smap_sites
from macadamia.machine.x86_64.start_info import MemoryType, boot_info, read_start_info

KERNEL_STACK_SIZE = 4 * PAGE_SIZE
LOW_MEMORY_END = 0x10_0000  # real-mode structures and firmware data lie below

CONTINUE = template("movq @0, %rsp; xorl %ebp, %ebp; callq @P1")

global_asm(boot.TEXT)


@export("machine_start")
def machine_start(start_info: u64) -> NoReturn:
    """Called by the boot code on the boot stack, interrupts off; `start_info` is a physical address."""
    note_start()
    start_console_and_log()
    start_traps(boot_processor)
    read_features()
    read_start_info(start_info)
    start_memory()
    allocate_stacks(boot_processor)
    continue_on(boot_processor.kernel_stack)


def continue_on(stack: u64) -> NoReturn:
    """Leave the boot stack for one with a guard page."""
    asm(CONTINUE, "r,s,~{memory}", stack, machine_start_on_stack)
    unreachable("the kernel returned")


def machine_start_on_stack() -> NoReturn:
    start_fpu()
    enable_system_calls()
    mask_legacy_pic()
    start_local_apic()
    find_io_apics()
    find_reset_register()
    start_clock()
    if boot_info.initrd_size:
        read_initrd(PhysAddr(boot_info.initrd_start), boot_info.initrd_size)
    report()
    kernel_main()


def start_traps(processor: Ptr[Processor]) -> None:
    """From here on a fault is a panic with words instead of a reset."""
    load_segments(processor)
    fill_interrupt_table()
    load_interrupt_table()


def start_memory() -> None:
    """Find free memory, and replace the boot page tables."""
    for i in range(boot_info.range_count):
        found = boot_info.ranges[i]
        if found.type == MemoryType.RAM:
            end = min(found.start + found.size, layout.PHYSICAL_MAP_SIZE)
            frame_pool.add(max(found.start, LOW_MEMORY_END), end)
    frame_pool.reserve(layout.KERNEL_PHYSICAL, layout.image_end() - layout.KERNEL_BASE)
    frame_pool.reserve(boot_info.initrd_start, boot_info.initrd_start + boot_info.initrd_size)
    if has(Feature.SMAP):
        patch_smap_sites()
    make_kernel_space()
    enable_protection()


def allocate_stacks(processor: Ptr[Processor]) -> None:
    """Stacks with guard pages for the processor and for the exceptions that need their own."""
    processor.kernel_stack = allocate_stack(KERNEL_STACK_SIZE)
    for i in range(u64(INTERRUPT_STACKS)):
        processor.task.interrupt_stacks[i] = allocate_stack(INTERRUPT_STACK_SIZE)


def report() -> None:
    log_features()
    memory = frame_pool.available * PAGE_SIZE >> 20
    kilohertz = clock.frequency // 1000
    log(f"machine: {memory} MiB free, {initrd.count} modules, time-stamp counter {kilohertz} kHz")
