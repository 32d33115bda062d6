"""Page faults, exceptions and used-up quanta: the kernel sends a message for the thread, to its pager,
exception handler or scheduler, and the answer lets it go on (completion.py)."""

from macadamia.abi.l4.fpages import Rights
from macadamia.abi.l4.identifiers import ThreadId
from macadamia.abi.l4.messages import PREEMPTION_PROTOCOL, protocol_label, tag
from macadamia.kernels.l4 import exception_message, fault_message, ipc, scheduler
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.scheduler import NANOSECONDS_PER_MICROSECOND
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.lang import Ptr, u64
from macadamia.machine.interface import time_now
from macadamia.machine.text import log

PREEMPTION_TAG = tag(protocol_label(PREEMPTION_PROTOCOL), 2)
HALF_WORD_BITS = 32


def page_fault(thread: Ptr[Thread], address: u64, access: Rights) -> None:
    """The running thread touched a page that it does not have."""
    utcb = thread.utcb
    assert utcb is not None
    pager = utcb.pager
    if pager.is_nil():  # nobody to ask: it faults again and again, until somebody gives it a pager
        scheduler.give_up_slice(thread)
        return
    fault_message.store(thread, address, thread.frame.rip, access, Activity.PAGE_FAULT)
    call(thread, pager)


def exception(thread: Ptr[Thread]) -> None:
    """The running thread raised an exception; without a handler it halts."""
    utcb = thread.utcb
    assert utcb is not None
    handler = utcb.exception_handler
    if handler.is_nil():
        log(f"l4: thread {u64(thread.id):#x} halts: exception {thread.frame.vector} at {thread.frame.rip:#x}")
        thread.state = ThreadState.HALTED
        return
    thread.activity = Activity.EXCEPTION
    exception_message.store(thread)
    call(thread, handler)


def quantum_end(thread: Ptr[Thread]) -> None:
    """The running thread has used up its total quantum: its scheduler may give it more (X.2 manual, 3.3). One
    that schedules itself goes on without a limit."""
    thread.quantum_ended = False
    if thread.scheduler == thread.id:
        thread.total_quantum = 0
        return
    microseconds = time_now() // NANOSECONDS_PER_MICROSECOND
    thread.activity = Activity.PREEMPTION
    thread.message[0] = PREEMPTION_TAG
    thread.message[1] = microseconds & ((1 << HALF_WORD_BITS) - 1)
    thread.message[2] = microseconds >> HALF_WORD_BITS
    call(thread, thread.scheduler)
    processor.successor = None  # the scheduler runs on its own time: this thread has none left to give


def call(thread: Ptr[Thread], partner: ThreadId) -> None:
    """Send the kernel's message and wait for the answer."""
    thread.virtual_sender = thread.id
    ipc.start(thread, partner, partner, ipc.NO_LIMITS)
