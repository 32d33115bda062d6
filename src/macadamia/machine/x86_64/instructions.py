"""Machine instructions as functions: one each, nothing else."""

from macadamia.lang import asm, asm_value, inline, u8, u16, u32, u64, usize


@inline
def read_port8(port: u16) -> u8:
    return asm_value(u8, "inb $1, $0", "={al},{dx},~{memory}", port)


@inline
def write_port8(port: u16, value: u8) -> None:
    asm("outb $0, $1", "{al},{dx},~{memory}", value, port)


@inline
def read_port32(port: u16) -> u32:
    return asm_value(u32, "inl $1, $0", "={eax},{dx},~{memory}", port)


@inline
def read_msr(number: u32) -> u64:
    """A model-specific register (SDM volume 4). Faults when the processor does not have it."""
    low, high = asm_value(tuple[u32, u32], "rdmsr", "={eax},={edx},{ecx},~{memory}", number)
    return u64(high) << 32 | low


@inline
def write_msr(number: u32, value: u64) -> None:
    asm("wrmsr", "{ecx},{eax},{edx},~{memory}", number, u32.wrap(value), u32.wrap(value >> 32))


@inline
def cpuid(leaf: u32, subleaf: u32) -> tuple[u32, u32, u32, u32]:
    """EAX, EBX, ECX, EDX of CPUID (SDM volume 2, CPUID)."""
    return asm_value(
        tuple[u32, u32, u32, u32], "cpuid", "={eax},={ebx},={ecx},={edx},{eax},{ecx}", leaf, subleaf
    )


@inline
def read_time_stamp() -> u64:
    """The time-stamp counter. Under `-icount shift=0` it counts instructions."""
    low, high = asm_value(tuple[u32, u32], "rdtsc", "={eax},={edx},~{memory}")
    return u64(high) << 32 | low


@inline
def read_cr0() -> u64:
    return asm_value(u64, "movq %cr0, $0", "=r,~{memory}")


@inline
def write_cr0(value: u64) -> None:
    asm("movq $0, %cr0", "r,~{memory}", value)


@inline
def read_cr2() -> u64:
    """The linear address of the last page fault."""
    return asm_value(u64, "movq %cr2, $0", "=r,~{memory}")


@inline
def read_cr3() -> u64:
    return asm_value(u64, "movq %cr3, $0", "=r,~{memory}")


@inline
def write_cr3(value: u64) -> None:
    asm("movq $0, %cr3", "r,~{memory}", value)


@inline
def read_cr4() -> u64:
    return asm_value(u64, "movq %cr4, $0", "=r,~{memory}")


@inline
def write_cr4(value: u64) -> None:
    asm("movq $0, %cr4", "r,~{memory}", value)


@inline
def read_dr6() -> u64:
    return asm_value(u64, "movq %dr6, $0", "=r,~{memory}")


@inline
def write_dr6(value: u64) -> None:
    asm("movq $0, %dr6", "r,~{memory}", value)


@inline
def write_xcr0(value: u64) -> None:
    """Extended control register 0: which states XSAVE handles (SDM volume 1, 13.3)."""
    asm("xsetbv", "{ecx},{eax},{edx},~{memory}", u32(0), u32.wrap(value), u32.wrap(value >> 32))


@inline
def clear_task_switched() -> None:
    """CLTS: the FPU may be used until CR0.TS is set again."""
    asm("clts", "~{memory}")


@inline
def invalidate_page_translation(address: u64) -> None:
    """INVLPG: drop the translation of one page, a global one too, in the current PCID."""
    asm("invlpg ($0)", "r,~{memory}", address)


@inline
def open_interrupt_window() -> None:
    """STI; NOP; CLI: interrupts are held off for one instruction after STI and come before CLI.

    (With PAUSE in the middle, QEMU 7.2 lets none in.)
    """
    asm("sti; nop; cli", "~{memory}")


@inline
def disable_interrupts() -> None:
    asm("cli", "~{memory}")


@inline
def enable_interrupts_and_halt() -> None:
    """STI; HLT. No interrupt can come between the two (SDM volume 2, STI), so none is slept through."""
    asm("sti; hlt", "~{memory}")


@inline
def halt() -> None:
    asm("hlt", "~{memory}")


@inline
def pause() -> None:
    """PAUSE: a hint that this is a waiting loop."""
    asm("pause", "~{memory}")


@inline
def read_frame_pointer() -> usize:
    return asm_value(u64, "movq %rbp, $0", "=r")
