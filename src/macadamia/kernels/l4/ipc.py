"""IPC: a send phase, then a receive phase, each of which may block (X.2 manual, section 5.6).

What can happen to a thread that sends:

1. The partner does not exist: the send phase fails.
2. The partner waits for this thread: the message is transferred, the partner's receive phase is over.
3. The partner does something else: the sender joins the partner's ring of senders, or fails if it does not
   wait.

To one that receives:

1. A matching sender waits in its ring: the message is transferred and that sender's send phase is over; it
   may enter a receive phase of its own, in which the same can happen again. This is a loop, not a recursion.
2. None does: it waits, or fails if it does not wait.

Afterwards every thread involved is ready and queued, blocked, or the running one; `scheduler.choose` does
the rest.
"""

from macadamia.abi.l4.errors import RECEIVE_PHASE, SEND_PHASE, IpcError, ipc_error
from macadamia.abi.l4.identifiers import ANY_LOCAL_THREAD, ANY_THREAD, NIL_THREAD, ThreadId
from macadamia.abi.l4.times import Time, Timeouts
from macadamia.kernels.l4 import cancellation, completion, registers, ring, scheduler, timeouts
from macadamia.kernels.l4.copying import lock_partner
from macadamia.kernels.l4.interrupt_lines import acknowledge, is_interrupt_thread
from macadamia.kernels.l4.names import global_name, is_wildcard, named_thread, sender_name
from macadamia.kernels.l4.processor import processor
from macadamia.kernels.l4.thread import Activity, Thread, ThreadState
from macadamia.kernels.l4.thread_table import find_thread
from macadamia.kernels.l4.transfer import Outcome, finish_transfer, message_words, resume_transfer, transfer
from macadamia.lang import Ptr, u64
from macadamia.machine.interface import time_now

NO_LIMITS = Timeouts(0)  # both phases wait for ever


def system_call_ipc(caller: Ptr[Thread]) -> None:
    """The Ipc and Lipc system calls; registers as in the fact sheet, section 1.3."""
    frame = caller.frame
    registers.store_message(caller)
    caller.activity = Activity.USER
    start(caller, ThreadId(frame.rsi), ThreadId(frame.rdx), Timeouts(frame.r8))


def start(thread: Ptr[Thread], to: ThreadId, from_: ThreadId, limits: Timeouts) -> None:
    """Begin an IPC of `thread`, which need not be the running one. `from_` may be local."""
    thread.timeouts = limits
    thread.then_receive = global_name(thread, from_)
    if to.is_nil():
        settle(thread, None)
    else:
        send(thread, to)


def send(sender: Ptr[Thread], to: ThreadId) -> None:
    """The send phase."""
    receiver = named_thread(sender, to)
    if receiver is None:
        fail(sender, IpcError.NON_EXISTENT, u64(SEND_PHASE))
    elif is_interrupt_thread(receiver):
        acknowledge(receiver, sender)
        settle(sender, None)
    elif receiver.utcb is None:
        fail(sender, IpcError.NON_EXISTENT, u64(SEND_PHASE))
    else:
        registers.note_virtual_sender(sender, receiver)
        if waits_for(receiver, sender):
            timeouts.disarm(receiver)
            conclude(sender, receiver, transfer(sender, receiver))
        elif timeouts.is_zero(sender.timeouts.send, time_now()):
            fail(sender, IpcError.TIMEOUT, u64(SEND_PHASE))
        else:
            block_sending(sender, receiver)


def block_sending(sender: Ptr[Thread], receiver: Ptr[Thread]) -> None:
    """Wait in the receiver's ring until it takes the message."""
    sender.state = ThreadState.SENDING
    sender.waiting_for = receiver.id
    receiver.first_sender = ring.appended(receiver.first_sender, sender)
    arm(sender, sender.timeouts.send)


