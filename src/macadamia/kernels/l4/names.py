"""How threads name each other: global ids everywhere, local ids within a space."""

from macadamia.abi.l4.identifiers import ANY_LOCAL_THREAD, ANY_THREAD, ThreadId
from macadamia.abi.l4.utcb import MESSAGE_REGISTERS_OFFSET, Utcb
from macadamia.kernels.l4.space import user_memory
from macadamia.kernels.l4.thread import Thread
from macadamia.kernels.l4.thread_table import find_thread
from macadamia.lang import Ptr, cast, offsetof, u64

GLOBAL_ID_OFFSET = MESSAGE_REGISTERS_OFFSET - offsetof(Utcb, "my_global_id")


def named_thread(caller: Ptr[Thread], id_: ThreadId) -> Ptr[Thread] | None:
    """The thread that `caller` names by a global or local id; None if there is none."""
    return local_thread(caller, id_) if id_.is_local() else find_thread(id_)


def local_thread(caller: Ptr[Thread], id_: ThreadId) -> Ptr[Thread] | None:
    """The thread of the caller's space, which need not be the current one, whose UTCB `id_` points into.

    The UTCB holds its global id in user memory, where anyone may have written anything: it is a hint, and the
    thread found must have that local id in that space.
    """
    space = caller.space
    if space is None:
        return None
    hint = user_memory(space, u64(id_) - GLOBAL_ID_OFFSET, False)
    if hint is None:
        return None
    thread = find_thread(ThreadId(cast(u64, hint)[0]))
    if thread is None or thread.space != caller.space or thread.local_id != id_:
        return None
    return thread


def is_wildcard(id_: ThreadId) -> bool:
    """Whether a FromSpecifier names more than one thread."""
    return id_ in (ANY_THREAD, ANY_LOCAL_THREAD)


def global_name(caller: Ptr[Thread], id_: ThreadId) -> ThreadId:
    """A FromSpecifier with a local id replaced by the global one; one that names nothing stays what it is."""
    if not id_.is_local() or id_.is_nil() or is_wildcard(id_):
        return id_
    thread = local_thread(caller, id_)
    return id_ if thread is None else thread.id


def sender_name(sender: Ptr[Thread], receiver: Ptr[Thread]) -> ThreadId:
    """What the receiver is told: the local id within a space, else the global one, of the (virtual)
    sender."""
    named: Ptr[Thread] | None = sender
    if sender.virtual_sender != sender.id:
        named = find_thread(sender.virtual_sender)
    if named is None or named.space != receiver.space or named.local_id.is_nil():
        return sender.virtual_sender
    return named.local_id
