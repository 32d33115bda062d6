"""The probe: a kernel that does what the first argument of its run names, for the tests of the machine.

User programs are in probe_user.py; what the kernel does to itself is here. It prints events on the console.
"""

from collections.abc import Callable
from typing import NoReturn

from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    address_of,
    asm,
    asm_value,
    cast,
    global_asm,
    implements,
    local,
    noinline,
    panic,
    pointer_at,
    pointer_to,
    range,
    static,
    u8,
    u16,
    u32,
    u64,
    user_pointer_at,
    volatile_load,
    volatile_store,
)
from macadamia.lang.program import Program
from macadamia.machine import interface
from macadamia.machine.addresses import PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.interface import (
    acknowledge_interrupt,
    activate,
    allow_interrupts,
    console_read,
    copy_from_user,
    copy_to_user,
    enable_interrupt,
    idle,
    load_user_word,
    physical_pointer,
    power_off,
    resume,
    set_io_permissions,
    set_timer,
    set_user_bases,
    store_user_word,
    switch_fpu,
    time_now,
)
from macadamia.machine.io_permissions import IoPermissions
from macadamia.machine.text import put
from macadamia.machine.x86_64 import machine
from macadamia.machine.x86_64.address_space import AddressSpace
from macadamia.machine.x86_64.control import FLAG_TRAP
from macadamia.machine.x86_64.frame import FpuState, Frame, Vector
from macadamia.machine.x86_64.frames import allocate_table, frame_pool
from macadamia.machine.x86_64.initrd import initrd, same_bytes
from macadamia.machine.x86_64.instructions import read_port8, write_port8
from macadamia.machine.x86_64.io_apic import ISA_LINES
from macadamia.machine.x86_64.layout import (
    KERNEL_BASE,
    USER_END,
    image_start,
    rodata_end,
    symbol_address,
    user_text_end,
    user_text_start,
)
from macadamia.machine.x86_64.page_table import NO_EXECUTE, USER, WRITABLE
from macadamia.machine.x86_64.processor import this_processor
from macadamia.machine.x86_64.reference_timer import PIT_COMMAND, PIT_FREQUENCY
from macadamia.machine.x86_64.serial import COM1_LINE, announce_console_input
from tests.machine.probe_user import (
    ALLOW,
    COPY_FROM,
    COPY_TO,
    DENY,
    EXIT,
    FLAGS,
    JUMP,
    LAST_USER_PAGE,
    LOAD,
    NMIS,
    NULL,
    PRINT,
    PROGRAMS,
    RECOVER,
    STORE,
    TABLE,
    TEXT,
    TIME,
    WATCH,
    YIELD,
)  # fmt: skip

USER_TEXT = 0x40_0000
USER_DATA = 0x60_0000  # a page for each thread, with nothing mapped after it
USER_STACK = 0x80_0000
THREAD_STEP = 0x2_0000
PREEMPTION = 20_000  # ns
PIT_CHANNEL_0 = 0x40
NONE = 0xFFFF_FFFF

global_asm(TEXT + TABLE)
programs = symbol_address("probe_programs")


class Thread(Struct):
    frame: Frame
    fpu: FpuState
    gs: u64
    has_fpu: bool
    alive: bool


class Scenario(Struct):
    name: str
    first: u32  # program numbers, NONE = no such thread
    second: u32
    action: Callable[[], None] | None
    preempt: bool  # switch threads by the timer, too
    without_fpu: bool  # the second thread has no FPU state


class Probe(Struct):
    threads: Array[Thread, 2]
    running: u32
    space: AddressSpace
    permissions: IoPermissions
    recover: u64  # where the program goes on after an exception; 0 = end
    debug_events: u64
    ticks: u64
    preempt: bool
    entry_flags: u64
    scratch: Array[u8, 32]


probe = static(Probe)
SCENARIOS: list[tuple[str, dict[str, object]]] = []


def scenario(name: str, **options: object) -> None:
    SCENARIOS.append((name, options))


def action(function: Callable[[], None]) -> Callable[[], None]:
    scenario(function.__name__, action=function)
    return function


for _name in ("exceptions", "umip", "returns", "flags", "steps", "nmi", "copies", "ports", "segments"):
    scenario(_name, first=_name)
scenario("sse", first="sse", second="sse-other")
scenario("sse-preempted", first="sse", second="sse-other", preempt=True)
scenario("avx", first="avx", second="avx-other", preempt=True)
scenario("no-fpu", first="sse", second="no-fpu", without_fpu=True)
scenario("nmi-preempted", first="nmi", preempt=True)
scenario("registers", first="registers", second="registers-other", preempt=True)


