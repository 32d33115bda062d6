"""What the kernel keeps for each processor."""

from macadamia.kernels.l4.space import Space
from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Array, Ptr, Struct, u64

PRIORITIES = 256
WORD_BITS = 64


class Processor(Struct, align=64):
    """Scheduling state. The idle thread has no frame: while it is current, the processor waits in the
    kernel."""

    current: Ptr[Thread]
    current_space: Ptr[Space] | None  # whose page table is loaded
    idle: Ptr[Thread]
    successor: Ptr[Thread] | None  # whom an IPC hands the processor to
    gives_up: bool  # the running thread lets others run first
    slice_owner: Ptr[Thread] | None  # who pays for the time that passes
    slice_began: u64  # nanoseconds
    delay_ends: u64  # nanoseconds: when the running thread must let itself be preempted; 0 = at once
    in_kernel: bool  # interrupts are taken in the kernel: whoever lets them in decides who runs
    timer_changed: bool  # the timer must be set again before user mode is entered
    ready_words: Array[u64, PRIORITIES // WORD_BITS]  # bit set = queue not empty
    ready: Array[Ptr[Thread] | None, PRIORITIES]


idle_thread = Thread()
processor = Processor()
processor.idle = idle_thread
processor.current = idle_thread
