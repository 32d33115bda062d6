"""Entry into the kernel and return to user mode, in assembly.

From user mode the registers go straight into the current thread's `Frame`; the kernel then runs on the
processor's kernel stack with interrupts off. There are two ways back:

- `resume(frame)` makes any thread the current one and returns to it, by SYSRET when it waits in a system
  call and by IRET otherwise.
- A `handle_system_call` that just returns goes back to its caller the short way: registers that compiled
  code preserves (RBX, RBP, R12-R15) still hold the user's values and are not loaded again.

What can go wrong here, and what is done about it:

- SYSRET to a non-canonical RIP faults in kernel mode with the user's stack. RIP of a frame marked
  SYSTEM_CALL is what SYSCALL stored, and user space ends a page below the limit (layout.USER_END). Everyone
  else sets RIP by `Frame.jump`, which chooses IRET; there a non-canonical RIP is turned into the user's
  general protection fault.
- Between SYSCALL and the first stack switch, and before SYSRET, the stack pointer is the user's. Interrupts
  are off there (MSR_FMASK); NMI, machine check and #DB have stacks of their own.
- NMI, #DB and machine check may arrive before SWAPGS or after it, whatever CS says. Those from kernel mode
  look at the GS base itself: the kernel's is in the last 4 GiB, and user mode cannot have one there
  (CR4.FSGSBASE stays off, and the kernel gives none: user_bases.py).
- #DB may come on the first instruction here (a data breakpoint on MOV SS before SYSCALL): it is harmless,
  see above.
- User flags: MSR_FMASK clears TF, DF, NT, AC, IOPL for system calls. Interrupts leave DF and AC: CLD and
  CLAC.
- A second NMI is blocked until IRET, and the NMI path contains no other IRET as long as it does not fault.
"""

from typing import NoReturn

from macadamia.lang import (
    Ptr,
    address_of,
    asm,
    export,
    implements,
    inline,
    naked,
    offsetof,
    sizeof,
    unreachable,
)
from macadamia.machine import interface
from macadamia.machine.x86_64 import control
from macadamia.machine.x86_64.assembly import lines, template
from macadamia.machine.x86_64.frame import KERNEL_CODE, PRIVILEGE_MASK, SYSTEM_CALL, Frame, Vector
from macadamia.machine.x86_64.instructions import write_msr
from macadamia.machine.x86_64.processor import GS_KERNEL_STACK, GS_RSP0, GS_USER_STACK, this_processor
from macadamia.machine.x86_64.segments import SYSRET_BASE
from macadamia.machine.x86_64.smap import CLAC
from macadamia.machine.x86_64.traps import system_call, trap_from_kernel, trap_from_user, trap_on_own_stack

END = sizeof(Frame)
GENERAL = (
    "r15",
    "r14",
    "r13",
    "r12",
    "rbp",
    "rbx",
    "r11",
    "r10",
    "r9",
    "r8",
    "rax",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
)
DESTROYED_BY_SYSCALL = ("rcx", "r11")  # they bring RIP and RFLAGS
PRESERVED_BY_FUNCTIONS = ("rbx", "rbp", "r12", "r13", "r14", "r15")  # System V ABI, figure 3.4

FLAGS_CLEARED_BY_SYSCALL = (
    control.FLAG_TRAP
    | control.FLAG_INTERRUPT
    | control.FLAG_DIRECTION
    | control.FLAG_IOPL
    | control.FLAG_NESTED_TASK
    | control.FLAG_RESUME
    | control.FLAG_ALIGNMENT_CHECK
)


def at(field: str, base: str = "rdi") -> str:
    """Operand: a field of the frame that register `base` points to."""
    return f"{offsetof(Frame, field)}(%{base})"


def from_end(field: str) -> str:
    """Operand: a field of the frame that ends at the stack pointer."""
    return f"{offsetof(Frame, field) - END}(%rsp)"


PUSH_GENERAL = lines(*(f"pushq %{name}" for name in reversed(GENERAL)))
POP_GENERAL = lines(*(f"popq %{name}" for name in GENERAL))
SAVED_BY_SYSCALL = [name for name in GENERAL if name not in DESTROYED_BY_SYSCALL]
LOADED_FOR_SYSRET = [name for name in SAVED_BY_SYSCALL if name not in PRESERVED_BY_FUNCTIONS]

SYSTEM_CALL_TEMPLATE = template(
    "swapgs",
    f"movq %rsp, %gs:{GS_USER_STACK}",
    f"movq %gs:{GS_RSP0}, %rsp",
    f"movq %rcx, {from_end('rip')}",
    f"movq %r11, {from_end('rflags')}",
    *(f"movq %{name}, {from_end(name)}" for name in SAVED_BY_SYSCALL),
    f"movq %gs:{GS_USER_STACK}, %rax",
    f"movq %rax, {from_end('rsp')}",
    f"leaq {-END}(%rsp), %rdi",
    f"movq %gs:{GS_KERNEL_STACK}, %rsp",
    "callq @P0",
    f"movq %gs:{GS_RSP0}, %rsp",
    *(f"movq {from_end(name)}, %{name}" for name in LOADED_FOR_SYSRET),
    f"movq {from_end('rip')}, %rcx",
    f"movq {from_end('rflags')}, %r11",
    f"movq {from_end('rsp')}, %rsp",
    "swapgs",
    "sysretq",
)