# Threads


@implements(interface.kernel_main)
def kernel_main() -> NoReturn:
    for i in range(u64(SCENARIO_COUNT)):
        chosen = scenarios[i]
        if is_argument(chosen.name):
            run(chosen)
    panic("the probe knows no such scenario")


def is_argument(name: str) -> bool:
    """Whether the first argument is `name`."""
    arguments = initrd.arguments
    start = arguments.start
    if start is None or arguments.size <= len(name) or start[len(name)] != 0:
        return False
    return same_bytes(start, name)


def run(chosen: Ptr[Scenario]) -> NoReturn:
    function = chosen.action
    if function is not None:
        make_space()
        function()
        power_off(0)
    make_space()
    start_thread(0, chosen.first)
    probe.threads[0].has_fpu = True
    if chosen.second != NONE:
        start_thread(1, chosen.second)
        probe.threads[1].has_fpu = not chosen.without_fpu
    probe.preempt = chosen.preempt
    if chosen.preempt:
        set_timer(time_now() + PREEMPTION)
    switch_to(0)


def make_space() -> None:
    space = probe.space
    space.create(frame_pool.allocate())
    for offset in range(0, user_text_end() - user_text_start(), PAGE_SIZE):
        map_page(USER_TEXT + offset, PhysAddr(user_text_start() - KERNEL_BASE + offset), USER)
    last = frame_pool.allocate_zeroed()
    physical_pointer(last)[PAGE_SIZE - 2] = 0x0F  # SYSCALL
    physical_pointer(last)[PAGE_SIZE - 1] = 0x05
    map_page(LAST_USER_PAGE, last, USER)
    if space.map(VirtAddr(USER_END), last, 1, USER, allocate_table):
        panic("the page that must stay empty could be mapped")
    space.load()


def map_page(address: u64, frame: PhysAddr, rights: u64) -> None:
    if frame == PhysAddr(0) or not probe.space.map(VirtAddr(address), frame, 1, rights, allocate_table):
        panic("the probe has too little memory")


def start_thread(number: u32, program: u32) -> None:
    thread = probe.threads[number]
    data = USER_DATA + u64(number) * THREAD_STEP
    stack = USER_STACK + u64(number) * THREAD_STEP
    map_page(data, frame_pool.allocate_zeroed(), USER | WRITABLE | NO_EXECUTE)
    map_page(stack, frame_pool.allocate_zeroed(), USER | WRITABLE | NO_EXECUTE)
    entry = pointer_at(u64, programs())[program] - user_text_start() + USER_TEXT
    thread.frame.start(entry, stack + PAGE_SIZE)
    thread.frame.r15 = data
    thread.frame.r14 = stack + PAGE_SIZE
    thread.gs = data
    thread.alive = True


def make_current(number: u32) -> None:
    thread = probe.threads[number]
    probe.running = number
    activate(thread.frame)
    switch_fpu(thread.fpu if thread.has_fpu else None)
    set_user_bases(thread.gs, thread.gs)


def switch_to(number: u32) -> NoReturn:
    make_current(number)
    resume(probe.threads[number].frame)


def other_thread() -> u32:
    other = 1 - probe.running
    return other if probe.threads[other].alive else probe.running


# Events


@implements(interface.handle_system_call)
def handle_system_call(frame: Ptr[Frame]) -> None:
    if frame.rax != NULL:
        probe.entry_flags = asm_value(u64, "pushfq; popq $0", "=r,~{memory}")
        other_system_call(frame)


@noinline
def other_system_call(frame: Ptr[Frame]) -> None:
    number = frame.rax
    if number == EXIT:
        power_off(u8.wrap(frame.rdi))
    elif number == PRINT:
        put(f"value {frame.rdi:#x}")
    elif number == RECOVER:
        probe.recover = frame.rdi
    elif number == JUMP:
        frame.jump(frame.rdi)
        resume(frame)
    elif number == YIELD:
        frame.rax = probe.debug_events
        switch_to(other_thread())
    elif number == NMIS:
        frame.rax = this_processor().non_maskable_interrupts
    elif number == FLAGS:
        frame.rax = probe.entry_flags
    elif number == WATCH:
        watch(frame.rdi)
    elif number == TIME:
        frame.rax = time_now()
    else:
        memory_call(frame)


