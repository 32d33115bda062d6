"""Moving a message from a sender to a receiver: untyped words, then typed items (X.2 manual, chapter 5).

The message of a user's IPC lies in its UTCB, where other threads of its space may change it at any time; that
of the kernel in the thread's `message`, which never holds typed items and takes as much of an answer as it is
long. A transfer with strings may stop at a page fault or after COPY_LIMIT bytes. All that is needed to go on
is in the sender's `copy`; `resume_transfer` begins where it stopped.
"""

from enum import IntEnum

from macadamia.abi.l4.fpages import COMPLETE_FPAGE, Fpage
from macadamia.abi.l4.messages import (
    GRANT_ITEM,
    MAP_ITEM,
    MESSAGE_REGISTERS,
    TAG_FLAGS,
    TAG_PROPAGATED,
    Acceptor,
    ItemHeader,
    MessageTag,
)
from macadamia.abi.l4.utcb import LAST_BUFFER_REGISTER
from macadamia.kernels.l4.mapping import Outcome as MapOutcome
from macadamia.kernels.l4.strings import CopyResult, Pieces, buffer_pieces, copy_string, message_pieces
from macadamia.kernels.l4.thread import KERNEL_MESSAGE_REGISTERS, Activity, Thread
from macadamia.lang import Ptr, pointer_to, range, storage, u8, u64

MAP_ITEM_WORDS = 2


@storage(u8)
class Outcome(IntEnum):
    """How far a transfer came."""

    DONE = 0
    OVERFLOW = 1  # the receiver cannot take the rest of the message
    SENDER_FAULT = 2  # memory of the sender is missing; the transfer goes on when it is there
    RECEIVER_FAULT = 3
    PREEMPTED = 4  # a long string or mapping: others may run before it goes on


def message_words(thread: Ptr[Thread]) -> Ptr[u64]:
    """Where the message registers of its present IPC lie."""
    utcb = thread.utcb
    if utcb is None or not thread.is_user_ipc():
        return pointer_to(thread.message[0])
    return pointer_to(utcb.message_registers[0])


def transfer(sender: Ptr[Thread], receiver: Ptr[Thread]) -> Outcome:
    """Begin the transfer of the sender's message. The receiver's registers up to u + t are overwritten."""
    from_, to = message_words(sender), message_words(receiver)
    head = MessageTag(from_[0])
    words = head.untyped + head.typed
    if sender.is_user_ipc():
        sender.copy.done = 0
    to[0] = u64(head) & ~TAG_FLAGS
    note_propagation(sender, receiver, to)
    if words >= MESSAGE_REGISTERS:
        return Outcome.OVERFLOW
    room: u64 = MESSAGE_REGISTERS if receiver.is_user_ipc() else KERNEL_MESSAGE_REGISTERS
    for index in range(1, min(words + 1, room)):
        to[index] = from_[index]
    if head.typed == 0 or not sender.is_user_ipc():
        return Outcome.DONE
    return begin_items(sender, receiver, head)


def note_propagation(sender: Ptr[Thread], receiver: Ptr[Thread], to: Ptr[u64]) -> None:
    """Tell the receiver of a message in another's name who really sent it."""
    utcb = receiver.utcb
    if sender.virtual_sender != sender.id and utcb is not None and receiver.is_user_ipc():
        to[0] |= TAG_PROPAGATED
        utcb.virtual_sender = sender.id


def begin_items(sender: Ptr[Thread], receiver: Ptr[Thread], head: MessageTag) -> Outcome:
    """Go to the first typed item and the first receive buffer."""
    from_, to = sender.utcb, receiver.utcb
    assert from_ is not None
    assert to is not None
    copy = sender.copy
    copy.partner = receiver
    receiver.copy.partner = sender
    copy.sending = True
    receiver.copy.sending = False
    copy.expires = 0
    copy.mapping_begun = False
    message_pieces(copy.source, from_)
    buffer_pieces(copy.target, to)
    copy.source.limit = head.untyped + head.typed + 1
    copy.source.begin(head.untyped + 1)
    copy.target.begin(u64(1))
    if not acceptor_of(receiver).strings:
        copy.target.limit = 0
    return resume_transfer(sender, receiver)


