"""Message registers: MR0 to MR7 travel in processor registers at the system-call boundary (fact sheet, 1.3).

In the kernel the UTCB holds the whole message. What user code left in the first eight words of its UTCB is
stale: they are written from the registers on entry and loaded into the registers when a message arrived.
"""

from macadamia.abi.l4.messages import MessageTag
from macadamia.kernels.l4.names import named_thread
from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Ptr, u64


def store_message(thread: Ptr[Thread]) -> None:
    """The message registers of a system call into the UTCB."""
    utcb = thread.utcb
    assert utcb is not None
    frame, words = thread.frame, utcb.message_registers
    words[0] = frame.r9
    words[1] = frame.rax
    words[2] = frame.rbx
    words[3] = frame.r10
    words[4] = frame.r12
    words[5] = frame.r13
    words[6] = frame.r14
    words[7] = frame.r15


def load_message(thread: Ptr[Thread]) -> None:
    """The message in the UTCB into the registers of the thread; RDI gets its UTCB pointer."""
    utcb = thread.utcb
    assert utcb is not None
    frame, words = thread.frame, utcb.message_registers
    frame.r9 = words[0]
    frame.rax = words[1]
    frame.rbx = words[2]
    frame.r10 = words[3]
    frame.r12 = words[4]
    frame.r13 = words[5]
    frame.r14 = words[6]
    frame.r15 = words[7]
    frame.rdi = u64(thread.local_id)


def note_virtual_sender(sender: Ptr[Thread], receiver: Ptr[Thread]) -> None:
    """Propagation: send in the name of VirtualSender, if that one is in the sender's or the receiver's
    space."""
    sender.virtual_sender = sender.id
    utcb = sender.utcb
    if utcb is None or not sender.is_user_ipc() or not MessageTag(utcb.message_registers[0]).propagated:
        return
    virtual = named_thread(sender, utcb.virtual_sender)
    if virtual is not None and (virtual.space == sender.space or virtual.space == receiver.space):
        sender.virtual_sender = virtual.id
