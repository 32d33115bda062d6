"""Sets of small numbers: one bit for each, found by whole words.

class FrameMap(Bitmap, size=4096):
    pass
"""

from typing import Any

from macadamia.lang import Array, Struct, popcount, range, trailing_zeros, u64

WORD_BITS = u64.BITS
ALL_ONES = u64.MAX


class Bitmap(Struct):
    """The numbers from 0 to SIZE - 1, each in the set or not. All zero is the empty set."""

    SIZE = 0
    WORDS = 0
    words: Array[u64, 0]  # of a subclass: Array[u64, WORDS]

    def __init_subclass__(cls, size: int | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if size is not None:
            cls.SIZE = size
            cls.WORDS = -(-size // WORD_BITS)
            cls.__annotations__["words"] = Array[u64, cls.WORDS]

    def contains(self, number: u64) -> bool:
        return self.words[number // WORD_BITS] >> number % WORD_BITS & 1 != 0

    def add(self, number: u64) -> None:
        assert number < self.SIZE, "number beyond the size of the bitmap"
        self.words[number // WORD_BITS] |= u64(1) << number % WORD_BITS

    def discard(self, number: u64) -> None:
        assert number < self.SIZE, "number beyond the size of the bitmap"
        self.words[number // WORD_BITS] &= ~(u64(1) << number % WORD_BITS)

    def count(self) -> u64:
        """How many numbers are in the set."""
        total = u64(0)
        for word in self.words:
            total += popcount(word)
        return total

    def next_member(self, start: u64) -> u64:
        """The least number from `start` on that is in the set; SIZE if there is none."""
        return self.search(start, 0)

    def next_free(self, start: u64) -> u64:
        """The least number from `start` on that is not in the set; SIZE if there is none."""
        return self.search(start, ALL_ONES)

    def search(self, start: u64, flip: u64) -> u64:
        """The least number from `start` on whose bit, flipped by `flip`, is 1."""
        below = (u64(1) << start % WORD_BITS) - 1  # numbers of the first word that come before `start`
        for index in range(start // WORD_BITS, self.WORDS):
            word = (self.words[index] ^ flip) & ~below
            if word != 0:
                return min(index * WORD_BITS + trailing_zeros(word), self.SIZE)
            below = 0
        return self.SIZE

    def take_free(self) -> u64:
        """Add the least number that is not in the set; SIZE if all are."""
        number = self.next_free(0)
        if number < self.SIZE:
            self.add(number)
        return number
