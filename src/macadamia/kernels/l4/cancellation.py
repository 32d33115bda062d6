"""Ending an IPC from outside: ExchangeRegisters, deletion, timeouts.

Wherever a thread is blocked, there is exactly one place that knows about it: a receiver's ring of senders,
the heap of timeouts, or its partner in a transfer. Each is undone here and nowhere else. A thread whose
string copy faulted is in two: the transfer, and the IPC with its pager, whose answer may be a transfer that
stopped, too.
"""

from macadamia.abi.l4.errors import RECEIVE_PHASE, SEND_PHASE, IpcError, ipc_error
from macadamia.kernels.l4 import completion, ring, scheduler, suspended, timeouts
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import find_thread
from macadamia.kernels.l4.transfer import finish_transfer, message_words
from macadamia.lang import Ptr, u64


def is_sending(thread: Ptr[Thread]) -> bool:
    """Whether the thread is in the send phase of an IPC."""
    if thread.activity == Activity.COPY_FAULT:
        return thread.suspended.sending
    return thread.copy.sending if in_transfer(thread) else thread.state == ThreadState.SENDING


def is_receiving(thread: Ptr[Thread]) -> bool:
    """Whether the thread is in the receive phase of an IPC."""
    if thread.activity == Activity.COPY_FAULT:
        return not thread.suspended.sending
    return not thread.copy.sending if in_transfer(thread) else thread.state == ThreadState.RECEIVING


def in_transfer(thread: Ptr[Thread]) -> bool:
    """Whether a message that it sends or receives is being transferred."""
    return thread.copy.partner is not None


def detach(thread: Ptr[Thread]) -> None:
    """Take a thread out of everything that would wake it. Its state is left for the caller to set."""
    timeouts.disarm(thread)
    if thread.state == ThreadState.SENDING:
        receiver = find_thread(thread.waiting_for)
        assert receiver is not None, "blocked on a thread that is gone"
        receiver.first_sender = ring.removed(receiver.first_sender, thread)
    elif scheduler.is_queued(thread):
        scheduler.dequeue(thread)


def end_ipc(thread: Ptr[Thread], error: IpcError) -> None:
    """The blocked IPC of `thread` fails: with `error`, or where a transfer has begun as aborted, for both."""
    withdraw_fault(thread)
    if not thread.is_user_ipc():
        drop_answer(thread)
    elif in_transfer(thread):
        end_transfer(thread, IpcError.ABORTED, IpcError.ABORTED)
        return
    sends = thread.state == ThreadState.SENDING
    detach(thread)
    fail(thread, error, sends, u64(0))


def end_transfer(thread: Ptr[Thread], own: IpcError, partners: IpcError) -> None:
    """A transfer fails on both sides: `own` for `thread`, `partners` for the other."""
    partner = thread.copy.partner
    assert partner is not None
    sends = thread.copy.sending
    done = thread.copy.done if sends else partner.copy.done
    if partner.copy.partner != thread:  # it is in the middle of a fault message
        withdraw_fault(partner)
    finish_transfer(thread, partner)
    end_side(thread, own, sends, done)
    end_side(partner, partners, not sends, done)


def end_side(thread: Ptr[Thread], error: IpcError, sends: bool, done: u64) -> None:
    """One side of a transfer that is over. If it is the pager's answer to a fault in a string copy, so is
    that copy."""
    if thread.activity == Activity.COPY_FAULT:
        end_ipc(thread, IpcError.ABORTED)
        return
    detach(thread)
    fail(thread, error, sends, done)


def fail(thread: Ptr[Thread], error: IpcError, sends: bool, done: u64) -> None:
    """Tell the thread, and let it go on. The tag is that of the message which could not be sent or
    received."""
    phase = u64(SEND_PHASE) if sends else u64(RECEIVE_PHASE)
    is_message = sends or thread.state != ThreadState.RECEIVING
    tag = message_words(thread)[0] if is_message else u64(0)
    completion.fail(thread, ipc_error(error, phase, done), tag)
    scheduler.queue_if_ready(thread)


def withdraw_fault(thread: Ptr[Thread]) -> None:
    """If the thread sends a fault message in the middle of its string copy, give that up."""
    if thread.activity == Activity.COPY_FAULT:
        drop_answer(thread)
        detach(thread)
        suspended.restore(thread)


def drop_answer(thread: Ptr[Thread]) -> None:
    """If the answer to the kernel's message is being transferred, its sender fails."""
    sender = thread.copy.partner
    if sender is not None:
        finish_transfer(sender, thread)
        detach(sender)
        fail(sender, IpcError.ABORTED, True, sender.copy.done)


def fail_senders(receiver: Ptr[Thread]) -> None:
    """The receiver is going away: everybody who waits to send to it fails (code 2)."""
    while True:
        sender = receiver.first_sender
        if sender is None:
            return
        end_ipc(sender, IpcError.NON_EXISTENT)
