"""Interrupt lines as threads: they send a message when the line fires; a message to them acknowledges it.

A thread number below INTERRUPT_LINES is the line's. Its control block has no space and no UTCB; `waiting_for`
names the handler it is associated with.
"""

from macadamia.abi.l4.identifiers import NIL_THREAD, ThreadId, global_id
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import INTERRUPT_LINES
from macadamia.lang import Array, Ptr, u32
from macadamia.machine.interface import acknowledge_interrupt, disable_interrupt, enable_interrupt

INTERRUPT_VERSION = 1
INTERRUPT_PRIORITY = 255

interrupt_threads = Array[Thread, INTERRUPT_LINES]()


def is_interrupt_thread(thread: Ptr[Thread]) -> bool:
    return thread.id.number < INTERRUPT_LINES


def interrupt_thread(id_: ThreadId) -> Ptr[Thread] | None:
    """The line's thread if `id_` names a line of this machine; the version is 1."""
    if id_.number >= INTERRUPT_LINES or id_.version != INTERRUPT_VERSION:
        return None
    return interrupt_threads[id_.number]


def associate(thread: Ptr[Thread], number: u32, handler: ThreadId) -> bool:
    """Send the line's interrupts to `handler` from now on. False when the machine has no such line."""
    if not enable_interrupt(number):
        return False
    thread.id = global_id(number, u32(INTERRUPT_VERSION))
    thread.virtual_sender = thread.id
    thread.activity = Activity.INTERRUPT
    thread.priority = INTERRUPT_PRIORITY
    thread.state = ThreadState.INACTIVE
    thread.scheduler = handler
    return True


def dissociate(thread: Ptr[Thread]) -> None:
    disable_interrupt(thread.id.number)
    thread.id = NIL_THREAD
    thread.state = ThreadState.ABSENT
    thread.interrupt_pending = False


def acknowledge(thread: Ptr[Thread]) -> None:
    """The handler is done: the line may fire again."""
    acknowledge_interrupt(thread.id.number)
