"""Priority queues: the least item first, adding and taking in logarithmic time.

class Timeouts(Heap[Ptr[Thread]], capacity=256):
    def before(self, left: Ptr[Thread], right: Ptr[Thread]) -> bool:
        return left.deadline < right.deadline

    def placed(self, item: Ptr[Thread], index: u64) -> None:
        item.heap_index = index  # for remove(thread.heap_index)
"""

from typing import Any, Generic, TypeVar

from macadamia.lang import Array, Struct, u64, unreachable

T = TypeVar("T")


class Heap(Struct, Generic[T]):
    """A binary heap in an array: the children of index i are 2i + 1 and 2i + 2. All zero is an empty heap.

    T is what an array element can hold: a pointer or a number. A subclass defines `before`.
    """

    CAPACITY = 0
    count: u64
    items: Array[T, 0]  # of a subclass: Array[T, CAPACITY]

    def __init_subclass__(cls, capacity: int | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if capacity is not None:
            cls.CAPACITY = capacity
            cls.__annotations__["items"] = Array[T, capacity]  # type: ignore[misc]

    def before(self, left: T, right: T) -> bool:  # noqa: ARG002
        """Whether `left` is to be taken before `right`."""
        unreachable("a subclass of Heap defines before()")

    def placed(self, item: T, index: u64) -> None:
        """Called whenever `item` comes to lie at `index`, for items that must be removed out of order."""

    def is_empty(self) -> bool:
        return self.count == 0

    def least(self) -> T:
        """The item to be taken first."""
        assert self.count > 0, "the heap is empty"
        return self.items[0]

    def add(self, item: T) -> None:
        assert self.count < self.CAPACITY, "the heap is full"
        self.count += 1
        self.rise(item, self.count - 1)

    def take(self) -> T:
        """Remove the least item."""
        item = self.least()
        self.remove(0)
        return item

    def remove(self, index: u64) -> None:
        """Remove the item at `index`: the last one fills its place, and moves up or down from there."""
        assert index < self.count, "no item there"
        self.count -= 1
        if index == self.count:
            return
        last = self.items[self.count]
        if index > 0 and self.before(last, self.items[(index - 1) // 2]):
            self.rise(last, index)
        else:
            self.sink(last, index)

    def rise(self, item: T, index: u64) -> None:
        """Put `item` at `index` or above it, after every parent that comes before it."""
        while index > 0:
            parent = (index - 1) // 2
            if not self.before(item, self.items[parent]):
                break
            self.put(self.items[parent], index)
            index = parent
        self.put(item, index)

    def sink(self, item: T, index: u64) -> None:
        """Put `item` at `index` or below it, before every child that it comes before."""
        while True:
            child = index * 2 + 1
            if child >= self.count:
                break
            if child + 1 < self.count and self.before(self.items[child + 1], self.items[child]):
                child += 1
            if not self.before(self.items[child], item):
                break
            self.put(self.items[child], index)
            index = child
        self.put(item, index)

    def put(self, item: T, index: u64) -> None:
        self.items[index] = item
        self.placed(item, index)