def acceptor_of(receiver: Ptr[Thread]) -> Acceptor:
    """What typed items the receiver takes: as BR0 says, or in an answer to the kernel what that expects."""
    match receiver.activity:
        case Activity.USER:
            utcb = receiver.utcb
            assert utcb is not None
            return Acceptor(utcb.buffer_registers[LAST_BUFFER_REGISTER])
        case Activity.PAGE_FAULT | Activity.COPY_FAULT:
            return Acceptor(Acceptor(u64(COMPLETE_FPAGE)).window())
        case _:
            return Acceptor(0)


def resume_transfer(sender: Ptr[Thread], receiver: Ptr[Thread]) -> Outcome:
    """Transfer typed items from where the sender's `copy` stands."""
    source = sender.copy.source
    while source.word < source.limit:
        header = source.header()  # another thread of the sender's space may have changed it meanwhile
        if header.is_string() and not sender.copy.mapping_begun:
            outcome = transfer_string(sender, receiver)
            if outcome != Outcome.DONE:
                return outcome
        elif header.kind in (MAP_ITEM, GRANT_ITEM) or sender.copy.mapping_begun:
            outcome = transfer_mapping(sender, receiver, header)
            if outcome != Outcome.DONE:
                return outcome
            source.begin(source.word + MAP_ITEM_WORDS)
        else:
            return Outcome.OVERFLOW
    return Outcome.DONE


def transfer_mapping(sender: Ptr[Thread], receiver: Ptr[Thread], header: ItemHeader) -> Outcome:
    """One map or grant item into the receive window."""
    copy = sender.copy
    if not copy.mapping_begun:
        window = Fpage(acceptor_of(receiver).window())
        if window.is_nil() or copy.source.word + 1 >= copy.source.limit:
            return Outcome.OVERFLOW
        assert sender.space is not None
        assert receiver.space is not None
        region = Fpage(copy.source.register(copy.source.word + 1))
        copy.mapping.prepare(sender.space, receiver.space, header, region, window)
    # A page that the kernel has no memory to map is missing at the receiver, who will fault on it.
    copy.mapping_begun = copy.mapping.run() == MapOutcome.RESTART
    return Outcome.PREEMPTED if copy.mapping_begun else Outcome.DONE


def transfer_string(sender: Ptr[Thread], receiver: Ptr[Thread]) -> Outcome:
    """One string into one buffer; then both go on to their next."""
    copy = sender.copy
    if copy.target.word >= copy.target.limit:
        return Outcome.OVERFLOW
    assert sender.space is not None
    assert receiver.space is not None
    result, count = copy_string(copy.source, sender.space, copy.target, receiver.space)
    copy.done += count
    match result:
        case CopyResult.DONE:
            copy.source.begin(copy.source.after_string())
            next_buffer(copy.target)
            return Outcome.DONE
        case CopyResult.OVERFLOW:
            return Outcome.OVERFLOW
        case CopyResult.SENDER_FAULT:
            return Outcome.SENDER_FAULT
        case CopyResult.RECEIVER_FAULT:
            return Outcome.RECEIVER_FAULT
        case CopyResult.PREEMPTED:
            return Outcome.PREEMPTED


def next_buffer(target: Ptr[Pieces]) -> None:
    """One string consumes one buffer, whatever is left of it; the C bit in its first header says whether more
    follow."""
    more = ItemHeader(target.register(target.string)).more
    target.begin(target.after_string())
    if not more:
        target.limit = 0


def finish_transfer(sender: Ptr[Thread], receiver: Ptr[Thread]) -> None:
    """The two have nothing to do with each other any more."""
    sender.copy.partner = None
    receiver.copy.partner = None
