"""Which thread runs: 256 priorities, round robin within one, time slices that are donated along with IPC.

A ready thread is either the running one or in the queue of its priority, always. System calls and interrupts
change states and queues; who runs next is decided in one place, `choose`, after all is done. An IPC that
wants to hand the processor to its partner names it as `processor.successor`: it then runs whatever its
priority is, on the slice of the thread that called it (X.2 manual, section 3.4; the fact sheet, section 9).
"""

from macadamia.kernels.l4 import ring
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.thread import Thread, ThreadState
from macadamia.lang import Ptr, leading_zeros, u8, u64
from macadamia.machine.interface import time_now

WORD_BITS = 64
DEFAULT_PRIORITY = 100
DEFAULT_TIME_SLICE = 10_000_000  # nanoseconds


def make_ready(thread: Ptr[Thread]) -> None:
    """Let `thread` wait for the processor, behind the others of its priority."""
    thread.state = ThreadState.READY
    if thread != processor.current and thread.next is None:
        enqueue(thread)


def enqueue(thread: Ptr[Thread]) -> None:
    priority = thread.priority
    processor.ready[priority] = ring.appended(processor.ready[priority], thread)
    processor.ready_words[priority // WORD_BITS] |= u64(1) << priority % WORD_BITS


def dequeue(thread: Ptr[Thread]) -> None:
    """Take a ready thread that is not running out of its queue."""
    priority = thread.priority
    first = ring.removed(processor.ready[priority], thread)
    processor.ready[priority] = first
    if first is None:
        processor.ready_words[priority // WORD_BITS] &= ~(u64(1) << priority % WORD_BITS)


def highest_ready() -> Ptr[Thread] | None:
    """The queued thread that is next by priority; None when none is queued."""
    word = u64(len(processor.ready_words))
    while word > 0:
        word -= 1
        bits = processor.ready_words[word]
        if bits != 0:
            return processor.ready[word * WORD_BITS + (WORD_BITS - 1) - leading_zeros(bits)]
    return None


def choose(running: Ptr[Thread]) -> Ptr[Thread]:
    """Who runs now. Called once at the end of whatever the kernel was entered for."""
    successor = processor.successor
    processor.successor = None
    gives_up = processor.gives_up
    processor.gives_up = False
    if running.state == ThreadState.READY and running != processor.idle:
        if not gives_up and not is_preempted(running):
            return running
        enqueue(running)
    if successor is not None and is_queued(successor):
        dequeue(successor)
        return successor
    return pick_next()


def is_preempted(running: Ptr[Thread]) -> bool:
    """Whether a queued thread has a strictly higher priority."""
    best = highest_ready()
    return best is not None and best.priority > running.priority


def is_queued(thread: Ptr[Thread]) -> bool:
    return thread.state == ThreadState.READY and thread.next is not None


def pick_next() -> Ptr[Thread]:
    """Take the highest ready thread off its queue, on a slice of its own; the idle thread if none is
    ready."""
    thread = highest_ready()
    if thread is None:
        return processor.idle
    dequeue(thread)
    begin_slice(thread)
    return thread


def begin_slice(thread: Ptr[Thread]) -> None:
    """`thread` runs on its own time from now."""
    charge_owner()
    processor.slice_owner = thread
    processor.slice_began = time_now()
    processor.timer_changed = True


def charge_owner() -> None:
    """Take the time that passed off the owner's slice and quantum; a slice that is used up begins anew."""
    owner = processor.slice_owner
    if owner is None:
        return
    now = time_now()
    used = now - processor.slice_began
    processor.slice_began = now
    if owner.time_slice != 0:
        owner.slice_left = owner.slice_left - used if owner.slice_left > used else owner.time_slice
    if owner.total_quantum != 0:
        owner.total_quantum = owner.total_quantum - used if owner.total_quantum > used else u64(1)


def slice_end() -> u64:
    """When the running slice is over, nanoseconds; the largest value if never."""
    owner = processor.slice_owner
    if owner is None or owner.time_slice == 0:
        return u64(u64.MAX)
    return processor.slice_began + owner.slice_left


def set_priority(thread: Ptr[Thread], priority: u8) -> None:
    """Change the priority, in the ready queue too."""
    queued = is_queued(thread)
    if queued:
        dequeue(thread)
    thread.priority = priority
    if queued:
        enqueue(thread)


def give_up_slice(thread: Ptr[Thread]) -> None:
    """The running thread lets the others of its priority run first, and gets a full slice then."""
    thread.slice_left = thread.time_slice
    processor.gives_up = True


def forget(thread: Ptr[Thread]) -> None:
    """The thread is going away: nothing is charged to it any more."""
    if processor.slice_owner == thread:
        processor.slice_owner = None
        processor.timer_changed = True
