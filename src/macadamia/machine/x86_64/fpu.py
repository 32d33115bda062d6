"""x87, SSE and AVX state: switched eagerly between the threads that use it.

The kernel itself has no floating-point or vector code. A thread that never used the FPU has CR0.TS set: its
first such instruction raises #NM, `first_use` marks it as a user, and from then on its registers are saved
and loaded at every switch. When a thread without FPU state becomes current, the registers are reset, so no
other thread's values are ever in them, not even for speculation behind CR0.TS (CVE-2018-3665): that is why
the state is not left lazily in the registers. Threads that do not use the FPU pay one comparison.

XCR0 enables x87, SSE and AVX. XSAVE is used where the processor has it, else FXSAVE.
"""

from macadamia.lang import Ptr, address_of, asm, cast, copy_bytes, implements, noinline, static, u16, u32
from macadamia.machine import interface
from macadamia.machine.x86_64 import control
from macadamia.machine.x86_64.features import Feature, has
from macadamia.machine.x86_64.frame import FPU_AREA_SIZE, FpuState
from macadamia.machine.x86_64.instructions import (
    clear_task_switched,
    read_cr0,
    read_cr4,
    write_cr0,
    write_cr4,
    write_xcr0,
)
from macadamia.machine.x86_64.processor import this_processor

XCR0_X87 = 1 << 0
XCR0_SSE = 1 << 1
XCR0_AVX = 1 << 2

CONTROL_WORD_DEFAULT = 0x37F  # all x87 exceptions masked, extended precision (SDM volume 1, 8.1.5)
MXCSR_DEFAULT = 0x1F80  # all SSE exceptions masked (SDM volume 1, 10.2.3)
MXCSR_OFFSET = 24  # in the legacy region (SDM volume 1, table 10-2)

initial_state = static(FpuState)

ALL_STATES = "movl $$-1, %eax; movl $$-1, %edx; "
# AMD's FXRSTOR leaves the x87 pointers of the last user in place: FILD overwrites them (CVE-2006-1056).
FORGET_POINTERS = "fnclex; emms; fildl ($0); "


def start_fpu() -> None:
    """Allow FPU instructions in user mode, on this processor."""
    cr0 = read_cr0() & ~control.CR0_EMULATION
    write_cr0(cr0 | control.CR0_MONITOR_COPROCESSOR | control.CR0_NUMERIC_ERROR)
    cr4 = read_cr4() | control.CR4_FXSAVE | control.CR4_SIMD_EXCEPTIONS
    if has(Feature.XSAVE):
        write_cr4(cr4 | control.CR4_XSAVE)
        write_xcr0(XCR0_X87 | XCR0_SSE | (XCR0_AVX if has(Feature.AVX) else 0))
    else:
        write_cr4(cr4)
    cast(u16, initial_state.area)[0] = CONTROL_WORD_DEFAULT
    cast(u32, initial_state.area)[MXCSR_OFFSET // 4] = MXCSR_DEFAULT
    load(initial_state)
    write_cr0(read_cr0() | control.CR0_TASK_SWITCHED)


@implements(interface.switch_fpu)
def switch_fpu(state: Ptr[FpuState] | None) -> None:
    """Make `state` the current thread's. None: FPU instructions of the thread are exceptions (#NM)."""
    processor = this_processor()
    previous = processor.fpu
    processor.fpu = state
    if uses_fpu(previous) or uses_fpu(state):
        exchange(previous, state)


def uses_fpu(state: Ptr[FpuState] | None) -> bool:
    return state is not None and state.used != 0


@noinline
def exchange(previous: Ptr[FpuState] | None, state: Ptr[FpuState] | None) -> None:
    """Save one state, load another. A thread without one gets reset registers behind CR0.TS."""
    if address_of(previous) == address_of(state):
        return
    if previous is not None and previous.used != 0:
        save(previous)
    else:
        clear_task_switched()
    if state is not None and state.used != 0:
        load(state)
        return
    load(initial_state)
    write_cr0(read_cr0() | control.CR0_TASK_SWITCHED)


def first_use() -> bool:
    """#NM in user mode: let the current thread use the FPU from now on. False when it has no FPU state."""
    state = this_processor().fpu
    if state is None or state.used != 0:
        return False
    copy_bytes(state.area, initial_state.area, FPU_AREA_SIZE)
    state.used = 1
    clear_task_switched()
    load(state)
    return True


def save(state: Ptr[FpuState]) -> None:
    if has(Feature.XSAVE):
        asm(ALL_STATES + "xsave64 ($0)", "r,~{eax},~{edx},~{memory}", state.area)
    else:
        asm("fxsave64 ($0)", "r,~{memory}", state.area)


def load(state: Ptr[FpuState]) -> None:
    if has(Feature.XSAVE):
        asm(FORGET_POINTERS + ALL_STATES + "xrstor64 ($0)", "r,~{eax},~{edx},~{memory}", state.area)
    else:
        asm(FORGET_POINTERS + "fxrstor64 ($0)", "r,~{memory}", state.area)
