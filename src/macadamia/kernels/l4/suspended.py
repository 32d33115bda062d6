"""A thread's own IPC while it sends a fault message in the middle of its string copy."""

from macadamia.kernels.l4 import scheduler
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.lang import Ptr, u64


def suspend(thread: Ptr[Thread], expires: u64) -> None:
    """Put the IPC aside; its transfer may wait until `expires`."""
    ipc = thread.suspended
    ipc.partner = thread.copy.partner
    ipc.sending = thread.copy.sending
    ipc.then_receive = thread.then_receive
    ipc.timeouts = thread.timeouts
    ipc.virtual_sender = thread.virtual_sender
    ipc.expires = expires
    thread.copy.partner = None


def restore(thread: Ptr[Thread]) -> None:
    """The thread is in its own transfer again."""
    ipc = thread.suspended
    thread.copy.partner = ipc.partner
    thread.copy.sending = ipc.sending
    thread.then_receive = ipc.then_receive
    thread.timeouts = ipc.timeouts
    thread.virtual_sender = ipc.virtual_sender
    thread.activity = Activity.USER
    thread.state = ThreadState.TRANSFERRING


def go_on(thread: Ptr[Thread]) -> None:
    """The fault was served: the sender of the two goes on copying."""
    restore(thread)
    partner = thread.copy.partner
    assert partner is not None
    if thread.copy.sending:
        thread.activity = Activity.COPY
        thread.state = ThreadState.READY
    else:
        scheduler.make_ready(partner)
