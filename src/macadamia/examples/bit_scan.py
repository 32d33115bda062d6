"""A bitmap of free identifiers: the lowest free one is found a word at a time."""

from macadamia.lang import Array, Struct, range, trailing_zeros, u64

WORD_BITS = 64
WORDS = 64
NONE_FREE = WORDS * WORD_BITS


class Bitmap(Struct):
    """Bit i is set when identifier i is free."""

    words: Array[u64, WORDS]

    def fill(self) -> None:
        """Make all identifiers free."""
        for i in range(WORDS):
            self.words[i] = ~u64(0)

    def release(self, identifier: u64) -> None:
        self.words[identifier // WORD_BITS] |= u64(1) << identifier % WORD_BITS

    def allocate(self) -> u64:
        """Take the lowest free identifier, or give NONE_FREE."""
        for i in range(WORDS):
            word = self.words[i]
            if word:
                self.words[i] = word & word - 1  # clears the lowest bit
                return i * WORD_BITS + trailing_zeros(word)
        return NONE_FREE
