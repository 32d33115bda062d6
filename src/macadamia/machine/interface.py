"""Where a kernel and the machine below it meet, in both directions.

A program's manifest binds these functions: to a kernel's and to those of `x86_64.machine` or
`hosted.machine`. All handlers run on the processor's kernel stack with interrupts off. Those for events in
user mode get the thread's frame; to go on with another thread they make its frame the current one
(`activate`, or `resume`).
"""

from typing import NoReturn

from macadamia.lang import Ptr, UserPtr, interface, u8, u32, u64
from macadamia.machine.addresses import PhysAddr, VirtAddr
from macadamia.machine.io_permissions import IoPermissions
from macadamia.machine.x86_64.frame import FpuState, Frame

# What a kernel implements


@interface
def kernel_main() -> NoReturn:
    """The machine is ready; interrupts are off. Ends in `resume` of the first thread or `idle`."""


@interface
def handle_system_call(frame: Ptr[Frame]) -> None:
    """The current thread executed SYSCALL.

    Returning goes back to the same thread by the short way: of the frame only RAX, RDX, RSI, RDI and R8 to
    R10 are given to the thread. To change any other register, or the thread, end in `resume`.
    """


@interface
def handle_page_fault(frame: Ptr[Frame], address: VirtAddr) -> None:
    """The current thread touched `address`, any value; `frame.error` tells how (traps.PageFault)."""


@interface
def handle_exception(frame: Ptr[Frame]) -> None:
    """The current thread raised exception `frame.vector` with `frame.error` (for #DB: DR6)."""


@interface
def handle_interrupt(line: u32) -> None:
    """Interrupt line `line` fired. It stays silent until `acknowledge_interrupt(line)`."""


@interface
def handle_timer() -> None:
    """The timer fired, at the time it was set to or a little before."""


@interface
def handle_non_maskable_interrupt() -> None:
    """An NMI came, at any time, in the middle of anything. Must not fault and should only note the fact."""


# What the machine implements


@interface
def time_now() -> u64:
    """Nanoseconds since the machine started."""


@interface
def set_timer(time: u64) -> None:
    """Call `handle_timer` once at `time_now() == time`; replaces what was set.

    A time in the past fires at once.
    """


@interface
def stop_timer() -> None:
    """Forget what `set_timer` set."""


@interface
def idle() -> None:
    """Wait until an interrupt was handled; from a kernel's idle loop only."""


@interface
def allow_interrupts() -> None:
    """Handle the interrupts that wait: a preemption point in a long operation."""


@interface
def enable_interrupt(line: u32) -> bool:
    """Let `line` interrupt. False when the machine has no such line."""


@interface
def disable_interrupt(line: u32) -> None:
    """Keep `line` from interrupting."""


@interface
def acknowledge_interrupt(line: u32) -> None:
    """The interrupt that `handle_interrupt(line)` announced was served: the next may come."""


@interface
def activate(frame: Ptr[Frame]) -> None:
    """Make `frame` the current thread's: user mode is left into it and entered from it."""


@interface
def resume(frame: Ptr[Frame]) -> NoReturn:
    """`activate`, then go to user mode. What is on the kernel stack is forgotten."""


@interface
def switch_fpu(state: Ptr[FpuState] | None) -> None:
    """Make `state` the current thread's FPU registers. None: the thread may not use the FPU."""


@interface
def set_user_bases(fs: u64, gs: u64) -> None:
    """Set the FS and GS base of user mode. Addresses that are not in user space become 0."""


@interface
def set_user_gs_base(gs: u64) -> None:
    """Set the GS base of user mode, quickly: an address the kernel has checked, or one of its own choice.

    It may be any canonical address below the kernel image.
    """


@interface
def set_io_permissions(permissions: Ptr[IoPermissions] | None) -> None:
    """Let the current thread use these I/O ports. Call it again after a change of the set."""


@interface
def physical_pointer(address: PhysAddr) -> Ptr[u8]:
    """Where the kernel sees physical memory `address`."""


@interface
def load_page_table(cr3: u64) -> None:
    """Use another root page table: CR3 with its PCID and no-flush bits."""


@interface
def invalidate_page(address: VirtAddr) -> None:
    """Forget the translation of the page of `address` in the current address space."""


@interface
def copy_from_user(to: Ptr[u8], from_: UserPtr[u8], count: u64) -> u64:
    """Copy from the current address space.

    The number of bytes not copied, from the first that faults: 0 = all.
    """


@interface
def copy_to_user(to: UserPtr[u8], from_: Ptr[u8], count: u64) -> u64:
    """Copy to the current address space. The number of bytes not copied: 0 = all."""


@interface
def load_user_word(address: UserPtr[u64]) -> tuple[u64, bool]:
    """A word of user memory, and whether it could be read."""


@interface
def store_user_word(address: UserPtr[u64], value: u64) -> bool:
    """Write a word of user memory. False when it could not be written."""


@interface
def console_write(byte: u8) -> None:
    """Write to the program console."""


@interface
def console_read() -> tuple[u8, bool]:
    """A byte from the program console, and whether there was one. Never waits."""


@interface
def log_write(byte: u8) -> None:
    """Write to the kernel log. A newline ends each line."""


@interface
def power_off(status: u8) -> NoReturn:
    """Stop the machine in good order, with the exit status of what it ran."""
