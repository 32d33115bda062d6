"""Unmap: one fpage of the system call (X.2 manual, section 4.2).

For each page that the space has in the region: take rights from all who have them by this page; with
`flush` from the page, too; and say what happened to it since the space last asked. A page that is only
partly in the region is split first. Revoking never fails: when there is no memory for a split, the
operation applies to the whole large page.

A page left without a right goes. Read comes along with any other right, so that revoking it alone takes
only pages that have no other.
"""

from macadamia.abi.l4.fpages import SMALLEST_FPAGE, Fpage, Rights
from macadamia.kernels.l4.mapping import Cursor, Mapping, Outcome, mapping_of, preemption_point, remove_below
from macadamia.kernels.l4.revoke import Revocation, revoke_below
from macadamia.kernels.l4.space import Space
from macadamia.kernels.l4.split import split
from macadamia.lang import Ptr, Struct, u8, u64
from macadamia.machine.addresses import VirtAddr
from macadamia.machine.x86_64.layout import USER_END
from macadamia.machine.x86_64.page_table import ACCESSED, DIRTY, page_size

WAS_ACCESSED = Rights.READ | Rights.EXECUTE
WAS_WRITTEN = Rights.READ | Rights.WRITE


class UnmapOperation(Struct):
    """An fpage of Unmap while it is carried out."""

    space: Ptr[Space]
    next: u64  # address that is next
    end: u64
    revocation: Revocation
    flush: bool
    status_bits: u8
    cursor: Cursor  # in what was mapped from the page at `next`; its root is None while there is none

    def prepare(self, space: Ptr[Space], region: Fpage, flush: bool) -> None:
        """Set up for an fpage, whose rights are those to revoke. It may be any word; less than a page
        counts as
        one, nil as none."""
        size_log2 = max(region.size_log2(), u8(SMALLEST_FPAGE))
        start = u64(region) >> size_log2 << size_log2
        if region.is_nil() or region.is_io():
            start = USER_END
        self.prepare_range(space, start, start + (u64(1) << size_log2), region.rights, flush)

    def prepare_range(self, space: Ptr[Space], start: u64, end: u64, rights: Rights, flush: bool) -> None:
        """Set up for all pages that lie in whole or in part between two addresses."""
        self.space = space
        self.next = min(start, USER_END)
        self.end = min(max(start, end), USER_END)
        self.revocation.set(rights)
        self.flush = flush
        self.status_bits = 0
        self.cursor.root = None

    def status(self) -> Rights:
        """What happened in the region, here and where it was mapped from here: as Unmap returns it."""
        accessed = WAS_ACCESSED if self.status_bits & ACCESSED else Rights(0)
        written = WAS_WRITTEN if self.status_bits & DIRTY else Rights(0)
        return accessed | written

    def run(self) -> Outcome:
        """Carry it out: DONE or RESTART."""
        self.cursor.wake()
        while self.next < self.end:
            entry, level = self.space.find(VirtAddr(self.next))
            node = mapping_of(entry) if entry[0].present else None
            if node is None:
                self.next = (self.next | (page_size(level) - 1)) + 1
            elif self.unmap_page(node) == Outcome.RESTART or preemption_point():
                return Outcome.RESTART
        return Outcome.DONE

    def cancel(self) -> None:
        """Give up an operation that was preempted."""
        self.cursor.wake()

    def unmap_page(self, node: Ptr[Mapping]) -> Outcome:
        """Deal with one page and go behind it, or split it and stay."""
        size = page_size(u64(node.level))
        start = u64(node.address)
        if start < self.next or self.end - start < size:
            outcome = split(node)
            if outcome != Outcome.OUT_OF_MEMORY:
                return outcome
        goes = self.revocation.removes(node)
        if self.flush and not goes:
            self.revocation.narrow(node)  # first, so that nobody gets by it meanwhile what it loses
        if self.revoke_derived(node) == Outcome.RESTART:
            return Outcome.RESTART
        self.cursor.root = None
        node.collect()
        self.status_bits |= node.status
        node.status = 0
        self.next = start + size
        if self.flush and goes:
            node.remove()
        return Outcome.DONE

    def revoke_derived(self, node: Ptr[Mapping]) -> Outcome:
        """Deal with what was mapped from a page: if that has no right left, neither has anything below."""
        if self.revocation.removes(node):
            return remove_below(node)
        if self.cursor.root != node:
            self.cursor.begin(node)
        return revoke_below(self.revocation, self.cursor)
