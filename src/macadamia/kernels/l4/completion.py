"""The end of an IPC: what a thread does when its message came, or when it failed.

Sets the thread's state and puts it into no queue: whoever ends the IPC does, `scheduler.queue_if_ready`.
"""

from macadamia.abi.l4.errors import IpcError, error_code
from macadamia.abi.l4.identifiers import ThreadId
from macadamia.abi.l4.messages import TAG_ERROR, TAG_FLAGS, MessageTag
from macadamia.kernels.l4 import exception_message, registers, suspended
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.lang import Ptr, u64

START_WORDS = 2  # of a start message: IP and SP


def succeed(thread: Ptr[Thread], from_: ThreadId) -> None:
    """The thread's IPC is over. `from_` is what it is told of the sender; nil after a mere send."""
    thread.state = ThreadState.READY
    match thread.activity:
        case Activity.USER:
            succeed_user(thread, from_)
        case Activity.START:
            begin_user_code(thread)
        case Activity.EXCEPTION:
            exception_message.load(thread)
            thread.activity = Activity.USER
        case Activity.COPY_FAULT:
            suspended.go_on(thread)
        case Activity.INTERRUPT:
            thread.state = ThreadState.RECEIVING
        case _:
            thread.activity = Activity.USER
    stop_if_halted(thread)


def succeed_user(thread: Ptr[Thread], from_: ThreadId) -> None:
    """The thread's own Ipc."""
    if from_.is_nil():
        thread.frame.r9 &= ~TAG_FLAGS
        thread.frame.rdi = u64(thread.local_id)
    else:
        registers.load_message(thread)
    thread.frame.rsi = u64(from_)


def begin_user_code(thread: Ptr[Thread]) -> None:
    """The start message came: two untyped words, where to begin and with which stack."""
    if MessageTag(thread.message[0]).untyped == START_WORDS:
        thread.frame.jump(thread.message[1])
        thread.frame.rsp = thread.message[2]
    thread.activity = Activity.USER


def fail(thread: Ptr[Thread], error: u64, tag: u64 = 0) -> None:
    """The thread's IPC failed with the ErrorCode word `error`; of its message the tag `tag` is kept."""
    thread.state = ThreadState.READY
    match thread.activity:
        case Activity.USER | Activity.COPY:
            fail_user(thread, error, tag)
        case Activity.EXCEPTION | Activity.PREEMPTION:
            if error_code(error) == IpcError.NON_EXISTENT:
                thread.state = ThreadState.HALTED
        case Activity.PAGE_FAULT:
            # It will fault again, but let the others run.
            processor.gives_up = processor.gives_up or thread == processor.current
        case Activity.INTERRUPT:
            thread.state = ThreadState.INACTIVE
            return
        case _:
            pass
    thread.activity = Activity.USER
    stop_if_halted(thread)


def fail_user(thread: Ptr[Thread], error: u64, tag: u64) -> None:
    utcb = thread.utcb
    assert utcb is not None
    utcb.error_code = error
    utcb.message_registers[0] = tag & ~TAG_FLAGS | TAG_ERROR
    registers.load_message(thread)
    thread.frame.rsi = 0


def stop_if_halted(thread: Ptr[Thread]) -> None:
    """ExchangeRegisters halted the thread while it was in the kernel."""
    if thread.halted and thread.state == ThreadState.READY and not thread.is_in_kernel():
        thread.state = ThreadState.HALTED