def memory_call(frame: Ptr[Frame]) -> None:
    kernel = pointer_to(probe.scratch[0])
    address = user_pointer_at(u8, frame.rdi)
    word = user_pointer_at(u64, frame.rdi)
    if frame.rax == COPY_FROM:
        frame.rax = copy_from_user(kernel, address, min(frame.rsi, 32))
    elif frame.rax == COPY_TO:
        frame.rax = copy_to_user(address, kernel, min(frame.rsi, 32))
    elif frame.rax == LOAD:
        value, loaded = load_user_word(word)
        frame.rax = value if loaded else u64(0xBAD)
    elif frame.rax == STORE:
        frame.rax = u64(store_user_word(word, frame.rsi))
    elif frame.rax == ALLOW:
        if probe.permissions.version == 0:
            probe.permissions.clear()
        probe.permissions.allow(u16(frame.rdi))
        set_io_permissions(probe.permissions)
    elif frame.rax == DENY:
        set_io_permissions(None)
    else:
        panic("the probe knows no such system call")


def watch(address: u64) -> None:
    """Data breakpoint 0: on reads and writes of two bytes at `address`; 0 = off (SDM volume 3, 17.2.4)."""
    asm("movq $0, %dr0", "r", address)
    asm("movq $0, %dr7", "r", u64(0x70001) if address else u64(0))


@implements(interface.handle_page_fault)
def handle_page_fault(frame: Ptr[Frame], address: VirtAddr) -> None:
    put(f"page fault {u64(address):#x} error {frame.error:#x}")
    recover(frame)


@implements(interface.handle_exception)
def handle_exception(frame: Ptr[Frame]) -> None:
    if frame.vector == Vector.DEBUG and probe.recover == 0:
        probe.debug_events += 1
        return
    put(f"exception {frame.vector} error {frame.error:#x}")
    recover(frame)


def recover(frame: Ptr[Frame]) -> None:
    if probe.recover == 0:
        if frame.vector == Vector.BREAKPOINT:
            return
        put(f"unexpected at {frame.rip:#x}")
        power_off(2)
    frame.jump(probe.recover)
    frame.rflags &= ~FLAG_TRAP
    probe.recover = 0


@implements(interface.handle_timer)
def handle_timer() -> None:
    probe.ticks += 1
    if probe.preempt:
        set_timer(time_now() + PREEMPTION)
        make_current(other_thread())


@implements(interface.handle_interrupt)
def handle_interrupt(line: u32) -> None:
    probe.ticks += 1
    if line == COM1_LINE:
        read_input()
    elif line >= ISA_LINES and probe.ticks == 3:
        read_port8(PCI_PORTS + 2)  # identifies the interrupt and ends it
    acknowledge_interrupt(line)


@implements(interface.handle_non_maskable_interrupt)
def handle_non_maskable_interrupt() -> None:
    """The processor structure counts them."""


# What the kernel does itself


@action
def input() -> None:  # noqa: A001
    """Echo the first line typed on the console."""
    announce_console_input()
    enable_interrupt(COM1_LINE)
    put("ready")
    while True:
        idle()


def read_input() -> None:
    while True:
        byte, present = console_read()
        if not present:
            return
        put(f"byte {byte:x}")
        if byte == 0x0A:
            power_off(0)


@action
def clock() -> None:
    """Timer interrupts come when asked for."""
    for i in range(1, 6):
        wanted = time_now() + i * 300_000
        before = probe.ticks
        set_timer(wanted)
        while probe.ticks == before:
            idle()
        put(f"late {time_now() - wanted} ns")
    set_timer(0)
    idle()
    put(f"ticks {probe.ticks}")


@action
def spin() -> None:
    """Let two seconds pass by the clock; the host compares."""
    end = time_now() + 2_000_000_000
    while time_now() < end:
        pass


