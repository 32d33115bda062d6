"""Interrupt lines as threads: they send a message when the line fires; a message to them acknowledges it.

A thread number below INTERRUPT_LINES is the line's, while it is associated with a handler: the thread that
the control block names as `scheduler`. It has no space and no UTCB, and is in one of three states:

    INACTIVE     the line may fire
    SENDING      it fired, and its message waits in the handler's ring
    RECEIVING    the handler has the message; the line is silent until the handler sends an answer
"""

from macadamia.abi.l4.identifiers import ThreadId, global_id
from macadamia.abi.l4.messages import INTERRUPT_PROTOCOL, protocol_label, tag
from macadamia.kernels.l4 import cancellation
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import INTERRUPT_LINES, release_thread_slot, thread_slot
from macadamia.lang import Ptr, cast, fill_bytes, range, sizeof, u8, u32
from macadamia.machine.interface import acknowledge_interrupt, disable_interrupt, enable_interrupt

INTERRUPT_VERSION = 1
INTERRUPT_PRIORITY = 255
INTERRUPT_TAG = tag(protocol_label(INTERRUPT_PROTOCOL), 0)


def is_interrupt_thread(thread: Ptr[Thread]) -> bool:
    return thread.activity == Activity.INTERRUPT


def associate(number: u32, handler: ThreadId) -> bool:
    """Send the line's interrupts to `handler` from now on. Its control block is writable and not in use.
    False when the machine has no such line."""
    if not enable_interrupt(number):
        return False
    thread = thread_slot(number)
    thread.id = global_id(number, u32(INTERRUPT_VERSION))
    thread.virtual_sender = thread.id
    thread.activity = Activity.INTERRUPT
    thread.priority = INTERRUPT_PRIORITY
    thread.state = ThreadState.INACTIVE
    thread.scheduler = handler
    thread.message[0] = INTERRUPT_TAG
    return True


def dissociate(thread: Ptr[Thread]) -> None:
    """The line is nobody's."""
    number = thread.id.number
    disable_interrupt(number)
    if thread.state == ThreadState.RECEIVING or thread.state == ThreadState.SENDING:
        acknowledge_interrupt(number)
    cancellation.fail_senders(thread)
    cancellation.detach(thread)
    fill_bytes(cast(u8, thread), 0, sizeof(Thread))
    release_thread_slot(number)


def dissociate_all_of(handler: ThreadId) -> None:
    """The handler is going away, and so are its interrupts."""
    for number in range(u32(INTERRUPT_LINES)):
        thread = thread_slot(number)
        if thread.exists() and thread.scheduler == handler:
            dissociate(thread)


def acknowledge(thread: Ptr[Thread], sender: Ptr[Thread]) -> None:
    """`sender` answered: if it is the handler and has the message, the line may fire again."""
    if thread.state == ThreadState.RECEIVING and thread.scheduler == sender.id:
        thread.state = ThreadState.INACTIVE
        acknowledge_interrupt(thread.id.number)
