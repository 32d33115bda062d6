"""From the boot loader to the first line of kernel Python: PVH entry, long mode, higher half.

PVH (Xen's x86/HVM direct boot ABI; QEMU -kernel, Firecracker and Cloud Hypervisor speak it) enters at the
physical address in an ELF note: 32-bit flat protected mode, paging off, EBX = physical address of
`hvm_start_info`. The code below checks that the processor is good enough to say more, turns on long mode
with page tables that were filled in by the assembler, and jumps to the higher half.

The boot page tables map the first GiB three times: at 0 (for the moment of the switch), at the start of the
physical map and at the kernel image. `kernel_space` replaces them.
"""

from macadamia.machine.addresses import PAGE_SIZE
from macadamia.machine.x86_64 import control, layout
from macadamia.machine.x86_64.power import DEBUG_EXIT_PANIC, DEBUG_EXIT_PORT
from macadamia.machine.x86_64.serial import COM2, LINE_STATUS, TRANSMIT_EMPTY

NOTE_PHYS32_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY
BOOT_STACK_SIZE = 4 * PAGE_SIZE

TABLE = 0x003  # present, writable
LARGE_PAGE = 0x083  # present, writable, 2 MiB

CPUID_EXTENDED_FEATURES = 0x8000_0001
FEATURE_LONG_MODE_BIT = 29  # of EDX
FEATURE_NO_EXECUTE_BIT = 20

CODE_DESCRIPTOR = 0x00AF_9A00_0000_FFFF  # 64-bit code, ring 0
DATA_DESCRIPTOR = 0x00CF_9200_0000_FFFF


def physical(symbol: str) -> str:
    return f"({symbol} - {layout.KERNEL_BASE:#x})"


def table_index(address: int, level: int) -> int:
    """Which of the 512 entries of the level-`level` table (4 = root) maps `address`."""
    return address >> (12 + 9 * (level - 1)) & 511


def table(name: str, entries: dict[int, str]) -> str:
    """A page table with the given entries, others zero."""
    lines = [f"{name}:"]
    for index in range(512):
        if index in entries:
            lines.append(f".quad {entries[index]}")
        elif index - 1 in entries or index == 0:
            next_entry = min((i for i in entries if i > index), default=512)
            lines.append(f".skip {8 * (next_entry - index)}")
    return "\n".join(lines)


def boot_tables() -> str:
    directory = f"{physical('boot_directory')} + {TABLE}"
    low = f"{physical('boot_low')} + {TABLE}"
    high = f"{physical('boot_high')} + {TABLE}"
    root = {0: low, table_index(layout.PHYSICAL_MAP, 4): low, table_index(layout.KERNEL_BASE, 4): high}
    return "\n".join(
        [
            '.section .data.boot, "aw"',
            f".balign {PAGE_SIZE}",
            table("boot_root", root),
            table("boot_low", {0: directory}),
            table("boot_high", {table_index(layout.KERNEL_BASE, 3): directory}),
            table("boot_directory", {index: f"{index << 21 | LARGE_PAGE:#x}" for index in range(512)}),
            ".balign 16",
            f"boot_descriptors: .quad 0, {CODE_DESCRIPTOR:#x}, {DATA_DESCRIPTOR:#x}",
            f"boot_descriptors_pointer: .word 23; .long {physical('boot_descriptors')}",
            '.section .bss.boot, "aw", @nobits',
            ".balign 16",
            f".skip {BOOT_STACK_SIZE}",
            "boot_stack_top:",
        ]
    )


NOTE = f"""
.section .note.Xen, "a", @note
.balign 4
.long 4, 8, {NOTE_PHYS32_ENTRY}
.asciz "Xen"
.quad {physical("pvh_entry")}
"""

# EBX = start information. The processor is checked first: without long mode what follows would triple-fault.
ENTRY = f"""
.section .text.boot, "ax"
.code32
.globl pvh_entry
pvh_entry:
    cli
    cld
    movl %ebx, %esi
    movl $0x80000000, %eax
    cpuid
    cmpl ${CPUID_EXTENDED_FEATURES:#x}, %eax
    jb unusable_processor
    movl ${CPUID_EXTENDED_FEATURES:#x}, %eax
    cpuid
    andl ${1 << FEATURE_LONG_MODE_BIT | 1 << FEATURE_NO_EXECUTE_BIT:#x}, %edx
    cmpl ${1 << FEATURE_LONG_MODE_BIT | 1 << FEATURE_NO_EXECUTE_BIT:#x}, %edx
    jne unusable_processor

    movl ${control.CR4_PAE:#x}, %eax
    movl %eax, %cr4
    movl ${physical("boot_root")}, %eax
    movl %eax, %cr3
    movl ${control.MSR_EFER:#x}, %ecx
    movl ${control.EFER_LONG_MODE | control.EFER_NO_EXECUTE | control.EFER_SYSTEM_CALL:#x}, %eax
    xorl %edx, %edx
    wrmsr
    movl ${control.CR0_PAGING | control.CR0_WRITE_PROTECT | control.CR0_PROTECTION:#x}, %eax
    movl %eax, %cr0
    lgdtl {physical("boot_descriptors_pointer")}
    ljmpl $8, ${physical("long_mode")}

unusable_processor:
    movl ${physical("unusable_processor_text")}, %esi
1:  movw ${COM2 + LINE_STATUS:#x}, %dx
2:  inb %dx, %al
    testb ${TRANSMIT_EMPTY:#x}, %al
    jz 2b
    lodsb
    movw ${COM2:#x}, %dx
    outb %al, %dx
    cmpb $0, (%esi)
    jne 1b
    movb ${DEBUG_EXIT_PANIC:#x}, %al
    movw ${DEBUG_EXIT_PORT:#x}, %dx
    outb %al, %dx
3:  hlt
    jmp 3b
unusable_processor_text:
    .asciz "panic: this processor has no 64-bit mode or no execute-disable\\n"

.code64
long_mode:
    movq $high_half, %rax
    jmpq *%rax
high_half:
    movq $boot_stack_top, %rsp
    movw $16, %ax
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movl %esi, %edi
    xorl %ebp, %ebp
    callq machine_start
    ud2
"""

TEXT = NOTE + ENTRY + boot_tables()