@action
def legacy_timer() -> None:
    """Line 0, the 8254, at 1000 Hz: edges through the I/O APIC."""
    write_port8(PIT_COMMAND, 0x34)  # channel 0, both bytes, mode 2
    write_port8(PIT_CHANNEL_0, u8.wrap(PIT_FREQUENCY // 1000))
    write_port8(PIT_CHANNEL_0, u8.wrap(PIT_FREQUENCY // 1000 >> 8))
    start = time_now()
    enable_interrupt(0)
    while probe.ticks < 20:
        idle()
    put(f"20 ticks in {(time_now() - start) // 1000} us")


PCI_SERIAL = 3  # device number of a pci-serial
PCI_PORTS = 0xC000  # where we put its UART


@action
def level_triggered() -> None:
    """A PCI device holds its line until it is served: here after the third announcement."""
    write_pci(0x10, PCI_PORTS)  # base address 0
    write_pci(0x04, 1)  # command: I/O space
    for line in range(u32(16), 24):
        enable_interrupt(line)
    write_port8(PCI_PORTS + 1, 2)  # interrupt when the transmitter is empty, as it is
    for _ in range(1000):
        allow_interrupts()
    put(f"announced {probe.ticks} times")


def write_pci(register: u32, value: u32) -> None:
    """PCI configuration mechanism 1 (PCI 3.0, 3.2.2.3.2)."""
    asm("outl $0, $1", "{eax},{dx}", u32(0x8000_0000) | PCI_SERIAL << 11 | register, u16(0xCF8))
    asm("outl $0, $1", "{eax},{dx}", value, u16(0xCFC))


@action
def preemption_points() -> None:
    """Interrupts come at preemption points, and nowhere else in the kernel."""
    set_timer(time_now())
    end = time_now() + 1_000_000
    while time_now() < end:
        pass
    put(f"before {probe.ticks}")
    allow_interrupts()
    put(f"after {probe.ticks}")


@action
def boot() -> None:
    """Everything the boot loader gave."""
    for i in range(initrd.count):
        module = initrd.modules[i]
        put(f"module of {module.content.size} bytes, arguments of {module.arguments.size} bytes")
    put(f"arguments of {initrd.arguments.size} bytes")
    put(f"frames {frame_pool.available}")


@action
def memory() -> None:
    """Take every frame and write to it; then give all back."""
    first: u64 = 0
    count: u64 = 0
    before = frame_pool.available
    while frame_pool.available:
        frame = frame_pool.allocate()
        cast(u64, physical_pointer(frame))[0] = first
        first = u64(frame)
        count += 1
    put(f"exhausted {frame_pool.allocate() == PhysAddr(0)}")
    while first:
        frame = PhysAddr(first)
        first = cast(u64, physical_pointer(frame))[0]
        frame_pool.free(frame)
    put(f"frames {before} taken {count} back {frame_pool.available}")


@action
def overflow() -> None:
    put(f"{recurse(0)}")


@noinline
def recurse(depth: u64) -> u64:
    block = local(Array[u64, 64])
    block[depth & 63] = depth
    return recurse(depth + 1) + volatile_load(pointer_to(block[depth & 63]))


@action
def write_text() -> None:
    volatile_store(pointer_at(u64, image_start()), 0)


@action
def write_constants() -> None:
    volatile_store(pointer_at(u64, rodata_end() - 8), 0)


@action
def write_text_alias() -> None:
    volatile_store(cast(u64, physical_pointer(PhysAddr(image_start() - KERNEL_BASE))), 0)


@action
def execute_data() -> None:
    probe.scratch[0] = 0xC3
    asm("callq *$0", "r,~{memory}", address_of(probe.scratch))


@action
def execute_user() -> None:
    asm("callq *$0", "r,~{memory}", u64(USER_TEXT))


@action
def read_user() -> None:
    put(f"{volatile_load(pointer_at(u64, u64(USER_TEXT)))}")


@action
def read_nothing() -> None:
    put(f"{volatile_load(pointer_at(u64, u64(0x10)))}")


@action
def read_non_canonical() -> None:
    put(f"{volatile_load(pointer_at(u64, u64(0x8000_0000_0000)))}")


@action
def divide() -> None:
    put(f"{7 // probe.ticks}")


@action
def failed_assertion() -> None:
    assert probe.ticks == 1, "the probe asserts what is not so"


@action
def explicit_panic() -> None:
    panic("the probe was told to panic")


@action
def machine_check() -> None:
    asm("int $$18", "~{memory}")


def scenario_table() -> Ptr[Array[Scenario, len(SCENARIOS)]]:
    """Import time: the scenarios as kernel Python sees them."""
    table = static(Array[Scenario, len(SCENARIOS)])
    numbers = {name: number for number, name in enumerate(PROGRAMS)}
    for item, (name, options) in zip(table, SCENARIOS, strict=True):
        item.name = name.replace("_", "-")
        item.first = numbers.get(options.get("first"), NONE)
        item.second = numbers.get(options.get("second"), NONE)
        item.action = options.get("action")
        item.preempt = bool(options.get("preempt"))
        item.without_fpu = bool(options.get("without_fpu"))
    return table


SCENARIO_COUNT = len(SCENARIOS)
scenarios = scenario_table()

PROGRAM = Program(
    name="probe",
    entry=machine.ENTRY,
    roots=machine.ROOTS,
    linker_script=machine.LINKER_SCRIPT,
    implementations=(
        *machine.IMPLEMENTATIONS,
        *(kernel_main, handle_system_call, handle_page_fault, handle_exception),
        *(handle_timer, handle_interrupt, handle_non_maskable_interrupt),
    ),
)
