"""Moving a message from a sender to a receiver: untyped words, then typed items (X.2 manual, chapter 5).

A transfer with strings may stop at a page fault or after COPY_LIMIT bytes. All that is needed to go on is in
the sender's `copy`; `resume_transfer` begins where it stopped.
"""

from enum import IntEnum

from macadamia.abi.l4.fpages import Fpage
from macadamia.abi.l4.messages import (
    GRANT_ITEM,
    INTERRUPT_PROTOCOL,
    MAP_ITEM,
    MESSAGE_REGISTERS,
    TAG_FLAGS,
    TAG_PROPAGATED,
    Acceptor,
    ItemHeader,
    MessageTag,
    protocol_label,
    tag,
)
from macadamia.abi.l4.utcb import LAST_BUFFER_REGISTER, Utcb
from macadamia.kernels.l4.map_item import Transfer
from macadamia.kernels.l4.mapping import Outcome as MapOutcome
from macadamia.kernels.l4.strings import CopyResult, Pieces, buffer_pieces, copy_string, message_pieces
from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Ptr, local, range, storage, u8, u64

INTERRUPT_TAG = tag(protocol_label(INTERRUPT_PROTOCOL), 0)
MAP_ITEM_WORDS = 2
SEND_BASE_SHIFT = 10  # send bases are in KiB


@storage(u8)
class Outcome(IntEnum):
    """How far a transfer came."""

    DONE = 0
    OVERFLOW = 1  # the receiver cannot take the rest of the message
    SENDER_FAULT = 2  # memory of the sender is missing; the transfer goes on when it is there
    RECEIVER_FAULT = 3
    PREEMPTED = 4  # a long string: others may run before it goes on


def transfer(sender: Ptr[Thread], receiver: Ptr[Thread]) -> Outcome:
    """Begin the transfer of the sender's message. The receiver's registers up to u + t are overwritten."""
    to = receiver.utcb
    assert to is not None
    from_ = sender.utcb
    if from_ is None:
        to.message_registers[0] = INTERRUPT_TAG
        return Outcome.DONE
    head = MessageTag(from_.message_registers[0])
    sender.copy.done = 0
    to.message_registers[0] = u64(head) & ~TAG_FLAGS
    if sender.virtual_sender != sender.id:
        to.message_registers[0] |= TAG_PROPAGATED
        to.virtual_sender = sender.id
    if head.untyped + head.typed >= MESSAGE_REGISTERS:
        return Outcome.OVERFLOW
    for index in range(1, head.untyped + head.typed + 1):
        to.message_registers[index] = from_.message_registers[index]
    if head.typed == 0:
        return Outcome.DONE
    return begin_items(sender, receiver, from_, to, head)


def begin_items(
    sender: Ptr[Thread], receiver: Ptr[Thread], from_: Ptr[Utcb], to: Ptr[Utcb], head: MessageTag
) -> Outcome:
    """Go to the first typed item and the first receive buffer."""
    copy = sender.copy
    copy.partner = receiver
    receiver.copy.partner = sender
    copy.sending = True
    receiver.copy.sending = False
    copy.expires = 0
    message_pieces(copy.source, from_)
    buffer_pieces(copy.target, to)
    copy.source.limit = head.untyped + head.typed + 1
    copy.source.begin(head.untyped + 1)
    copy.target.begin(u64(1))
    if not acceptor_of(to).strings:
        copy.target.limit = 0
    return resume_transfer(sender, receiver)


def acceptor_of(utcb: Ptr[Utcb]) -> Acceptor:
    return Acceptor(utcb.buffer_registers[LAST_BUFFER_REGISTER])


def resume_transfer(sender: Ptr[Thread], receiver: Ptr[Thread]) -> Outcome:
    """Transfer typed items from where the sender's `copy` stands."""
    source = sender.copy.source
    while source.word < source.limit:
        header = source.header()
        if header.is_string():
            outcome = transfer_string(sender, receiver)
            if outcome != Outcome.DONE:
                return outcome
        elif header.kind in (MAP_ITEM, GRANT_ITEM):
            outcome = transfer_mapping(sender, receiver, header)
            if outcome != Outcome.DONE:
                return outcome
            source.begin(source.word + MAP_ITEM_WORDS)
        else:
            return Outcome.OVERFLOW
    return Outcome.DONE


def transfer_mapping(sender: Ptr[Thread], receiver: Ptr[Thread], header: ItemHeader) -> Outcome:
    """One map or grant item into the receive window. A preempted one is done anew; what it did stays done."""
    source = sender.copy.source
    to = receiver.utcb
    assert to is not None
    assert sender.space is not None
    assert receiver.space is not None
    window = Fpage(acceptor_of(to).window())
    if window.is_nil() or source.word + 1 >= source.limit:
        return Outcome.OVERFLOW
    mapping = local(Transfer)
    mapping.prepare(
        sender.space,
        receiver.space,
        header.send_base << SEND_BASE_SHIFT,
        Fpage(source.register(source.word + 1)),
        window,
        grant=header.kind == GRANT_ITEM,
    )
    # A page that the kernel has no memory to map is missing at the receiver, who will fault on it.
    return Outcome.PREEMPTED if mapping.run() == MapOutcome.RESTART else Outcome.DONE


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
    """One string consumes one buffer, whatever is left of it; the C bit of its header says whether more follow."""
    more = target.header().more
    following = target.after_string()
    target.begin(following)
    if not more:
        target.limit = 0


def finish_transfer(sender: Ptr[Thread], receiver: Ptr[Thread]) -> None:
    """The two have nothing to do with each other any more."""
    sender.copy.partner = None
    receiver.copy.partner = None
