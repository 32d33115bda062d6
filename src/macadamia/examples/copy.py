"""Copying memory by words: the loop that a simple kernel writes."""

from macadamia.lang import Ptr, range, u64


def copy_words(to: Ptr[u64], from_: Ptr[u64], count: u64) -> None:
    """Copy count words upwards. The ranges may overlap when `to` is below `from_`."""
    for i in range(count):
        to[i] = from_[i]
