"""The thread control block: everything the kernel knows of a thread.

A thread is in exactly one `ThreadState`. While it is blocked in an IPC, `Activity` says on whose behalf that
IPC runs: the thread's own system call, or a message the kernel sends for it (page fault, exception, start).
When the IPC ends, the activity decides what the thread does next; so every blocking operation of the kernel
is an IPC, and no thread ever sleeps on a kernel stack.
"""

from enum import IntEnum

from macadamia.abi.l4.identifiers import ThreadId
from macadamia.abi.l4.times import Timeouts
from macadamia.abi.l4.utcb import Utcb
from macadamia.kernels.l4.map_item import MapOperation
from macadamia.kernels.l4.space import Space
from macadamia.kernels.l4.strings import Pieces
from macadamia.kernels.l4.unmap import UnmapOperation
from macadamia.lang import Array, Ptr, Struct, storage, u8, u16, u32, u64
from macadamia.machine.x86_64.frame import FpuState, Frame

KERNEL_MESSAGE_REGISTERS = 21  # the longest message of the kernel: a tag and the 20 words of an exception


@storage(u8)
class ThreadState(IntEnum):
    """What a thread is doing."""

    ABSENT = 0  # no thread has this number
    INACTIVE = 1  # created without a pager: it has never run. An interrupt line that has not fired
    READY = 2  # runs or waits for the processor
    SENDING = 3  # blocked until its partner takes its message
    RECEIVING = 4  # blocked until a message comes. An interrupt line: until it is acknowledged
    TRANSFERRING = 5  # a transfer is held up: by a page fault of its partner, or because it is long
    HALTED = 6  # stopped by ExchangeRegisters or by an exception without handler


@storage(u8)
class Activity(IntEnum):
    """On whose behalf a thread's IPC runs, that is what its end means."""

    USER = 0  # the thread's own Ipc: registers are loaded from the message
    START = 1  # waiting for its pager's start message: IP and SP come from it
    PAGE_FAULT = 2  # a fault in user mode: resume, whatever came
    EXCEPTION = 3  # registers come from the reply
    PREEMPTION = 4  # its total quantum is used up: its scheduler is asked for more
    COPY_FAULT = 5  # a fault during a string copy: its pager's reply lets the copy go on
    COPY = 6  # ready, but to go on with a transfer, not to run user code
    UNMAP = 7  # ready, but to go on with its Unmap
    INTERRUPT = 8  # an interrupt line: its message is that it fired


class SuspendedIpc(Struct):
    """The user's IPC, while the thread sends a fault message in the middle of its string copy."""

    partner: Ptr["Thread"] | None
    sending: bool
    then_receive: ThreadId
    timeouts: Timeouts
    virtual_sender: ThreadId
    expires: u64  # when the transfer timeout ends, nanoseconds


class CopyProgress(Struct):
    """A message transfer with typed items: how far it came (transfer.py). Kept by the sender."""

    partner: Ptr["Thread"] | None  # the other side; the receiver has the sender here
    sending: bool  # which of the two sides this is
    source: Pieces
    target: Pieces
    mapping: MapOperation
    mapping_begun: bool  # `mapping` is that of the current item, which was preempted
    done: u64  # bytes of string data transferred so far
    expires: u64  # when a page fault in it times out, nanoseconds; 0 = no fault yet


class UnmapProgress(Struct):
    """An Unmap call: which of its fpages is being unmapped, and how far (unmap_call.py)."""

    operation: UnmapOperation
    index: u64
    begun: bool  # `operation` is that of `index`


class Thread(Struct, align=64):
    """One thread, or one interrupt line. The frame comes first: the machine finds the thread by it."""

    frame: Frame
    id: ThreadId  # global id; nil = no such thread
    local_id: ThreadId  # where the user sees MR0
    utcb: Ptr[Utcb] | None  # the same memory as the kernel sees it; None while inactive
    space: Ptr[Space] | None  # None while absent, and of interrupt lines
    state: ThreadState
    activity: Activity
    halted: bool  # to be stopped when its IPC ends
    priority: u8
    sensitive_priority: u8
    maximum_delay: u16  # microseconds it may put off a preemption
    waiting_for: ThreadId  # SENDING: whom to; RECEIVING: whom from, as specified
    then_receive: ThreadId  # the receive phase that follows a send, nil = none
    polled: bool  # its receive phase ended at once, without a message
    timeouts: Timeouts
    virtual_sender: ThreadId  # propagation: on whose behalf it sends; else its own id
    first_sender: Ptr["Thread"] | None  # threads blocked in sending to this one, in order
    next: Ptr["Thread"] | None  # in the one ring that this thread is in: ready or senders
    previous: Ptr["Thread"] | None
    wake_time: u64  # nanoseconds, valid while wake_slot is not 0
    wake_slot: u32  # place in the heap of timeouts, 0 = none
    scheduler: ThreadId  # of an interrupt line: its handler
    time_slice: u64  # nanoseconds, 0 = infinite
    slice_left: u64
    total_quantum: u64  # nanoseconds left, 0 = infinite
    quantum_ended: bool  # its scheduler has to be told before it runs again
    message: Array[u64, KERNEL_MESSAGE_REGISTERS]  # what the kernel sends for it, and what is answered
    copy: CopyProgress
    suspended: SuspendedIpc
    unmap: UnmapProgress
    fpu: FpuState

    def exists(self) -> bool:
        return not self.id.is_nil()

    def is_user_ipc(self) -> bool:
        """Whether its messages lie in its UTCB, rather than in `message`."""
        return self.activity in (Activity.USER, Activity.COPY)

    def is_in_kernel(self) -> bool:
        """Whether it has to go on in the kernel when it gets the processor."""
        return self.activity in (Activity.COPY, Activity.UNMAP)
