"""A tour of the machine: boot, memory map, user mode, system call, page fault, exception, timer, exit.

`mac run hello` boots it. What the tour says goes to the program console, what the kernel notes to its log
(`-v` shows it). With `--icount` a nanosecond is an instruction, and the figures are exact.

Three parts: the start of the kernel, its handlers, and the user program. There is one thread in one address
space; that is all a kernel needs to show the machine.
"""

from typing import NoReturn

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    UserPtr,
    address_of,
    asm,
    asm_value,
    implements,
    inline,
    local,
    noinline,
    panic,
    pointer_to,
    range,
    section,
    sizeof,
    static,
    u8,
    u32,
    u64,
    user_pointer_at,
)
from macadamia.lang.program import Program
from macadamia.machine import interface
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.interface import (
    console_write,
    copy_from_user,
    copy_to_user,
    idle,
    power_off,
    resume,
    set_timer,
    switch_fpu,
    time_now,
)
from macadamia.machine.text import log, put
from macadamia.machine.x86_64 import machine
from macadamia.machine.x86_64.address_space import AddressSpace
from macadamia.machine.x86_64.assembly import template
from macadamia.machine.x86_64.clock import clock
from macadamia.machine.x86_64.frame import FpuState, Frame, PageFault, Vector
from macadamia.machine.x86_64.frames import allocate_table, frame_pool
from macadamia.machine.x86_64.layout import KERNEL_BASE, user_text_end, user_text_start
from macadamia.machine.x86_64.page_table import NO_EXECUTE, USER, WRITABLE
from macadamia.machine.x86_64.start_info import MemoryType, boot_info

USER_TEXT = 0x40_0000
USER_DATA = 0x60_0000
USER_STACK_END = 0x80_0000
USER_STACK_SIZE = 4 * PAGE_SIZE
TICK = 1_000_000  # ns
LONGEST_MESSAGE = 64
MEASURED_CALLS = 1000


class Call:
    """System calls: number in RAX, arguments in RDI and RSI, result in RAX."""

    NULL = 0
    SAY = 1  # address, length
    WAIT = 2  # for one timer tick; gives the number of ticks so far
    REPORT = 3  # which figure, value
    EXIT = 4  # status


class Figure:
    """What the user program measures."""

    START = 0  # time stamp of its first instruction
    SYSTEM_CALL = 1  # time of MEASURED_CALLS null system calls, loop included
    EMPTY_LOOP = 2  # time of the same loop without them


class Thread(Struct):
    frame: Frame
    fpu: FpuState


class Tour(Struct):
    """The state of this kernel."""

    thread: Thread
    space: AddressSpace
    ticks: u64
    system_call_time: u64


class UserData(Struct):
    """The page the user program starts with."""

    message: Array[u8, LONGEST_MESSAGE]
    length: u64


tour = static(Tour)
user_data = static(UserData)
MESSAGE = b"user mode: this text came by a system call\n"
for _index, _byte in enumerate(MESSAGE):
    user_data.message[_index] = _byte
user_data.length = len(MESSAGE)


# The start of the kernel


@implements(interface.kernel_main)
def kernel_main() -> NoReturn:
    put(f"kernel: booted in {time_now()} ns; time-stamp counter {clock.frequency // 1000} kHz")
    show_memory()
    make_user_space()
    set_timer(time_now() + TICK)
    put("kernel: entering user mode")
    resume(tour.thread.frame)


def show_memory() -> None:
    for i in range(boot_info.range_count):
        found = boot_info.ranges[i]
        kind = "RAM" if found.type == MemoryType.RAM else "reserved"
        put(f"kernel: memory {found.start:#x} to {found.start + found.size:#x}: {kind}")
    put(f"kernel: {frame_pool.available} page frames are free")


def make_user_space() -> None:
    """User memory with the program and its data. The stack comes when it is touched."""
    space = tour.space
    space.create(frame_pool.allocate())
    for offset in range(0, user_text_end() - user_text_start(), PAGE_SIZE):
        text = PhysAddr(user_text_start() - KERNEL_BASE + offset)
        map_page(VirtAddr(USER_TEXT + offset), text, USER)
    map_page(VirtAddr(USER_DATA), frame_pool.allocate_zeroed(), USER | WRITABLE | NO_EXECUTE)
    space.load()
    copy_to_user(user_pointer_at(u8, USER_DATA), pointer_to(user_data.message[0]), sizeof(UserData))
    entry = USER_TEXT + (address_of(user_program) - user_text_start())
    tour.thread.frame.start(entry, USER_STACK_END)
    tour.thread.frame.rdi = USER_DATA
    switch_fpu(tour.thread.fpu)


def map_page(address: VirtAddr, frame: PhysAddr, rights: u64) -> None:
    if frame == PhysAddr(0) or not tour.space.map(address, frame, 1, rights, allocate_table):
        panic("too little memory for the tour")


# Handlers


@implements(interface.handle_system_call)
def handle_system_call(frame: Ptr[Frame]) -> None:
    if frame.rax != Call.NULL:
        other_system_call(frame)


