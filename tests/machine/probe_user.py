"""User programs of the probe kernel, in assembly: each tries something that a kernel must survive.

A program is a label in section .user.text. R15 holds the address of its data page, R14 its stack pointer.
"""

DATA_SIZE = 0x1000
UNMAPPED = "0x10000000"
NON_CANONICAL = 0x8000_0000_0000
KERNEL_TEXT = 0xFFFF_FFFF_8010_0000
PHYSICAL_MAP = 0xFFFF_8000_0000_0000
USER_END = 0x7FFF_FFFF_F000
LAST_USER_PAGE = USER_END - 0x1000

(
    NULL,
    EXIT,
    PRINT,
    RECOVER,
    JUMP,
    YIELD,
    NMIS,
    FLAGS,
    WATCH,
    TIME,
    COPY_FROM,
    COPY_TO,
    LOAD,
    STORE,
    ALLOW,
    MAP,
    DENY,
) = range(17)
LOOPS = 2000


def call(number: int, first: str = "", second: str = "") -> str:
    """A system call; operands are sources of `movq`."""
    moves = [f"movq {second}, %rsi"] * bool(second) + [f"movq {first}, %rdi"] * bool(first)
    return "\n".join([*moves, f"movl ${number}, %eax", "syscall\n"])


def attempt(instructions: str) -> str:
    """Instructions that raise an exception; the kernel prints it and continues after them."""
    return f"""
    leaq 9f(%rip), %rdi
    movl ${RECOVER}, %eax
    syscall
    {instructions}
    {call(PRINT, "$0xbad")}
9:  movq %r14, %rsp
    pushq $2
    popfq
"""


def done(status: int = 0) -> str:
    return call(EXIT, f"${status}") + "ud2\n"


USE_KERNEL = f"movabsq ${KERNEL_TEXT}, %rbx"
USE_MAP = f"movabsq ${PHYSICAL_MAP}, %rbx"

ANY = -1  # QEMU 7.2 multiplies the vector by 16 in this error code, where SDM volume 3, 6.13 says 8

# Instructions, vector, error code. (QEMU's SSE instructions raise no #XM.)
EXCEPTIONS = [
    ("xorl %ecx, %ecx; movl $1, %eax; cltd; divl %ecx", 0, 0),
    ("int3", 3, 0),
    ("int $4", 4, 0),
    ("ud2", 6, 0),
    (".byte 0xF0, 0x90", 6, 0),  # LOCK NOP, the KernelInterface call of L4
    ("hlt", 13, 0),
    ("cli", 13, 0),
    ("sti", 13, 0),
    ("inb $0x60, %al", 13, 0),
    ("outb %al, $0xF4", 13, 0),
    ("movq %cr0, %rax", 13, 0),
    ("movq %rax, %cr3", 13, 0),
    ("movq %rax, %dr7", 13, 0),
    ("movl $0xC0000082, %ecx; rdmsr", 13, 0),
    ("movl $0xC0000082, %ecx; wrmsr", 13, 0),
    ("swapgs", 13, 0),
    ("sysretq", 13, 0),
    ("clts", 13, 0),
    ("lidt (%r15)", 13, 0),
    ("ltr %ax", 13, 0),
    ("invlpg (%r15)", 13, 0),
    ("wbinvd", 13, 0),
    ("int $0x80", 13, ANY),
    ("int $2", 13, ANY),
    ("int $8", 13, ANY),
    ("int $14", 13, ANY),
    ("int $32", 13, ANY),
    ("int $0xFE", 13, ANY),
    ("movabsq $0x800000000000, %rax; movq (%rax), %rax", 13, 0),
    ("movabsq $0x800000000000, %rax; jmpq *%rax", 13, 0),
    ("movabsq $0x800000001000, %rsp; pushq %rax", 13, 0),  # #SS on hardware
    ("movw $8, %ax; movw %ax, %ds", 13, 8),
    ("movw $0x33, %ax; movw %ax, %gs", 13, 0x30),
    ("xorl %eax, %eax; movw %ax, %ss", 13, 0),
    ("pushq $8; pushq $0; lretq", ANY, 8),  # with SMAP, QEMU 7.2 faults on the stack of far returns
    ("pushq $0x1B; leaq 9f(%rip), %rax; pushq %rax; lretq", ANY, 0x18),
    ("pushq $0x10; pushq %rsp; pushq $2; pushq $8; pushq $0; iretq", ANY, 8),
    ("pushfq; orq $0x4000, (%rsp); popfq; iretq", 13, 0),  # NT: IRET would be a task return
    (f"movq ({UNMAPPED}), %rax", 14, 4),
    (f"movq %rax, ({UNMAPPED})", 14, 6),
    (f"movl ${UNMAPPED}, %eax; jmpq *%rax", 14, 0x14),
    ("jmpq *%r15", 14, 0x15),  # the data page is not executable
    ("leaq (%rip), %rax; movb $0, (%rax)", 14, 7),  # text is not writable
    ("xorl %eax, %eax; movq (%rax), %rax", 14, 4),
    (f"{USE_KERNEL}; movq (%rbx), %rax", 14, 5),
    (f"{USE_KERNEL}; movq %rax, (%rbx)", 14, 7),
    (f"{USE_KERNEL}; jmpq *%rbx", 14, 0x15),
    (f"{USE_MAP}; movq (%rbx), %rax", 14, 5),
    (f"{USE_MAP}; movq %rax, 0x100000(%rbx)", 14, 7),
    ("movabsq $0xFFFFFFFFFFFFF000, %rbx; movq (%rbx), %rax", 14, 4),
    ("fninit; pushq $0x37B; fldcw (%rsp); fld1; fldz; fdivrp; fwait", 16, 0),
    ("pushfq; orq $0x100, (%rsp); popfq; nop; nop", 1, 0xFFFF_4FF0),
]
UMIP = [
    ("sgdt (%r15)", 13, 0),
    ("sidt (%r15)", 13, 0),
    ("sldt %ax", 13, 0),
    ("str %ax", 13, 0),
    ("smsw %ax", 13, 0),
]


