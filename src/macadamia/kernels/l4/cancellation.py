"""Ending an IPC from outside: ExchangeRegisters, deletion, timeouts.

Wherever a thread is blocked, there is exactly one place that knows about it: a receiver's ring of senders, the
heap of timeouts, or its partner in a string copy. Each is undone here and nowhere else.
"""

from macadamia.abi.l4.errors import RECEIVE_PHASE, SEND_PHASE, IpcError, ipc_error
from macadamia.kernels.l4 import completion, ring, scheduler, timeouts
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import find_thread
from macadamia.kernels.l4.transfer import finish_transfer
from macadamia.lang import Ptr, u64


def detach(thread: Ptr[Thread]) -> None:
    """Take a blocked thread out of everything that would wake it. Its state is left for the caller to set."""
    timeouts.disarm(thread)
    if thread.state == ThreadState.SENDING:
        receiver = find_thread(thread.waiting_for)
        assert receiver is not None, "blocked on a thread that is gone"
        receiver.first_sender = ring.removed(receiver.first_sender, thread)
    elif thread.state == ThreadState.READY and thread.next is not None:
        scheduler.dequeue(thread)


def end_ipc(thread: Ptr[Thread], error: IpcError) -> None:
    """The blocked IPC of `thread` fails with `error`; the thread becomes ready."""
    phase = u64(SEND_PHASE) if thread.state == ThreadState.SENDING else u64(RECEIVE_PHASE)
    if in_transfer(thread):
        end_transfer(thread, error, error)
        return
    detach(thread)
    completion.fail(thread, ipc_error(error, phase, u64(0)))
    ready_again(thread)


def in_transfer(thread: Ptr[Thread]) -> bool:
    return thread.copy.partner is not None


def end_transfer(thread: Ptr[Thread], own: IpcError, partners: IpcError) -> None:
    """A string transfer fails on both sides: `own` for `thread`, `partners` for the other."""
    partner = thread.copy.partner
    assert partner is not None
    sends = thread.copy.sending
    done = thread.copy.done if sends else partner.copy.done
    finish_transfer(thread, partner)
    end_side(thread, own, sends, done)
    end_side(partner, partners, not sends, done)


def end_side(thread: Ptr[Thread], error: IpcError, sends: bool, done: u64) -> None:
    detach(thread)
    if thread.activity == Activity.COPY_FAULT:
        completion.restore_message(thread)
    thread.activity = Activity.USER
    phase = u64(SEND_PHASE) if sends else u64(RECEIVE_PHASE)
    completion.fail(thread, ipc_error(error, phase, done))
    ready_again(thread)


def ready_again(thread: Ptr[Thread]) -> None:
    """Queue a thread that is ready and not running."""
    if thread.state == ThreadState.READY and thread != processor.current:
        scheduler.make_ready(thread)


def fail_senders(receiver: Ptr[Thread]) -> None:
    """The receiver is going away: everybody who waits to send to it fails (code 2)."""
    while True:
        sender = receiver.first_sender
        if sender is None:
            return
        end_ipc(sender, IpcError.NON_EXISTENT)
