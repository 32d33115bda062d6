"""From thread numbers to threads. The first numbers belong to interrupt lines, whose threads are in the table
while they are associated with a handler."""

from macadamia.abi.l4.identifiers import THREAD_NUMBER_BITS, ThreadId
from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Ptr, interface, u32

INTERRUPT_LINES = 24  # thread numbers below belong to interrupt lines (ThreadInfo.SystemBase)
USER_BASE = 48  # the first thread number that users may give (ThreadInfo.UserBase)
THREAD_NUMBERS = 1 << THREAD_NUMBER_BITS


@interface
def thread_slot(number: u32) -> Ptr[Thread]:
    """The control block of a thread number below THREAD_NUMBERS; that of an absent thread reads as zero."""


@interface
def make_thread_slot(number: u32) -> bool:
    """Make the control block of `number` writable. False when the kernel's memory is exhausted."""


@interface
def release_thread_slot(number: u32) -> None:
    """The control block of `number`, which was made writable, is zeroed and not needed any more."""


def find_thread(id_: ThreadId) -> Ptr[Thread] | None:
    """The thread with exactly this global id, version included; None if there is none."""
    if id_.number >= THREAD_NUMBERS or id_.is_nil():
        return None
    thread = thread_slot(id_.number)
    return thread if thread.id == id_ else None


def thread_with_number(number: u32) -> Ptr[Thread] | None:
    """The thread that has this number, whatever its version."""
    if number >= THREAD_NUMBERS:
        return None
    thread = thread_slot(number)
    return thread if thread.exists() else None
