"""The L4 kernel on a simulated machine: threads execute system calls, fault and are interrupted.

The kernel's code runs compiled (jit); what it would do to the machine is recorded in `machine`. Physical
memory is a static of this process, and a physical address is its address here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from macadamia.abi.l4.errors import CallError, IpcError
from macadamia.abi.l4.fpages import COMPLETE_FPAGE, Rights, fpage
from macadamia.abi.l4.identifiers import ThreadId, global_id
from macadamia.abi.l4.messages import MAP_ITEM, ItemHeader, tag
from macadamia.abi.l4.utcb import UTCB_SIZE
from macadamia.kernels.l4 import events, faults, scheduler
from macadamia.kernels.l4.dispatch import dispatch
from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.kernels.l4.kip import kernel_interface
from macadamia.kernels.l4.map_item import MapOperation
from macadamia.kernels.l4.mapping import Outcome, mappings, preemption_point, sleeping
from macadamia.kernels.l4.page_table import page_sizes
from macadamia.kernels.l4.physical_memory import physical_memory
from macadamia.kernels.l4.processor import Processor, idle_thread, processor
from macadamia.kernels.l4.root_threads import (
    ROOT_KIP_AREA,
    ROOT_TASK,
    ROOT_UTCB_AREA,
    SIGMA0,
    create_root_space,
    start_root_thread,
)
from macadamia.kernels.l4.space import Space
from macadamia.kernels.l4.system_calls import Call, system_call
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import (
    INTERRUPT_LINES,
    USER_BASE,
    make_thread_slot,
    release_thread_slot,
    thread_slot,
)
from macadamia.kernels.l4.timeouts import heap
from macadamia.lang import (
    Array,
    Ptr,
    Struct,
    address_of,
    implements,
    local,
    memory,
    offsetof,
    pointer_at,
    sizeof,
    static,
    u8,
    u32,
    u64,
)
from macadamia.lang.emit import Profile
from macadamia.lang.jit import Library, jit
from macadamia.machine import interface
from macadamia.machine.addresses import PAGE_BITS, PAGE_SIZE, PhysAddr, VirtAddr
from macadamia.machine.x86_64.address_space import spaces
from macadamia.machine.x86_64.frame import SYSTEM_CALL

SLOTS_LEFT = 1 << 20
POOL_SIZE = 1 << 20  # bytes of kernel memory
USER_MEMORY_SIZE = 64 * PAGE_SIZE
SIGMA0_NUMBER = USER_BASE
ABSENT_LINE = 23  # the simulated machine has the others
SLOTS = USER_BASE + 16  # thread numbers that the simulated machine has memory for
NEVER = 0
ZERO = 0x0400
NIL, ANY, ANY_LOCAL = 0, (1 << 64) - 1, (1 << 64) - 64
LEAVE = (1 << 64) - 1
SYSTEM_CALL_IP = 0x1000_0002  # behind a SYSCALL instruction


class Machine(Struct):
    """What the kernel did to the machine, and what it finds there."""

    now: u64
    timer: u64  # 0 = not set
    enabled: u32  # a bit for each interrupt line
    acknowledged: Array[u64, INTERRUPT_LINES]  # how often
    preempt_every: u64  # n = every n-th preemption point stops, 0 = never
    points: u64
    slots_left: u64  # thread control blocks that can still be made


machine = Machine()
slots = static(Array[Thread, SLOTS])
absent = static(Thread)
user_memory = static(Array[u8, USER_MEMORY_SIZE], align=PAGE_SIZE)
pool = static(Array[u8, POOL_SIZE], align=2 * PAGE_SIZE)


@implements(interface.physical_pointer)
def physical_pointer(address: PhysAddr) -> Ptr[u8]:
    return pointer_at(u8, u64(address))


@implements(interface.time_now)
def time_now() -> u64:
    return machine.now


@implements(interface.set_timer)
def set_timer(time: u64) -> None:
    machine.timer = time


@implements(interface.stop_timer)
def stop_timer() -> None:
    machine.timer = 0


@implements(interface.allow_interrupts)
def allow_interrupts() -> None:
    pass


@implements(interface.enable_interrupt)
def enable_interrupt(line: u32) -> bool:
    if line == ABSENT_LINE:
        return False
    machine.enabled |= u32(1) << line
    return True


@implements(interface.disable_interrupt)
def disable_interrupt(line: u32) -> None:
    machine.enabled &= ~(u32(1) << line)


@implements(interface.acknowledge_interrupt)
def acknowledge_interrupt(line: u32) -> None:
    machine.acknowledged[line] += 1


@implements(interface.log_write)
def log_write(byte: u8) -> None:
    pass


@implements(interface.load_page_table)
def load_page_table(cr3: u64) -> None:
    pass


@implements(interface.invalidate_page)
def invalidate_page(address: VirtAddr) -> None:
    pass


@implements(preemption_point)
def preempted() -> bool:
    machine.points += 1
    return machine.preempt_every != 0 and machine.points % machine.preempt_every == 0


@implements(thread_slot)
def simulated_slot(number: u32) -> Ptr[Thread]:
    return slots[number] if number < SLOTS else absent


@implements(make_thread_slot)
def make_simulated_slot(number: u32) -> bool:
    if number >= SLOTS or machine.slots_left == 0:
        return False
    machine.slots_left -= 1
    return True


@implements(release_thread_slot)
def release_simulated_slot(number: u32) -> None:
    assert not slots[number].exists()
    machine.slots_left += 1


IMPLEMENTATIONS = (
    *(physical_pointer, load_page_table, invalidate_page, simulated_slot, make_simulated_slot),
    release_simulated_slot,
    *(log_write, time_now, set_timer, stop_timer, allow_interrupts, preempted),
    *(enable_interrupt, disable_interrupt, acknowledge_interrupt),
)


# What a processor does


def become(thread: Ptr[Thread]) -> None:
    """Let a ready thread be the running one, as if it had been chosen."""
    running = processor.current
    if running == thread:
        return
    assert scheduler.is_queued(thread), "only a ready thread can run"
    if running != processor.idle and running.state == ThreadState.READY:
        scheduler.enqueue(running)
    scheduler.dequeue(thread)
    scheduler.begin_slice(thread)
    processor.current = thread


def execute_call(call: u64) -> None:
    caller = processor.current
    caller.frame.vector = SYSTEM_CALL
    caller.frame.rip = SYSTEM_CALL_IP
    caller.frame.rbp = call
    system_call(caller)
    dispatch()


def execute_fault(address: u64, access: Rights) -> None:
    faults.page_fault(processor.current, address, access)
    dispatch()


def execute_exception(vector: u64, error: u64) -> None:
    processor.current.frame.vector = vector
    processor.current.frame.error = error
    faults.exception(processor.current)
    dispatch()


def fire_interrupt(line: u32) -> None:
    events.interrupt(line)
    dispatch()


def fire_timer() -> None:
    events.timer()
    dispatch()


def start_memory(start: PhysAddr, end: PhysAddr) -> None:
    kernel_memory.donate(start, end)
    physical_memory.add_ram(u64(start), u64(end))
    physical_memory.add_kernel(u64(start), u64(end))
    physical_memory.add_ram(address_of(user_memory), address_of(user_memory) + USER_MEMORY_SIZE)


def map_page(space: Ptr[Space], address: u64, frame: u64, rights: Rights) -> Outcome:
    """Give a page of user memory to a space, as sigma0 would."""
    operation = local(MapOperation)
    item = ItemHeader(address | MAP_ITEM << 1)
    sigma0 = slots[SIGMA0_NUMBER].space
    assert sigma0 is not None
    operation.prepare(sigma0, space, item, fpage(frame, u8(PAGE_BITS), rights), COMPLETE_FPAGE)
    return operation.run()


def physical_address(space: Ptr[Space], address: VirtAddr) -> PhysAddr:
    """Where a user address leads, 0 if nowhere."""
    physical, _ = space.address_space.translate(address)
    return physical


COMPILED = (
    *(become, execute_call, execute_fault, execute_exception, fire_interrupt, fire_timer),
    *(start_memory, map_page, physical_address, create_root_space, start_root_thread),
)


@cache
def library(profile: Profile = "checked") -> Library:
    return jit(COMPILED, IMPLEMENTATIONS, profile)


STATE = (machine, processor, idle_thread, kernel_memory, mappings, sleeping, physical_memory, spaces, absent)
THREADS = (*range(INTERRUPT_LINES), *range(USER_BASE, SLOTS))
SIZES = {object_.kernel_address: sizeof(type(object_)) for object_ in STATE}
SIZES[slots.kernel_address] = SLOTS * sizeof(Thread)
INITIAL = {address: memory.bytes_at(address, size) for address, size in SIZES.items()}
HEAP_USED = offsetof(type(heap), "threads") + 8 * SLOTS  # bytes of it that so few threads can use

# The registers that carry MR0 to MR7 (fact sheet, section 1.3)
MESSAGE_FRAME = ("r9", "rax", "rbx", "r10", "r12", "r13", "r14", "r15")


@dataclass(frozen=True)
class Result:
    """What an Ipc returned."""

    from_: int
    tag: int
    words: tuple[int, ...]
    error: int  # ErrorCode, valid if the tag has E

    @property
    def failed(self) -> bool:
        return bool(self.tag & 1 << 15)

    @property
    def failure(self) -> tuple[IpcError, str] | None:
        """Code and phase."""
        if not self.failed:
            return None
        return IpcError(self.error >> 1 & 7), "receive" if self.error & 1 else "send"


class Kernel:
    """A machine with sigma0, which waits for requests, and the root task, which runs."""

    def __init__(self, profile: Profile = "checked") -> None:
        self.code = library(profile)
        for address, content in INITIAL.items():
            memory.write(address, content)
        memory.write(heap.kernel_address, bytes(HEAP_USED))
        machine.slots_left = u64(SLOTS_LEFT)
        machine.now = u64(1_000_000)
        start = pool.kernel_address
        spaces.kernel_root = PhysAddr(start)
        kernel_interface.frame = PhysAddr(start + PAGE_SIZE)
        page_sizes.largest_level = u64(2)
        physical_memory.end = u64(1 << 40)
        self.code.start_memory(PhysAddr(start + 2 * PAGE_SIZE), PhysAddr(start + POOL_SIZE))
        self.free_pages = int(kernel_memory.free_pages)
        self.sigma0 = self.start_root(SIGMA0, ThreadId(0))
        self.root = self.start_root(ROOT_TASK, SIGMA0)
        self.sigma0.space.is_sigma0 = True

        self.pages_given = 0
        self.pool_start = int(start)
        assert self.ipc(self.sigma0, NIL, ANY) is None  # as it does in life

    def start_root(self, id_: ThreadId, pager: ThreadId) -> Any:
        thread = self.code.start_root_thread(id_, self.code.create_root_space(), pager, u64(0x100_0000))
        assert thread is not None
        return thread

    def thread(self, number: int) -> Any:
        """The control block, also of an interrupt line."""
        return slots[number]

    @property
    def pool_used(self) -> int:
        """Bytes of the pool that hold anything: allocation takes pairs from the start."""
        return 96 * PAGE_SIZE

    # What threads do

    def call(self, thread: Any, call: int, **registers: int) -> None:
        """`thread`, which must be ready, executes a system call."""
        for name, value in registers.items():
            setattr(thread.frame, name, u64(value % 2**64))
        self.code.become(thread)
        self.code.execute_call(u64(call))

    def ipc(
        self,
        thread: Any,
        to: int = NIL,
        from_: int = NIL,
        *words: int,
        label: int = 0,
        typed: int = 0,
        flags: int = 0,
        send: int = NEVER,
        receive: int = NEVER,
    ) -> Result | None:
        """Ipc with `words` after the tag, the last `typed` of them typed items. None if it blocks."""
        message = (tag(label, len(words) - typed, typed) | flags, *words)
        for index, word in enumerate(message):
            if index < len(MESSAGE_FRAME):
                setattr(thread.frame, MESSAGE_FRAME[index], u64(word))
            else:
                thread.utcb.message_registers[index] = u64(word)
        self.call(thread, Call.IPC, rsi=to, rdx=from_, r8=send << 16 | receive)
        returned = thread.state == ThreadState.READY and not thread.is_in_kernel()
        return self.result(thread) if returned else None

    def result(self, thread: Any) -> Result:
        """What the last Ipc of a thread returned."""
        words = [int(getattr(thread.frame, name)) for name in MESSAGE_FRAME]
        words += [int(thread.utcb.message_registers[index]) for index in range(8, 64)]
        return Result(int(thread.frame.rsi), words[0], tuple(words[1:]), int(thread.utcb.error_code))

    def fault(self, thread: Any, address: int, access: Rights = Rights.READ) -> None:
        self.code.become(thread)
        self.code.execute_fault(u64(address), access)

    def exception(self, thread: Any, vector: int, error: int = 0) -> None:
        self.code.become(thread)
        self.code.execute_exception(u64(vector), u64(error))

    def interrupt(self, line: int) -> None:
        self.code.fire_interrupt(u32(line))

    def pass_time(self, microseconds: int) -> None:
        """Time passes; the timer fires when it was set to."""
        end = int(machine.now) + microseconds * 1000
        while machine.timer != 0 and machine.timer <= end:
            machine.now = max(machine.now, machine.timer)
            self.code.fire_timer()
        machine.now = u64(end)

    # Shorthands

    def thread_control(
        self,
        dest: int,
        space: int,
        scheduler: int = NIL,
        pager: int = NIL,
        utcb: int = LEAVE,
        caller: Any = None,
    ) -> CallError | None:
        """ThreadControl, by the root task if not told otherwise; None if it succeeded."""
        caller = caller or self.root
        self.call(caller, Call.THREAD_CONTROL, rdi=dest, r8=space, rdx=scheduler, rsi=pager, r9=utcb)
        return None if caller.frame.rax == 1 else CallError(caller.utcb.error_code)

    def exchange_registers(self, caller: Any, dest: int, control: int, **registers: int) -> int:
        """ExchangeRegisters; the result id, 0 if it failed."""
        self.call(caller, Call.EXCHANGE_REGISTERS, rax=dest, rsi=control, **registers)
        return int(caller.frame.rax)

    def spawn(self, number: int, member: Any = None, version: int = 1, priority: int = 100) -> Any:
        """A running thread in the space of `member` (the root task's if None). Its pager is the root task."""
        thread, id_ = self.thread(number), gid(number, version)
        space = int((member or self.root).id)
        utcb = ROOT_UTCB_AREA + (number - USER_BASE) * UTCB_SIZE
        assert self.thread_control(id_, space, int(self.root.id), int(self.root.id), utcb) is None
        self.begin(thread, priority)
        return thread

    def spawn_space(self, number: int, version: int = 1, priority: int = 100) -> Any:
        """A running thread in a space of its own."""
        thread, id_ = self.thread(number), gid(number, version)
        assert self.thread_control(id_, id_, int(self.root.id)) is None
        areas = {"rdx": ROOT_KIP_AREA | 12 << 4, "r8": ROOT_UTCB_AREA | 18 << 4}
        self.call(self.root, Call.SPACE_CONTROL, rdi=id_, rsi=0, r9=0, **areas)
        assert self.root.frame.rax == 1
        utcb = ROOT_UTCB_AREA + (number - USER_BASE) * UTCB_SIZE
        assert self.thread_control(id_, id_, int(self.root.id), int(self.root.id), utcb) is None
        self.begin(thread, priority)
        return thread

    def begin(self, thread: Any, priority: int) -> None:
        """The start protocol."""
        thread.priority = u8(priority)
        result = self.ipc(self.root, int(thread.id), NIL, 0x1234, 0x5678)
        assert result is not None
        assert not result.failed
        assert thread.state == ThreadState.READY

    def give_page(self, thread: Any, address: int, rights: Rights = Rights.READ | Rights.WRITE) -> int:
        """Memory at a page of the thread's space: where this process sees it."""
        frame: int = user_memory.kernel_address + self.pages_given * PAGE_SIZE
        self.pages_given += 1
        every, machine.preempt_every = machine.preempt_every, u64(0)
        assert self.code.map_page(thread.space, u64(address), u64(frame), rights) == Outcome.DONE
        machine.preempt_every = every
        memory.write(frame, bytes(PAGE_SIZE))
        return frame

    # What must always be true

    def check(self) -> None:
        """Assert the rules of states and queues."""
        assert machine.slots_left == SLOTS_LEFT - sum(slots[number].id != ThreadId(0) for number in THREADS)
        threads = [slots[number] for number in THREADS if slots[number].id != ThreadId(0)]
        check_ready(threads)
        for thread in threads:
            check_senders(thread, threads)
            check_partner(thread)
        check_heap(threads)


def gid(number: int, version: int = 1) -> int:
    return int(global_id(u32(number), u32(version)))


def lid(thread: Any) -> int:
    return int(thread.local_id)


def ring(first: Any) -> list[int]:
    """The addresses of the threads in a ring."""
    found: list[int] = []
    thread = first
    while thread is not None and thread.kernel_address not in found:
        assert thread.next.previous == thread
        found.append(thread.kernel_address)
        thread = thread.next
    assert thread is None or thread == first
    return found


def check_ready(threads: list[Any]) -> None:
    """Every ready thread that does not run is queued, once, at its priority; no other is."""
    queued: dict[int, int] = {}
    place = processor.kernel_address + offsetof(Processor, "ready_words")
    marks = int.from_bytes(memory.bytes_at(place, 32), "little")
    firsts = memory.bytes_at(processor.kernel_address + offsetof(Processor, "ready"), 8 * 256)
    for priority in range(256):
        assert any(firsts[8 * priority : 8 * priority + 8]) == bool(marks >> priority & 1)
        for address in ring(processor.ready[priority]) if marks >> priority & 1 else ():
            assert address not in queued
            queued[address] = priority
    for thread in threads:
        ready = thread.state == ThreadState.READY and thread != processor.current
        assert queued.pop(thread.kernel_address, None) == (thread.priority if ready else None)
    assert not queued, "a thread that does not exist is queued"


def check_senders(thread: Any, threads: list[Any]) -> None:
    """Its ring holds exactly the threads that wait to send to it."""
    senders = (other for other in threads if other.state == ThreadState.SENDING)
    expected = {other.kernel_address for other in senders if other.waiting_for == thread.id}
    assert set(ring(thread.first_sender)) == expected
    if thread.state in (ThreadState.SENDING, ThreadState.RECEIVING, ThreadState.TRANSFERRING):
        assert thread != processor.current


def check_partner(thread: Any) -> None:
    """Partners in a transfer name each other, and exist."""
    for partner in (thread.copy.partner, suspended_partner(thread)):
        if partner is not None:
            assert partner.exists()
            assert thread in (partner.copy.partner, suspended_partner(partner))
    if thread.state == ThreadState.TRANSFERRING:
        assert thread.copy.partner is not None


def suspended_partner(thread: Any) -> Any:
    return thread.suspended.partner if thread.activity == Activity.COPY_FAULT else None


def check_heap(threads: list[Any]) -> None:
    """The heap is ordered, and exactly the threads that say so are in it."""
    count = int(heap.count)
    members = {}
    for slot in range(1, count + 1):
        thread: Any = heap.threads[slot]
        parent: Any = heap.threads[slot // 2]
        assert thread.wake_slot == slot
        assert slot == 1 or parent.wake_time <= thread.wake_time
        members[thread.kernel_address] = slot
    for thread in threads:
        assert members.pop(thread.kernel_address, 0) == thread.wake_slot
    assert not members, "a thread that does not exist waits"
