"""What enters the kernel besides system calls: interrupts and the timer."""

from macadamia.kernels.l4 import copying, interrupt_lines, ipc, ring, scheduler, timeouts
from macadamia.kernels.l4.cancellation import end_ipc, in_transfer
from macadamia.abi.l4.errors import IpcError
from macadamia.abi.l4.identifiers import NIL_THREAD
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.thread import Thread, ThreadState
from macadamia.kernels.l4.thread_table import INTERRUPT_LINES, find_thread
from macadamia.lang import Ptr, u32
from macadamia.machine.interface import disable_interrupt, set_timer, stop_timer, time_now


def interrupt(line: u32) -> None:
    """A line fired: its thread sends its message to the handler, or waits in the handler's ring."""
    if line >= INTERRUPT_LINES or not interrupt_lines.interrupt_threads[line].exists():
        disable_interrupt(line)  # nobody wants it
        return
    thread = interrupt_lines.interrupt_threads[line]
    handler = find_thread(thread.scheduler)
    if handler is None:
        disable_interrupt(line)  # the handler is gone without saying so
        return
    if thread.state == ThreadState.SENDING:
        return  # the last one has not been taken yet
    if ipc.waits_for(handler, thread):
        timeouts.disarm(handler)
        ipc.deliver(thread, handler)
    else:
        thread.state = ThreadState.SENDING
        thread.waiting_for = handler.id
        thread.then_receive = NIL_THREAD
        handler.first_sender = ring.appended(handler.first_sender, thread)


def timer() -> None:
    """Wake the threads whose time has come; take the processor from one whose slice is over."""
    now = time_now()
    while timeouts.first_expiry() <= now:
        expire(timeouts.heap.at(u32(1)))
    if scheduler.slice_end() <= now:
        end_slice()
    program_timer()


def expire(thread: Ptr[Thread]) -> None:
    """The timeout of a blocked thread is over."""
    timeouts.disarm(thread)
    if in_transfer(thread):
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
    """Let the timer fire for the first timeout or the end of the slice, whichever comes first."""
    time = min(timeouts.first_expiry(), scheduler.slice_end())
    processor.timer_changed = False
    if time >= timeouts.LONGEST:
        stop_timer()
    else:
        set_timer(time)
