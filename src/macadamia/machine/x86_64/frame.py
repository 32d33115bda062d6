"""The registers of a user thread: `Frame` for the integer unit, `FpuState` for x87, SSE and AVX.

A frame lies inside the thread it belongs to. While the thread runs, the processor's `rsp0` points to the end
of its frame: interrupts and exceptions from user mode push the hardware part there by themselves, the entry
code stores the rest below. Switching threads is therefore storing one pointer (`entry.activate`), and one
kernel stack per processor is enough.
"""

from macadamia.lang import Array, Struct, fill_bytes, pointer_to, sizeof, u8, u32, u64
from macadamia.machine.x86_64 import control
from macadamia.machine.x86_64.layout import USER_END

KERNEL_CODE = 0x08
KERNEL_DATA = 0x10
USER_DATA = 0x20 | 3
USER_CODE = 0x28 | 3
PRIVILEGE_MASK = 3  # of a selector: the requested privilege level

USER_FLAGS = (
    control.FLAG_CARRY
    | control.FLAG_PARITY
    | control.FLAG_ADJUST
    | control.FLAG_ZERO
    | control.FLAG_SIGN
    | control.FLAG_TRAP
    | control.FLAG_DIRECTION
    | control.FLAG_OVERFLOW
    | control.FLAG_ALIGNMENT_CHECK
    | control.FLAG_IDENTIFICATION
)
"""Flags that a user may choose freely."""


class Vector:
    """Numbers of the exceptions (SDM volume 3, 6.3.1)."""

    DIVIDE_ERROR = 0
    DEBUG = 1
    NON_MASKABLE_INTERRUPT = 2
    BREAKPOINT = 3
    OVERFLOW = 4
    BOUND_RANGE = 5
    INVALID_OPCODE = 6
    DEVICE_NOT_AVAILABLE = 7
    DOUBLE_FAULT = 8
    COPROCESSOR_OVERRUN = 9
    INVALID_TSS = 10
    SEGMENT_NOT_PRESENT = 11
    STACK_FAULT = 12
    GENERAL_PROTECTION = 13
    PAGE_FAULT = 14
    RESERVED_15 = 15
    FLOATING_POINT = 16
    ALIGNMENT_CHECK = 17
    MACHINE_CHECK = 18
    SIMD_FLOATING_POINT = 19
    VIRTUALIZATION = 20
    CONTROL_PROTECTION = 21
    LAST_EXCEPTION = 31


class PageFault:
    """Bits of a page fault's error code (SDM volume 3, 4.7)."""

    PRESENT = 1 << 0  # a right was missing, not the page
    WRITE = 1 << 1
    USER = 1 << 2
    RESERVED_BIT = 1 << 3
    FETCH = 1 << 4


SYSTEM_CALL = 0x100
"""`Frame.vector` of a thread that runs or is in a system call: it may be resumed by SYSRET."""


GENERAL_REGISTERS = 15  # at the start of a frame


class Frame(Struct, align=16):
    """The user registers, in the order the entry code and the processor store them."""

    r15: u64
    r14: u64
    r13: u64
    r12: u64
    rbp: u64
    rbx: u64
    r11: u64
    r10: u64
    r9: u64
    r8: u64
    rax: u64
    rcx: u64
    rdx: u64
    rsi: u64
    rdi: u64
    vector: u64  # why the thread entered the kernel: a Vector or SYSTEM_CALL
    error: u64  # the exception's error code, 0 when it has none
    rip: u64
    cs: u64
    rflags: u64
    rsp: u64
    ss: u64

    def start(self, ip: u64, sp: u64) -> None:
        """Make this the frame of a thread that begins at `ip` with interrupts on, other registers 0."""
        self.clear_general_registers()
        self.error = 0
        self.cs = USER_CODE
        self.ss = USER_DATA
        self.rflags = control.FLAG_FIXED | control.FLAG_INTERRUPT
        self.rsp = sp
        self.jump(ip)

    def clear_general_registers(self) -> None:
        """Nothing of an earlier owner of this memory may reach a new thread."""
        fill_bytes(pointer_to(self.r15), 0, GENERAL_REGISTERS * sizeof(u64))

    def jump(self, ip: u64) -> None:
        """Let the thread continue at `ip`, any value: the only right way to change `rip`.

        SYSRET faults in kernel mode on a non-canonical address; a frame that was changed returns by IRET.
        """
        self.rip = ip
        self.returns_by_iret()

    def returns_by_iret(self) -> None:
        """After this every register of the frame reaches the thread, RCX and R11 too."""
        if self.vector == SYSTEM_CALL:
            self.vector = Vector.LAST_EXCEPTION

    def set_flags(self, flags: u64) -> None:
        """Give the thread those of `flags` that a user may choose."""
        self.rflags = self.rflags & ~USER_FLAGS | flags & USER_FLAGS

    def is_consistent(self) -> bool:
        """What the return paths rely on; checked profile asserts it before each return to user mode."""
        return (
            self.cs == USER_CODE
            and self.ss == USER_DATA
            and self.rflags & control.FLAG_INTERRUPT != 0
            and (self.vector != SYSTEM_CALL or self.rip <= USER_END)
        )


FPU_AREA_SIZE = 512 + 64 + 256
"""Legacy region, XSAVE header and AVX component in the standard format (SDM volume 1, 13.4)."""


class FpuState(Struct, align=64):
    """x87, SSE and AVX registers of a thread that is not running. All zero = never used the FPU.

    How they are switched: fpu.py.
    """

    area: Array[u8, FPU_AREA_SIZE]
    used: u32
