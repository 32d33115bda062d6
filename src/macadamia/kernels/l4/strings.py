"""String items: copying user memory of the sender to user memory of the receiver (X.2 manual, section 5.3).

Both sides are lists of pieces: a string is one or more headers (joined by their c bits), each with one or
more pointers to pieces of that header's length. Memory is reached through the page tables of both spaces,
page by page; a page that is missing stops the copy until the thread it belongs to got it from its pager.

Headers and pointers lie in UTCBs, that is in user memory: they are read anew at each step and every use is
checked, so that it does not matter who changes them meanwhile.
"""

from enum import IntEnum

from macadamia.abi.l4.messages import BUFFER_REGISTERS, MESSAGE_REGISTERS, ItemHeader
from macadamia.abi.l4.utcb import LAST_BUFFER_REGISTER, Utcb
from macadamia.kernels.l4.space import Space, user_memory
from macadamia.lang import Ptr, Struct, copy_bytes, i64, pointer_to, storage, u8, u64
from macadamia.machine.addresses import PAGE_SIZE

COPY_LIMIT = 64 * 1024  # bytes copied before other threads get their turn


@storage(u8)
class CopyResult(IntEnum):
    """Why a copy stopped."""

    DONE = 0  # the string is complete
    OVERFLOW = 1  # the buffer is full, or a register that would be needed does not exist
    SENDER_FAULT = 2  # the sender's memory at `source.address()` is missing
    RECEIVER_FAULT = 3  # the receiver's at `target.address()` is, or is read-only
    PREEMPTED = 4  # COPY_LIMIT was reached


class Pieces(Struct):
    """A place in a string: which header, which of its pointers, how far in that piece.

    Registers are counted from `first` in steps of `step` words: message registers ascend, buffer registers
    descend.
    """

    first: Ptr[u64]
    step: i64
    limit: u64  # number of registers
    string: u64  # the first header of the string
    word: u64  # of the current header
    part: u64  # which of its pointers
    offset: u64  # bytes done of that piece
    ended: bool

    def register(self, index: u64) -> u64:
        return self.first[self.step * i64(index)]

    def header(self) -> ItemHeader:
        return ItemHeader(self.register(self.word))

    def begin(self, word: u64) -> None:
        """Go to the string whose header is register `word`."""
        self.string = word
        self.word = word
        self.part = 0
        self.offset = 0
        self.ended = False

    def exists(self) -> bool:
        """Whether the current header and pointer are registers at all."""
        return self.word < self.limit and self.word + 1 + self.part < self.limit

    def address(self) -> u64:
        return self.register(self.word + 1 + self.part) + self.offset

    def left(self) -> u64:
        """Bytes of the current piece not yet done."""
        length = self.header().length
        return length - self.offset if length > self.offset else u64(0)

    def skip_empty(self) -> None:
        """Go on to the next piece that has bytes left."""
        while not self.ended and self.exists() and self.left() == 0:
            self.next_piece()

    def next_piece(self) -> None:
        header = self.header()
        self.offset = 0
        if self.part < header.substrings:
            self.part += 1
        elif header.compound:
            self.word = self.after_header()
            self.part = 0
        else:
            self.ended = True

    def after_header(self) -> u64:
        """The register after the current header and its pointers."""
        return self.word + 2 + self.header().substrings

    def after_string(self) -> u64:
        """The register after the whole string, all its headers included."""
        self.part = 0
        while self.exists() and self.header().compound:
            self.word = self.after_header()
        return self.after_header()


def message_pieces(pieces: Ptr[Pieces], utcb: Ptr[Utcb]) -> None:
    """Let `pieces` count message registers."""
    pieces.first = pointer_to(utcb.message_registers[0])
    pieces.step = 1
    pieces.limit = MESSAGE_REGISTERS


def buffer_pieces(pieces: Ptr[Pieces], utcb: Ptr[Utcb]) -> None:
    """Let `pieces` count buffer registers."""
    pieces.first = pointer_to(utcb.buffer_registers[LAST_BUFFER_REGISTER])
    pieces.step = -1
    pieces.limit = BUFFER_REGISTERS


def copy_string(
    source: Ptr[Pieces], source_space: Ptr[Space], target: Ptr[Pieces], target_space: Ptr[Space]
) -> tuple[CopyResult, u64]:
    """Copy until the source's string ends or something stops it. Gives why, and how many bytes were
    copied."""
    done: u64 = 0
    while done < COPY_LIMIT:
        source.skip_empty()
        if source.ended:
            return CopyResult.DONE, done
        target.skip_empty()
        if target.ended or not source.exists() or not target.exists():
            return CopyResult.OVERFLOW, done
        from_ = user_memory(source_space, source.address(), False)
        if from_ is None:
            return CopyResult.SENDER_FAULT, done
        to = user_memory(target_space, target.address(), True)
        if to is None:
            return CopyResult.RECEIVER_FAULT, done
        count = min(source.left(), target.left(), page_rest(source.address()), page_rest(target.address()))
        copy_bytes(to, from_, count)
        source.offset += count
        target.offset += count
        done += count
    return CopyResult.PREEMPTED, done


def page_rest(address: u64) -> u64:
    """Bytes from `address` to the end of its page."""
    return PAGE_SIZE - address % PAGE_SIZE
