"""The end of an IPC: what a thread does when its message came, or when it failed.

The thread is left ready but in no queue; the caller decides who runs.
"""

from macadamia.abi.l4.identifiers import ANY_LOCAL_THREAD, ANY_THREAD, ThreadId
from macadamia.abi.l4.messages import TAG_ERROR, MessageTag
from macadamia.abi.l4.utcb import LAST_BUFFER_REGISTER
from macadamia.kernels.l4 import exception_message, registers, scheduler
from macadamia.kernels.l4.names import named_thread
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.lang import Ptr, range, u64

START_WORDS = 2  # of a start message: IP and SP


def can_communicate(thread: Ptr[Thread]) -> bool:
    """Whether messages can be sent to `thread` at all: it has been activated, or is an interrupt line."""
    return thread.activity == Activity.INTERRUPT or thread.utcb is not None


def is_valid_specifier(receiver: Ptr[Thread], from_: ThreadId) -> bool:
    """Whether a FromSpecifier names a thread that exists (or any)."""
    if from_ in (ANY_THREAD, ANY_LOCAL_THREAD):
        return True
    return named_thread(receiver, from_) is not None


def succeed(thread: Ptr[Thread], from_: ThreadId) -> None:
    """The thread's IPC is over. `from_` is what it is told of the sender; nil after a mere send."""
    thread.state = ThreadState.READY
    match thread.activity:
        case Activity.USER:
            succeed_user(thread, from_)
        case Activity.START:
            begin_user_code(thread)
        case Activity.PAGE_FAULT:
            restore_message(thread)
        case Activity.EXCEPTION:
            exception_message.load(thread)
            restore_message(thread)
        case Activity.COPY_FAULT:
            restore_message(thread)
            retry_copy(thread)
        case Activity.COPY | Activity.INTERRUPT:
            pass
    stop_if_halted(thread)


def succeed_user(thread: Ptr[Thread], from_: ThreadId) -> None:
    """The thread's own Ipc."""
    if not from_.is_nil():
        registers.load_message(thread)
    thread.frame.rdi = u64(thread.local_id)
    thread.frame.rsi = u64(from_)


def begin_user_code(thread: Ptr[Thread]) -> None:
    """The start message came: two untyped words, where to begin and with which stack."""
    utcb = thread.utcb
    assert utcb is not None
    if MessageTag(utcb.message_registers[0]).untyped == START_WORDS:
        thread.frame.jump(utcb.message_registers[1])
        thread.frame.rsp = utcb.message_registers[2]
    thread.activity = Activity.USER


def retry_copy(thread: Ptr[Thread]) -> None:
    """A fault in a string copy was served: the sender of the two goes on copying."""
    partner = thread.copy.partner
    assert partner is not None
    if partner.state == ThreadState.TRANSFERRING and partner.activity == Activity.COPY:
        thread.state = ThreadState.TRANSFERRING
        thread.activity = Activity.USER
        scheduler.make_ready(partner)
    else:
        thread.activity = Activity.COPY


def fail(thread: Ptr[Thread], error: u64) -> None:
    """The thread's IPC failed with the ErrorCode word `error`."""
    thread.state = ThreadState.READY
    match thread.activity:
        case Activity.USER | Activity.COPY:
            thread.activity = Activity.USER
            fail_user(thread, error)
        case Activity.PAGE_FAULT:
            restore_message(thread)  # and fault again
        case Activity.EXCEPTION:
            restore_message(thread)
            thread.state = ThreadState.HALTED
        case Activity.COPY_FAULT:
            restore_message(thread)
            retry_copy(thread)
        case Activity.START | Activity.INTERRUPT:
            thread.activity = Activity.USER
    stop_if_halted(thread)


def fail_user(thread: Ptr[Thread], error: u64) -> None:
    utcb = thread.utcb
    assert utcb is not None
    utcb.error_code = error
    utcb.message_registers[0] = utcb.message_registers[0] & ~u64(0xF000) | TAG_ERROR
    registers.load_message(thread)
    thread.frame.rsi = 0


def stop_if_halted(thread: Ptr[Thread]) -> None:
    """ExchangeRegisters halted the thread while it was in the kernel."""
    if thread.halted and thread.state == ThreadState.READY and thread.activity != Activity.COPY:
        thread.state = ThreadState.HALTED


def save_message(thread: Ptr[Thread], words: u64) -> None:
    """Keep what a kernel message of `words` words after its tag will overwrite in the UTCB."""
    utcb = thread.utcb
    assert utcb is not None
    thread.saved.count = words + 1
    for index in range(words + 1):
        thread.saved.registers[index] = utcb.message_registers[index]
    thread.saved.acceptor = utcb.buffer_registers[LAST_BUFFER_REGISTER]
    thread.saved.error_code = utcb.error_code
    thread.saved.then_receive = thread.then_receive
    thread.saved.timeouts = thread.timeouts
    thread.saved.virtual_sender = thread.virtual_sender


def restore_message(thread: Ptr[Thread]) -> None:
    """The kernel's message is over: the UTCB is the user's again."""
    utcb = thread.utcb
    assert utcb is not None
    for index in range(thread.saved.count):
        utcb.message_registers[index] = thread.saved.registers[index]
    utcb.buffer_registers[LAST_BUFFER_REGISTER] = thread.saved.acceptor
    utcb.error_code = thread.saved.error_code
    thread.then_receive = thread.saved.then_receive
    thread.timeouts = thread.saved.timeouts
    thread.virtual_sender = thread.saved.virtual_sender
    thread.activity = Activity.USER