def exceptions(cases: list[tuple[str, int, int]]) -> str:
    return "".join(attempt(instructions) for instructions, _, _ in cases) + done()


# JUMP lets the kernel change RIP: SYSRET must not be used for such addresses.
NON_CANONICAL_RETURNS = [NON_CANONICAL, 0xFFFF_7FFF_FFFF_FFFF, KERNEL_TEXT, USER_END, 0xFFFF_FFFF_FFFF_FFFE]


def bad_returns() -> str:
    text = ""
    for address in NON_CANONICAL_RETURNS:
        text += attempt(f"movabsq ${address}, %rbx" + "\n" + call(JUMP, "%rbx"))
    # SYSCALL in the last two bytes of user space: the return address is the first that is not the user's.
    text += attempt(f"movabsq ${USER_END - 2}, %rbx; xorl %eax, %eax; jmpq *%rbx")
    # A stack pointer that is not canonical, over a system call and over an exception.
    text += f"""
    movabsq ${NON_CANONICAL}, %rsp
    {call(NULL)}
    movabsq $0xFFFFFFFF80100000, %rsp
    {call(NULL)}
    movabsq ${NON_CANONICAL}, %rbx
    cmpq %rsp, %rbx
    movq %r14, %rsp
"""
    return text + attempt(f"movabsq ${NON_CANONICAL}, %rsp; ud2") + done()


# Flags that would hurt in the kernel, over a system call: the call gives the flags the kernel runs with.
HOSTILE_FLAGS = {"TF": 0x100, "DF": 0x400, "NT": 0x4000, "AC": 0x40000, "ID": 0x200000, "RF": 0x10000}


def hostile_flags() -> str:
    text = ""
    for bit in HOSTILE_FLAGS.values():
        text += f"""
    pushq ${bit | 2}
    popfq
    movl ${FLAGS}, %eax
    syscall
    movq %rax, %rbx
    pushfq
    popq %r12
    pushq $2
    popfq
    {call(PRINT, "%rbx")}
    andl ${bit}, %r12d
    {call(PRINT, "%r12")}
"""
    # IOPL and IF are not the user's to change; POPF ignores them.
    text += f"pushq $0x3002\npopfq\npushfq\npopq %rbx\nandl $0x3200, %ebx\n{call(PRINT, '%rbx')}"
    return text + done()


