"""A hash table of fixed capacity: open addressing, linear probing, removal without tombstones.

After Knuth, The Art of Computer Programming, volume 3, section 6.4 (algorithms L and R).
"""

from macadamia.lang import Array, Ptr, Struct, range, u64

CAPACITY_LOG2 = 12
CAPACITY = 1 << CAPACITY_LOG2
GOLDEN_RATIO = 0x9E37_79B9_7F4A_7C15  # 2**64 divided by the golden ratio, made odd
EMPTY = 0  # a key that no entry has


class Slot(Struct):
    """One entry, or none while `key` is EMPTY."""

    key: u64
    value: u64


class HashTable(Struct):
    """A map from nonzero u64 to u64. One slot always stays empty: that is where a search ends."""

    count: u64
    slots: Array[Slot, CAPACITY]

    def clear(self) -> None:
        self.count = 0
        for i in range(CAPACITY):
            self.slots[i].key = EMPTY

    def index_of(self, key: u64) -> u64:
        """The slot that holds `key`, or the empty one where it would go."""
        index = home_of(key)
        while self.slots[index].key != key and self.slots[index].key != EMPTY:
            index = (index + 1) % CAPACITY
        return index

    def find(self, key: u64) -> Ptr[Slot] | None:
        slot = self.slots[self.index_of(key)]
        return slot if slot.key == key else None

    def insert(self, key: u64, value: u64) -> bool:
        """Set the value of `key`. False when the table has no room for another key."""
        slot = self.slots[self.index_of(key)]
        if slot.key == EMPTY:
            if self.count == CAPACITY - 1:
                return False
            self.count += 1
            slot.key = key
        slot.value = value
        return True

    def remove(self, key: u64) -> bool:
        """Forget `key`. Entries behind it move back where that keeps them reachable from their home."""
        hole = self.index_of(key)
        if self.slots[hole].key == EMPTY:
            return False
        self.count -= 1
        index = (hole + 1) % CAPACITY
        while self.slots[index].key != EMPTY:
            entry = self.slots[index]
            if (index - home_of(entry.key)) % CAPACITY >= (index - hole) % CAPACITY:
                self.slots[hole].key = entry.key
                self.slots[hole].value = entry.value
                hole = index
            index = (index + 1) % CAPACITY
        self.slots[hole].key = EMPTY
        return True


def home_of(key: u64) -> u64:
    """Where the search for `key` begins: the top bits of a product are the best spread."""
    return key * GOLDEN_RATIO >> 64 - CAPACITY_LOG2
