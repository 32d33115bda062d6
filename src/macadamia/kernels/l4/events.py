"""What enters the kernel besides system calls and faults: interrupts and the timer."""

from macadamia.abi.l4.errors import IpcError
from macadamia.kernels.l4 import copying, ipc, scheduler, timeouts
from macadamia.kernels.l4.cancellation import end_ipc
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import INTERRUPT_LINES, find_thread, thread_slot
from macadamia.lang import Ptr, u32
from macadamia.machine.interface import disable_interrupt, set_timer, stop_timer, time_now


def interrupt(line: u32) -> None:
    """A line fired: its thread sends its message to the handler, or waits in the handler's ring."""
    if line >= INTERRUPT_LINES or not thread_slot(line).exists():
        disable_interrupt(line)  # nobody wants it
        return
    thread = thread_slot(line)
    handler = find_thread(thread.scheduler)
    if handler is not None and thread.state == ThreadState.INACTIVE:
        ipc.send_interrupt(thread, handler)


def timer() -> None:
    """Wake the threads whose time has come; take the processor from one whose slice is over."""
    now = time_now()
    while timeouts.first_expiry() <= now:
        expire(timeouts.heap.at(u32(1)))
    if scheduler.slice_end() <= now:
        end_slice()
    processor.timer_changed = True


def expire(thread: Ptr[Thread]) -> None:
    """The timeout of a blocked thread is over."""
    timeouts.disarm(thread)
    if thread.activity == Activity.COPY_FAULT:
        copying.expire(thread)
    else:
        end_ipc(thread, IpcError.TIMEOUT)


def end_slice() -> None:
    """The running thread goes behind the others of its priority, whoever owned the slice."""
    scheduler.charge_owner()
    running = processor.current
    if running != processor.idle:
        scheduler.give_up_slice(running)


def program_timer() -> None:
    """Let the timer fire for the first timeout, the end of the slice or of a delayed preemption."""
    time = min(timeouts.first_expiry(), scheduler.slice_end())
    if processor.delay_ends != 0:
        time = min(time, processor.delay_ends)
    processor.timer_changed = False
    if time >= timeouts.LONGEST:
        stop_timer()
    else:
        set_timer(time)