# Stack: vector, error code, RIP, CS, RFLAGS, RSP, SS.
INTERRUPT_TEMPLATE = template(
    f"testb ${PRIVILEGE_MASK}, 24(%rsp)",
    "jz 1f",
    "swapgs",
    ".globl interrupt_from_user",
    "interrupt_from_user:",
    PUSH_GENERAL,
    CLAC,
    "cld",
    "movq %rsp, %rdi",
    "2:",
    f"movq %gs:{GS_KERNEL_STACK}, %rsp",
    "xorl %ebp, %ebp",
    "callq @P0",
    f"movq %gs:{GS_RSP0}, %rdi",
    f"subq ${END}, %rdi",
    ".globl resume_frame",
    "resume_frame:",
    f"cmpl ${SYSTEM_CALL}, {at('vector')}",
    "jne 3f",
    *(f"movq {at(name)}, %{name}" for name in SAVED_BY_SYSCALL if name != "rdi"),
    f"movq {at('rip')}, %rcx",
    f"movq {at('rflags')}, %r11",
    f"movq {at('rsp')}, %rsp",
    f"movq {at('rdi')}, %rdi",
    "swapgs",
    "sysretq",
    # By IRET. Is RIP canonical, that is, are its upper 17 bits equal?
    "3:",
    f"movq {at('rip')}, %rax",
    "movq %rax, %rcx",
    "shlq $16, %rcx",
    "sarq $16, %rcx",
    "cmpq %rax, %rcx",
    "jne 4f",
    f"movq ${SYSTEM_CALL}, {at('vector')}",
    "movq %rdi, %rsp",
    POP_GENERAL,
    "addq $16, %rsp",
    "swapgs",
    "iretq",
    "4:",
    f"movq ${Vector.GENERAL_PROTECTION}, {at('vector')}",
    f"movq $0, {at('error')}",
    "jmp 2b",
    # From kernel mode: the frame is on the stack that was in use.
    "1:",
    PUSH_GENERAL,
    CLAC,
    "cld",
    "movq %rsp, %rdi",
    "callq @P1",
    POP_GENERAL,
    "addq $16, %rsp",
    "iretq",
)

KERNEL_GS_HIGH = -1  # the upper half of every address in the kernel image

# EBX remembers whether GS has to be exchanged again.
OWN_STACK_TEMPLATE = template(
    PUSH_GENERAL,
    CLAC,
    "cld",
    "xorl %ebx, %ebx",
    f"testb ${PRIVILEGE_MASK}, {at('cs', 'rsp')}",
    "jnz 1f",
    f"movl ${control.MSR_GS_BASE:#x}, %ecx",
    "rdmsr",
    f"cmpl ${KERNEL_GS_HIGH}, %edx",
    "je 2f",
    "1:",
    "swapgs",
    "incl %ebx",
    "2:",
    "movq %rsp, %rdi",
    "callq @P0",
    "testl %ebx, %ebx",
    "jz 3f",
    "swapgs",
    "3:",
    POP_GENERAL,
    "addq $16, %rsp",
    "iretq",
)

# #DB from user mode is the thread's own business: move to its frame and go on as any exception.
DEBUG_TEMPLATE = template(
    f"testb ${PRIVILEGE_MASK}, 24(%rsp)",
    "jz own_stack_entry",
    "swapgs",
    "pushq %rax",
    "movq %rsp, %rax",
    f"movq %gs:{GS_RSP0}, %rsp",
    *(f"pushq {offset}(%rax)" for offset in range(56, 0, -8)),
    "movq (%rax), %rax",
    "jmp interrupt_from_user",
)


@naked
@export("system_call_entry")
def system_call_entry() -> NoReturn:
    asm(SYSTEM_CALL_TEMPLATE, "s", system_call)


@naked
@export("interrupt_entry")
def interrupt_entry() -> NoReturn:
    asm(INTERRUPT_TEMPLATE, "s,s", trap_from_user, trap_from_kernel)


@naked
@export("own_stack_entry")
def own_stack_entry() -> NoReturn:
    asm(OWN_STACK_TEMPLATE, "s", trap_on_own_stack)


@naked
@export("debug_entry")
def debug_entry() -> NoReturn:
    asm(DEBUG_TEMPLATE, "")


@inline
@implements(interface.activate)
def activate(frame: Ptr[Frame]) -> None:
    """Make `frame` the current thread's: the next entry saves to it, the next return loads from it."""
    this_processor().task.rsp0 = address_of(frame) + END


@implements(interface.resume)
def resume(frame: Ptr[Frame]) -> NoReturn:
    """Make `frame` the current thread's and go to user mode. What is on the kernel stack is forgotten."""
    assert frame.is_consistent(), "a frame that cannot return to user mode"
    activate(frame)
    asm("jmp resume_frame", "{rdi},~{memory}", frame)
    unreachable("resume_frame returned")


def enable_system_calls() -> None:
    """Point SYSCALL to its entry (SDM volume 3, 5.8.8)."""
    write_msr(control.MSR_STAR, SYSRET_BASE << 48 | KERNEL_CODE << 32)
    write_msr(control.MSR_LSTAR, address_of(system_call_entry))
    write_msr(control.MSR_FMASK, FLAGS_CLEARED_BY_SYSCALL)