# Single steps over system calls. The kernel counts #DB (YIELD without a second thread gives the count).
STEPS = f"""
    movl $0, %eax
    pushq $0x102
    popfq
    syscall
    xorl %eax, %eax
    syscall
    movw %ss, %cx
    movw %cx, %ss
    syscall
    pushq $2
    popfq
    {call(YIELD)}
    movq %rax, %rbx
    {call(PRINT, "%rbx")}
    # A data breakpoint on the operand of MOV SS is delivered after the next instruction: in the kernel.
    movw %ss, (%r15)
    {call(WATCH, "%r15")}
    xorl %eax, %eax
    movw (%r15), %ss
    syscall
    movw (%r15), %ss
    int3
    {call(WATCH, "$0")}
    {done()}
"""

SPIN_FOR_NMIS = f"""
    {call(PRINT, "$1")}
1:  movl $200, %ebx
2:  {call(NULL)}
    decl %ebx
    jnz 2b
    {call(NMIS)}
    cmpq $200, %rax
    jb 1b
    {done()}
"""


def pattern(seed: int, register: int) -> int:
    return (0x1111_1111 * seed + 0x0101 * register) & 0x7FFF_FFFF


def vector_registers(seed: int, *, avx: bool) -> tuple[str, str]:
    """Texts that load all vector registers with values of their own, and that check them."""
    load, check = "", ""
    for i in range(16):
        value = pattern(seed, i)
        if avx:
            load += f"movl ${value}, (%r15)\nvbroadcastss (%r15), %ymm{i}\n"
            check += f"vmovdqu %ymm{i}, (%r15)\ncmpl ${value}, 28(%r15)\njne 8f\n"
        else:
            load += f"movl ${value}, %eax\nmovd %eax, %xmm{i}\npshufd $0, %xmm{i}, %xmm{i}\n"
            check += f"movdqu %xmm{i}, (%r15)\n"
        check += f"cmpl ${value}, (%r15)\njne 8f\ncmpl ${value}, 12(%r15)\njne 8f\n"
    return load, check


def floating_point(seed: int, *, avx: bool, ends: bool) -> str:
    """Check the initial state, then keep own values in every register while the other thread does so."""
    load, check = vector_registers(seed, avx=avx)
    return f"""
    xorl %eax, %eax
    movdqu %xmm7, (%r15)
    orq (%r15), %rax
    orq 8(%r15), %rax
    jnz 8f
    stmxcsr (%r15)
    cmpl $0x1F80, (%r15)
    jne 8f
    fnstcw (%r15)
    cmpw $0x37F, (%r15)
    jne 8f
    {load}
    movl ${0x1F80 | seed << 13}, (%r15)
    ldmxcsr (%r15)
    movl ${seed}, (%r15)
    fildl (%r15)
    movl ${LOOPS}, %ebx
1:  {call(YIELD)}
    movl $40, %ecx
2:  loop 2b
    {check}
    fistl (%r15)
    cmpl ${seed}, (%r15)
    jne 8f
    stmxcsr (%r15)
    cmpl ${0x1F80 | seed << 13}, (%r15)
    jne 8f
    {"decl %ebx" if ends else ""}
    jnz 1b
    {"" if ends else "jmp 1b"}
    {done()}
8:  {call(PRINT, "$0xbad")}
    {done(1)}
"""


# A thread without FPU state next to one with: the registers are reset, its instructions trap.
NO_FPU = f"""
    {attempt("movd %xmm0, %eax")}
1:  {call(YIELD)}
    jmp 1b
"""

GENERAL = ("rbx", "rbp", "r12", "r13", "rdx", "rsi", "rdi", "r8", "r9", "r10")


def general_registers(seed: int, *, ends: bool) -> str:
    """All general registers survive the other thread and the timer."""
    load = "".join(f"movq ${pattern(seed, i)}, %{name}\n" for i, name in enumerate(GENERAL))
    check = "".join(f"cmpq ${pattern(seed, i)}, %{name}\njne 8f\n" for i, name in enumerate(GENERAL))
    # RCX and R11 survive interrupts, though not system calls.
    return f"""
    movl $2000, (%r15)
    {load}
1:  movl ${YIELD}, %eax
    syscall
    movq ${seed + 77}, %rcx
    movq ${seed + 78}, %r11
    movq ${seed + 79}, %rax
    nop; nop; nop; nop; nop; nop; nop; nop
    cmpq ${seed + 77}, %rcx
    jne 8f
    cmpq ${seed + 78}, %r11
    jne 8f
    cmpq ${seed + 79}, %rax
    jne 8f
    {check}
    {"decl (%r15)" if ends else "cmpq %rsp, %rax"}
    jnz 1b
    {done()}
8:  {call(PRINT, "$0xbad")}
    {done(1)}
"""


