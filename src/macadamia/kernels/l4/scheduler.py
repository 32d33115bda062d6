"""Which thread runs: 256 priorities, round robin within one, time slices that are donated along with IPC.

A ready thread is either the running one or in the queue of its priority, always. System calls and interrupts
change states and queues; who runs next is decided in one place, `choose`, after all is done. An IPC that
wants to hand the processor to its partner names it as `processor.successor`: it then runs whatever its
priority is, on the slice of the thread that called it (X.2 manual, section 3.4; the fact sheet, section 9).
"""

from macadamia.abi.l4.utcb import DELAY_PREEMPTION, PREEMPTION_PENDING
from macadamia.kernels.l4 import ring
from macadamia.kernels.l4.processor import WORD_BITS, processor
from macadamia.kernels.l4.thread import Thread, ThreadState
from macadamia.lang import Ptr, leading_zeros, u8, u64
from macadamia.machine.interface import time_now

DEFAULT_PRIORITY = 100
DEFAULT_TIME_SLICE = 10_000_000  # nanoseconds
NANOSECONDS_PER_MICROSECOND = 1000


def queue_if_ready(thread: Ptr[Thread]) -> None:
    """Its state was set: let it wait for the processor, behind the others of its priority, if it is ready."""
    if thread.state == ThreadState.READY and thread != processor.current and thread.next is None:
        enqueue(thread)


def make_ready(thread: Ptr[Thread]) -> None:
    thread.state = ThreadState.READY
    queue_if_ready(thread)


def enqueue(thread: Ptr[Thread]) -> None:
    priority = thread.priority
    processor.ready[priority] = ring.appended(processor.ready[priority], thread)
    processor.ready_words[priority // WORD_BITS] |= u64(1) << priority % WORD_BITS


def enqueue_first(thread: Ptr[Thread]) -> None:
    """Queue a thread that was preempted: it goes on before the others of its priority."""
    enqueue(thread)
    processor.ready[thread.priority] = thread


def dequeue(thread: Ptr[Thread]) -> None:
    """Take a ready thread that is not running out of its queue."""
    priority = thread.priority
    first = ring.removed(processor.ready[priority], thread)
    processor.ready[priority] = first
    if first is None:
        processor.ready_words[priority // WORD_BITS] &= ~(u64(1) << priority % WORD_BITS)


def is_queued(thread: Ptr[Thread]) -> bool:
    return thread.state == ThreadState.READY and thread.next is not None


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
        if gives_up:
            enqueue(running)
        elif is_preempted(running):
            enqueue_first(running)
        else:
            return running
    processor.delay_ends = 0
    if successor is not None and is_queued(successor):
        dequeue(successor)
        return successor
    return pick_next()


def is_preempted(running: Ptr[Thread]) -> bool:
    """Whether a queued thread has a strictly higher priority, and `running` does not put it off."""
    best = highest_ready()
    return best is not None and best.priority > running.priority and not delays(running, best.priority)


def delays(running: Ptr[Thread], priority: u8) -> bool:
    """Delayed preemption: `running` asks threads up to its sensitive priority to wait, for a limited time."""
    utcb = running.utcb
    if running.maximum_delay == 0 or priority > running.sensitive_priority or utcb is None:
        return False
    if utcb.preemption_flags & DELAY_PREEMPTION == 0:
        return False
    if processor.delay_ends == 0:
        processor.delay_ends = time_now() + running.maximum_delay * NANOSECONDS_PER_MICROSECOND
        processor.timer_changed = True
        utcb.preemption_flags |= PREEMPTION_PENDING
    return time_now() < processor.delay_ends


def pick_next() -> Ptr[Thread]:
    """Take the highest ready thread off its queue, on a slice of its own; the idle thread if none is
    ready."""
    thread = highest_ready()
    begin_slice(thread)
    if thread is None:
        return processor.idle
    dequeue(thread)
    return thread


def begin_slice(thread: Ptr[Thread] | None) -> None:
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
    if owner.total_quantum == 0:
        return
    if owner.total_quantum > used:
        owner.total_quantum -= used
    else:
        owner.total_quantum = 1  # unless its scheduler gives it more, it will soon ask again
        owner.quantum_ended = True


def slice_end() -> u64:
    """When the running slice or its owner's quantum is over, nanoseconds; the largest value if never."""
    owner = processor.slice_owner
    end = u64(u64.MAX)
    if owner is not None and owner.time_slice != 0:
        end = processor.slice_began + owner.slice_left
    if owner is not None and owner.total_quantum != 0:
        end = min(end, processor.slice_began + owner.total_quantum)
    return end


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
    processor.delay_ends = 0
    processor.gives_up = True


def forget(thread: Ptr[Thread]) -> None:
    """The thread is going away: nothing is charged to it any more."""
    if processor.slice_owner == thread:
        processor.slice_owner = None
        processor.timer_changed = True
