"""Splitting large pages, when an operation concerns only a part of one."""

from macadamia.kernels.l4.kernel_memory import kernel_memory
from macadamia.kernels.l4.mapping import (
    Mapping,
    Outcome,
    forget_all_walks,
    mappings,
    preemption_point,
)
from macadamia.kernels.l4.page_table import Table, allocate_table, word_of
from macadamia.lang import Ptr, address_of, cast, pointer_at, pointer_to, range, u8, u64
from macadamia.machine.addresses import PhysAddr
from macadamia.machine.interface import physical_pointer
from macadamia.machine.x86_64.page_table import ENTRIES, TABLE_RIGHTS, Entry, page_size, split_into


def split(node: Ptr[Mapping]) -> Outcome:
    """Split a large page into those of the next smaller size, and before it all mapped from it that are as
    large.

    The node is gone afterwards. Users see no difference. Children as large as their parent come first, so the
    way down needs no search, and what was split already is not passed again.
    """
    at = node
    while True:
        child = at.first_child
        if child is not None and child.level == at.level:
            at = child
            continue
        parent = at.parent
        last = at == node
        if not split_one(at):
            return Outcome.OUT_OF_MEMORY
        if last or parent is None:
            return Outcome.DONE
        if preemption_point():
            return Outcome.RESTART
        at = parent


def split_one(node: Ptr[Mapping]) -> bool:
    """Split a page whose children are smaller. False, and nothing changed, when out of memory."""
    frame = allocate_table()
    if frame == PhysAddr(0):
        return False
    table = cast(Table, physical_pointer(frame))
    if not allocate_pieces(table):
        kernel_memory.free_pair(frame)
        return False
    forget_all_walks()
    level = u64(node.level) - 1
    split_into(frame, node.entry[0], level)
    for index in range(u64(ENTRIES)):
        make_piece(node, table, index, level)
    distribute_children(node, table, page_size(level))
    node.entry[0] = Entry(u64(frame) | TABLE_RIGHTS)
    word_of(node.entry)[0] = ENTRIES
    node.space.pages += 2
    node.unlink()
    mappings.delete(node)
    return True


def allocate_pieces(table: Ptr[Table]) -> bool:
    """Let every word of the table be the address of a new node; none is left over when out of memory."""
    for index in range(u64(ENTRIES)):
        piece = mappings.new()
        if piece is None:
            for made in range(index):
                mappings.delete(piece_at(table, made))
            return False
        table.words[index] = address_of(piece)
    return True


def piece_at(table: Ptr[Table], index: u64) -> Ptr[Mapping]:
    return pointer_at(Mapping, table.words[index])


def make_piece(node: Ptr[Mapping], table: Ptr[Table], index: u64, level: u64) -> None:
    """Node number `index` of a table that replaces `node`."""
    piece = piece_at(table, index)
    piece.make_root()
    piece.space = node.space
    piece.entry = pointer_to(table.entries[index])
    piece.address = node.address + index * page_size(level)
    piece.level = u8(level)
    piece.status = node.status
    piece.unreported = node.unreported
    parent = node.parent
    if parent is not None:
        piece.link(parent)


def distribute_children(node: Ptr[Mapping], table: Ptr[Table], size: u64) -> None:
    """Each child becomes the child of the piece that holds its frame."""
    child = node.first_child
    while child is not None:
        index = (child.frame() - node.frame()) // size
        child.unlink()
        child.link(piece_at(table, index))
        child = node.first_child
