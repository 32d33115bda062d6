"""Rings of threads: doubly linked, entered at one thread. A thread is in at most one.

The ready queue of a priority and the senders that wait for a receiver are such rings; a ring's owner holds a
pointer to its first thread, None when it is empty.
"""

from macadamia.kernels.l4.thread import Thread
from macadamia.lang import Ptr


def appended(first: Ptr[Thread] | None, thread: Ptr[Thread]) -> Ptr[Thread]:
    """Add `thread` as the last of the ring; gives the ring's first."""
    assert thread.next is None, "already in a ring"
    if first is None:
        thread.next = thread
        thread.previous = thread
        return thread
    last = first.previous
    assert last is not None
    thread.next = first
    thread.previous = last
    last.next = thread
    first.previous = thread
    return first


def removed(first: Ptr[Thread] | None, thread: Ptr[Thread]) -> Ptr[Thread] | None:
    """Take `thread` out of the ring it is in; gives the ring's new first."""
    following = thread.next
    before = thread.previous
    assert following is not None
    assert before is not None
    thread.next = None
    thread.previous = None
    if following == thread:
        return None
    before.next = following
    following.previous = before
    return following if first is not None and first == thread else first
