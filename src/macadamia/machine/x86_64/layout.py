"""Where things are in virtual memory, and the linker script that puts the kernel there.

    0000_0000_0000_0000 .. 0000_7FFF_FFFF_EFFF   user; its last page stays empty (see USER_END)
    FFFF_8000_0000_0000 .. FFFF_BFFF_FFFF_FFFF   all physical memory, at PHYSICAL_MAP + its address
    FFFF_FF00_0000_0000 .. FFFF_FF7F_FFFF_FFFF   window: devices, firmware tables, stacks with guard pages
    FFFF_FFFF_8000_0000 .. FFFF_FFFF_BFFF_FFFF   the kernel image, at KERNEL_BASE + its physical address

The kernel half is the same in every address space: its top-level entries are made at boot and copied.
"""

from collections.abc import Callable

from macadamia.lang import asm_value, inline, u64
from macadamia.machine.addresses import PAGE_SIZE

USER_END = 0x7FFF_FFFF_F000
"""First address above user space. The page up to the canonical limit 0x8000_0000_0000 is never mapped: a
SYSCALL in its last two bytes would return to a non-canonical address, on which SYSRET faults in kernel mode
with the user's stack pointer (SDM volume 2, SYSRET)."""

PHYSICAL_MAP = 0xFFFF_8000_0000_0000
PHYSICAL_MAP_SIZE = 1 << 46
WINDOW = 0xFFFF_FF00_0000_0000
KERNEL_BASE = 0xFFFF_FFFF_8000_0000
KERNEL_PHYSICAL = 0x10_0000  # where memory above the PC's legacy area begins
IMAGE_LIMIT = 1 << 30  # what the boot page tables map

LINKER_SCRIPT = f"""
ENTRY(pvh_entry_physical)
PHDRS {{
    note PT_NOTE;
    text PT_LOAD FLAGS(5);
    rodata PT_LOAD FLAGS(4);
    data PT_LOAD FLAGS(6);
}}
SECTIONS {{
    . = {KERNEL_BASE + KERNEL_PHYSICAL:#x};
    image_start = .;
    .text : AT(ADDR(.text) - {KERNEL_BASE:#x}) {{
        *(.text.boot) *(.text.entry) *(.text .text.*)
    }} :text
    . = ALIGN({PAGE_SIZE:#x});
    text_end = .;
    .note.Xen : AT(ADDR(.note.Xen) - {KERNEL_BASE:#x}) {{ KEEP(*(.note.Xen)) }} :rodata :note
    .rodata : AT(ADDR(.rodata) - {KERNEL_BASE:#x}) {{
        *(.rodata .rodata.*)
        . = ALIGN(8);
        fixups_start = .; KEEP(*(.fixups)) fixups_end = .;
        smap_sites_start = .; KEEP(*(.smap_sites)) smap_sites_end = .;
    }} :rodata
    .user.text ALIGN({PAGE_SIZE:#x}) : AT(ADDR(.user.text) - {KERNEL_BASE:#x}) {{
        user_text_start = .; *(.user.text .user.text.*) *(.user.rodata .user.rodata.*)
        . = ALIGN({PAGE_SIZE:#x}); user_text_end = .;
    }} :rodata
    . = ALIGN({PAGE_SIZE:#x});
    rodata_end = .;
    .data : AT(ADDR(.data) - {KERNEL_BASE:#x}) {{ *(.data .data.*) }} :data
    .bss : AT(ADDR(.bss) - {KERNEL_BASE:#x}) {{ *(.bss.pages) *(.bss .bss.*) *(COMMON) }} :data
    . = ALIGN({PAGE_SIZE:#x});
    image_end = .;
    pvh_entry_physical = pvh_entry - {KERNEL_BASE:#x};
    /DISCARD/ : {{ *(.comment) *(.eh_frame*) *(.note.GNU-stack) }}
}}
"""


def symbol_address(name: str) -> Callable[[], u64]:
    """Import time: a function that gives the address of the linker symbol `name`."""
    template = f"movq $${name}, $0"

    @inline
    def address() -> u64:
        return asm_value(u64, template, "=r")

    return address


image_start = symbol_address("image_start")
text_end = symbol_address("text_end")
rodata_end = symbol_address("rodata_end")
image_end = symbol_address("image_end")
user_text_start = symbol_address("user_text_start")
user_text_end = symbol_address("user_text_end")
