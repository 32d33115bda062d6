"""Page faults and exceptions: the kernel sends a message for the thread, to its pager or exception handler.

The thread's own message registers that the kernel's message overwrites are kept, and put back when the answer
came (completion.py).
"""

from macadamia.abi.l4.fpages import Rights
from macadamia.abi.l4.utcb import LAST_BUFFER_REGISTER
from macadamia.kernels.l4 import completion, exception_message, fault_message, ipc, scheduler
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.lang import Ptr, u64


def page_fault(thread: Ptr[Thread], address: u64, access: Rights) -> None:
    """The running thread touched a page that it does not have."""
    utcb = thread.utcb
    assert utcb is not None
    pager = utcb.pager
    if pager.is_nil():  # nobody to ask: it faults again and again, until somebody gives it a pager
        scheduler.give_up_slice(thread)
        return
    fault_message.store(thread, address, thread.frame.rip, access, Activity.PAGE_FAULT)
    ipc.start(thread, pager, pager, ipc.NO_LIMITS)


def exception(thread: Ptr[Thread]) -> None:
    """The running thread raised an exception; without a handler it halts."""
    utcb = thread.utcb
    assert utcb is not None
    handler = utcb.exception_handler
    if handler.is_nil():
        thread.state = ThreadState.HALTED
        return
    completion.save_message(thread, u64(exception_message.EXCEPTION_WORDS))
    thread.activity = Activity.EXCEPTION
    exception_message.store(thread)
    utcb.buffer_registers[LAST_BUFFER_REGISTER] = 0
    ipc.start(thread, handler, handler, ipc.NO_LIMITS)
