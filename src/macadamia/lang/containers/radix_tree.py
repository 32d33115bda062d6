"""Maps from numbers to objects: a tree that consumes six bits of the key at each level, as page tables do.

    class Pages(RadixTree[Page], key_bits=36, nodes=512):
        pass

The time depends on the width of the key alone. Nodes come from a pool within the tree and go back when they
are empty; each takes 528 bytes.
"""

from typing import Any, Generic, TypeVar

from macadamia.lang import Array, Ptr, Struct, cast, range, u64

T = TypeVar("T", bound=Struct)

LEVEL_BITS = 6
FANOUT = 1 << LEVEL_BITS


class Node(Struct):
    """64 slots. Those of the lowest level hold the items themselves, cast to Ptr[Node]."""

    slots: Array[Ptr["Node"] | None, FANOUT]
    used: u64  # slots that are not None
    parent: Ptr["Node"] | None  # of a node in the pool: the next free one


class RadixTree(Struct, Generic[T]):
    """From numbers below 2**KEY_BITS to T. All zero is an empty tree."""

    KEY_BITS = 0
    LEVELS = 0
    NODES = 0
    root: Ptr[Node] | None
    free: Ptr[Node] | None  # nodes that have been in use and are not any more
    fresh: u64  # index of the first node of the pool that has never been in use
    in_use: u64
    pool: Array[Node, 0]  # of a subclass: Array[Node, NODES]

    def __init_subclass__(cls, key_bits: int | None = None, nodes: int = 0, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if key_bits is not None:
            cls.KEY_BITS = key_bits
            cls.LEVELS = -(-key_bits // LEVEL_BITS)
            cls.NODES = nodes
            cls.__annotations__["pool"] = Array[Node, nodes]

    def find(self, key: u64) -> Ptr[T] | None:
        """The item of `key`, None if there is none."""
        assert self.fits(key), "the key is too wide for the tree"
        node = self.root
        for level in range(self.LEVELS):
            if node is None:
                return None
            node = node.slots[self.slot(key, level)]
        item: Ptr[T] | None = cast(T, node)  # type: ignore[misc]
        return item

    def insert(self, key: u64, item: Ptr[T]) -> bool:
        """Add `item` under `key`, which has none. False, with nothing changed, if nodes are lacking."""
        assert self.fits(key), "the key is too wide for the tree"
        if self.missing_nodes(key) > self.NODES - self.in_use:
            return False
        node = self.lowest(key)
        slot = self.slot(key, self.LEVELS - 1)
        assert node.slots[slot] is None, "the key has an item"
        node.slots[slot] = cast(Node, item)
        node.used += 1
        return True

    def remove(self, key: u64) -> Ptr[T] | None:
        """Take out the item of `key`; gives it, or None if there was none."""
        item = self.find(key)
        if item is None:
            return None
        node: Ptr[Node] | None = self.lowest(key)
        level: u64 = self.LEVELS
        while node is not None:
            level -= 1
            node.slots[self.slot(key, level)] = None
            node.used -= 1
            if node.used > 0:
                break
            node = self.release(node)
        return item

    def fits(self, key: u64) -> bool:
        return key >> (self.KEY_BITS - 1) <= 1

    def slot(self, key: u64, level: u64) -> u64:
        """Which slot of a node of `level` leads to `key`; level 0 is the root."""
        return key >> LEVEL_BITS * (self.LEVELS - 1 - level) & (FANOUT - 1)

    def missing_nodes(self, key: u64) -> u64:
        """How many nodes on the way to `key` there are not yet."""
        node = self.root
        for level in range(self.LEVELS):
            if node is None:
                return self.LEVELS - level
            node = node.slots[self.slot(key, level)]
        return 0

    def lowest(self, key: u64) -> Ptr[Node]:
        """The node of the lowest level on the way to `key`; what is missing is made."""
        node = self.root
        if node is None:
            node = self.new_node(None)
            self.root = node
        for level in range(self.LEVELS - 1):
            slot = self.slot(key, level)
            child = node.slots[slot]
            if child is None:
                child = self.new_node(node)
                node.slots[slot] = child
                node.used += 1
            node = child
        return node

    def new_node(self, parent: Ptr[Node] | None) -> Ptr[Node]:
        """A node from the pool, all of its slots None."""
        node = self.free
        if node is not None:
            self.free = node.parent
        else:
            node = self.pool[self.fresh]
            self.fresh += 1
        self.in_use += 1
        node.parent = parent
        return node

    def release(self, node: Ptr[Node]) -> Ptr[Node] | None:
        """Give an empty node back to the pool; gives its parent."""
        parent = node.parent
        if parent is None:
            self.root = None
        node.parent = self.free
        self.free = node
        self.in_use -= 1
        return parent
