"""Messages: tags, typed items, acceptors (X.2 manual, chapter 5)."""

from macadamia.lang import bitfield, u8, u64

MESSAGE_REGISTERS = 64
BUFFER_REGISTERS = 33


class MessageTag(u64):
    """MR0."""

    untyped = bitfield(u64, 0, 6)  # words after the tag
    typed = bitfield(u64, 6, 6)  # words of typed items after those
    propagated = bitfield(bool, 12, 1)
    redirected = bitfield(bool, 13, 1)
    cross_processor = bitfield(bool, 14, 1)
    error = bitfield(bool, 15, 1)
    label = bitfield(u64, 16, 48)


# Flags as bits of the word, for tags that are built whole
TAG_PROPAGATED = 1 << 12
TAG_REDIRECTED = 1 << 13
TAG_CROSS_PROCESSOR = 1 << 14
TAG_ERROR = 1 << 15
TAG_FLAGS = TAG_PROPAGATED | TAG_REDIRECTED | TAG_CROSS_PROCESSOR | TAG_ERROR
LABEL_SHIFT = 16


def tag(label: int, untyped: int, typed: int = 0) -> int:
    """The word of a tag, for constants made at import time; a negative label fills its 48 bits."""
    return (label & (1 << 48) - 1) << LABEL_SHIFT | typed << 6 | untyped


def protocol_label(number: int, low: int = 0) -> int:
    """The label of a kernel protocol: `number` (negative) in its upper 44 bits, 4 bits of detail below."""
    return number << 4 | low


# Bits 3..1 of the first word of a typed item; strings use 0 to 3, the low two bits being a cache hint
MAP_ITEM = 4
GRANT_ITEM = 5
CONTROL_TRANSFER_ITEM = 6


class ItemHeader(u64):
    """The first word of a typed item."""

    more = bitfield(bool, 0, 1)  # another item follows (receive buffers)
    kind = bitfield(u8, 1, 3)
    send_base = bitfield(u64, 10, 54)  # of map and grant items, in KiB
    substrings = bitfield(u64, 4, 5)  # of a string: pointers minus one
    compound = bitfield(bool, 9, 1)  # of a string: another header with pointers continues it
    length = bitfield(u64, 10, 54)  # of each substring, in bytes

    def is_string(self) -> bool:
        return self.kind < MAP_ITEM


class Acceptor(u64):
    """BR0: which typed items a receiver takes, and the window for mappings."""

    strings = bitfield(bool, 0, 1)
    control_transfer = bitfield(bool, 1, 1)

    def window(self) -> u64:
        """The receive window as the word of an fpage (its low four bits are not part of it)."""
        return u64(self) & ~0xF


NIL_MAPPING_ITEM = 0x8  # a map item of the nil fpage: sigma0's "no"

# Protocols between kernel and user (chapters 5.7, 7.4; labels in the upper 44 bits of the label field)
INTERRUPT_PROTOCOL = -1
PAGE_FAULT_PROTOCOL = -2
PREEMPTION_PROTOCOL = -3
SYSTEM_EXCEPTION_PROTOCOL = -4
ARCHITECTURE_EXCEPTION_PROTOCOL = -5
SIGMA0_PROTOCOL = -6
IO_FAULT_PROTOCOL = -8
SIGMA0_EXTENDED_PROTOCOL = -1001
