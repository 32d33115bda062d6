"""How threads name each other: global ids everywhere, local ids within a space."""

from macadamia.abi.l4.identifiers import ThreadId
from macadamia.abi.l4.utcb import Utcb
from macadamia.kernels.l4.thread import Thread
from macadamia.kernels.l4.thread_table import find_thread
from macadamia.lang import Ptr, offsetof, u64, user_pointer_at
from macadamia.machine.interface import load_user_word

GLOBAL_ID_OFFSET = offsetof(Utcb, "message_registers") - offsetof(Utcb, "my_global_id")


def named_thread(caller: Ptr[Thread], id_: ThreadId) -> Ptr[Thread] | None:
    """The thread that `caller` names by a global or local id; None if there is none."""
    return local_thread(caller, id_) if id_.is_local() else find_thread(id_)


def local_thread(caller: Ptr[Thread], id_: ThreadId) -> Ptr[Thread] | None:
    """The thread of the caller's space whose UTCB `id_` points into.

    The UTCB holds its global id in user memory, where anyone may have written anything: it is a hint, and the
    thread found must have that local id in that space.
    """
    word, readable = load_user_word(user_pointer_at(u64, u64(id_) - GLOBAL_ID_OFFSET))
    if not readable:
        return None
    thread = find_thread(ThreadId(word))
    if thread is None or thread.space != caller.space or thread.local_id != id_:
        return None
    return thread


def sender_name(sender: Ptr[Thread], receiver: Ptr[Thread]) -> ThreadId:
    """What the receiver is told: the local id within a space, else the global one, of the (virtual) sender."""
    if sender.virtual_sender != sender.id:
        return sender.virtual_sender
    return sender.local_id if sender.space == receiver.space and not sender.local_id.is_nil() else sender.id
