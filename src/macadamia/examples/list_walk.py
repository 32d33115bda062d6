"""A circular doubly linked list whose links lie in its elements, in order of priority: a ready queue."""

from macadamia.lang import Ptr, Struct, u32, u64


class Thread(Struct):
    """An element. A list is known by its head, which is no element and closes the circle."""

    next: Ptr["Thread"]
    previous: Ptr["Thread"]
    identifier: u64
    priority: u32
    ticks: u32

    def make_head(self) -> None:
        """The empty list: a circle of the head alone."""
        self.next = self
        self.previous = self

    def insert_before(self, successor: Ptr["Thread"]) -> None:
        self.next = successor
        self.previous = successor.previous
        successor.previous.next = self
        successor.previous = self

    def unlink(self) -> None:
        self.previous.next = self.next
        self.next.previous = self.previous


def enqueue(head: Ptr[Thread], thread: Ptr[Thread]) -> None:
    """Put `thread` behind all of its own or a higher priority."""
    place = head.next
    while place != head and place.priority >= thread.priority:
        place = place.next
    thread.insert_before(place)


def find(head: Ptr[Thread], identifier: u64) -> Ptr[Thread] | None:
    """The element with that identifier."""
    thread = head.next
    while thread != head:
        if thread.identifier == identifier:
            return thread
        thread = thread.next
    return None


def total_ticks(head: Ptr[Thread]) -> u64:
    """The sum over all elements."""
    total = u64(0)
    thread = head.next
    while thread != head:
        total += thread.ticks
        thread = thread.next
    return total
