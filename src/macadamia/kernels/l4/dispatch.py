"""The end of every stay in the kernel: who runs now, and what has to be done for it before it runs user
code."""

from macadamia.kernels.l4 import faults, ipc, scheduler, unmap_call
from macadamia.kernels.l4.events import program_timer
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.thread import Activity, Thread
from macadamia.lang import Ptr
from macadamia.machine.interface import allow_interrupts


def dispatch() -> Ptr[Thread]:
    """The thread that runs user code now, or the idle thread; it is the current one."""
    while True:
        thread = scheduler.choose(processor.current)
        processor.current = thread
        if thread == processor.idle or not has_kernel_work(thread):
            if processor.timer_changed:
                program_timer()
            return thread
        take_interrupts()
        if not processor.gives_up and not scheduler.is_preempted(thread):
            do_kernel_work(thread)


def has_kernel_work(thread: Ptr[Thread]) -> bool:
    return thread.is_in_kernel() or thread.quantum_ended


def take_interrupts() -> None:
    """Handle what came meanwhile."""
    if processor.timer_changed:
        program_timer()
    processor.in_kernel = True
    allow_interrupts()
    processor.in_kernel = False


def do_kernel_work(thread: Ptr[Thread]) -> None:
    """One piece of it; then others may be chosen."""
    match thread.activity:
        case Activity.COPY:
            ipc.go_on(thread)
        case Activity.UNMAP:
            unmap_call.go_on(thread)
        case _:
            faults.quantum_end(thread)