def arm(thread: Ptr[Thread], timeout: Time) -> None:
    """Limit the wait that begins: by `timeout`, or for a fault in a string copy by the transfer's."""
    if thread.activity == Activity.COPY_FAULT:
        timeouts.arm_at(thread, thread.suspended.expires)
    else:
        timeouts.arm(thread, timeout)


def waits_for(receiver: Ptr[Thread], sender: Ptr[Thread]) -> bool:
    """Whether `receiver` is in a receive phase that a message of `sender` ends."""
    return receiver.state == ThreadState.RECEIVING and accepts(receiver, receiver.waiting_for, sender)


def accepts(receiver: Ptr[Thread], from_: ThreadId, sender: Ptr[Thread]) -> bool:
    """Whether `from_`, a FromSpecifier of `receiver`, names the (virtual) sender of a message."""
    if from_ == ANY_THREAD:
        return True
    if from_ == ANY_LOCAL_THREAD:
        return sender.space == receiver.space
    return from_ == sender.virtual_sender


def go_on(sender: Ptr[Thread]) -> None:
    """A transfer that stopped in the middle continues; `sender` is the running thread."""
    receiver = sender.copy.partner
    assert receiver is not None
    sender.activity = Activity.USER
    conclude(sender, receiver, resume_transfer(sender, receiver))


def conclude(sender: Ptr[Thread], receiver: Ptr[Thread], outcome: Outcome) -> None:
    """The transfer came as far as `outcome` says: let both go on, or wait."""
    match outcome:
        case Outcome.DONE:
            deliver(sender, receiver)
            settle(sender, receiver)
        case Outcome.OVERFLOW:
            overflow(sender, receiver)
        case _:
            interrupt(sender, receiver, outcome)


def deliver(sender: Ptr[Thread], receiver: Ptr[Thread]) -> None:
    """The message is complete: the receiver's IPC is over."""
    finish_transfer(sender, receiver)
    finish(receiver, sender_name(sender, receiver))
    if sender.virtual_sender != sender.id:
        redirect_answer(sender, receiver)


def redirect_answer(sender: Ptr[Thread], receiver: Ptr[Thread]) -> None:
    """A message in another's name was delivered: if that one waits for the sender's answer, the receiver
    answers now."""
    virtual = find_thread(sender.virtual_sender)
    if virtual is None or virtual.state != ThreadState.RECEIVING or virtual.waiting_for != sender.id:
        return
    virtual.waiting_for = receiver.id
    virtual.then_receive = receiver.id
    if find_sender(virtual, receiver.id) is not None:
        timeouts.disarm(virtual)
        settle(virtual, None)


def finish(thread: Ptr[Thread], from_: ThreadId) -> None:
    """The IPC of `thread` succeeded."""
    completion.succeed(thread, from_)
    scheduler.queue_if_ready(thread)


def fail(thread: Ptr[Thread], error: IpcError, phase: u64) -> None:
    """The IPC of `thread` ends before any transfer. A string copy that it is part of cannot go on."""
    if thread.activity == Activity.COPY_FAULT:
        cancellation.end_ipc(thread, IpcError.ABORTED)
    else:
        completion.fail(thread, ipc_error(error, phase, u64(0)))
        scheduler.queue_if_ready(thread)


def overflow(sender: Ptr[Thread], receiver: Ptr[Thread]) -> None:
    """The receiver could not take the message: both phases fail (code 4), with what was transferred."""
    finish_transfer(sender, receiver)
    offset = sender.copy.done
    fail_overflow(sender, u64(SEND_PHASE), offset)
    fail_overflow(receiver, u64(RECEIVE_PHASE), offset)


def fail_overflow(thread: Ptr[Thread], phase: u64, offset: u64) -> None:
    if thread.activity == Activity.COPY_FAULT:
        cancellation.end_ipc(thread, IpcError.ABORTED)
    else:
        completion.fail(thread, ipc_error(IpcError.OVERFLOW, phase, offset), message_words(thread)[0])
        scheduler.queue_if_ready(thread)