# COPY_FROM and COPY_TO use 32 bytes of kernel memory; the result is the number of bytes not copied.
COPIES = [
    ("%r15", 32, 0),
    (f"${DATA_SIZE - 32}(%r15)", 32, 0),
    (f"${DATA_SIZE - 13}(%r15)", 32, 19),
    (f"${DATA_SIZE - 8}(%r15)", 32, 24),
    (f"${DATA_SIZE - 1}(%r15)", 31, 30),
    (f"${DATA_SIZE}(%r15)", 32, 32),
    (f"{KERNEL_TEXT:#x}", 32, 32),
    (f"{PHYSICAL_MAP:#x}", 8, 8),
    (f"{NON_CANONICAL:#x}", 8, 8),
    (f"{USER_END - 4:#x}", 8, 8),
    ("0xfffffffffffffff8", 16, 16),
    ("0", 1, 1),
]


def copies() -> str:
    text = ""
    for number in (COPY_FROM, COPY_TO):
        for address, count, _ in COPIES:
            if "%" in address:
                text += f"leaq {address.replace('$', '') if '(' in address else '(' + address + ')'}, %rdi\n"
            else:
                text += f"movabsq ${address}, %rdi\n"
            text += f"movl ${count}, %esi\n{call(number)}movq %rax, %rbx\n{call(PRINT, '%rbx')}"
    text += f"movabsq $0x1122334455667788, %rsi\n{call(STORE, '%r15')}movq %rax, %rbx\n{call(PRINT, '%rbx')}"
    text += f"{call(LOAD, '%r15')}movq %rax, %rbx\n{call(PRINT, '%rbx')}"
    text += f"movq ${UNMAPPED}, %rdi\n{call(LOAD)}movq %rax, %rbx\n{call(PRINT, '%rbx')}"
    text += f"leaq (%rip), %rdi\n{call(STORE)}movq %rax, %rbx\n{call(PRINT, '%rbx')}"
    return text + done()


PORTS = f"""
    {attempt("movw $0x3FF, %dx; inb %dx, %al")}
    {call(ALLOW, "$0x3FF")}
    movw $0x3FF, %dx
    inb %dx, %al
    {attempt("movw $0x3FE, %dx; inb %dx, %al")}
    {attempt("movw $0x3FF, %dx; inw %dx, %ax")}
    {attempt("movw $0xFFFF, %dx; inb %dx, %al")}
    {call(ALLOW, "$0xFFFF")}
    movw $0xFFFF, %dx
    inb %dx, %al
    {attempt("movw $0xFFFF, %dx; inw %dx, %ax")}
    {call(DENY)}
    {attempt("movw $0x3FF, %dx; inb %dx, %al")}
    {done()}
"""

# The bases of FS and GS are the data page.
SEGMENTS = f"""
    movq $0x1234, (%r15)
    movq $0x5678, 8(%r15)
    {call(PRINT, "%fs:0")}
    {call(PRINT, "%gs:8")}
    xorl %eax, %eax
    movw %ax, %gs
    {call(YIELD)}
    {call(PRINT, "%gs:8")}
    {done()}
"""

PROGRAMS = {
    "exceptions": exceptions(EXCEPTIONS),
    "umip": exceptions(UMIP),
    "returns": bad_returns(),
    "flags": hostile_flags(),
    "steps": STEPS,
    "nmi": SPIN_FOR_NMIS,
    "sse": floating_point(1, avx=False, ends=True),
    "sse-other": floating_point(2, avx=False, ends=False),
    "avx": floating_point(1, avx=True, ends=True),
    "avx-other": floating_point(2, avx=True, ends=False),
    "no-fpu": NO_FPU,
    "registers": general_registers(1, ends=True),
    "registers-other": general_registers(2, ends=False),
    "copies": copies(),
    "ports": PORTS,
    "segments": SEGMENTS,
}

TEXT = '.section .user.text, "ax"\n' + "".join(
    f".balign 16\nuser_{name.replace('-', '_')}:\n{text}\n" for name, text in PROGRAMS.items()
)
TABLE = '.section .rodata.probe, "a"\n.balign 8\nprobe_programs:\n' + "".join(
    f".quad user_{name.replace('-', '_')}\n" for name in PROGRAMS
)
