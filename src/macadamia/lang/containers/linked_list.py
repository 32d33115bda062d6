"""Doubly linked lists whose links lie in the items: adding and removing takes no memory and constant time.

    class Thread(Struct):
        ready: "Links[Thread]"

    class ReadyList(LinkedList[Thread]):
        def links(self, item: Ptr[Thread]) -> Ptr[Links[Thread]]:
            return item.ready

An item may be in as many lists at once as it has links. Walk a list by

    item = ready.first
    while item is not None:
        ...
        item = ready.links(item).next
"""

from typing import Generic, TypeVar

from macadamia.lang import Ptr, Struct, u64, unreachable

T = TypeVar("T", bound=Struct)


class Links(Struct, Generic[T]):
    """The neighbours of an item in one list; None at the ends, and while it is in no list."""

    next: Ptr[T] | None
    previous: Ptr[T] | None


class LinkedList(Struct, Generic[T]):
    """A list of T. A subclass says by `links` which links of its items it uses. All zero is an empty list."""

    first: Ptr[T] | None
    last: Ptr[T] | None
    count: u64

    def links(self, item: Ptr[T]) -> Ptr[Links[T]]:  # noqa: ARG002
        """The links in `item` that make this list."""
        unreachable("a subclass of LinkedList defines links()")

    def is_empty(self) -> bool:
        return self.first is None

    def append(self, item: Ptr[T]) -> None:
        """Add `item`, which is in no list of these links, as the last."""
        self.insert(item, None)

    def prepend(self, item: Ptr[T]) -> None:
        """Add `item`, which is in no list of these links, as the first."""
        self.insert(item, self.first)

    def insert(self, item: Ptr[T], following: Ptr[T] | None) -> None:
        """Add `item` before `following`, at the end if that is None."""
        links = self.links(item)
        assert links.next is None, "already in a list"
        assert links.previous is None, "already in a list"
        assert self.first != item, "already in a list"
        previous = self.last
        if following is not None:
            previous = self.links(following).previous
        links.next = following
        links.previous = previous
        self.join(previous, item)
        self.join(item, following)
        self.count += 1

    def remove(self, item: Ptr[T]) -> None:
        """Take `item`, which is in this list, out of it."""
        links = self.links(item)
        self.join(links.previous, links.next)
        links.next = None
        links.previous = None
        self.count -= 1

    def join(self, left: Ptr[T] | None, right: Ptr[T] | None) -> None:
        """Make `left` and `right` neighbours; None stands for the end of the list."""
        if left is not None:
            self.links(left).next = right
        else:
            self.first = right
        if right is not None:
            self.links(right).previous = left
        else:
            self.last = left

    def take_first(self) -> Ptr[T] | None:
        """Remove the first item; None if there is none."""
        item = self.first
        if item is not None:
            self.remove(item)
        return item