def interrupt(sender: Ptr[Thread], receiver: Ptr[Thread], outcome: Outcome) -> None:
    """The transfer waits for a page, or for its next turn."""
    faulting = lock_partner(sender, receiver, outcome)
    if faulting is not None:
        utcb = faulting.utcb
        assert utcb is not None
        call_pager(faulting, utcb.pager)
    elif sender.activity == Activity.COPY:
        scheduler.queue_if_ready(sender)
        processor.gives_up = processor.gives_up or sender == processor.current


def call_pager(faulting: Ptr[Thread], pager: ThreadId) -> None:
    """Send the fault message of a string copy; without a pager the copy ends."""
    if pager.is_nil():
        cancellation.end_ipc(faulting, IpcError.ABORTED)
    else:
        start(faulting, pager, pager, NO_LIMITS)


def settle(sender: Ptr[Thread], receiver: Ptr[Thread] | None) -> None:
    """The send phase of `sender` is over; its message went to `receiver`. Enter the receive phase.

    A sender that now waits gives the processor and the rest of the slice to the receiver, and so does one
    that only polled for an answer: let the receiver make one (fact sheet, section 9).
    """
    next_receiver = receive(sender)
    while next_receiver is not None:
        next_receiver = receive(next_receiver)
    waits = sender.state != ThreadState.READY
    if receiver is not None and sender == processor.current and (waits or sender.polled):
        processor.successor = receiver
        processor.gives_up = not waits


def receive(receiver: Ptr[Thread]) -> Ptr[Thread] | None:
    """The receive phase. Gives the sender whose message was taken and who now enters its own receive
    phase."""
    from_ = receiver.then_receive
    receiver.polled = False
    if from_.is_nil():
        finish(receiver, NIL_THREAD)
        return None
    sender = find_sender(receiver, from_)
    if sender is not None:
        return take(sender, receiver)
    if not is_wildcard(from_) and find_thread(from_) is None:
        fail(receiver, IpcError.NON_EXISTENT, u64(RECEIVE_PHASE))
    elif timeouts.is_zero(receiver.timeouts.receive, time_now()):
        receiver.polled = True
        fail(receiver, IpcError.TIMEOUT, u64(RECEIVE_PHASE))
    else:
        receiver.state = ThreadState.RECEIVING
        receiver.waiting_for = from_
        arm(receiver, receiver.timeouts.receive)
    return None


def find_sender(receiver: Ptr[Thread], from_: ThreadId) -> Ptr[Thread] | None:
    """The first thread in the ring of senders that `from_` names."""
    first = receiver.first_sender
    if first is None or from_ == ANY_THREAD:
        return first
    sender = first
    while not accepts(receiver, from_, sender):
        following = sender.next
        assert following is not None
        if following == first:
            return None
        sender = following
    return sender


def take(sender: Ptr[Thread], receiver: Ptr[Thread]) -> Ptr[Thread] | None:
    """Take the message of a blocked sender. Gives it back when a receive phase follows its send."""
    receiver.first_sender = ring.removed(receiver.first_sender, sender)
    timeouts.disarm(sender)
    match transfer(sender, receiver):
        case Outcome.DONE:
            deliver(sender, receiver)
            if not sender.then_receive.is_nil():
                return sender
            finish(sender, NIL_THREAD)
        case Outcome.OVERFLOW:
            overflow(sender, receiver)
        case outcome:
            interrupt(sender, receiver, outcome)
    return None


def send_interrupt(line: Ptr[Thread], handler: Ptr[Thread]) -> None:
    """The line fired: its message goes to the handler now, or when that waits for it."""
    line.then_receive = NIL_THREAD
    line.timeouts = NO_LIMITS
    if waits_for(handler, line):
        timeouts.disarm(handler)
        conclude(line, handler, transfer(line, handler))
    else:
        block_sending(line, handler)