@noinline
def other_system_call(frame: Ptr[Frame]) -> None:
    match frame.rax:
        case Call.SAY:
            frame.rax = say(user_pointer_at(u8, frame.rdi), frame.rsi)
        case Call.WAIT:
            frame.rax = wait_for_tick()
        case Call.REPORT:
            report(frame.rdi, frame.rsi)
        case Call.EXIT:
            put(f"kernel: the user program ends with status {frame.rdi}")
            power_off(u8.wrap(frame.rdi))
        case _:
            log(f"hello: no system call has the number {frame.rax}")


def say(text: UserPtr[u8], length: u64) -> u64:
    """Print a text of the user's; the number of bytes that could be read."""
    buffer = local(Array[u8, LONGEST_MESSAGE])
    wanted = min(length, LONGEST_MESSAGE)
    copied = wanted - copy_from_user(pointer_to(buffer[0]), text, wanted)
    for i in range(copied):
        console_write(buffer[i])
    return copied


def wait_for_tick() -> u64:
    """Sleep until the timer has fired once more."""
    before = tour.ticks
    while tour.ticks == before:
        idle()
    return tour.ticks


def report(figure: u64, value: u64) -> None:
    match figure:
        case Figure.START:
            put(f"user mode: first instruction {value - clock.start} time-stamp ticks after the kernel's")
        case Figure.SYSTEM_CALL:
            tour.system_call_time = value
        case Figure.EMPTY_LOOP:
            # The SYSCALL instruction itself belongs to user mode.
            ticks = (tour.system_call_time - value) // MEASURED_CALLS - 1
            put(f"user mode: a null system call and back takes {ticks} ticks in the kernel")


@implements(interface.handle_page_fault)
def handle_page_fault(frame: Ptr[Frame], address: VirtAddr) -> None:
    put(f"kernel: page fault at {u64(address):#x}, instruction {frame.rip:#x}")
    stack = VirtAddr(USER_STACK_END - USER_STACK_SIZE)
    if frame.error & PageFault.PRESENT or not stack <= address < VirtAddr(USER_STACK_END):
        put("kernel: the user program may not do that")
        power_off(1)
    map_page(address.page(), frame_pool.allocate_zeroed(), USER | WRITABLE | NO_EXECUTE)
    put("kernel: mapped a page of stack there")


@implements(interface.handle_exception)
def handle_exception(frame: Ptr[Frame]) -> None:
    if frame.vector == Vector.BREAKPOINT:
        put(f"kernel: breakpoint before {frame.rip:#x}; the program goes on")
        return
    put(f"kernel: exception {frame.vector} at {frame.rip:#x} ends the program")
    power_off(1)


@implements(interface.handle_timer)
def handle_timer() -> None:
    tour.ticks += 1
    set_timer(time_now() + TICK)


@implements(interface.handle_interrupt)
def handle_interrupt(line: u32) -> None:
    log(f"hello: interrupt line {line} is not used")


@implements(interface.handle_non_maskable_interrupt)
def handle_non_maskable_interrupt() -> None:
    """Nothing to do: the processor structure counts them."""


# The user program. It is mapped at USER_TEXT and must call nothing of the kernel's.

MEASURE = """
    rdtsc
    shlq $32, %rdx
    leaq (%rax, %rdx), %r13
    movl ${count}, %r12d
1:  xorl %eax, %eax
    {instruction}
    decl %r12d
    jnz 1b
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    subq %r13, %rax
"""
TIME_SYSTEM_CALLS = template(MEASURE.format(count=MEASURED_CALLS, instruction="syscall"))
TIME_EMPTY_LOOP = template(MEASURE.format(count=MEASURED_CALLS, instruction=""))
CALL_CONSTRAINTS = "={rax},{rax},{rdi},{rsi},~{rcx},~{r11},~{memory},~{flags}"
MEASURE_CONSTRAINTS = "={rax},~{rdx},~{rcx},~{r11},~{r12},~{r13},~{memory},~{flags}"


@noinline
@section(".user.text")
def user_program(data: Ptr[UserData]) -> NoReturn:
    start = time_stamp()
    system_call(Call.REPORT, Figure.START, start)
    system_call(Call.SAY, address_of(data), data.length)
    system_call(Call.REPORT, Figure.SYSTEM_CALL, asm_value(u64, TIME_SYSTEM_CALLS, MEASURE_CONSTRAINTS))
    system_call(Call.REPORT, Figure.EMPTY_LOOP, asm_value(u64, TIME_EMPTY_LOOP, MEASURE_CONSTRAINTS))
    asm("int3", "~{memory}")
    while system_call(Call.WAIT, 0, 0) < 3:
        pass
    while True:
        system_call(Call.EXIT, 0, 0)


@inline
def time_stamp() -> u64:
    low, high = asm_value(tuple[u32, u32], "rdtsc", "={eax},={edx}")
    return u64(high) << 32 | low


@inline
def system_call(number: u64, first: u64, second: u64) -> u64:
    return asm_value(u64, "syscall", CALL_CONSTRAINTS, number, first, second)


PROGRAM = Program(
    name="hello",
    entry=machine.ENTRY,
    roots=machine.ROOTS,
    linker_script=machine.LINKER_SCRIPT,
    implementations=(
        *machine.IMPLEMENTATIONS,
        *(kernel_main, handle_system_call, handle_page_fault, handle_exception),
        *(handle_timer, handle_interrupt, handle_non_maskable_interrupt),
    ),
)
